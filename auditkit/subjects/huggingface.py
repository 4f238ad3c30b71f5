"""A folder of transformers as a subject: sequence classification, causal or masked language modelling.

What the model does is decided by ``architectures`` in its configuration. Nothing is fetched, and no code of
the folder is run; see :mod:`auditkit.data.transformers_folder` for what is refused.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from auditkit.config.model import Architecture
from auditkit.data.preprocessing import LanguagePreprocessing, Preprocessing, TextPreprocessing
from auditkit.data.tokenizers import FolderTokenizer
from auditkit.data.transformers_folder import CONFIG
from auditkit.errors import CheckpointError, DataError
from auditkit.models.pretrained import head_of, load_with_head
from auditkit.models.token_model import (
    TokenModel,
    add_padding_vector,
    most_positions,
    stand_in_for,
    vocabulary_size,
)
from auditkit.records import Message
from auditkit.subjects.masked_language_model import MaskedLanguageModel
from auditkit.subjects.sources import Request
from auditkit.subjects.subject import Subject
from auditkit.subjects.torch_subject import TorchSubject

MOST_TOKENS = 256
"""Tokens per row where neither the config nor the training rows say how many."""


def load(request: Request) -> Subject:
    """The model in the folder ``subject.hf``.

    Raises:
        UnsafeError: The folder holds or names code, or only pickled weights.
        CheckpointError: It is damaged, does something else, or does not fit the labels of the data.
        DataError: The data are no texts, or not what the model does.
        MissingExtraError: transformers is absent or too old.
    """
    folder = request.path("hf")
    head, class_name = head_of(folder)
    steps = _texts_asked_for(request.preprocessing, "causal" if head == "masked" else head, folder)
    tokenizer = FolderTokenizer.read(folder.resolve())
    model = load_with_head(folder, class_name)
    form = _Form.of(request, tokenizer, model)
    statements = _precision(folder)
    if head == "classification" and add_padding_vector(model, tokenizer.padding):
        text = "The model has no padding token; a vector of zeros was added for it, which it never looks at."
        form, statements = replace(form, stand_in=tokenizer.padding), (*statements, Message(text=text))
    module = TokenModel(model, padding=tokenizer.padding, stand_in=form.stand_in)
    if head == "classification":
        if not isinstance(steps, TextPreprocessing):
            raise DataError(f"{folder}: classifies texts; the data are texts without labels")
        classes, more = _classes(folder, model, steps.classes)
        preprocessing: Preprocessing = steps.model_copy(
            update={"classes": classes, "tokenizer": tokenizer, "length": form.length}
        )
        return _subject(
            request, module, class_name, preprocessing=preprocessing, statements=(*statements, *more)
        )
    preprocessing = LanguagePreprocessing(tokenizer=tokenizer, length=form.length)
    if head == "causal":
        return _subject(request, module, class_name, preprocessing=preprocessing, statements=statements)
    # A row is shown whole, with the token that ends it, which the data hold apart from the row.
    preprocessing = preprocessing.model_copy(update={"length": min(form.length, form.most - 2)})
    inner = _subject(request, module, class_name, preprocessing=preprocessing, statements=statements)
    return MaskedLanguageModel.around(inner, tokenizer)


def folder_of_audited(subject: Subject) -> Path | None:
    """The folder that a model of transformers was read from as it is; ``None`` for any other subject."""
    if not isinstance(subject, TorchSubject) or not isinstance(subject.module, TokenModel):
        return None
    return None if subject.architecture.parameters else Path(subject.card.source)


@dataclass(frozen=True, slots=True)
class _Form:
    """Tokens per row, the most that the model can read, and the id it is shown in place of padding."""

    length: int
    most: int
    stand_in: int

    @classmethod
    def of(cls, request: Request, tokenizer: FolderTokenizer, model: nn.Module) -> "_Form":
        n_tokens = vocabulary_size(model)
        if tokenizer.n_own > n_tokens:
            raise CheckpointError(
                f"{tokenizer.folder}: the tokenizer has {tokenizer.n_own} tokens, the model {n_tokens}; they "
                "do not belong together. Save model and tokenizer of one model in the folder"
            )
        most = most_positions(model) or 10**6
        return cls(min(most, _wished_length(request, tokenizer)), most, stand_in_for(tokenizer, model))


def _wished_length(request: Request, tokenizer: FolderTokenizer) -> int:
    """What the config says, else the longest training row in tokens of this model, else 256."""
    steps = request.preprocessing
    known = getattr(getattr(steps, "tokenizer", None), "sha256", None) == tokenizer.sha256
    fitted = getattr(steps, "length", None) if known else None
    return int(request.length or fitted or MOST_TOKENS)


def _texts_asked_for(
    steps: Preprocessing | None, head: str, folder: Path
) -> TextPreprocessing | LanguagePreprocessing:
    """The preprocessing that the data ask for, if they are texts of the right kind."""
    if isinstance(steps, TextPreprocessing) and head == "classification":
        return steps
    if isinstance(steps, LanguagePreprocessing) and head != "classification":
        return steps
    if head == "classification":
        raise DataError(
            f"{folder}: classifies texts, but the data are none with labels; name the columns: "
            "data.text: COLUMN, data.target: COLUMN"
        )
    raise DataError(
        f"{folder}: foretells tokens of plain text, but the data are not that; name a text as data.source "
        "(shakespeare, or a .txt file)"
    )


def _classes(
    folder: Path, model: nn.Module, labels: tuple[str, ...]
) -> tuple[tuple[str, ...], tuple[Message, ...]]:
    """The classes in the order of the model's outputs, under the names that the data use."""
    settings: Any = model.config
    names = [str(settings.id2label[index]) for index in sorted(settings.id2label)]
    problem = getattr(settings, "problem_type", None)
    if len(names) < 2 or problem in ("regression", "multi_label_classification"):
        raise CheckpointError(
            f"{folder / CONFIG}: {len(names)} outputs, problem_type {problem!r}; read are models that choose "
            "one of two or more classes"
        )
    meant = {_folded(label): label for label in labels}
    own = [_folded(name) for name in names]
    if len(set(own)) == len(own) and len(meant) == len(labels) and set(meant) <= set(own):
        return tuple(meant.get(key, name) for key, name in zip(own, names, strict=True)), ()
    if len(names) != len(labels):
        raise CheckpointError(
            f"{folder / CONFIG}: the model has {len(names)} classes ({', '.join(names[:10])}), the data "
            f"{len(labels)} ({', '.join(labels[:10])}), and the names do not say which is which. Rename the "
            "labels of the data, or id2label"
        )
    pairs = ", ".join(f"{name} = {label}" for name, label in zip(names, labels, strict=True))
    text = "The model's classes have other names than the labels and were matched by position: {pairs}."
    return labels, (Message(text=text, values={"pairs": pairs}),)


def _folded(label: str) -> str:
    return label.strip().casefold()


def _precision(folder: Path) -> tuple[Message, ...]:
    """What was done to weights that are stored in another precision."""
    config = json.loads((folder / CONFIG).read_bytes())
    dtype = str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
    if dtype == "float32":
        return ()
    text = "The weights are stored as {dtype} and were converted to single precision."
    return (Message(text=text, values={"dtype": dtype}),)


def _subject(
    request: Request,
    module: nn.Module,
    class_name: str,
    *,
    preprocessing: Preprocessing,
    statements: tuple[Message, ...],
) -> TorchSubject:
    folder = request.path("hf")
    for parameter in module.parameters():
        parameter.requires_grad_(True)
    return TorchSubject.build(
        module,
        name=request.name,
        title=request.config.name or folder.resolve().name,
        source=str(folder),
        architecture=Architecture(name=class_name),
        classes=preprocessing.classes,
        preprocessing=preprocessing,
        statements=statements,
        device=torch.device(request.device),
    )

"""Which part of a pretrained model of transformers is trained, and the folder that it is read from.

Between training nothing of it and training all of it lie its biases (Ben Zaken et al. 2022, arXiv:2106.10199)
and thin products beside its attention (Hu et al. 2021, arXiv:2106.09685).
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, model_validator
from torch import nn

from auditkit.data.tokenizers import FolderTokenizer
from auditkit.data.transformers_folder import CONFIG
from auditkit.errors import ConfigError, Problem
from auditkit.models.architecture import Parameters, Size
from auditkit.models.low_rank import add_low_rank
from auditkit.models.token_model import most_positions

_KEY = ("subject", "architecture")

Trained = Literal["head", "biases", "low-rank", "all"]
"""What is trained: a classifier on top alone, every bias too, products beside queries and values, or all."""

RANK, ALPHA = 8, 8.0
"""Of RoBERTa base in Hu et al. (2021), table 9. Alpha stays when the rank is changed (section 4.1)."""


class PretrainedParameters(Parameters):
    """Of models that begin with the weights in ``folder``, read with ``data.tokenizer: FOLDER``.

    ``train`` says what is trained; ``rank`` and ``alpha`` are of ``low-rank``. ``config_sha256`` is filled
    in: stored weights are not put on a model of another form.
    """

    vocabulary_size: Size | None = None
    length: Size | None = None
    folder: str
    train: Trained
    rank: Size | None = None
    alpha: float | None = Field(None, gt=0)
    config_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="before")
    @classmethod
    def _knows_its_form(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("folder"), str):
            return values
        path = Path(values["folder"]).expanduser() / CONFIG
        if not path.is_file():
            raise ValueError(f"{path}: no such file; folder names a local transformers folder")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if values.get("config_sha256") not in (None, found):
            raise ValueError(f"{path}: not the model that was trained (sha256 differs)")
        return {**values, "config_sha256": found}

    @model_validator(mode="before")
    @classmethod
    def _has_a_rank(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {key: values[key] for key in ("rank", "alpha") if values.get(key) is not None}
        if values.get("train", cls.model_fields["train"].default) == "low-rank":
            return {**values, "rank": RANK, "alpha": ALPHA, **given}
        if given:
            raise ValueError(f"{' and '.join(given)}: of train: low-rank alone; write that, or leave it out")
        return values


def folder_of(parameters: PretrainedParameters) -> Path:
    """Where the weights are that a training begins with."""
    return Path(parameters.folder).expanduser()


def choose_trained(model: nn.Module, parameters: PretrainedParameters) -> None:
    """Freeze what is not to be trained.

    Raises:
        ConfigError: The model has nothing of what is.
    """
    found, what = 1, ""
    if parameters.train == "low-rank":
        found = add_low_rank(model, rank=parameters.rank or RANK, alpha=parameters.alpha or ALPHA)
        what = "layers for queries and values whose names are known here; write another part"
    elif parameters.train == "biases":
        found, what = _free_biases(model), "biases; write another part"
    if not found:
        problem = f"is {parameters.train}, and {type(model).__name__} has no {what}"
        raise ConfigError([Problem(problem, (*_KEY, "train"))])


def _free_biases(model: nn.Module) -> int:
    """Freeze all but the biases; how many there are."""
    n_biases = 0
    for name, parameter in model.named_parameters():
        is_bias = name.endswith("bias") and parameter.ndim == 1
        parameter.requires_grad_(is_bias)
        n_biases += is_bias
    return n_biases


def check_fit(parameters: PretrainedParameters, tokenizer: FolderTokenizer, model: nn.Module) -> None:
    """Refuse data that were not read with the model's tokenizer, and rows longer than it reads.

    Raises:
        ConfigError: With what to write.
    """
    n_tokens, n_own, length = parameters.vocabulary_size, len(tokenizer.vocabulary), parameters.length or 0
    most, problems = most_positions(model), []
    if n_tokens != n_own:
        text = (
            f"the data have {n_tokens} tokens, the model {n_own}; write data.tokenizer: {parameters.folder}"
        )
        problems.append(Problem(text, (*_KEY, "vocabulary_size")))
    if most is not None and length > most:
        text = f"{length} tokens per row, the model reads {most}; write data.length: {most}"
        problems.append(Problem(text, (*_KEY, "length")))
    if problems:
        raise ConfigError(problems)


def without_values(module: nn.Module) -> nn.Module:
    """``module`` with parameters and stored buffers on torch's meta device; other buffers keep values.

    A parameter that several layers share stays one.
    """
    sketched = {
        id(one): nn.Parameter(one.detach().to("meta"), requires_grad=one.requires_grad)
        for one in module.parameters()
    }
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False, remove_duplicate=False):
            setattr(layer, name, sketched[id(parameter)])
        for name, buffer in layer.named_buffers(recurse=False):
            if name not in layer._non_persistent_buffers_set:
                setattr(layer, name, buffer.to("meta"))
    return module

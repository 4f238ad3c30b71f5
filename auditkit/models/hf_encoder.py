"""A pretrained encoder or decoder from a local transformers folder, pooling, and a linear classifier on top.

Frozen, the encoder gives every row the same features however long the classifier is trained: a linear probe
of what was learned before (Alain and Bengio 2017, arXiv:1610.01644). Between that and training all of it lie
its biases (Ben Zaken et al. 2022, arXiv:2106.10199) and thin products beside its attention (Hu et al. 2021,
arXiv:2106.09685). Mean pooling over the tokens as in Reimers and Gurevych (2019), arXiv:1908.10084, section
3; a decoder has seen the whole row at its last token alone.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import nn

from auditkit.data.tokenizers import FolderTokenizer
from auditkit.data.transformers_folder import CONFIG
from auditkit.errors import CheckpointError, ConfigError, Problem
from auditkit.models.architecture import ArchitectureKind, Dropout, Size, TextParameters
from auditkit.models.frozen_front import FrozenFront
from auditkit.models.low_rank import add_low_rank
from auditkit.models.pretrained import encoder_like, load_encoder
from auditkit.models.token_model import most_positions, vocabulary_size, without_padding

_ROWS_AT_ONCE = 16
"""Few, so that rows of about the same length come together and little padding is computed."""

_KEY = ("subject", "architecture")


Trained = Literal["head", "biases", "low-rank", "all"]
"""What is trained besides the classifier: nothing, every bias, products beside queries and values, or all."""

Pooling = Literal["mean", "last"]
"""What stands for a row: the mean state of its tokens, or that of its last."""

RANK, ALPHA = 8, 8.0
"""Of RoBERTa base in Hu et al. (2021), table 9. Alpha stays when the rank is changed (section 4.1)."""


class HfEncoderParameters(TextParameters):
    """The encoder in ``folder``, read with ``data.tokenizer: FOLDER``.

    ``train`` says what is trained besides the classifier; ``rank`` and ``alpha`` are of ``low-rank``.
    ``config_sha256`` is filled in: a stored classifier is not put on an encoder of another form. Earlier
    versions wrote ``frozen: true`` for ``train: head`` and ``frozen: false`` for ``train: all``.
    """

    folder: str
    train: Trained = "head"
    rank: Size | None = None
    alpha: float | None = Field(None, gt=0)
    pooling: Pooling = "mean"
    dropout: Dropout = 0.1
    config_sha256: str | None = Field(None, pattern="^[0-9a-f]{64}$")

    @model_validator(mode="before")
    @classmethod
    def _knows_its_encoder(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("folder"), str):
            return values
        path = Path(values["folder"]).expanduser() / CONFIG
        if not path.is_file():
            raise ValueError(f"{path}: no such file; folder names a local transformers folder")
        found = hashlib.sha256(path.read_bytes()).hexdigest()
        if values.get("config_sha256") not in (None, found):
            raise ValueError(f"{path}: not the encoder that the classifier was trained on (sha256 differs)")
        return {**values, "config_sha256": found}

    @model_validator(mode="before")
    @classmethod
    def _reads_frozen(cls, values: Any) -> Any:
        if not isinstance(values, Mapping) or not isinstance(values.get("frozen"), bool):
            return values
        meant = "head" if values["frozen"] else "all"
        if values.get("train", meant) != meant:
            raise ValueError(
                f"frozen: {str(values['frozen']).lower()} means train: {meant}, and train is "
                f"{values['train']!r}; leave out frozen"
            )
        return {**{key: value for key, value in values.items() if key != "frozen"}, "train": meant}

    @model_validator(mode="before")
    @classmethod
    def _has_a_rank(cls, values: Any) -> Any:
        if not isinstance(values, Mapping):
            return values
        given = {key: values[key] for key in ("rank", "alpha") if values.get(key) is not None}
        if values.get("train") == "low-rank":
            return {**values, "rank": RANK, "alpha": ALPHA, **given}
        if given:
            raise ValueError(f"{' and '.join(given)}: of train: low-rank alone; write that, or leave it out")
        return values


class PooledEncoder(nn.Module):
    """Token ids ``(n, length)`` to one state per row; padding is not looked at."""

    def __init__(self, encoder: nn.Module, *, padding: int, pooling: Pooling = "mean") -> None:
        super().__init__()
        self.encoder = encoder
        self.padding = padding
        self.pooling = pooling

    @property
    def width(self) -> int:
        """Length of a state."""
        settings: Any = self.encoder.config
        return int(settings.hidden_size)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """One state per row, shape ``(n, width)``."""
        if not len(tokens):
            return torch.zeros((0, self.width), device=tokens.device)
        n_tokens = vocabulary_size(self.encoder)
        ids, visible = without_padding(tokens, self.padding, min(self.padding, n_tokens - 1))
        states: torch.Tensor = self.encoder(input_ids=ids, attention_mask=visible).last_hidden_state
        if self.pooling == "last":
            return states[torch.arange(len(states), device=states.device), visible.sum(dim=1) - 1]
        share = visible / visible.sum(dim=1, keepdim=True)
        return (states * share.unsqueeze(2).to(states)).sum(dim=1)


class FrozenEncoder(FrozenFront):
    """A classifier on an encoder that stays as it is."""

    front: PooledEncoder

    def features(self, rows: torch.Tensor) -> torch.Tensor:
        """As of every frozen front; rows of like length together, so that little padding is read."""
        order = (rows != self.front.padding).sum(dim=1).argsort()
        pooled = torch.empty((len(rows), self.front.width), device=rows.device)
        with torch.no_grad():
            for chunk in torch.split(order, _ROWS_AT_ONCE):
                pooled[chunk] = self.front(rows[chunk]).float()
        return pooled


def _build(parameters: HfEncoderParameters) -> nn.Module:
    folder = _folder(parameters)
    sketch = torch.get_default_device().type == "meta"
    encoder = encoder_like(folder) if sketch else load_encoder(folder)
    settings: Any = encoder.config
    if settings.is_encoder_decoder:
        raise CheckpointError(f"{folder / CONFIG}: an encoder with a decoder; name one without, such as BERT")
    tokenizer = FolderTokenizer.read(folder.resolve())
    _check_fit(parameters, tokenizer, most_positions(encoder))
    if getattr(encoder, "pooler", None) is not None:
        setattr(encoder, "pooler", None)  # noqa: B010 - its output is not used; typed as a module
    settings.use_cache = False  # of decoders: what they keep for the token after the row
    with torch.device("cpu"):
        _choose_trained(encoder, parameters)
        front = PooledEncoder(encoder, padding=tokenizer.padding, pooling=parameters.pooling)
        output = nn.Sequential(
            OrderedDict(
                dropout=nn.Dropout(parameters.dropout),
                linear=nn.Linear(front.width, int(parameters.n_classes or 0)),
            )
        )
        classifier = (
            FrozenEncoder(front, output)
            if parameters.train == "head"
            else nn.Sequential(OrderedDict(front=front, output=output))
        )
    return _without_values(classifier) if sketch else classifier


def _choose_trained(encoder: nn.Module, parameters: HfEncoderParameters) -> None:
    """Freeze what is not to be trained.

    Raises:
        ConfigError: The encoder has nothing of what is.
    """
    found, what = 1, ""
    if parameters.train == "low-rank":
        found = add_low_rank(encoder, rank=parameters.rank or RANK, alpha=parameters.alpha or ALPHA)
        what = "layers for queries and values whose names are known here; write biases, head or all"
    elif parameters.train == "biases":
        found, what = _free_biases(encoder), "biases; write low-rank, head or all"
    if not found:
        problem = f"is {parameters.train}, and {type(encoder).__name__} has no {what}"
        raise ConfigError([Problem(problem, (*_KEY, "train"))])


def _free_biases(encoder: nn.Module) -> int:
    """Freeze all but the biases; how many there are."""
    n_biases = 0
    for name, parameter in encoder.named_parameters():
        is_bias = name.endswith("bias") and parameter.ndim == 1
        parameter.requires_grad_(is_bias)
        n_biases += is_bias
    return n_biases


def _check_fit(parameters: HfEncoderParameters, tokenizer: FolderTokenizer, most: int | None) -> None:
    n_tokens, n_own, length = parameters.vocabulary_size, len(tokenizer.vocabulary), parameters.length or 0
    problems = []
    if n_tokens != n_own:
        text = (
            f"the data have {n_tokens} tokens, the encoder {n_own}; write data.tokenizer: {parameters.folder}"
        )
        problems.append(Problem(text, (*_KEY, "vocabulary_size")))
    if most is not None and length > most:
        text = f"{length} tokens per row, the encoder reads {most}; write data.length: {most}"
        problems.append(Problem(text, (*_KEY, "length")))
    if problems:
        raise ConfigError(problems)


def _without_values(module: nn.Module) -> nn.Module:
    """``module`` with parameters and stored buffers on torch's meta device; other buffers keep values."""
    for layer in module.modules():
        for name, parameter in layer.named_parameters(recurse=False):
            setattr(
                layer,
                name,
                nn.Parameter(parameter.detach().to("meta"), requires_grad=parameter.requires_grad),
            )
        for name, buffer in layer.named_buffers(recurse=False):
            if name not in layer._non_persistent_buffers_set:
                setattr(layer, name, buffer.to("meta"))
    return module


def _folder(parameters: HfEncoderParameters) -> Path:
    return Path(parameters.folder).expanduser()


HF_ENCODER = ArchitectureKind(HfEncoderParameters, _build, takes="tokens", pretrained=_folder)

"""A pretrained encoder from a local transformers folder, mean pooling, and a linear classifier on top.

Frozen, the encoder gives every row the same features however long the classifier is trained: a linear probe
of what was learned before (Alain and Bengio 2017, arXiv:1610.01644). Mean pooling over the tokens as in
Reimers and Gurevych (2019), arXiv:1908.10084, section 3.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import nn

from auditkit.data.tokenizers import FolderTokenizer
from auditkit.data.transformers_folder import CONFIG
from auditkit.errors import CheckpointError, ConfigError, Problem
from auditkit.models.architecture import ArchitectureKind, Dropout, TextParameters
from auditkit.models.frozen_front import FrozenFront
from auditkit.models.pretrained import encoder_like, load_encoder
from auditkit.models.token_model import most_positions, vocabulary_size, without_padding

_ROWS_AT_ONCE = 16
"""Few, so that rows of about the same length come together and little padding is computed."""

_KEY = ("subject", "architecture")


class HfEncoderParameters(TextParameters):
    """The encoder in ``folder``, read with ``data.tokenizer: FOLDER``.

    ``frozen`` leaves the encoder as it is. ``config_sha256`` is filled in: a stored classifier is not put on
    an encoder of another form.
    """

    folder: str
    frozen: bool = True
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


class PooledEncoder(nn.Module):
    """Token ids ``(n, length)`` to the mean state of their tokens; padding is not looked at."""

    def __init__(self, encoder: nn.Module, *, padding: int) -> None:
        super().__init__()
        self.encoder = encoder
        self.padding = padding

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
        states = self.encoder(input_ids=ids, attention_mask=visible).last_hidden_state
        share = visible / visible.sum(dim=1, keepdim=True)
        pooled: torch.Tensor = (states * share.unsqueeze(2).to(states)).sum(dim=1)
        return pooled


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
    folder = Path(parameters.folder).expanduser()
    sketch = torch.get_default_device().type == "meta"
    encoder = encoder_like(folder) if sketch else load_encoder(folder)
    settings: Any = encoder.config
    if settings.is_encoder_decoder:
        raise CheckpointError(f"{folder / CONFIG}: an encoder with a decoder; name one without, such as BERT")
    tokenizer = FolderTokenizer.read(folder.resolve())
    _check_fit(parameters, tokenizer, most_positions(encoder))
    if getattr(encoder, "pooler", None) is not None:
        setattr(encoder, "pooler", None)  # noqa: B010 - its output is not used; typed as a module
    with torch.device("cpu"):
        front = PooledEncoder(encoder, padding=tokenizer.padding)
        output = nn.Sequential(
            OrderedDict(
                dropout=nn.Dropout(parameters.dropout),
                linear=nn.Linear(front.width, int(parameters.n_classes or 0)),
            )
        )
        probe = (
            FrozenEncoder(front, output)
            if parameters.frozen
            else nn.Sequential(OrderedDict(front=front, output=output))
        )
    return _without_values(probe) if sketch else probe


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


HF_ENCODER = ArchitectureKind(HfEncoderParameters, _build, takes="tokens")

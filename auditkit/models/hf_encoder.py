"""A pretrained encoder or decoder from a local transformers folder, pooling, and a linear classifier on top.

Frozen, the encoder gives every row the same features however long the classifier is trained: a linear probe
of what was learned before (Alain and Bengio 2017, arXiv:1610.01644). Mean pooling over the tokens as in
Reimers and Gurevych (2019), arXiv:1908.10084, section 3; a decoder has seen the whole row at its last token
alone.
"""

from collections import OrderedDict
from collections.abc import Mapping
from typing import Any, Literal

import torch
from pydantic import model_validator
from torch import nn

from auditkit.data.tokenizers import FolderTokenizer
from auditkit.data.transformers_folder import CONFIG
from auditkit.errors import CheckpointError
from auditkit.models.architecture import ArchitectureKind, Dropout, TextParameters
from auditkit.models.frozen_front import FrozenFront
from auditkit.models.pretrained import encoder_like, load_encoder
from auditkit.models.pretrained_part import (
    PretrainedParameters,
    Trained,
    check_fit,
    choose_trained,
    folder_of,
    without_values,
)
from auditkit.models.token_model import vocabulary_size, without_padding

_ROWS_AT_ONCE = 16
"""Few, so that rows of about the same length come together and little padding is computed."""

Pooling = Literal["mean", "last"]
"""What stands for a row: the mean state of its tokens, or that of its last."""


class HfEncoderParameters(PretrainedParameters, TextParameters):
    """A classifier on the encoder in a folder; ``train`` is what is trained besides the classifier.

    Earlier versions wrote ``frozen: true`` for ``train: head`` and ``frozen: false`` for ``train: all``.
    """

    train: Trained = "head"
    pooling: Pooling = "mean"
    dropout: Dropout = 0.1

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
    folder = folder_of(parameters)
    sketch = torch.get_default_device().type == "meta"
    encoder = encoder_like(folder) if sketch else load_encoder(folder)
    settings: Any = encoder.config
    if settings.is_encoder_decoder:
        raise CheckpointError(f"{folder / CONFIG}: an encoder with a decoder; name one without, such as BERT")
    tokenizer = FolderTokenizer.read(folder.resolve())
    check_fit(parameters, tokenizer, encoder)
    if getattr(encoder, "pooler", None) is not None:
        setattr(encoder, "pooler", None)  # noqa: B010 - its output is not used; typed as a module
    settings.use_cache = False  # of decoders: what they keep for the token after the row
    with torch.device("cpu"):
        choose_trained(encoder, parameters)
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
    return without_values(classifier) if sketch else classifier


HF_ENCODER = ArchitectureKind(HfEncoderParameters, _build, takes="tokens", pretrained=folder_of)

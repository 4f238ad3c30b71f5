"""WaveNet over tokens: dilated causal convolutions with gated residual blocks.

Source: van den Oord et al. (2016), arXiv:1609.03499, sections 2.1, 2.3 and 2.4: dilations that double and
start again, ``tanh(filter) * sigmoid(gate)``, residual and skip connections through convolutions of width 1,
and ReLU, 1x1, ReLU, 1x1 on the sum of the skips. Embedded tokens stand in for the quantised samples.
"""

import torch
from pydantic import Field
from torch import nn
from torch.nn import functional

from auditkit.models.architecture import ArchitectureKind, Dropout, LanguageParameters, Units
from auditkit.models.token_rows import token_vectors


class WavenetParameters(LanguageParameters):
    """``stacks`` times the dilations 1, 2, 4, ..., ``2^(layers - 1)``, each a gated residual block."""

    channels: Units = 96
    skip_channels: Units = 128
    layers: int = Field(6, ge=1, le=16)
    stacks: Units = 2
    kernel_size: int = Field(2, ge=2, le=64)
    dropout: Dropout = 0.0


class CausalConv(nn.Module):
    """A convolution whose output at a position sees that position and earlier ones only."""

    def __init__(self, inputs: int, outputs: int, kernel_size: int, dilation: int) -> None:
        super().__init__()
        self.past = (kernel_size - 1) * dilation
        self.convolution = nn.Conv1d(inputs, outputs, kernel_size, dilation=dilation)

    def forward(self, signal: torch.Tensor) -> torch.Tensor:
        """Shape ``(n, inputs, length)`` to ``(n, outputs, length)``; before the row there are zeros."""
        out: torch.Tensor = self.convolution(functional.pad(signal, (self.past, 0)))
        return out


class GatedBlock(nn.Module):
    """``tanh`` of a filter times the sigmoid of a gate, handed on as a residual and as a skip.

    The last block has no next one and so no residual.
    """

    def __init__(self, parameters: WavenetParameters, dilation: int, *, last: bool) -> None:
        super().__init__()
        channels = parameters.channels
        self.dropout = nn.Dropout(parameters.dropout)
        self.filter_and_gate = CausalConv(channels, 2 * channels, parameters.kernel_size, dilation)
        self.tanh = nn.Tanh()
        self.sigmoid = nn.Sigmoid()
        self.residual = None if last else nn.Conv1d(channels, channels, 1)
        self.skip = nn.Conv1d(channels, parameters.skip_channels, 1)

    def forward(self, signal: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The signal for the next block, ``(n, channels, length)``, and the skip."""
        filtered, gate = self.filter_and_gate(self.dropout(signal)).chunk(2, dim=1)
        gated = self.tanh(filtered) * self.sigmoid(gate)
        onward = signal if self.residual is None else signal + self.residual(gated)
        return onward, self.skip(gated)


class Wavenet(nn.Module):
    """Token ids ``(n, length)`` to logits of the token after each, ``(n, length, vocabulary_size)``."""

    def __init__(self, parameters: WavenetParameters) -> None:
        super().__init__()
        vocabulary_size = int(parameters.vocabulary_size or 0)
        dilations = [2**layer for _ in range(parameters.stacks) for layer in range(parameters.layers)]
        self.receptive_field = 1 + (parameters.kernel_size - 1) * sum(dilations)
        self.token_embedding = nn.Embedding(vocabulary_size, parameters.channels, padding_idx=0)
        self.blocks = nn.ModuleList(
            GatedBlock(parameters, dilation, last=index == len(dilations))
            for index, dilation in enumerate(dilations, start=1)
        )
        self.skip_activation = nn.ReLU()
        self.hidden = nn.Conv1d(parameters.skip_channels, parameters.skip_channels, 1)
        self.hidden_activation = nn.ReLU()
        self.output = nn.Conv1d(parameters.skip_channels, vocabulary_size, 1)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of every position; they depend on the last ``receptive_field`` tokens up to it."""
        signal = token_vectors(self.token_embedding, tokens).transpose(1, 2)
        skips: torch.Tensor | None = None
        for block in self.blocks:
            signal, skip = block(signal)
            skips = skip if skips is None else skips + skip
        hidden = self.hidden_activation(self.hidden(self.skip_activation(skips)))
        logits: torch.Tensor = self.output(hidden).transpose(1, 2)
        return logits


WAVENET = ArchitectureKind(WavenetParameters, Wavenet, takes="tokens", task="language-modelling")

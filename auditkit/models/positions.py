"""Where a token stands: learned vectors per position, and the sinusoids of Vaswani et al. (2017)."""

import torch
from torch import nn

from auditkit.errors import DataError

WAVELENGTH_BASE = 10_000.0


def sinusoidal_table(length: int, width: int, *, device: torch.device | None = None) -> torch.Tensor:
    """Sines and cosines of positions, shape ``(length, width)``.

    Column ``2i`` of row ``p`` is ``sin(p / 10000^(2i / width))``, column ``2i + 1`` the cosine of the same
    angle. An odd width ends with a sine.

    Source: Vaswani et al. (2017), arXiv:1706.03762, section 3.5.
    """
    positions = torch.arange(length, dtype=torch.float32, device=device).unsqueeze(1)
    exponents = torch.arange(0, width, 2, dtype=torch.float32, device=device) / width
    angles = positions * WAVELENGTH_BASE**-exponents
    return torch.stack([angles.sin(), angles.cos()], dim=2).reshape(length, -1)[:, :width]


class LearnedPositions(nn.Module):
    """One learned vector per position. Source: Devlin et al. (2019), arXiv:1810.04805, section 3.

    The vectors are looked up for every row on its own, so that each row has gradients of its own.
    """

    def __init__(self, length: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(length, width)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids ``(n, length)`` to vectors ``(n, length, width)``.

        Raises:
            DataError: A row is longer than there are positions.
        """
        n_rows, length = tokens.shape
        most = self.embedding.num_embeddings
        if length > most:
            raise DataError(f"the model reads at most {most} tokens per row, got {length}; cut the rows")
        indices = torch.arange(length, device=tokens.device).repeat(n_rows, 1)
        vectors: torch.Tensor = self.embedding(indices)
        return vectors


class SinusoidalPositions(nn.Module):
    """Fixed sinusoids, computed when they are needed: nothing is learned and nothing is stored."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Token ids ``(n, length)`` to vectors ``(length, width)``, the same for every row."""
        return sinusoidal_table(tokens.shape[1], self.width, device=tokens.device)

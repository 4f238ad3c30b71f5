"""A recurrent network that reads a text token by token and classifies its state.

Sources: Elman (1990), doi:10.1207/s15516709cog1402_1 (rnn); Hochreiter and Schmidhuber (1997),
doi:10.1162/neco.1997.9.8.1735 (lstm); Cho et al. (2014), arXiv:1406.1078 (gru).
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import nn

from auditkit.models.architecture import ArchitectureKind, Dropout, TextParameters, Units
from auditkit.models.token_rows import last_positions, mean_over, token_vectors, visible_positions

Cell = Literal["rnn", "gru", "lstm"]
Pooling = Literal["last", "mean"]

_CELLS: dict[Cell, Callable[..., nn.RNNBase]] = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class RnnParameters(TextParameters):
    """Embedded tokens, a recurrent layer, one state per row, classes.

    ``pooling`` takes the state after the last token, or the mean of the states after each.
    """

    cell: Cell = "lstm"
    width: Units = 64
    hidden: Units = 64
    pooling: Pooling = "last"
    dropout: Dropout = 0.2


class RecurrentClassifier(nn.Module):
    """Token ids ``(n, length)`` to logits ``(n, n_classes)``.

    The recurrence runs over padding, too, and what comes of it is not read: it reads from left to right and
    padding stands on the right.
    """

    def __init__(self, parameters: RnnParameters) -> None:
        super().__init__()
        self.pooling = parameters.pooling
        self.token_embedding = nn.Embedding(
            int(parameters.vocabulary_size or 0), parameters.width, padding_idx=0
        )
        self.embedding_dropout = nn.Dropout(parameters.dropout)
        self.recurrent = _CELLS[parameters.cell](parameters.width, parameters.hidden, batch_first=True)
        self.dropout = nn.Dropout(parameters.dropout)
        self.output = nn.Linear(parameters.hidden, int(parameters.n_classes or 0))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Logits of each row."""
        vectors = self.embedding_dropout(token_vectors(self.token_embedding, tokens))
        states, _ = self.recurrent(vectors)
        logits: torch.Tensor = self.output(self.dropout(self._pooled(states, tokens)))
        return logits

    def _pooled(self, states: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        if self.pooling == "mean":
            return mean_over(states, visible_positions(tokens))
        last = last_positions(tokens)[:, None, None].expand(-1, 1, states.shape[2])
        return states.gather(1, last).squeeze(1)


RNN = ArchitectureKind(RnnParameters, RecurrentClassifier, takes="tokens")

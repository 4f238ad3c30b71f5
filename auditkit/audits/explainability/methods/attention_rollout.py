"""Attention roll-out: how much of each place reaches those that the score reads, through all layers."""

from typing import Final

import numpy as np
import torch
from torch import Tensor

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.attention_weights import AttentionWatch
from auditkit.audits.explainability.methods.method import AttributionMethod, with_gradients
from auditkit.audits.explainability.methods.watched_calls import PROBED, unseen_layer, watched_scores
from auditkit.data.dataset import FloatArray
from auditkit.records import Message


def rolled_out(rows: ExplainedRows, inputs: Tensor, target: Tensor) -> Tensor:
    """Shares of the places, shape ``(b, places)``; they sum to one, or are zero where nothing is read.

    Each layer is taken as half attention, half the residual connection around it (section 3 of the source).
    Where the source starts from the token that stands for the whole text, this starts from those places that
    the score depends on behind the last attention, each alike.
    """
    watch = AttentionWatch()
    scores, _ = watched_scores(rows, inputs, target, watch)
    last = watch.layers[-1]
    read = last.read(scores).to(last.weights)
    share = (read / read.sum(dim=1, keepdim=True).clamp(min=1)).unsqueeze(1)
    for layer in reversed(watch.layers):
        share = (share + share @ layer.weights) / 2
    return share.squeeze(1)


def _roll_out(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    found = np.zeros(rows.present.shape)
    for start in range(0, len(rows.inputs), rows.batch_size):
        part = slice(start, start + rows.batch_size)
        shares = rolled_out(rows, rows.inputs[part], rows.target[part]).double().cpu().numpy()
        found[part, : shares.shape[1]] = shares
    return np.where(rows.present, found, 0.0)


def _obstacle(rows: ExplainedRows) -> Message | None:
    reason = unseen_layer(rows)
    if reason is not None:
        return reason
    watch = AttentionWatch()
    watched_scores(rows, rows.inputs[:PROBED], rows.target[:PROBED], watch)
    if not watch.layers:
        return Message(text="the model has no attention whose weights can be caught")
    shapes = {tuple(layer.weights.shape[1:]) for layer in watch.layers}
    n_places = watch.layers[0].weights.shape[2]
    if shapes != {(n_places, n_places)} or n_places > rows.n_units or rows.inputs.ndim != _TEXTS:
        return Message(
            text="attention is between {places} places, and a row has {n} units that are told apart",
            values={"places": " × ".join(str(size) for size in sorted(shapes)[0]), "n": rows.n_units},
        )
    return None


_TEXTS = 3
"""Dimensions of a batch of texts: rows, places, elements of a vector."""

ATTENTION_ROLLOUT: Final = AttributionMethod(
    name="attention-rollout",
    attribute=_roll_out,
    obstacle=with_gradients(_obstacle),
    signed=False,
    sources=("Abnar and Zuidema (2020), Quantifying Attention Flow in Transformers, arXiv:2005.00928",),
)

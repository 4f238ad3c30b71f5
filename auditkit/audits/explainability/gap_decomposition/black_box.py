"""Parts of the score of a subject that only answers: Shapley values of the inputs, by random orders.

Inputs are taken over from the row one after the other, in a random order and then backwards; what the score
gains at its turn is a feature's part. The parts of every order add up to the whole change. Every row gets
orders of its own, so that their randomness is in the spread of rows, and in every interval.

Sources: Štrumbelj and Kononenko (2014), Knowledge and Information Systems 41:647-665; orders with their
reverse: Mitchell, Cooper, Frank and Holmes (2022), arXiv:2104.12199.
"""

from dataclasses import replace

import numpy as np
import torch
from scipy.special import logsumexp

from auditkit.audits.explainability.explained_features import feature_names
from auditkit.audits.explainability.gap_decomposition.score_parts import ScoreParts
from auditkit.data.dataset import Dataset, FloatArray, IntArray
from auditkit.data.preprocessing import TablePreprocessing
from auditkit.records import Message
from auditkit.subjects.subject import Subject, preprocessing_of

ANSWERS_AT_ONCE = 65_536
"""Changed rows that are made at a time."""


def parts_by_answers(
    subject: Subject,
    data: Dataset,
    positive: int,
    *,
    n_orders: int,
    batch_size: int,
    rng: np.random.Generator,
) -> ScoreParts:
    """Parts of the log-odds that a subject states.

    Args:
        subject: States probabilities.
        data: The rows, a table.
        positive: The class whose log-odds are divided, for every row.
        n_orders: Random orders per row; each is gone through forwards and backwards.
        batch_size: Rows at once.
        rng: Draws the orders.
    """
    baseline, meaning = _baseline(subject, data)
    n, m = len(data), int(_owner(data).max()) + 1
    values = np.zeros((n, m))
    per_row = 2 * n_orders * (m + 1)
    at_once = max(1, ANSWERS_AT_ONCE // per_row)
    for start in range(0, n, at_once):
        rows = np.arange(start, min(n, start + at_once))
        orders = _orders(len(rows), n_orders, m, rng)
        values[rows] = _parts(
            subject, data.take(rows), positive, orders=orders, baseline=baseline, batch_size=batch_size
        )
    own = _log_odds(subject, data, positive, batch_size)
    start_score = _log_odds(subject, replace(data.take(np.arange(1)), inputs=baseline), positive, batch_size)
    return ScoreParts(
        feature_names(data.features, m),
        values,
        own - start_score,
        "shapley",
        Message(
            text="Divided are the log-odds of {class} against all others, for every row.",
            values={"class": data.classes[positive]},
        ),
        meaning,
    )


def _parts(
    subject: Subject,
    data: Dataset,
    positive: int,
    *,
    orders: IntArray,
    baseline: torch.Tensor,
    batch_size: int,
) -> FloatArray:
    n, number, m = orders.shape
    owner = _owner(data)
    place = np.argsort(orders, axis=2)
    taken = place[:, :, None, :] < np.arange(m + 1)[:, None]
    mixed = torch.where(
        torch.from_numpy(taken[..., owner]), data.inputs.cpu()[:, None, None, :], baseline[None, None]
    )
    rows = data.take(np.repeat(np.arange(n), number * (m + 1)))
    changed = replace(rows, inputs=mixed.reshape(len(rows), -1))
    scores = _log_odds(subject, changed, positive, batch_size).reshape(n, number, m + 1)
    gains = np.take_along_axis(np.diff(scores, axis=2), place, axis=2)
    return np.asarray(gains.mean(axis=1))


def _orders(n: int, n_orders: int, m: int, rng: np.random.Generator) -> IntArray:
    """Orders of the features and their reverses, shape ``(n, 2 * n_orders, m)``."""
    forwards = rng.permuted(np.tile(np.arange(m), (n, n_orders, 1)), axis=2)
    return np.concatenate([forwards, forwards[:, :, ::-1]], axis=1)


def _log_odds(subject: Subject, data: Dataset, positive: int, batch_size: int) -> FloatArray:
    stated = subject.predict(data, batch_size=batch_size).log_probabilities
    others = np.delete(stated, positive, axis=1)
    return np.asarray(stated[:, positive] - logsumexp(others, axis=1))


def _owner(data: Dataset) -> IntArray:
    """The feature that each column belongs to."""
    names, width = data.features.names, int(data.inputs.shape[1])
    return np.array(data.features.owner or range(len(names) or width), dtype=np.int64)


def _baseline(subject: Subject, data: Dataset) -> tuple[torch.Tensor, Message]:
    """One row that stands for no information, shape ``(1, d)``."""
    if isinstance(preprocessing_of(subject), TablePreprocessing):
        return torch.zeros_like(data.inputs[:1]).cpu(), Message(
            text="The baseline has the training mean of numeric features and no level of any category."
        )
    columns = data.inputs.detach().cpu().double().numpy()
    start = np.nanmean(np.where(np.isnan(columns).all(axis=0), 0.0, columns), axis=0)
    for column, texts in enumerate(data.features.levels):
        if texts:
            known = columns[~np.isnan(columns[:, column]), column].astype(np.int64)
            start[column] = np.bincount(known, minlength=len(texts)).argmax()
    return torch.from_numpy(start[None]).to(data.inputs.dtype), Message(
        text="The baseline has the mean of numbers and the most frequent level of texts, over these rows."
    )

"""Tables of rows for and against a prediction and of rows worth a look, and how influence is spread."""

from collections.abc import Mapping
from typing import Final

import numpy as np
from scipy.stats import rankdata

from auditkit.audits.explainability.example_rows import ExampleRow
from auditkit.audits.explainability.influence.influences import Influences, Method
from auditkit.audits.explainability.influence.row_contents import Contents
from auditkit.audits.explainability.influence.told_rows import Findings, caption, lead, suspects_lead
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.records import Cell, Curve, Estimate, Message, Series, Table

_POINTS: Final = 60
_RANK: Final = Message(text="Rank by gradients")
_NAMES: Final[Mapping[Method, Message]] = {
    "last-layer": Message(text="last layer"),
    "gradients": Message(text="gradients"),
}


def example_table(findings: Findings, example: ExampleRow, contents: Contents, *, most: int) -> Table:
    """The explained row, then the training rows that argued most for its prediction and against it."""
    for_it, against = findings.strongest(example, most)
    explained, row = findings.explained, example.row
    ranks = [_ranks(one.on_predictions[row]) for one in findings.others]
    first: tuple[Cell, ...] = (
        Message(text="explained"),
        explained.label(row),
        explained.prediction(row),
        None,
        *(None for _ in ranks),
        *contents.cells(explained.data, row),
    )
    others = (
        _example_cells(findings, example, training_row, ranks, contents)
        for training_row in [*for_it.tolist(), *against.tolist()]
    )
    return Table(
        title=lead(findings, example, for_it),
        caption=caption(findings, example),
        columns=(
            Message(text="Training row"),
            Message(text="Label"),
            Message(text="Prediction"),
            Message(text="Influence"),
            *(_RANK for _ in ranks),
            *contents.headings,
        ),
        rows=(first, *others),
    )


def _example_cells(
    findings: Findings, example: ExampleRow, row: int, ranks: list[IntArray], contents: Contents
) -> tuple[Cell, ...]:
    value = rounded(findings.on(example)[row])
    return (
        row + 1,
        findings.training.label(row),
        findings.training.prediction(row),
        Estimate(value=value, unit="nat" if findings.method == "last-layer" else "1"),
        *(int(rank[row]) for rank in ranks),
        *contents.cells(findings.training.data, row),
    )


def suspects_table(findings: Findings, contents: Contents, *, most: int) -> Table:
    """The training rows with the highest self-influence, those most worth a look."""
    rows, training = findings.suspects(most), findings.training
    ranks = [_ranks(one.on_itself) for one in findings.others]
    own = findings.by_method[findings.method].on_itself
    return Table(
        title=suspects_lead(training, rows),
        caption=Message(
            text="Self-influence is how much a row weighs in the model's answer to itself: high for rows "
            "that nothing else in the training data supports, such as wrong labels, but also rare ones. Rows "
            "are numbered from 1 in the order in which the training rows were read."
        ),
        columns=(
            Message(text="Training row"),
            Message(text="Label"),
            Message(text="Prediction"),
            Message(text="Probability of the label"),
            Message(text="Self-influence"),
            *(_RANK for _ in ranks),
            *contents.headings,
        ),
        rows=tuple(
            (
                row + 1,
                training.label(row),
                training.prediction(row),
                rounded(training.chance_of_label(row)),
                Estimate(value=rounded(own[row]), unit="nat" if findings.method == "last-layer" else "1"),
                *(int(rank[row]) for rank in ranks),
                *contents.cells(training.data, row),
            )
            for row in rows.tolist()
        ),
    )


def spread_curve(found: Mapping[Method, Influences], n_measured: int) -> Curve:
    """Share of the absolute influence that the strongest training rows carry, mean over predictions."""
    n = next(iter(found.values())).on_predictions.shape[1]
    counts = np.unique(np.round(np.geomspace(1, n, _POINTS)).astype(np.int64))
    shares = {method: _cumulated(one.on_predictions[:n_measured]) for method, one in found.items()}
    half = min(int(np.searchsorted(one, 0.5)) + 1 for one in shares.values())
    return Curve(
        title=Message(
            text="As few as {half} of {n} training rows carry half of the influence on a prediction",
            values={"half": half, "n": n},
        ),
        caption=Message(
            text="Absolute influence, the strongest rows first; mean over {n} explained predictions.",
            values={"n": n_measured},
        ),
        x_axis=Message(text="share of training rows"),
        y_axis=Message(text="share of absolute influence"),
        series=tuple(
            Series(
                name=_NAMES[method],
                x=tuple(rounded(count / n) for count in counts),
                y=tuple(rounded(min(1.0, share[count - 1])) for count in counts),
            )
            for method, share in shares.items()
        ),
        x_log=True,
    )


def _cumulated(influence: FloatArray) -> FloatArray:
    """Share of the strongest 1, 2, ... rows, mean over predictions with any influence, shape ``(n,)``."""
    size = np.sort(np.abs(influence), axis=1)[:, ::-1]
    total = size.sum(axis=1)
    kept = total > 0
    return np.asarray((np.cumsum(size, axis=1)[kept] / total[kept, None]).mean(axis=0))


def _ranks(values: FloatArray) -> IntArray:
    """1 for the largest; equals share the smallest rank."""
    return np.asarray(rankdata(-values, method="min"), dtype=np.int64)


def rounded(value: float) -> float:
    """Three significant digits."""
    return float(f"{float(value):.3g}")

"""Errors against predictions, drawn."""

import numpy as np

from auditkit.audits.foretold import shown
from auditkit.data.dataset import IntArray
from auditkit.records import Curve, Message, Series
from auditkit.statistics.regression import Figure, Foretold, mean_error

FEWEST_ROWS = 10
"""In each part of the chart."""


def errors_by_prediction(rows: Foretold, *, bins: int, confidence: float) -> Curve | None:
    """Mean error over parts of the predictions, from the smallest to the largest; ``None`` where too few.

    The band holds for all parts together.
    """
    order = np.argsort(rows.value, kind="stable")
    count = min(bins, len(rows) // FEWEST_ROWS)
    joint = 1 - (1 - confidence) / max(1, count)
    drawn: list[tuple[float, Figure, float, float]] = []
    for part in _parts(rows, order, count) if count > 1 else []:
        own = rows.take(part)
        figure = mean_error(own)
        ends = figure.bounds(joint)
        if ends is not None:
            drawn.append((own.mean(own.value), figure, *ends))
    if len(drawn) < 2:
        return None
    return Curve(
        title=_title(drawn),
        caption=Message(
            text="Predictions in {n} parts of about equal size; the band holds for all parts together.",
            values={"n": len(drawn)},
        ),
        x_axis=Message(text="Mean prediction"),
        y_axis=Message(text="Mean error (prediction minus outcome)"),
        series=(
            Series(
                name=Message(text="mean error"),
                x=tuple(at for at, *_ in drawn),
                y=tuple(figure.value for _, figure, *_ in drawn),
                low=tuple(low for *_, low, _ in drawn),
                high=tuple(high for *_, high in drawn),
            ),
            Series(name=Message(text="no error"), x=(drawn[0][0], drawn[-1][0]), y=(0.0, 0.0)),
        ),
    )


def _parts(rows: Foretold, order: IntArray, count: int) -> list[IntArray]:
    """Parts of about equal size; equal predictions fall into one part."""
    ordered = rows.value[order]
    cuts = np.linspace(0, len(order), count + 1).round().astype(np.int64)[1:-1]
    cuts = np.unique(np.searchsorted(ordered, ordered[cuts], side="left"))
    return [part for part in np.split(order, cuts) if len(part)]


def _title(drawn: list[tuple[float, Figure, float, float]]) -> Message:
    clear = [one for one in drawn if one[2] > 0 or one[3] < 0]
    if not clear:
        return Message(text="Small and large predictions alike: no mean error beyond chance is shown")
    at, figure, *_ = max(clear, key=lambda one: abs(one[1].value))
    text = (
        "Where it foretells about {at}, it foretells {error} too much on average"
        if figure.value > 0
        else "Where it foretells about {at}, it foretells {error} too little on average"
    )
    return Message(text=text, values={"at": shown(at), "error": shown(abs(figure.value))})

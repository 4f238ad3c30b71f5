"""What a subject foretells, beside what came, of rows that carry weight; and figures of that."""

import numpy as np

from auditkit.data.dataset import Dataset, IntArray
from auditkit.errors import DataError
from auditkit.records import Better, Estimate, Measurement, Message
from auditkit.statistics.regression import Figure, Foretold
from auditkit.subjects.subject import Subject, values_of

NO_ROWS = Message(text="The group has no rows here.")
SAME_OUTCOME = Message(text="The outcomes of these rows do not vary.")
ALONE = Message(text="One row or one person alone does not tell how sure this figure is.")


def foretold_rows(subject: Subject, data: Dataset, *, batch_size: int) -> tuple[Foretold, IntArray]:
    """Outcomes and predictions of rows that carry weight, and the indices of these rows.

    Weights that are all alike are no weights.

    Raises:
        DataError: The data have no outcomes, or all weights are 0.
    """
    if data.outcome is None:
        raise DataError(f"{data.name}: has labels, not numbers; write data.task: regression")
    if data.sample_weight is not None and not data.sample_weight.any():
        raise DataError(
            f"{data.name}: all {len(data)} rows have weight 0, expected some weight above 0. Check the "
            "weight column, or leave weight out of data"
        )
    values = values_of(subject, data, batch_size=batch_size)
    kept = np.arange(len(data)) if data.sample_weight is None else np.flatnonzero(data.sample_weight)
    weight = None if data.sample_weight is None else data.sample_weight[kept]
    is_even = weight is None or bool((weight == weight[0]).all())
    return (
        Foretold(
            data.outcome[kept],
            values[kept],
            None if is_even else weight,
            None if data.person is None else data.person[kept],
        ),
        kept,
    )


def why_absent(rows: Foretold, figure: Figure | None) -> Message:
    """Why there is no figure with an interval."""
    if not len(rows):
        return NO_ROWS
    if figure is None:
        return SAME_OUTCOME
    if rows.n_persons < 2:
        return ALONE
    return Message(
        text="It is {value} on rows that are too much alike to tell how sure this figure is.",
        values={"value": shown(figure.value)},
    )


def figure_measurement(
    metric: str,
    better: Better,
    rows: Foretold,
    figure: Figure | None,
    *,
    confidence: float,
    group: dict[str, str] | None = None,
    note: Message | None = None,
) -> Measurement:
    """One figure with its interval, or the reason why there is none."""
    interval = None if figure is None else figure.interval(confidence)
    is_there = figure is not None and interval is not None
    return Measurement(
        metric=metric,
        value=figure.value if figure is not None and is_there else None,
        n=len(rows),
        better=better,
        group=group or {},
        interval=interval,
        missing=None if is_there else why_absent(rows, figure),
        note=note if is_there else None,
    )


def estimate(rows: Foretold, figure: Figure | None, confidence: float) -> Estimate:
    """The same as a cell of a table; a figure without an interval stands there alone."""
    if figure is None:
        return Estimate(value=None, n=len(rows), missing=why_absent(rows, figure))
    interval = figure.interval(confidence)
    if interval is None:
        return Estimate(value=figure.value, n=len(rows))
    return Estimate(value=figure.value, low=interval.low, high=interval.high, n=len(rows))


def shown(value: float) -> str:
    """A number for a sentence: four digits that count, thousands apart.

    >>> shown(12345.67), shown(-3470.2), shown(0.0123456)
    ('12,346', '-3,470', '0.01235')
    """
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"


def notes_on_rows(data: Dataset, rows: Foretold) -> list[Message]:
    """What weights and persons do."""
    notes = []
    if len(rows) < len(data):
        notes.append(
            Message(text="{n} rows have weight 0 and are left out.", values={"n": len(data) - len(rows)})
        )
    if rows.weight is not None:
        notes.append(Message(text="Rows carry unequal weights; all figures are weighted."))
    if rows.person is not None:
        notes.append(
            Message(
                text="{n} rows belong to {persons} persons; intervals take these, not rows, as independent.",
                values={"n": len(rows), "persons": rows.n_persons},
            )
        )
    return notes

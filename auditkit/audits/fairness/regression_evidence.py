"""Errors and predictions by group, drawn."""

import numpy as np

from auditkit.audits.fairness.regression_groups import GroupErrors, GroupFigures
from auditkit.audits.foretold import estimate, shown
from auditkit.records import Cell, Curve, Dots, Estimate, Mark, Message, Series, Table
from auditkit.statistics.regression import Foretold

MOST_CURVES = 8
POINTS = 101


def error_dots(figures: GroupFigures, overall: float | None, axis: Message, *, small_group: int) -> Dots:
    """One figure per group against that of everyone."""
    marks = tuple(
        Mark(
            label=label,
            estimate=estimate(rows, figure, figures.confidence)
            if len(rows)
            else Estimate(value=None, n=0, missing=Message(text="The group has no rows here.")),
            small=rows.n_persons < small_group,
        )
        for label, rows, figure in zip(
            figures.errors.grouping.labels, figures.errors.groups, figures.found, strict=True
        )
    )
    return Dots(
        title=_title(figures),
        axis=axis,
        marks=marks,
        reference=overall,
        reference_label=None if overall is None else Message(text="everyone"),
    )


def group_table(figures: tuple[GroupFigures, ...], headings: tuple[Message, ...]) -> Table:
    """All figures of all groups."""
    errors = figures[0].errors
    rows: list[tuple[Cell, ...]] = []
    for index, label in enumerate(errors.grouping.labels):
        own = errors.groups[index]
        cells = [estimate(own, one.found[index], one.confidence) for one in figures]
        rows.append((label, len(own), *cells))
    return Table(
        title=Message(
            text="Errors and predictions of {k} groups of {attribute}, on {n} rows",
            values={
                "k": sum(len(own) > 0 for own in errors.groups),
                "attribute": errors.grouping.title,
                "n": sum(len(own) for own in errors.groups),
            },
        ),
        columns=(Message(text="Group"), Message(text="Rows"), *headings),
        rows=tuple(rows),
    )


def prediction_curves(errors: GroupErrors, furthest: str) -> list[Curve]:
    """The distribution function of the predictions of each group.

    ``furthest`` is the group that differs from all beyond chance; empty where none does.
    """
    groups = sorted(errors.known, key=lambda group: (-len(errors.groups[group]), group))[:MOST_CURVES]
    if len(groups) < 2:
        return []
    values = np.concatenate([errors.groups[group].value for group in groups])
    at = np.unique(np.quantile(values, np.linspace(0, 1, POINTS)))
    if len(at) < 2:
        return []
    if furthest:
        title = Message(
            text="Predictions for {group} are distributed otherwise than those for all",
            values={"group": furthest},
        )
    else:
        title = Message(
            text="Predictions across {attribute}: no difference in distribution beyond chance is shown",
            values={"attribute": errors.grouping.title},
        )
    return [
        Curve(
            title=title,
            x_axis=Message(text="Prediction"),
            y_axis=Message(text="Share of rows at or below"),
            series=tuple(
                Series(
                    name=Message(text="{group}", values={"group": errors.grouping.labels[group]}),
                    x=tuple(at.tolist()),
                    y=tuple(_share(errors.groups[group], at).round(4).tolist()),
                )
                for group in sorted(groups)
            ),
        )
    ]


def _share(rows: Foretold, at: np.ndarray) -> np.ndarray:
    order = np.argsort(rows.value, kind="stable")
    weight = np.ones(len(rows)) if rows.weight is None else rows.weight
    total = np.concatenate([[0.0], np.cumsum(weight[order])])
    return np.asarray(total[np.searchsorted(rows.value[order], at, side="right")] / total[-1])


def _title(figures: GroupFigures) -> Message:
    gap, attribute = figures.gap(), figures.errors.grouping.title
    if gap is None:
        return Message(
            text="Fewer than two groups of {attribute} can be compared", values={"attribute": attribute}
        )
    names = {
        "bias": Message(text="Mean error across {attribute}: no gap beyond chance is shown"),
        "mean_absolute_error": Message(
            text="Mean absolute error across {attribute}: no gap beyond chance is shown"
        ),
    }
    if gap.interval.low <= 0:
        return Message(text=names[figures.metric].text, values={"attribute": attribute})
    low, high = gap.clearest
    text = (
        "It foretells more, against what came, for {highest} than for {lowest}: off by {high} against {low}"
        if figures.metric == "bias"
        else "It is further off for {highest} than for {lowest}: by {high} against {low} on average"
    )
    labels = figures.errors.grouping.labels
    return Message(
        text=text,
        values={
            "lowest": labels[figures.compared[low]],
            "low": shown(float(figures.values[low])),
            "highest": labels[figures.compared[high]],
            "high": shown(float(figures.values[high])),
        },
    )

"""Charts and tables behind the figures of scores, each with its takeaway as title."""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.fairness.score_curves import PairGaps
from auditkit.audits.fairness.score_figures import Found, GroupFigures
from auditkit.audits.fairness.score_groups import GroupScores, Scored
from auditkit.audits.fairness.score_ranking import CrossAreas
from auditkit.data.dataset import FloatArray
from auditkit.records import Cell, Curve, Dots, Estimate, Heatmap, Mark, Message, Series, Table
from auditkit.statistics.score_gaps import roc_points

MOST_CURVES = 8
"""More lines in one chart cannot be told apart."""

MOST_IN_HEATMAP = 12
POINTS = 51
"""Of a curve, so that a report stays small."""


def auc_chart(areas: GroupFigures, overall: float | None, *, small_group: int) -> Dots:
    """The AUC within each group, against that of all rows."""
    labels = areas.groups.grouping.labels
    return Dots(
        title=_auc_title(areas),
        axis=Message(text="AUC: chance that a positive row scores above another of its group"),
        marks=tuple(
            Mark(label=label, estimate=areas.estimate(group), small=areas.is_small(group, small_group))
            for group, label in enumerate(labels)
        ),
        reference=overall,
        reference_label=None if overall is None else Message(text="all rows"),
    )


def ranking_table(
    areas: GroupFigures, bpsn: Sequence[Found | Message], bnsp: Sequence[Found | Message]
) -> Table:
    """Within each group, and of each group against all others."""
    groups = areas.groups
    rows: list[tuple[Cell, ...]] = [
        (
            label,
            len(scored),
            int(scored.is_positive.sum()),
            areas.estimate(group),
            estimate_of(bpsn[group], len(scored)),
            estimate_of(bnsp[group], len(scored)),
        )
        for group, (label, scored) in enumerate(zip(groups.grouping.labels, groups.groups, strict=True))
    ]
    return Table(
        title=_range_title(areas),
        caption=Message(
            text="A low BPSN means that scores of the group are too high beside those of the others, a low "
            "BNSP that they are too low."
        ),
        columns=(
            Message(text="Group"),
            Message(text="Rows"),
            Message(text="Positive rows"),
            Message(text="AUC within the group"),
            Message(text="Positive rows of the others over its other rows (BPSN)"),
            Message(text="Its positive rows over other rows of the others (BNSP)"),
        ),
        rows=tuple(rows),
    )


def cross_heatmap(areas: CrossAreas | Message) -> list[Heatmap]:
    """Chance that positive rows of one group outrank others of a second; none where it could not be read."""
    if isinstance(areas, Message) or not 2 <= len(areas.compared) <= MOST_IN_HEATMAP:
        return []
    labels = areas.groups.labels_of(areas.compared)
    first, second, is_shown = areas.clearest
    if is_shown:
        title = Message(
            text="Positive rows of {first} outrank others of {second} in {forth} % of pairs, the other way "
            "round in {back} %",
            values={
                "first": labels[first],
                "second": labels[second],
                "forth": f"{100 * areas.value[first, second]:.1f}",
                "back": f"{100 * areas.value[second, first]:.1f}",
            },
        )
    else:
        title = Message(
            text="Ranking across groups of {attribute}: no direction is favoured beyond chance",
            values={"attribute": areas.groups.grouping.title},
        )
    return [
        Heatmap(
            title=title,
            row_axis=Message(text="Positive rows of"),
            column_axis=Message(text="Other rows of"),
            row_labels=labels,
            column_labels=labels,
            values=tuple(tuple(round(float(area), 4) for area in row) for row in areas.value),
        )
    ]


def selection_curves(groups: GroupScores, gaps: PairGaps | Message, *, small_group: int) -> list[Curve]:
    """Share selected in each group at every threshold."""
    thresholds = np.linspace(0, 1, POINTS)
    shown = _largest(groups, np.flatnonzero(groups.sizes).tolist())
    if not shown or any(rows.weight is not None for rows in groups.groups):
        return []
    return [
        Curve(
            title=_gap_title(
                groups,
                gaps,
                Message(
                    text="At one common threshold, {first} and {second} are selected up to {gap} points apart"
                ),
                Message(text="Selection rates over all thresholds: no gap across {attribute} beyond chance"),
                percent=True,
            ),
            caption=_caption(groups, shown),
            x_axis=Message(text="Threshold on the probability of the positive label"),
            y_axis=Message(text="Share of rows that score above it"),
            series=tuple(
                _series(
                    groups,
                    group,
                    thresholds,
                    (groups.groups[group].probability[:, None] > thresholds).mean(axis=0),
                    is_small=len(groups.groups[group]) < small_group,
                )
                for group in shown
            ),
        )
    ]


def roc_curves(groups: GroupScores, gaps: PairGaps | Message, *, small_group: int) -> list[Curve]:
    """The ROC curve of each group that has both labels."""
    both = [group for group, rows in enumerate(groups.groups) if len(rows.high) and len(rows.low)]
    shown = _largest(groups, both)
    if not shown or any(rows.weight is not None for rows in groups.groups):
        return []
    return [
        Curve(
            title=_gap_title(
                groups,
                gaps,
                Message(text="ROC curves of {first} and {second} differ: the area between them is {gap}"),
                Message(text="ROC curves across {attribute}: no difference is shown beyond chance"),
                percent=False,
            ),
            caption=_caption(groups, shown),
            x_axis=Message(text="False-positive rate"),
            y_axis=Message(text="True-positive rate"),
            series=tuple(
                _series(
                    groups,
                    group,
                    *_thinned_roc(groups.groups[group]),
                    is_small=_rarer(groups.groups[group]) < small_group,
                )
                for group in shown
            ),
            diagonal=True,
        )
    ]


def estimate_of(found: Found | Message, n: int) -> Estimate:
    """A figure as a cell of a table; ``n`` rows are named where there is none."""
    if isinstance(found, Message):
        return Estimate(value=None, n=n, missing=found)
    if found.interval is None:
        return Estimate(value=found.value, n=found.n)
    return Estimate(value=found.value, low=found.interval.low, high=found.interval.high, n=found.n)


def _auc_title(areas: GroupFigures) -> Message:
    gap, pair = areas.gap, areas.clearest
    if gap is None or pair is None:
        return Message(
            text="Fewer than two groups of {attribute} can be compared",
            values={"attribute": areas.groups.grouping.title},
        )
    if gap.interval.low <= 0:
        return Message(
            text="AUC across {attribute}: no gap beyond chance is shown",
            values={"attribute": areas.groups.grouping.title},
        )
    lowest, highest = pair
    labels = areas.groups.grouping.labels
    return Message(
        text="Scores rank {lowest} less well than {highest}: AUC {low} against {high}",
        values={
            "lowest": labels[lowest],
            "low": f"{areas.value_of(lowest):.3f}",
            "highest": labels[highest],
            "high": f"{areas.value_of(highest):.3f}",
        },
    )


def _range_title(areas: GroupFigures) -> Message:
    attribute = areas.groups.grouping.title
    if not len(areas.value):
        return Message(text="No known group of {attribute} has an AUC", values={"attribute": attribute})
    return Message(
        text="The AUC within known groups of {attribute} runs from {low} to {high}",
        values={
            "attribute": attribute,
            "low": f"{areas.value.min():.3f}",
            "high": f"{areas.value.max():.3f}",
        },
    )


def _gap_title(
    groups: GroupScores, gaps: PairGaps | Message, shown: Message, not_shown: Message, *, percent: bool
) -> Message:
    attribute = {"attribute": groups.grouping.title}
    if isinstance(gaps, Message):
        return Message(text="Curves of the groups of {attribute}, not compared in pairs", values=attribute)
    if not gaps.is_shown:
        return Message(text=not_shown.text, values=attribute)
    first, second = groups.labels_of(gaps.pairs[gaps.clearest])
    gap = float(gaps.value[gaps.clearest])
    return Message(
        text=shown.text,
        values={"first": first, "second": second, "gap": f"{100 * gap:.1f}" if percent else f"{gap:.3f}"},
    )


def _largest(groups: GroupScores, candidates: Sequence[int]) -> list[int]:
    """The groups to draw: those with most rows, in their usual order."""
    by_size = sorted(candidates, key=lambda group: (-int(groups.sizes[group]), group))
    return sorted(by_size[:MOST_CURVES])


def _caption(groups: GroupScores, shown: Sequence[int]) -> Message | None:
    if len(shown) == MOST_CURVES < len(groups.groups):
        return Message(
            text="Drawn are the {shown} groups with most rows, of {k}.",
            values={"shown": len(shown), "k": len(groups.groups)},
        )
    return None


def _series(groups: GroupScores, group: int, x: FloatArray, y: FloatArray, *, is_small: bool) -> Series:
    label = {"group": groups.grouping.labels[group]}
    return Series(
        name=Message(text="{group} (few rows)", values=label)
        if is_small
        else Message(text="{group}", values=label),
        x=tuple(x.round(4).tolist()),
        y=tuple(y.round(4).tolist()),
    )


def _thinned_roc(rows: Scored) -> tuple[FloatArray, FloatArray]:
    false_positive, true_positive = roc_points(rows.high, rows.low)
    kept = np.unique(np.linspace(0, len(false_positive) - 1, POINTS).round().astype(np.int64))
    return false_positive[kept], true_positive[kept]


def _rarer(rows: Scored) -> int:
    return min(len(rows.high), len(rows.low))

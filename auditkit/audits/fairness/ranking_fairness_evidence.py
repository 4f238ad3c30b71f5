"""Charts behind figures of rankings."""

from collections.abc import Sequence

from auditkit.audits.fairness.ranking_fairness_order import Pair
from auditkit.audits.fairness.ranking_fairness_rows import RankedGroups
from auditkit.records import Dots, Estimate, Evidence, Heatmap, Interval, Mark, Measurement, Message

MOST_SHOWN = 60
"""Groups drawn: the largest ones."""


def exposure_chart(ranked: RankedGroups, measurements: Sequence[Measurement], *, small_group: int) -> Dots:
    """Mean exposure of every group against that of all rows."""
    measured = [one for one in measurements if one.metric == "exposure" and one.value is not None]
    ratio = next(one for one in measurements if one.metric == "exposure.ratio")
    largest = sorted(range(len(measured)), key=lambda index: -measured[index].n)[:MOST_SHOWN]
    labels = ranked.grouping.labels
    return Dots(
        title=_exposure_title(ranked, ratio),
        caption=Message(
            text="Exposure is 1 / log2(1 + rank): 1 for the first place, 0.5 for the third. "
            "Rows with equal scores share their places."
        ),
        axis=Message(text="Mean exposure"),
        marks=tuple(
            Mark(
                label=labels[index],
                estimate=_estimate(measured[index].value, measured[index].interval, measured[index].n),
                small=measured[index].n < small_group,
            )
            for index in sorted(largest)
        ),
        reference=float(ranked.ranking.exposure().mean()),
        reference_label=Message(text="all rows"),
        low=0.0,
    )


def _exposure_title(ranked: RankedGroups, ratio: Measurement) -> Message:
    attribute: dict[str, str | int | float] = {"attribute": ranked.grouping.title}
    if ratio.value is None or ratio.interval is None or ratio.note is None:
        return Message(text="Fewer than two groups of {attribute} can be compared", values=attribute)
    if ratio.interval.high >= 1:
        return Message(text="Exposure across {attribute}: no gap beyond chance is shown", values=attribute)
    return Message(
        text="{lowest}: {percent} % of the exposure of {highest}, allowing for the lists they are in",
        values={
            "lowest": ratio.note.values["lowest"],
            "highest": ratio.note.values["highest"],
            "percent": f"{100 * ratio.value:.0f}",
        },
    )


def skew_chart(
    ranked: RankedGroups, measurements: Sequence[Measurement], name: str, *, small_group: int
) -> list[Evidence]:
    """Skew of every known group at the first of the tops asked for."""
    measured = [one for one in measurements if one.metric == f"skew_at_{name}"]
    defined = [one for one in measured if one.value is not None]
    if not defined:
        return []
    low = min(defined, key=lambda one: one.value or 0.0)
    absent = sum(one.value is None for one in measured)
    sizes = dict(zip(ranked.grouping.labels, ranked.sizes.tolist(), strict=True))
    lowest = ", ".join(low.group.values())
    return [
        Dots(
            title=Message(
                text="At the top {name}, {lowest} hold {percent} % of the places a random order gives them; "
                "{absent} groups hold none",
                values={
                    "name": name,
                    "lowest": lowest,
                    "percent": f"{100 * 2.718281828459045 ** (low.value or 0.0):.0f}",
                    "absent": absent,
                },
            ),
            axis=Message(text="Skew: logarithm of the share at the top by the share expected"),
            marks=tuple(
                Mark(
                    label=", ".join(one.group.values()),
                    estimate=_estimate(one.value, one.interval, one.n, one.missing),
                    small=sizes[", ".join(one.group.values())] < small_group,
                )
                for one in sorted(measured, key=lambda one: -sizes[", ".join(one.group.values())])[
                    :MOST_SHOWN
                ]
            ),
            reference=0.0,
            reference_label=Message(text="as expected"),
        )
    ]


def accuracy_heatmap(
    ranked: RankedGroups, found: dict[Pair, tuple[float, Interval]] | Message
) -> list[Evidence]:
    """Pairwise accuracy of every ordered pair of known groups."""
    if isinstance(found, Message):
        return []
    known = [int(group) for group in ranked.known]
    labels = tuple(ranked.grouping.labels[group] for group in known)
    worst = min(found, key=lambda pair: found[pair][0])
    names = ranked.grouping.labels
    return [
        Heatmap(
            title=Message(
                text="Positive rows of {first} are ranked above other rows of {second} in {percent} % of "
                "pairs, the fewest",
                values={
                    "first": names[worst[0]],
                    "second": names[worst[1]],
                    "percent": f"{100 * found[worst][0]:.0f}",
                },
            ),
            row_axis=Message(text="positive rows of"),
            column_axis=Message(text="above other rows of"),
            row_labels=labels,
            column_labels=labels,
            values=tuple(tuple(found[a, b][0] if (a, b) in found else None for b in known) for a in known),
        )
    ]


def _estimate(
    value: float | None, interval: Interval | None, n: int, missing: Message | None = None
) -> Estimate:
    if value is None or interval is None:
        return Estimate(value=value, n=n, missing=missing)
    return Estimate(value=value, low=interval.low, high=interval.high, n=n)

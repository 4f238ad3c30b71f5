"""Charts and tables behind the importance of features."""

from collections.abc import Sequence

import numpy as np

from auditkit.audits.explainability.attribution_evidence import grey_values
from auditkit.audits.explainability.global_view.exchanged_units import patch_owner
from auditkit.audits.explainability.global_view.importance_figures import ALONE, Ranked
from auditkit.audits.explainability.global_view.permutation import Permuted
from auditkit.data.dataset import Dataset, FloatArray
from auditkit.records import Bars, Cell, Estimate, Interval, Mark, Message, Panel, Picture, Table, Unit

DECIMALS = 3


def sage_bars(ranked: Sequence[Ranked], gain: float, unit: Unit, *, shown: int, n: int) -> Bars:
    """SAGE values with intervals, the largest first."""
    return Bars(
        title=_lead(ranked, gain),
        caption=Message(
            text="SAGE: each feature's share in what the model gains over always giving the mean prediction; "
            "{shown} of {total} features",
            values={"shown": min(shown, len(ranked)), "total": len(ranked)},
        ),
        axis=Message(text="fall of the cost (SAGE value)"),
        marks=tuple(
            Mark(label=one.name, estimate=_estimate(one.sage, one.sage_interval, unit, n))
            for one in ranked[:shown]
        ),
    )


def _lead(ranked: Sequence[Ranked], gain: float) -> Message:
    """Which feature gains most, said of one alone only where the intervals tell it from the next."""
    first = ranked[0]
    if first.sage_interval is None or not first.sage_interval.low > 0:
        return Message(text="No feature is shown to make the predictions better")
    named: dict[str, str | int | float] = {"feature": first.name, "percent": _percent(first.sage, gain)}
    if len(ranked) == 1:
        return Message(text="{feature} brings {percent} % of what the model gains", values=named)
    second = ranked[1]
    if second.sage_interval is None or first.sage_interval.low > second.sage_interval.high:
        return Message(
            text="{feature} brings {percent} % of what the model gains, more than any other feature",
            values=named,
        )
    return Message(
        text="{feature} and {second} bring most: {percent} % and {second_percent} % of what the model gains",
        values={**named, "second": second.name, "second_percent": _percent(second.sage, gain)},
    )


def _percent(part: float, whole: float) -> int:
    return round(100 * part / whole) if whole > 0 else 0


def importance_table(ranked: Sequence[Ranked], unit: Unit, n: int) -> Table:
    """All features with all importances."""
    has_strata = any(one.conditional is not None for one in ranked)
    columns = [
        Message(text="Feature"),
        Message(text="SAGE value"),
        Message(text="Permutation importance"),
        *([Message(text="Among alike rows")] if has_strata else []),
    ]
    rows: list[tuple[Cell, ...]] = []
    for one in ranked:
        cells: list[Cell] = [
            one.name,
            _estimate(one.sage, one.sage_interval, unit, n),
            _permuted(one.permuted, unit),
        ]
        if has_strata and one.conditional is not None:
            cells.append(_permuted(one.conditional, unit))
        rows.append(tuple(cells))
    return Table(
        title=_disagreement(ranked),
        caption=Message(
            text="Permutation importance: by how much the cost rises when a feature alone is exchanged "
            "between rows. Where features tell the same, it can be large for none of them, or rest on rows "
            "that cannot exist."
        ),
        columns=tuple(columns),
        rows=tuple(rows),
    )


def _disagreement(ranked: Sequence[Ranked]) -> Message:
    """Whether both ways of asking put the same feature first."""
    by_permutation = max(ranked, key=lambda one: one.permuted.value)
    if by_permutation.name == ranked[0].name:
        text = "Both ways of asking put {feature} first of {n} features"
        return Message(text=text, values={"feature": ranked[0].name, "n": len(ranked)})
    return Message(
        text="SAGE puts {first} first, permutation {second}",
        values={"first": ranked[0].name, "second": by_permutation.name},
    )


def _permuted(found: Permuted | Message, unit: Unit) -> Estimate:
    if isinstance(found, Message):
        return Estimate(value=None, unit=unit, missing=found)
    return _estimate(found.value, found.interval, unit, found.n)


def _estimate(value: float, interval: Interval | None, unit: Unit, n: int) -> Estimate:
    if interval is None:
        return Estimate(value=None, n=n, unit=unit, missing=ALONE)
    return Estimate(value=value, low=interval.low, high=interval.high, n=n, unit=unit)


def patch_picture(
    rows: Dataset, preprocessing: object, sage_by_patch: FloatArray, patches: int, unit: Unit
) -> Picture:
    """SAGE values of the patches over the mean picture.

    Args:
        rows: Pictures.
        preprocessing: Which tells their grey values.
        sage_by_patch: In the order of the patches.
        patches: Along each side.
        unit: Of the values.
    """
    shape = rows.features.image_shape or (1, 1)
    inputs = rows.inputs.detach().cpu().numpy().astype(np.float64)
    mean = grey_values(inputs, preprocessing, shape).mean(axis=0)
    top = float(np.abs(sage_by_patch).max())
    overlay = (sage_by_patch / top if top > 0 else sage_by_patch)[patch_owner(shape, patches)]
    share = float(np.sort(sage_by_patch)[::-1][: max(1, len(sage_by_patch) // 4)].sum())
    whole = float(sage_by_patch.sum())
    title = (
        Message(
            text="A quarter of the picture brings {percent} % of what the model gains",
            values={"percent": _percent(share, whole)},
        )
        if whole > 0
        else Message(text="No part of the picture is shown to make the predictions better")
    )
    label = Message(text="mean of {n} pictures", values={"n": len(rows)})
    scale = (
        Message(text="1 stands for a SAGE value of {top} nat", values={"top": float(f"{top:.3g}")})
        if unit == "nat"
        else Message(text="1 stands for a SAGE value of {top}", values={"top": float(f"{top:.3g}")})
    )
    return Picture(
        title=title, panels=(Panel(label=label, pixels=_grid(mean), overlay=_grid(overlay)),), scale=scale
    )


def _grid(values: FloatArray) -> tuple[tuple[float, ...], ...]:
    # adding zero turns -0.0 into 0.0
    return tuple(tuple(row) for row in (np.round(values, DECIMALS) + 0.0).tolist())

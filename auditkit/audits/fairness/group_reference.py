"""Every group against one that was named, against all others together, and against the four-fifths line.

All groups are compared at once, so each interval is taken at the confidence at which all of them hold
together (Sidak's inequality, which holds whatever the correlation of the comparisons; Sidak 1967, JASA
62:626-633).
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.group_rates import GroupRates, empty_denominator
from auditkit.audits.fairness.groupings import Grouping
from auditkit.data.dataset import UNKNOWN, Dataset
from auditkit.errors import DataError, closest
from auditkit.records import Better, Interval, Measurement, Message
from auditkit.statistics.comparisons import katz_bounds, newcombe_bounds
from auditkit.statistics.counts import Cells, Rates, rates
from auditkit.statistics.decision import minimum_detectable_difference


def check_reference(data: Dataset, reference: Mapping[str, str]) -> None:
    """Refuse a reference that no row could belong to.

    Raises:
        DataError: An attribute or a level is not in the data, or the level stands for missing values.
    """
    for attribute, level in reference.items():
        if attribute not in data.sensitive_features:
            raise DataError(
                f"group-fairness.reference: {attribute!r} is no sensitive feature. "
                f"{closest(attribute, data.sensitive_features)}"
            )
        levels = data.sensitive_features[attribute].levels
        if level == UNKNOWN or level not in levels:
            known = [name for name in levels if name != UNKNOWN]
            raise DataError(
                f"group-fairness.reference: {level!r} is no group of {attribute}. {closest(level, known)}"
            )


def reference_group(grouping: Grouping, reference: Mapping[str, str]) -> int | None:
    """The group whose level is the reference in every attribute; ``None`` where one has no reference."""
    if not all(attribute in reference for attribute in grouping.attributes):
        return None
    wanted = tuple(reference[attribute] for attribute in grouping.attributes)
    return grouping.combinations.index(wanted) if wanted in grouping.combinations else None


@dataclass(frozen=True, slots=True)
class _Benchmark:
    """What every group is compared with: its name, its rates (one entry per group), and how often."""

    name: str
    suffix: str
    rates: Rates
    n_comparisons: int


def reference_measurements(found: GroupRates, reference: int) -> list[Measurement]:
    """Difference and ratio of every other known group to the reference group."""
    own, groups = found.rates, len(found.grouping.combinations)
    same = np.full(groups, reference)
    rates_there = Rates(own.value[same], own.n[same], own.effective_n[same], own.successes[same])
    others = [int(group) for group in np.flatnonzero(found.grouping.known) if group != reference]
    base = _Benchmark(found.grouping.labels[reference], "reference", rates_there, len(others))
    return [
        _compared(found, base, group, is_ratio=is_ratio) for group in others for is_ratio in (False, True)
    ]


def rest_measurements(found: GroupRates, cells: Cells) -> list[Measurement]:
    """Difference of every known group to all other known groups together."""
    known = np.flatnonzero(found.grouping.known)
    if len(known) < 2:
        return []
    base = _Benchmark("", "rest", _rest(found, cells), len(known))
    return [_compared(found, base, int(group), is_ratio=False) for group in known]


def shortfall_measurements(found: GroupRates, cells: Cells) -> list[Measurement]:
    """How many more selections would bring a group to four fifths of the highest rate, where it is below.

    A row counts as its weight.
    """
    if len(found.compared) < 2:
        return []
    values = found.rates.value
    best = int(found.compared[np.argmax(values[found.compared])])
    selected = cells.weight @ np.array(found.metric.numerator)
    rows = cells.weight @ np.array(found.metric.denominator)
    measurements = []
    for group in found.compared:
        missing = _shortfall(selected[best], rows[best], selected[group], rows[group])
        if missing <= 0:
            continue
        measurements.append(
            Measurement(
                metric="four_fifths_shortfall",
                value=float(missing),
                unit="count",
                n=int(found.rates.n[group]),
                better="lower",
                provenance="derived",
                group=found.grouping.groups[group],
                interval=Interval.exact(float(missing)),
                note=Message(
                    text="Further selections that would bring it to four fifths of the rate of {best} "
                    "({rate}, n = {n}) in these rows.",
                    values={
                        "best": found.grouping.labels[best],
                        "rate": round(float(values[best]), 4),
                        "n": int(found.rates.n[best]),
                    },
                ),
            )
        )
    return measurements


def joint_confidence(n_comparisons: int, confidence: float) -> float:
    """Confidence of each of several comparisons at which all hold together with ``confidence``.

    >>> joint_confidence(1, 0.95)
    0.95
    """
    return confidence if n_comparisons <= 1 else float(confidence ** (1 / n_comparisons))


def _shortfall(best_selected: float, best_rows: float, selected: float, rows: float) -> int:
    """``ceil(0.8 * best_selected / best_rows * rows - selected)``.

    Multiplied out, so that whole numbers stay whole and a group exactly on the line lacks nobody.
    """
    lacking = 4 * best_selected * rows - 5 * best_rows * selected
    return math.ceil(lacking / (5 * best_rows) - 1e-9)


def _rest(found: GroupRates, cells: Cells) -> Rates:
    """For every group the rate of all other known groups; NaN for groups that are not known."""
    known = found.grouping.known
    inside = cells.take(np.flatnonzero(known))
    n, weight, squared = (
        column[known].sum(axis=0) - column * known[:, None]
        for column in (cells.n, cells.weight, cells.weight_squared)
    )
    # what is left of weights that are no whole numbers after taking them away again is rounding
    empty = n == 0
    together = rates(Cells(n, np.where(empty, 0.0, weight), np.where(empty, 0.0, squared)), found.metric)
    if inside.persons is None:
        return together
    numbers = np.flatnonzero(known)
    size, hits = together.effective_n.copy(), together.successes.copy()
    for group in numbers:
        one = rates(cells.take(numbers[numbers != group]).overall(), found.metric)
        size[group], hits[group] = one.effective_n[0], one.successes[0]
    return Rates(together.value, together.n, size, hits)


def _compared(found: GroupRates, base: _Benchmark, group: int, *, is_ratio: bool) -> Measurement:
    own, other = found.rates, base.rates
    better: Better = "one" if is_ratio else "zero"
    name = f"{found.metric.name}.{'ratio' if is_ratio else 'difference'}_to_{base.suffix}"
    n, cell = int(own.n[group] + other.n[group]), found.grouping.groups[group]
    reason = _why_undefined(found, other, group, is_ratio=is_ratio)
    if reason is not None:
        return Measurement(metric=name, value=None, n=n, better=better, group=cell, missing=reason)
    level = joint_confidence(base.n_comparisons, found.confidence)
    mine, theirs = float(own.value[group]), float(other.value[group])
    value = mine / theirs if is_ratio else mine - theirs
    low, high = (katz_bounds if is_ratio else newcombe_bounds)(
        min(own.successes[group], own.effective_n[group]),
        own.effective_n[group],
        min(other.successes[group], other.effective_n[group]),
        other.effective_n[group],
        confidence=level,
    )
    method = "katz-log" if is_ratio else "newcombe"
    return Measurement(
        metric=name,
        value=value,
        n=n,
        better=better,
        group=cell,
        interval=Interval(
            low=min(float(low), value),
            high=max(float(high), value),
            confidence=found.confidence,
            method=method if base.n_comparisons <= 1 else f"simultaneous-{method}",
        ),
        detectable=None if is_ratio else _detectable(own, other, group, level),
        note=_note(found, base, group),
    )


def _detectable(own: Rates, other: Rates, group: int, confidence: float) -> float | None:
    size, there = float(own.effective_n[group]), float(other.effective_n[group])
    pooled = float(own.successes[group] + other.successes[group]) / (size + there)
    return minimum_detectable_difference(min(pooled, 1.0), size, there, confidence=confidence)


def _why_undefined(found: GroupRates, other: Rates, group: int, *, is_ratio: bool) -> Message | None:
    if not found.rates.defined[group]:
        return empty_denominator(found.metric, int(found.rates.n[group]))
    if not other.defined[group]:
        return Message(text="The rate of what it is compared with is undefined.")
    if is_ratio and other.value[group] == 0:
        return Message(text="The rate of the reference is 0, and a ratio to 0 is undefined.")
    return None


def _note(found: GroupRates, base: _Benchmark, group: int) -> Message:
    values: dict[str, str | int | float] = {
        "rate": round(float(found.rates.value[group]), 4),
        "n": int(found.rates.n[group]),
        "other_rate": round(float(base.rates.value[group]), 4),
        "other_n": int(base.rates.n[group]),
    }
    if not base.name:
        return Message(
            text="{rate} (n = {n}); in all other known groups {other_rate} (n = {other_n}).", values=values
        )
    return Message(
        text="{rate} (n = {n}); in the reference, {other}, {other_rate} (n = {other_n}).",
        values={**values, "other": base.name},
    )

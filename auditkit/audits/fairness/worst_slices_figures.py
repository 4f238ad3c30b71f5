"""Measurements of the slices in the confirming half."""

import math
from collections.abc import Sequence

from auditkit.audits.fairness.slice_confirmation import Tested, smallest_found
from auditkit.audits.fairness.slice_items import Items
from auditkit.data.dataset import BoolArray
from auditkit.records import Interval, Measurement, Message
from auditkit.statistics.intervals import rate

NUMBER = "confirmed_slices"


def overall_measurement(errors: BoolArray, confidence: float) -> Measurement:
    """The error rate of all confirming rows."""
    wrong, n = int(errors.sum()), len(errors)
    return Measurement(
        metric="error_rate",
        value=wrong / n,
        n=n,
        better="lower",
        interval=rate(wrong, n, confidence=confidence),
    )


def number_measurement(
    tested: Sequence[Tested], errors: BoolArray, min_rows: int, top: int, confidence: float
) -> Measurement:
    """How many slices were confirmed: there are at least so many, for others may have been missed."""
    number = sum(one.confirmed for one in tested)
    return Measurement(
        metric=NUMBER,
        value=number,
        unit="count",
        n=len(errors),
        better="lower",
        kind="lower_bound",
        interval=Interval.exact(number),
        note=_what_would_be_found(len(tested), errors, min_rows, top, confidence),
    )


def nothing_measured(reason: Message, n: int) -> Measurement:
    """The place of the number of slices where none could be examined."""
    return Measurement(
        metric=NUMBER, value=None, unit="count", n=n, better="lower", kind="lower_bound", missing=reason
    )


def slice_measurements(items: Items, tested: Tested) -> list[Measurement]:
    """Error rate of one slice, and how much it exceeds that of the rest."""
    group, gap, rest = items.group(tested.items), tested.gap, tested.rest_rate
    if gap is None or rest is None:
        return []
    return [
        Measurement(
            metric="error_rate",
            value=tested.error_rate,
            n=tested.n,
            better="lower",
            group=group,
            interval=tested.rate_interval,
        ),
        Measurement(
            metric="error_rate.gap",
            value=gap,
            n=tested.n + tested.n_rest,
            better="zero",
            group=group,
            interval=tested.interval,
            detectable=tested.detectable,
            note=Message(
                text="{errors} of {n} rows inside are wrong, {errors_rest} of {n_rest} outside. "
                "p = {p}, adjusted for all slices tested: {p_adjusted}.",
                values={
                    "errors": tested.errors,
                    "n": tested.n,
                    "errors_rest": tested.errors_rest,
                    "n_rest": tested.n_rest,
                    "p": float(f"{tested.p:.2g}"),
                    "p_adjusted": float(f"{tested.p_adjusted:.2g}"),
                },
            ),
        ),
    ]


def _what_would_be_found(
    n_tested: int, errors: BoolArray, min_rows: int, top: int, confidence: float
) -> Message:
    """So that silence is not taken for absence."""
    n = len(errors)
    if errors.all() or not errors.any():
        return Message(
            text="Of {n} confirming rows none, or every one, is wrong: no slice can stand out.",
            values={"n": n},
        )
    tenth = max(min_rows, math.ceil(n / 10))
    small, large = (
        smallest_found(float(errors.mean()), size, n, n_tests=max(top, n_tested), confidence=confidence)
        for size in (min_rows, tenth)
    )
    if small is None or large is None:
        return Message(
            text="With {n} confirming rows, a slice of {small} rows may go unnoticed even where all of them "
            "are wrong.",
            values={"n": n, "small": min_rows},
        )
    return Message(
        text="A slice of {small} of the {n} confirming rows is confirmed in about four cases of five, or "
        "more, where its error rate is {gap_small} percentage points above that of the rest; one of {large} "
        "rows, where it is {gap_large} points above. Smaller gaps may exist and not be shown.",
        values={
            "gap_small": _points(small),
            "small": min_rows,
            "n": n,
            "gap_large": _points(large),
            "large": tenth,
        },
    )


def _points(gap: float) -> float:
    """Percentage points, rounded up: a promise must not be too good."""
    return math.ceil(1000 * gap) / 10

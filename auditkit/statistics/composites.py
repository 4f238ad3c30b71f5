"""Figures made of several rates: their values, their intervals, and what a row adds to them.

Each interval comes from the simplest exact relation to rates that have good ones. F1 and the ratio of false
negatives to false positives rise with a single share of counts, so the score interval of that share is taken
over. Sums and differences of the true- and false-positive rate combine two independent rates (Zou and Donner
2008). The Matthews correlation gets the delta method on Fisher's scale, with half a row added to every cell
so that a perfect prediction of a few rows never looks certain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from auditkit.records import Better, Message
from auditkit.statistics.clusters import design_effects
from auditkit.statistics.comparisons import difference_bounds
from auditkit.statistics.counts import Cells, FloatArray
from auditkit.statistics.intervals import Bounds, critical_value, wilson_bounds

STEP = 1e-30
"""Imaginary step of the derivatives: without cancellation, so exact to rounding."""


@dataclass(frozen=True, slots=True)
class CompositeMetric:
    """A figure of the five cells that is no share of rows.

    Attributes:
        name: As in the config.
        better: The direction that is good.
        support: 1 for the cells that it depends on.
        value: From cells of shape ``(..., 5)``; not finite where it is undefined.
        bounds: From effective counts of shape ``(n_groups, 5)`` and a confidence.
        undefined: Why it has no value.
        low: Smallest value.
        high: Largest value; ``None`` where there is none.
    """

    name: str
    better: Better
    support: tuple[int, int, int, int, int]
    value: Callable[[FloatArray], FloatArray]
    bounds: Callable[[FloatArray, float], Bounds]
    undefined: Message
    low: float
    high: float | None


@dataclass(frozen=True, slots=True)
class Composites:
    """One composite figure in every group; arrays over the groups.

    Attributes:
        metric: Which figure.
        value: NaN where it is undefined.
        n: Rows it rests on.
        counts: Effective counts of the cells, shape ``(n_groups, 5)``; the plain ones without weights and
            persons.
    """

    metric: CompositeMetric
    value: FloatArray
    n: FloatArray
    counts: FloatArray

    @classmethod
    def of(cls, cells: Cells, metric: CompositeMetric) -> "Composites":
        """``metric`` in every group of ``cells``."""
        support = np.array(metric.support, dtype=np.float64)
        with np.errstate(divide="ignore", invalid="ignore"):
            value = metric.value(cells.weight)
            scale = np.nan_to_num((cells.weight @ support) / (cells.weight_squared @ support))
        value = np.where(np.isfinite(value), value, np.nan)
        if cells.persons is not None:
            base = np.broadcast_to(support, cells.weight.shape)
            scale = scale / design_effects(
                cells.persons, cells.n, cells.weight_squared, influence(metric, cells.weight), base
            )
        return cls(metric, value, cells.n @ support, cells.weight * scale[:, None])

    def bounds(self, confidence: float) -> Bounds:
        """Intervals, NaN where the figure is undefined; they hold the value."""
        with np.errstate(divide="ignore", invalid="ignore"):
            low, high = self.metric.bounds(self.counts, confidence)
        return np.minimum(low, self.value), np.maximum(high, self.value)


def influence(metric: CompositeMetric, weight: FloatArray) -> FloatArray:
    """Derivative of the figure by the weight of each cell, same shape as ``weight``; 0 where undefined."""
    derivatives = np.empty_like(weight)
    for cell in range(weight.shape[1]):
        shifted = weight.astype(np.complex128)
        shifted[:, cell] += 1j * STEP
        with np.errstate(all="ignore"):
            derivatives[:, cell] = metric.value(shifted).imag / STEP  # type: ignore[arg-type] # complex step
    return np.where(np.isfinite(derivatives), derivatives, 0.0)


def _rates(cells: FloatArray) -> tuple[FloatArray, FloatArray]:
    """True- and false-positive rate."""
    tp, fn, fp = cells[..., 0], cells[..., 1], cells[..., 2]
    tn = cells[..., 3] + cells[..., 4]
    return tp / (tp + fn), fp / (fp + tn)


def _rate_bounds(cells: FloatArray, confidence: float) -> tuple[Bounds, Bounds]:
    tp, fn, fp = cells[..., 0], cells[..., 1], cells[..., 2]
    tn = cells[..., 3] + cells[..., 4]
    return (
        wilson_bounds(tp, tp + fn, confidence=confidence),
        wilson_bounds(fp, fp + tn, confidence=confidence),
    )


def _informedness(cells: FloatArray) -> FloatArray:
    found, raised = _rates(cells)
    return found - raised


def _informedness_bounds(cells: FloatArray, confidence: float) -> Bounds:
    (found, raised), (of_found, of_raised) = _rates(cells), _rate_bounds(cells, confidence)
    return difference_bounds(found, of_found, raised, of_raised)


def _balanced_accuracy(cells: FloatArray) -> FloatArray:
    return (1 + _informedness(cells)) / 2


def _balanced_accuracy_bounds(cells: FloatArray, confidence: float) -> Bounds:
    low, high = _informedness_bounds(cells, confidence)
    return (1 + low) / 2, (1 + high) / 2


def _average_odds(cells: FloatArray) -> FloatArray:
    found, raised = _rates(cells)
    return (found + raised) / 2


def _average_odds_bounds(cells: FloatArray, confidence: float) -> Bounds:
    (found, raised), (of_found, of_raised) = _rates(cells), _rate_bounds(cells, confidence)
    low, high = difference_bounds(found, of_found, -raised, (-of_raised[1], -of_raised[0]))
    return low / 2, high / 2


def _f1(cells: FloatArray) -> FloatArray:
    tp, wrong = cells[..., 0], cells[..., 1] + cells[..., 2]
    return 2 * tp / (2 * tp + wrong)


def _f1_bounds(cells: FloatArray, confidence: float) -> Bounds:
    tp, wrong = cells[..., 0], cells[..., 1] + cells[..., 2]
    low, high = wilson_bounds(tp, tp + wrong, confidence=confidence)
    return 2 * low / (1 + low), 2 * high / (1 + high)


def _treatment_ratio(cells: FloatArray) -> FloatArray:
    return cells[..., 1] / cells[..., 2]


def _treatment_ratio_bounds(cells: FloatArray, confidence: float) -> Bounds:
    missed, raised = cells[..., 1], cells[..., 2]
    low, high = wilson_bounds(missed, missed + raised, confidence=confidence)
    return low / (1 - low), high / (1 - high)


def _matthews_correlation(cells: FloatArray) -> FloatArray:
    tp, fn, fp = cells[..., 0], cells[..., 1], cells[..., 2]
    tn = cells[..., 3] + cells[..., 4]
    # two roots instead of one: the product of four margins leaves the range of whole numbers
    margins = np.sqrt((tp + fn) * (fp + tn)) * np.sqrt((tp + fp) * (fn + tn))
    return np.asarray((tp * tn - fp * fn) / margins)


def _matthews_bounds(cells: FloatArray, confidence: float) -> Bounds:
    padded = np.column_stack([cells[:, :3], cells[:, 3] + cells[:, 4], np.zeros(len(cells))])
    padded[:, :4] += 0.5
    value = _matthews_correlation(padded)
    variance = (padded * influence(COMPOSITES["matthews_correlation"], padded) ** 2).sum(axis=1)
    reach = critical_value(confidence) * np.sqrt(variance) / (1 - value**2)
    return np.tanh(np.arctanh(value) - reach), np.tanh(np.arctanh(value) + reach)


_ALL, _SELECTED_OR_POSITIVE, _WRONG = (1, 1, 1, 1, 1), (1, 1, 1, 0, 0), (0, 1, 1, 0, 0)
_ONE_LABEL = Message(text="The group has rows of one label only, or none that carry weight.")

COMPOSITES = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            CompositeMetric(
                "balanced_accuracy",
                "higher",
                _ALL,
                _balanced_accuracy,
                _balanced_accuracy_bounds,
                _ONE_LABEL,
                0.0,
                1.0,
            ),
            CompositeMetric(
                "f1",
                "higher",
                _SELECTED_OR_POSITIVE,
                _f1,
                _f1_bounds,
                Message(text="The group has no rows that are positive or are predicted so."),
                0.0,
                1.0,
            ),
            CompositeMetric(
                "matthews_correlation",
                "higher",
                _ALL,
                _matthews_correlation,
                _matthews_bounds,
                Message(text="Labels or predictions of the group are all the same."),
                -1.0,
                1.0,
            ),
            CompositeMetric(
                "informedness", "higher", _ALL, _informedness, _informedness_bounds, _ONE_LABEL, -1.0, 1.0
            ),
            CompositeMetric(
                "treatment_ratio",
                "neither",
                _WRONG,
                _treatment_ratio,
                _treatment_ratio_bounds,
                Message(text="The group has no false positives, and a ratio to 0 is undefined."),
                0.0,
                None,
            ),
            CompositeMetric(
                "average_odds", "neither", _ALL, _average_odds, _average_odds_bounds, _ONE_LABEL, 0.0, 1.0
            ),
        )
    }
)
"""Name -> metric. ``treatment_ratio`` is false negatives by false positives, ``average_odds`` the mean of
true- and false-positive rate, so that its differences are average odds differences."""

"""How well scores tell toxic from other templates, within a term and across terms.

Sentences of one template are alike, so that they are no independent rows. Every area is a mean over pairs of
a toxic and another template; its variance is that of DeLong et al. (1988) with templates in place of rows.
"""

from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logit
from scipy.stats import t

from auditkit.audits.fairness.texts.bounded_means import NO_SPREAD, beyond_doubt
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Interval

POWER = -5
"""Of the generalised mean over terms: the lowest areas count most (Borkan et al. 2019, section 3)."""


@dataclass(frozen=True, slots=True)
class Area:
    """Chance that a sentence of a toxic template has a higher score than one of another template.

    Attributes:
        above: Per toxic template the share of the other templates' sentences that it beats, ties half.
        below: Per other template the share of the toxic templates' sentences that beat it.
    """

    above: FloatArray
    below: FloatArray

    @classmethod
    def of(cls, scores: FloatArray, toxic: BoolArray, high: IntArray, low: IntArray) -> "Area":
        """Columns ``high`` of toxic templates against columns ``low`` of the others.

        Args:
            scores: Shape ``(templates, terms)``.
            toxic: Per template; both kinds must occur.
            high: Terms of the toxic sentences.
            low: Terms of the other sentences.
        """
        tops, bottoms = scores[toxic][:, high], scores[~toxic][:, low]
        return cls(_beaten(tops, bottoms), 1 - _beaten(bottoms, tops))

    @property
    def value(self) -> float:
        """The area under the ROC curve."""
        return float(self.above.mean())

    @property
    def n(self) -> int:
        """Templates that it rests on."""
        return len(self.above) + len(self.below)

    def interval(self, confidence: float) -> Interval:
        """Symmetric on the logit scale, with Student's quantile for the rarer kind of template."""
        variance = sum(_variance_of_mean(part) for part in (self.above, self.below))
        scarcer = min(len(self.above), len(self.below))
        if scarcer < 2 or variance <= 0 or not 0 < self.value < 1:
            sizes = len(self.above), len(self.below)
            return beyond_doubt(self.value, *sizes, low=0.0, high=1.0, confidence=confidence)
        quantile = float(t.ppf((1 + confidence) / 2, scarcer - 1))
        reach = quantile * variance**0.5 / (self.value * (1 - self.value))
        low, high = (float(end) for end in expit(logit(self.value) + np.array([-reach, reach])))
        return Interval(low=low, high=high, confidence=confidence, method="delong-templates")


def generalised_mean(areas: list[Area], confidence: float) -> tuple[float, Interval]:
    """The mean of power -5 over terms, with its linearised variance over templates.

    Source:
        Borkan, Dixon, Sorensen, Thain and Vasserman (2019), WWW Companion, section 3.
    """
    values = np.array([area.value for area in areas])
    sizes = len(areas[0].above), len(areas[0].below)
    if not values.all():
        return 0.0, beyond_doubt(0.0, *sizes, low=0.0, high=1.0, confidence=confidence)
    value = float(np.mean(values**POWER) ** (1 / POWER))
    slopes = values ** (POWER - 1) * value ** (1 - POWER) / len(values)
    above, below = (
        sum(slope * part for slope, part in zip(slopes, parts, strict=True))
        for parts in ([area.above for area in areas], [area.below for area in areas])
    )
    variance = _variance_of_mean(np.asarray(above)) + _variance_of_mean(np.asarray(below))
    if min(sizes) < 2 or variance <= 0:
        return value, beyond_doubt(value, *sizes, low=0.0, high=1.0, confidence=confidence)
    reach = float(t.ppf((1 + confidence) / 2, min(sizes) - 1)) * variance**0.5
    return value, Interval(
        low=max(0.0, value - reach),
        high=min(1.0, value + reach),
        confidence=confidence,
        method="linearised-templates",
    )


def _beaten(ones: FloatArray, others: FloatArray) -> FloatArray:
    """Per row of ``ones`` the share of all ``others`` that its values exceed, ties half."""
    ordered = np.sort(others, axis=None)
    below = np.searchsorted(ordered, ones, side="left") + np.searchsorted(ordered, ones, side="right")
    return np.asarray(below.mean(axis=1) / (2 * len(ordered)), dtype=np.float64)


def _variance_of_mean(values: FloatArray) -> float:
    """0 where all values are equal but for rounding."""
    if len(values) < 2 or np.ptp(values) <= NO_SPREAD:
        return 0.0
    return float(values.var(ddof=1)) / len(values)

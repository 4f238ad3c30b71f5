"""From means over rows to measurements."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from auditkit.audits.explainability.quality.crossed_means import CrossedMean
from auditkit.audits.explainability.quality.metrics import FACTS
from auditkit.audits.explainability.quality.resampling import RowMean
from auditkit.data.dataset import BoolArray, IntArray
from auditkit.records import Estimate, Interval, Measurement, Message
from auditkit.statistics.clustered import clustered_rate

Mean = RowMean | CrossedMean

NOT_DEFINED = Message(text="undefined in every row: nothing is attributed, or the score does not move")
_NO_SPREAD = Message(text="one row has no spread, so no interval can be given")


@dataclass(frozen=True, slots=True)
class Figures:
    """Means of one method by metric, ready to be written down.

    Attributes:
        group: Which method, or pair of methods.
        n_rows: Rows looked at; means leave out those in which a score is undefined.
        confidence: Of the intervals.
    """

    group: Mapping[str, str]
    n_rows: int
    confidence: float

    def of(self, metric: str, mean: Mean, **more: str) -> Measurement:
        """A mean over rows; ``more`` names the cell it belongs to besides."""
        facts = FACTS[metric]
        group = {**self.group, **more}
        if mean.value is None:
            return Measurement(
                metric=metric,
                value=None,
                unit=facts.unit,
                n=0,
                better=facts.better,
                group=group,
                missing=NOT_DEFINED,
            )
        interval = mean.interval(self.confidence)
        return Measurement(
            metric=metric,
            value=mean.value,
            unit=facts.unit,
            n=mean.n,
            better=facts.better,
            group=group,
            interval=interval,
            note=_note(mean, self.n_rows, interval),
        )


def estimate_of(figure: Measurement | None) -> Estimate | None:
    """A figure as the cell of a table."""
    if figure is None:
        return None
    low, high = (figure.interval.low, figure.interval.high) if figure.interval else (None, None)
    return Estimate(value=figure.value, low=low, high=high, n=figure.n, missing=figure.missing)


def _note(mean: Mean, n_rows: int, interval: Interval | None) -> Message | None:
    if interval is None:
        return _NO_SPREAD
    left_out = n_rows - mean.n
    if isinstance(mean, CrossedMean):
        return Message(
            text="{n_models} models drawn anew, {left_out} rows left out where it is undefined",
            values={"n_models": mean.n_models, "left_out": left_out},
        )
    if left_out:
        return Message(text="{n} rows left out where it is undefined", values={"n": left_out})
    return None


@dataclass(frozen=True, slots=True)
class Share:
    """A share of rows, with the interval of a rate at any confidence.

    Attributes:
        hits: Shape ``(n,)``.
        person: Which rows belong together, shape ``(n,)``, or ``None``.
    """

    hits: BoolArray
    person: IntArray | None

    @property
    def value(self) -> float:
        """In ``[0, 1]``."""
        return float(self.hits.mean())

    def interval(self, confidence: float) -> Interval:
        """Wilson's or Clopper and Pearson's, at the effective number of rows."""
        return clustered_rate(self.hits, units=self.person, confidence=confidence)[1]

    def needed(self, at_least: float, confidence: float) -> int | None:
        """Rows of which all would have to be hits, as here, for the exact interval to clear ``at_least``."""
        if not self.hits.all() or not 0 < at_least < 1 or self.person is not None:
            return None
        return math.ceil(math.log((1 - confidence) / 2) / math.log(at_least))

"""One figure with everything that it takes to read it."""

from typing import Literal, Self

from pydantic import Field, model_validator

from auditkit.records.message import Message, Record

Unit = Literal["1", "count", "s", "1/s", "J", "kWh", "gCO2e", "B", "FLOP", "nat", "bit"]
Better = Literal["higher", "lower", "zero", "one", "neither"]
Kind = Literal["estimate", "lower_bound", "upper_bound"]
Provenance = Literal["measured", "derived", "estimated", "declared"]


class Interval(Record):
    """A range that covers the true value with the stated confidence.

    ``method`` names the construction (``"wilson"``, ``"exact"`` for figures without sampling error).
    """

    low: float
    high: float
    confidence: float = Field(gt=0, le=1)
    method: str

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low > self.high:
            raise ValueError(f"interval low must not exceed high, got [{self.low}, {self.high}]")
        return self

    @classmethod
    def exact(cls, value: float) -> "Interval":
        """The interval of a figure that has no sampling error, such as a parameter count."""
        return cls(low=value, high=value, confidence=1.0, method="exact")


class Measurement(Record):
    """One figure.

    Attributes:
        metric: What was measured, for example ``"true_positive_rate.difference"``.
        value: The figure, or ``None`` when it is undefined; ``missing`` then says why.
        unit: SI or the field's unit; ``"1"`` for rates and ratios.
        n: How many samples the value rests on (for a rate: its denominator).
        better: The direction that is good, or ``"neither"``.
        kind: Whether the value estimates the truth or bounds it from one side.
        provenance: ``measured``, ``derived`` from measured ones, ``estimated`` by a model, or ``declared``.
        group: The cell it belongs to, ``{"sex": "Female"}``; empty for the whole population.
        across: The attributes a disparity compares over, ``("sex",)``.
        interval: Its uncertainty. ``None`` only where ``value`` is ``None`` or none can be given.
        detectable: The smallest true difference that this sample finds with 80 % power, same unit.
        note: What else a reader must know to read the figure, e.g. which two groups are furthest apart.
    """

    metric: str
    value: float | None
    unit: Unit = "1"
    n: int = Field(ge=0)
    better: Better
    kind: Kind = "estimate"
    provenance: Provenance = "measured"
    group: dict[str, str] = Field(default_factory=dict)
    across: tuple[str, ...] = ()
    interval: Interval | None = None
    missing: Message | None = None
    detectable: float | None = None
    note: Message | None = None

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.value is None) != (self.missing is not None):
            raise ValueError(f"{self.metric}: a value is None exactly when `missing` says why")
        if self.value is not None and self.interval is not None:
            slack = 1e-9 * max(1.0, abs(self.value))
            if not self.interval.low - slack <= self.value <= self.interval.high + slack:
                raise ValueError(
                    f"{self.metric}: value {self.value} lies outside its interval "
                    f"[{self.interval.low}, {self.interval.high}]"
                )
        return self

"""A physical quantity with its bounds: the only form in which energy and carbon are passed on."""

import math
from dataclasses import dataclass
from typing import Final

from auditkit.records import Provenance

_STRENGTH: Final[tuple[Provenance, ...]] = ("measured", "derived", "declared", "estimated")


def weakest(*provenances: Provenance) -> Provenance:
    """The provenance of a figure made of several: that of its weakest part.

    >>> weakest("measured", "estimated", "derived")
    'estimated'
    """
    return max(provenances, key=_STRENGTH.index)


@dataclass(frozen=True, slots=True)
class Quantity:
    """A non-negative amount between two bounds.

    Sums and products follow interval arithmetic, so bounds never narrow: errors of one factor hit all
    its terms alike and must not be averaged away.

    Attributes:
        low: Smallest amount that the method allows.
        value: Best single figure, between the bounds.
        high: Largest amount that the method allows.
        provenance: ``measured`` by a sensor, ``derived`` from such, ``declared``, or ``estimated``.

    Raises:
        ValueError: The three are not finite, not ordered or negative.
    """

    low: float
    value: float
    high: float
    provenance: Provenance

    def __post_init__(self) -> None:
        ordered = 0 <= self.low <= self.value <= self.high
        if not (ordered and math.isfinite(self.high)):
            raise ValueError(
                f"a quantity needs 0 <= low <= value <= high, all finite, got "
                f"({self.low}, {self.value}, {self.high})"
            )

    @classmethod
    def exact(cls, value: float, provenance: Provenance) -> "Quantity":
        """An amount without bounds of its own, such as an entry of a table."""
        return cls(value, value, value, provenance)

    def __add__(self, other: "Quantity") -> "Quantity":
        return Quantity(
            self.low + other.low,
            self.value + other.value,
            self.high + other.high,
            weakest(self.provenance, other.provenance),
        )

    def times(self, factor: "Quantity") -> "Quantity":
        """The product; ``derived``, or ``estimated`` when a factor is."""
        return Quantity(
            self.low * factor.low,
            self.value * factor.value,
            self.high * factor.high,
            "estimated" if "estimated" in (self.provenance, factor.provenance) else "derived",
        )

    def scaled(self, factor: float) -> "Quantity":
        """The amount times a number that is known exactly, such as a change of unit."""
        return Quantity(self.low * factor, self.value * factor, self.high * factor, self.provenance)

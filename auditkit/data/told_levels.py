"""Levels of a column that have no name: what rows have them is in nothing that is published."""

from collections.abc import Collection

from auditkit.data.steps import CategoricalFeature

_LEFT_OUT = "\N{REPLACEMENT CHARACTER} left out "


def is_told(level: str) -> bool:
    """Whether it is one of the rows, and does not merely keep the place of one that was left out."""
    return not level.startswith(_LEFT_OUT)


def with_only(feature: CategoricalFeature, told: Collection[str]) -> CategoricalFeature:
    """``feature`` with these levels, in their order, and places without a name for all others behind them.

    Rows as wide as before come of it: the column of a level without a name is 0 in all of them.
    """
    kept = [level for level in feature.levels if level in told]
    nameless = [f"{_LEFT_OUT}{number + 1}" for number in range(len(feature.levels) - len(kept))]
    return feature.model_copy(update={"levels": (*kept, *nameless)})

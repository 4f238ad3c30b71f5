"""The task that a mitigation works on: a favourable label, groups of one attribute, a gap to make smaller."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from auditkit.data.dataset import UNKNOWN, BoolArray, Dataset, FloatArray, IntArray
from auditkit.errors import DataError, UsageError, closest

Constraint = Literal["demographic_parity", "equalized_odds", "equal_opportunity", "false_positive_rate"]

NOT_KNOWN = -1
"""The group of a row whose attribute is unknown, or was not seen in training."""

CONDITIONS: Mapping[Constraint, tuple[bool | None, ...]] = {
    "demographic_parity": (None,),
    "equalized_odds": (True, False),
    "equal_opportunity": (True,),
    "false_positive_rate": (False,),
}
"""Among which rows the rate of favourable predictions is to be equal: those with the favourable label, the
others, or (``None``) all of them. Source: Hardt, Price and Srebro (2016), arXiv:1610.02413."""


@dataclass(frozen=True, slots=True)
class BinaryTask:
    """Labels and groups of the rows of a dataset with two classes.

    Attributes:
        attribute: The sensitive feature.
        levels: Its known levels that have rows, two or more.
        group: Index into ``levels`` of every row, or ``NOT_KNOWN``, shape ``(n,)``.
        positive: Whether the row has the favourable label, shape ``(n,)``.
        weight: Of each row, shape ``(n,)``; 1 where the data have no weights.
    """

    attribute: str
    levels: tuple[str, ...]
    group: IntArray
    positive: BoolArray
    weight: FloatArray

    @classmethod
    def of(cls, data: Dataset, attribute: str | None) -> "BinaryTask":
        """The task of ``data`` and one of its attributes, by default the only one.

        Raises:
            UsageError: There are not two classes, no favourable label is declared, the attribute is not
                among the sensitive features, or fewer than two of its levels have rows.
        """
        name = _attribute(data, attribute)
        if len(data.classes) != 2 or data.task != "classification":
            raise UsageError(
                f"mitigate: {data.name} has {len(data.classes)} classes, expected two with data.positive; "
                "remove the variant, or make the target binary"
            )
        if data.positive_index is None:
            raise UsageError(
                f"mitigate: {data.name} has no favourable label; name it: data.positive: "
                f"{data.classes[1]!r} or {data.classes[0]!r}"
            )
        counts = data.sensitive_features[name].counts()
        levels = tuple(level for level, n in counts.items() if n and level != UNKNOWN)
        if len(levels) < 2:
            raise UsageError(
                f"mitigate: all training rows with a known {name} have "
                f"{levels[0]!r} there; expected two levels or more"
                if levels
                else f"mitigate: no training row has a known {name}; expected two levels or more"
            )
        weight = np.ones(len(data)) if data.sample_weight is None else data.sample_weight
        return cls(name, levels, groups_of(data, name, levels), data.y_true == data.positive_index, weight)

    @property
    def known(self) -> BoolArray:
        """Rows whose group is known."""
        return np.asarray(self.group != NOT_KNOWN)

    def accuracy(self, selected: BoolArray) -> float:
        """Weighted share of rows whose prediction (``selected`` is favourable) is the label."""
        return float(np.average(selected == self.positive, weights=self.weight))

    def gap(self, selected: BoolArray, constraint: Constraint) -> float | None:
        """Largest difference between groups in the rates that ``constraint`` wants equal, in ``[0, 1]``.

        Returns:
            ``None`` when fewer than two groups have rows that count.
        """
        gaps = []
        for wanted in CONDITIONS[constraint]:
            counted = self.known if wanted is None else self.known & (self.positive == wanted)
            rates = self._rates(selected, counted)
            if len(rates) < 2:
                return None
            gaps.append(float(rates.max() - rates.min()))
        return max(gaps)

    def _rates(self, selected: BoolArray, counted: BoolArray) -> FloatArray:
        """Weighted rate of favourable predictions in every group that has rows among the counted."""
        weight, group = self.weight[counted], self.group[counted]
        n_groups = len(self.levels)
        total = np.bincount(group, weights=weight, minlength=n_groups)
        chosen = np.bincount(group, weights=weight * selected[counted], minlength=n_groups)
        return np.asarray(chosen[total > 0] / total[total > 0])


def groups_of(data: Dataset, attribute: str, levels: Sequence[str]) -> IntArray:
    """The group of every row, by the text of its level.

    Raises:
        DataError: The data do not have the attribute.
    """
    column = data.sensitive_features.get(attribute)
    if column is None:
        raise DataError(
            f"{data.name}: the model asks for {attribute!r} of every row, and the data do not name it; "
            f"add it to data.sensitive_features. {closest(attribute, data.sensitive_features)}"
        )
    index = {level: position for position, level in enumerate(levels)}
    lookup = np.array([index.get(level, NOT_KNOWN) for level in column.levels], dtype=np.int64)
    return np.asarray(lookup[column.codes])


def _attribute(data: Dataset, wanted: str | None) -> str:
    names = tuple(data.sensitive_features)
    if not names:
        raise UsageError(
            f"mitigate: {data.name} has no sensitive features; name them: data.sensitive_features: [COLUMN]"
        )
    if wanted is None and len(names) > 1:
        raise UsageError(
            f"mitigate: {data.name} has several sensitive features; choose one: attribute: {names[0]}. "
            f"{closest('', names)}"
        )
    if wanted is not None and wanted not in names:
        raise UsageError(f"mitigate: no sensitive feature is called {wanted!r}. {closest(wanted, names)}")
    return wanted or names[0]

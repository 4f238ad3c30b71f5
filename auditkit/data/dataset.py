"""The one shape in which data reaches an audit."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch

from auditkit.errors import DataError
from auditkit.records import DataCard, Message, Planted

UNKNOWN = "unknown"

Task = Literal["classification", "regression", "language-modelling"]

IntArray = npt.NDArray[np.int64]
FloatArray = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class GroupColumn:
    """A categorical column: ``levels[codes[i]]`` is the group of row ``i``.

    A missing value is the level ``"unknown"``, never a dropped row.
    """

    levels: tuple[str, ...]
    codes: IntArray

    @classmethod
    def from_values(cls, values: Sequence[object]) -> "GroupColumn":
        """Sorted levels; ``None``, NaN and empty text become ``"unknown"``, which sorts last."""
        texts = np.array([_level(value) for value in values], dtype=object)
        found = set(texts.tolist())
        levels = (*sorted(found - {UNKNOWN}), *([UNKNOWN] if UNKNOWN in found else []))
        index = {level: code for code, level in enumerate(levels)}
        return cls(levels, np.array([index[text] for text in texts], dtype=np.int64))

    def take(self, rows: IntArray) -> "GroupColumn":
        """The same levels for a selection of rows."""
        return GroupColumn(self.levels, self.codes[rows])

    def counts(self) -> dict[str, int]:
        """Rows per level."""
        totals = np.bincount(self.codes, minlength=len(self.levels))
        return {level: int(total) for level, total in zip(self.levels, totals, strict=True)}


def _level_counts(column: "GroupColumn", counts: "Counts | None") -> dict[str, int]:
    if counts is None:
        return column.counts()
    totals = np.bincount(column.codes, weights=counts.n, minlength=len(column.levels))
    return {level: int(total) for level, total in zip(column.levels, totals, strict=True)}


def _level(value: object) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return UNKNOWN
    return str(value).strip() or UNKNOWN


@dataclass(frozen=True, slots=True)
class TokenSpace:
    """What token ids mean: ``vocabulary[id]`` is the text, ``padding`` the id that fills rows up."""

    vocabulary: tuple[str, ...]
    padding: int = 0


@dataclass(frozen=True, slots=True)
class FeatureSpace:
    """What the columns of ``inputs`` mean.

    Attributes:
        names: The features a user knows. Several input columns may belong to one (one-hot levels).
        owner: For each input column the index into ``names``, shape ``(n_columns,)``; empty for images.
        image_shape: ``(height, width)`` when a row of inputs is a picture, else ``None``.
        tokens: What the ids mean when a row of inputs is a sequence of token ids, else ``None``.
        levels: For the columns of a table as it was read: the texts behind the codes of each, empty for
            numbers. NaN is a missing value there. Empty for rows that are encoded.
    """

    names: tuple[str, ...]
    owner: tuple[int, ...] = ()
    image_shape: tuple[int, int] | None = None
    tokens: TokenSpace | None = None
    levels: tuple[tuple[str, ...], ...] = ()


@dataclass(frozen=True, slots=True)
class Counts:
    """How many rows each row of a table of counts stands for, and the sums of their (squared) weights."""

    n: IntArray
    weight: FloatArray
    weight_squared: FloatArray

    def take(self, rows: IntArray) -> "Counts":
        """The same for a selection of rows."""
        return Counts(self.n[rows], self.weight[rows], self.weight_squared[rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """Rows to audit. Every array has one entry per row; this is checked at construction.

    Attributes:
        inputs: What the subject is called with, shape ``(n, *d)``, finite; in a table as it was read, NaN
            where a value is missing.
        y_true: Index into ``classes``, shape ``(n,)``.
        classes: Label names in the order of the subject's outputs.
        positive: The favourable label, or ``None`` when the task has none.
        sensitive_features: One column per attribute.
        control_features: Legitimate factors to condition on.
        sample_weight: Non-negative weights, or ``None``.
        is_member: Whether the row was in the subject's training data, or ``None`` when unknown.
        person: Which rows belong to one person, or ``None``.
        scores: Natural logarithms of the probabilities that came with the table, shape ``(n, k)``, or
            ``None``.
        predicted: Labels that came with the table, as index into ``classes``, shape ``(n,)``, or ``None``.
        counts: Where the data are counts, what each row stands for; else ``None``.
        outcome: In regression the number to be foretold, shape ``(n,)``, finite; else ``None``.
        predicted_outcome: In regression, predictions of it that came with the table, shape ``(n,)``, or
            ``None``.
        task: In language modelling ``inputs`` are token ids, ``classes`` the tokens, and ``y_true`` the token
            that follows the last of a row; every token is to be foretold from those before it. In regression
            there are no classes, and ``y_true`` is 0 everywhere and means nothing.

    Raises:
        DataError: Lengths differ, inputs are not finite, labels are out of range, or there are no rows.
    """

    name: str
    source: str
    split: str | None
    inputs: torch.Tensor
    y_true: IntArray
    classes: tuple[str, ...]
    target: str = "label"
    positive: str | None = None
    features: FeatureSpace = field(default_factory=lambda: FeatureSpace(()))
    sensitive_features: Mapping[str, GroupColumn] = field(default_factory=dict)
    control_features: Mapping[str, GroupColumn] = field(default_factory=dict)
    sample_weight: FloatArray | None = None
    is_member: BoolArray | None = None
    person: IntArray | None = None
    scores: FloatArray | None = None
    predicted: IntArray | None = None
    counts: Counts | None = None
    outcome: FloatArray | None = None
    predicted_outcome: FloatArray | None = None
    task: Task = "classification"
    synthetic: bool = False
    planted: tuple[Planted, ...] = ()
    statements: tuple[Message, ...] = ()

    def __post_init__(self) -> None:
        problems = [*self._length_problems(), *self._value_problems()]
        if problems:
            raise DataError(f"{self.name}: " + "; ".join(problems))

    def __len__(self) -> int:
        return int(self.inputs.shape[0])

    def _length_problems(self) -> list[str]:
        n = len(self)
        columns = {
            "y_true": self.y_true,
            "sample_weight": self.sample_weight,
            "is_member": self.is_member,
            "person": self.person,
            "scores": self.scores,
            "predicted": self.predicted,
            "outcome": self.outcome,
            "predicted_outcome": self.predicted_outcome,
            **{f"sensitive feature {key!r}": col.codes for key, col in self.sensitive_features.items()},
            **{f"control feature {key!r}": col.codes for key, col in self.control_features.items()},
        }
        wrong = [
            f"{key} has {len(column)} rows, expected {n} as in inputs"
            for key, column in columns.items()
            if column is not None and len(column) != n
        ]
        return wrong if n else ["there are no rows; check the file and the split", *wrong]

    def _value_problems(self) -> list[str]:
        problems = []
        if self.inputs.is_floating_point():
            finite = torch.isfinite(self.inputs)
            bad = ~(finite | self.inputs.isnan()) if self.features.levels else ~finite
            if bool(bad.any()):
                what = "infinite" if self.features.levels else "NaN or infinite"
                problems.append(f"inputs hold {int(bad.sum())} values that are {what}; impute or drop them")
        problems += self._outcome_problems()
        if (
            self.task != "regression"
            and len(self.y_true)
            and not (int(self.y_true.min()) >= 0 and int(self.y_true.max()) < len(self.classes))
        ):
            problems.append(
                f"labels run from {self.y_true.min()} to {self.y_true.max()}, "
                f"expected 0 to {len(self.classes) - 1} for {len(self.classes)} classes"
            )
        if self.positive is not None and self.positive not in self.classes:
            problems.append(
                f"positive label {self.positive!r} is not one of the classes {list(self.classes)}"
            )
        if self.sample_weight is not None and not (
            np.isfinite(self.sample_weight).all() and (self.sample_weight >= 0).all()
        ):
            problems.append("sample_weight must be finite and not negative")
        return problems

    def _outcome_problems(self) -> list[str]:
        """What is wrong with the numbers of a regression."""
        is_regression = self.task == "regression"
        if is_regression != (self.outcome is not None) or (is_regression and self.classes):
            return ["a regression has outcomes and no classes; other tasks have no outcomes"]
        if self.predicted_outcome is not None and not is_regression:
            return ["predicted_outcome belongs to a regression"]
        return [
            f"{name} holds {int((~np.isfinite(values)).sum())} values that are NaN or infinite; remove them"
            for name, values in (("outcome", self.outcome), ("predicted_outcome", self.predicted_outcome))
            if values is not None and not np.isfinite(values).all()
        ]

    @property
    def positive_index(self) -> int | None:
        """Index of the favourable label in ``classes``."""
        return None if self.positive is None else self.classes.index(self.positive)

    def take(self, rows: IntArray | BoolArray) -> "Dataset":
        """The rows selected by an index or a mask, in that order."""
        index = np.flatnonzero(rows) if rows.dtype == np.bool_ else np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            inputs=self.inputs[torch.from_numpy(index)],
            y_true=self.y_true[index],
            sensitive_features={k: v.take(index) for k, v in self.sensitive_features.items()},
            control_features={k: v.take(index) for k, v in self.control_features.items()},
            sample_weight=None if self.sample_weight is None else self.sample_weight[index],
            is_member=None if self.is_member is None else self.is_member[index],
            person=None if self.person is None else self.person[index],
            scores=None if self.scores is None else self.scores[index],
            counts=None if self.counts is None else self.counts.take(index),
            predicted=None if self.predicted is None else self.predicted[index],
            outcome=None if self.outcome is None else self.outcome[index],
            predicted_outcome=None if self.predicted_outcome is None else self.predicted_outcome[index],
        )

    def sizes(self) -> dict[str, int]:
        """The sizes that an architecture may leave open, by the name of its parameter.

        A regression has one output, which counts as one class.
        """
        n_outputs = 1 if self.task == "regression" else len(self.classes)
        sizes = {"n_inputs": int(np.prod(self.inputs.shape[1:])), "n_classes": n_outputs}
        if self.features.image_shape is not None:
            sizes |= dict(zip(("height", "width"), self.features.image_shape, strict=True))
        if self.features.tokens is not None:
            sizes |= {
                "length": self.inputs.shape[1],
                "vocabulary_size": len(self.features.tokens.vocabulary),
            }
        return sizes

    def held_out(self) -> "Dataset":
        """The rows that were not in the training data; all of them when that is unknown."""
        if self.is_member is None or not self.is_member.any():
            return self
        return self.take(~self.is_member)

    def digest(self) -> str:
        """sha256 over everything that can change a figure."""
        sha = hashlib.sha256()
        for text in (self.task, self.target, *self.classes, str(self.positive), *self.features.names):
            sha.update(text.encode() + b"\0")
        inputs = self.inputs.detach().cpu().contiguous().numpy()
        for array in (
            inputs,
            self.y_true,
            self.sample_weight,
            self.is_member,
            self.person,
            self.scores,
            self.predicted,
            self.outcome,
            self.predicted_outcome,
            *((self.counts.n, self.counts.weight, self.counts.weight_squared) if self.counts else ()),
        ):
            if array is not None:
                sha.update(f"{array.dtype}{array.shape}".encode())
                sha.update(np.ascontiguousarray(array).tobytes())
        for levels in self.features.levels:
            sha.update(f"{len(levels)}".encode() + "\0".join(levels).encode() + b"\0")
        for columns in (self.sensitive_features, self.control_features):
            for key, column in columns.items():
                sha.update("\0".join((key, *column.levels)).encode())
                sha.update(column.codes.tobytes())
        return sha.hexdigest()

    def card(self) -> DataCard:
        """The identity of the held-out rows, with the number of members beside it."""
        held_out = self.held_out()
        return DataCard(
            name=self.name,
            source=self.source,
            split=self.split,
            digest=self.digest(),
            n_rows=len(held_out) if self.counts is None else int(self.counts.n.sum()),
            n_members=None if self.is_member is None else int(self.is_member.sum()),
            n_features=len(self.features.names) or int(np.prod(self.inputs.shape[1:])),
            tokens_per_row=None if self.features.tokens is None else int(self.inputs.shape[1]),
            target=self.target,
            classes=self.classes if self.task == "classification" else (),
            positive=self.positive,
            groups={
                key: _level_counts(column, held_out.counts)
                for key, column in held_out.sensitive_features.items()
            },
            synthetic=self.synthetic,
            planted=self.planted,
            statements=self.statements,
        )

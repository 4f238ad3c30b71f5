"""What the subject says of every row under every level of a sensitive feature."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.attribute_flip_levels import Encoding
from auditkit.data.dataset import BoolArray, Dataset, FloatArray, IntArray
from auditkit.subjects.subject import Predictions, Subject


@dataclass(frozen=True, slots=True)
class Flips:
    """Rows of known level, asked again under other levels.

    Attributes:
        attribute: The sensitive feature.
        features: Inputs that were changed.
        names: All levels of the sensitive feature.
        codes: Own level of each row, shape ``(n,)``.
        given: Levels that rows were given, shape ``(m,)``.
        changed: Whether the predicted class is another one, shape ``(n, m)``; False at the own level.
        favourable: 1 where the prediction becomes the favourable class, -1 where it is so no more, else 0;
            ``None`` without a favourable class.
        moved: How far the stated probabilities move, in ``[0, 1]``, shape ``(n, m)``; ``None`` without any.
        weights: ``None`` where rows count alike.
        units: Which rows belong to one person, or ``None``.
        n_unknown: Rows left out because their level is not known.
    """

    attribute: str
    features: tuple[str, ...]
    names: tuple[str, ...]
    codes: IntArray
    given: IntArray
    changed: BoolArray
    favourable: IntArray | None
    moved: FloatArray | None
    weights: FloatArray | None
    units: IntArray | None
    n_unknown: int

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def others(self) -> BoolArray:
        """Which levels are not the row's own, shape ``(n, m)``."""
        return np.asarray(self.codes[:, None] != self.given, dtype=np.bool_)

    @property
    def any_change(self) -> BoolArray:
        """Whether some other level changes the predicted class, shape ``(n,)``."""
        return np.asarray(self.changed.any(axis=1), dtype=np.bool_)

    def part(self, rows: BoolArray) -> tuple[FloatArray | None, IntArray | None]:
        """Weights and persons of some rows."""
        return (
            None if self.weights is None else self.weights[rows],
            None if self.units is None else self.units[rows],
        )


def flips_of(
    subject: Subject,
    data: Dataset,
    encoding: Encoding,
    *,
    positive: int | None,
    known: BoolArray,
    batch_size: int,
) -> Flips:
    """Ask about all rows once for each level.

    All rows are asked about together, each in the place it has in the data, so that a subject that does not
    read the attribute answers to the last digit what it answered before.

    Args:
        subject: Whom to ask.
        data: Rows with weight.
        encoding: Levels and how they are encoded.
        positive: The favourable class, or ``None``.
        known: Rows whose own level is known; only these are counted.
        batch_size: Rows at once.
    """
    before = subject.predict(data, batch_size=batch_size)
    gives_probabilities = "probabilities" in subject.capabilities
    changed, favourable, moved = [], [], []
    codes = data.sensitive_features[encoding.attribute].codes
    for position, level in enumerate(encoding.levels):
        after = subject.predict(encoding.with_level(data, position), batch_size=batch_size)
        other = codes != level
        changed.append(other & (after.y_pred != before.y_pred))
        if positive is not None:
            step = (after.y_pred == positive).astype(np.int64) - (before.y_pred == positive)
            favourable.append(np.where(other, step, 0))
        if gives_probabilities:
            moved.append(np.where(other, _distance(before, after, positive), 0.0))
    weights = None if data.sample_weight is None else data.sample_weight[known]
    return Flips(
        attribute=encoding.attribute,
        features=encoding.features,
        names=data.sensitive_features[encoding.attribute].levels,
        codes=codes[known],
        given=np.array(encoding.levels, dtype=np.int64),
        changed=np.column_stack(changed)[known],
        favourable=np.column_stack(favourable)[known] if favourable else None,
        moved=np.column_stack(moved)[known] if moved else None,
        weights=None if weights is None or bool((weights == weights[0]).all()) else weights,
        units=None if data.person is None else data.person[known],
        n_unknown=int((~known).sum()),
    )


def _distance(before: Predictions, after: Predictions, positive: int | None) -> FloatArray:
    """Change of the favourable label's probability, or total variation where there is none."""
    if positive is not None:
        return np.abs(after.probabilities[:, positive] - before.probabilities[:, positive])
    return np.asarray(np.abs(after.probabilities - before.probabilities).sum(axis=1) / 2)

"""Which levels of a table are frequent, counted under differential privacy by the first steps.

A row adds to the count of its level in every column. Levels whose noisy count reaches a threshold keep their
name; the columns of all others are 0 in every row, so that the network learns nothing of them.

Noise alone does not hide that a level occurs at all: counts are made of those levels only that some row has.
So the threshold lies so high that the count of a level which a single unit brings along reaches it with
``failure_probability`` at most, even where that unit is in every step. But for this case the rows with that
unit give what a mechanism gives that knows no level of it alone, and of this one the guarantee is that of the
other steps: rows as a whole are private with epsilon at a delta that is larger by this probability.

How many levels a column has is the width of the audited network and taken as public with it; which places
are those of levels without a name does not show, as they come last.

Of 30,000 rows with eight columns and 500 steps of 2,048, of which 25 count, levels of about 300 rows keep
their name at epsilon 1 and of about 130 at epsilon 3; of 1,000 rows with three columns those of 170 and 70.

Sources: Korolova et al. (2009), Releasing search queries and clicks privately (names behind a threshold);
Bun and Steinke (2016), arXiv:1605.02065, section 8 (mechanisms that may fail, and their composition).
"""

import math
from typing import Final

import torch
from scipy.stats import norm
from torch import Tensor

from auditkit.data.preprocessing import CategoricalFeature, TablePreprocessing
from auditkit.data.steps import n_columns
from auditkit.data.told_levels import with_only
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipped_rows import ClippedRows
from auditkit.privacy.clipping import ROUNDING_SLACK, ClippedSums

STEPS_PER_COUNT: Final = 20
"""One step in so many counts levels."""

FEWEST_STEPS, MOST_STEPS = 5, 50
"""Of them; steps are charged in blocks of 50, and the levels are all counted within the first."""


def level_steps(steps: int) -> int:
    """How many of ``steps`` count levels, where there are any; no more than a quarter of few steps."""
    wanted = max(FEWEST_STEPS, steps // STEPS_PER_COUNT)
    return max(1, min(wanted, steps // 4, MOST_STEPS))


def has_levels(steps: TablePreprocessing) -> bool:
    """Whether any column of the table has some."""
    return bool(_places(steps))


class MeasuredLevels:
    """The frequent levels of a table, from rows in which every level has its column.

    Args:
        unscaled: By which the rows were encoded.
        mechanism: Of the training; says how many steps count levels, and with which probability one that
            only a single unit has may be told. Where none counts them, they are public and all are told.
        rows_per_unit: As of the engine that trains.
        device: Where the rows are.
    """

    def __init__(
        self, unscaled: TablePreprocessing, mechanism: Mechanism, rows_per_unit: int, device: torch.device
    ) -> None:
        self._features = _places(unscaled)
        self._mechanism = mechanism
        self._rows_per_unit = rows_per_unit
        self._device = device
        self.n_steps = mechanism.level_steps if self._features else 0
        n_levels = sum(len(places) for places in self._features.values())
        self._told = torch.full((n_levels,), not self.n_steps)
        self._total = torch.zeros(n_levels, dtype=torch.float64)

    @property
    def part(self) -> float:
        """What a unit adds to the counts of one column at most, in one step."""
        norm_left = self._mechanism.max_grad_norm * (1 - 2 * ROUNDING_SLACK)
        return norm_left / math.sqrt(max(1, len(self._features)))

    @property
    def threshold(self) -> float:
        """The least noisy count, over all steps, of a level that is told."""
        plan = self._mechanism
        noise = plan.noise_multiplier * plan.max_grad_norm * math.sqrt(self.n_steps)
        names = len(self._features)
        if self._rows_per_unit > 1:
            names *= self.n_steps * self._rows_per_unit  # rows of a person take turns
        return self.n_steps * self.part + noise * float(norm.isf(plan.failure_probability / names))

    def engine(self, step: int) -> ClippedSums:
        """Counts of the levels, in each of the steps."""
        places = [place for feature in self._features.values() for place in feature]
        columns, part = torch.tensor(places, device=self._device), self.part

        def vectors(inputs: Tensor) -> Tensor:
            return (inputs.index_select(1, columns) > 0).float() * part

        return ClippedRows(
            torch.zeros(len(places), device=self._device),
            self._mechanism.max_grad_norm,
            self._rows_per_unit,
            vectors=vectors,
        )

    def learn(self, step: int, noisy: Tensor) -> None:
        """Add up, and choose at the end."""
        counts = noisy.detach().double().cpu() * self._mechanism.normaliser
        self._total = counts if step == 0 else self._total + counts
        if step + 1 == self.n_steps:
            self._told = self._total >= self.threshold
            self._total = torch.zeros_like(self._total)

    def applied_to(self, steps: TablePreprocessing) -> TablePreprocessing:
        """``steps`` with the names of those levels alone that are told by now."""
        told = iter(self._told.tolist())
        features = tuple(
            with_only(feature, [level for level in feature.levels if next(told)])
            if isinstance(feature, CategoricalFeature)
            else feature
            for feature in steps.features
        )
        return steps.model_copy(update={"features": features})

    def tensors(self) -> dict[str, Tensor]:
        """Which levels are told, and the counts so far."""
        return {"measured levels": self._told.clone(), "measured level counts": self._total.clone()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave."""
        self._told = tensors["measured levels"].clone()
        self._total = tensors["measured level counts"].clone()


def _places(steps: TablePreprocessing) -> dict[str, range]:
    """Of each column with levels, where these stand in a row."""
    found, start = {}, 0
    for feature in steps.features:
        width = n_columns(feature)
        if isinstance(feature, CategoricalFeature) and width:
            found[feature.name] = range(start, start + width)
        start += width
    return found

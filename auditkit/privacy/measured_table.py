"""All that the first steps measure of a table: frequent levels, then centres and scales of numbers."""

import torch
from torch import Tensor

from auditkit.data.preprocessing import TablePreprocessing
from auditkit.data.recoding import Recoding
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipping import ClippedSums
from auditkit.privacy.measured_levels import MeasuredLevels
from auditkit.privacy.measured_scales import MeasuredScales


class MeasuredTable:
    """How the module is to read rows that come in their own unit, with every level.

    Args:
        unscaled: By which the rows were encoded; of its own figures nothing is private, of its levels the
            names are.
        mechanism: Of the training.
        rows_per_unit: As of the engine that trains.
        device: Where the rows are.
    """

    def __init__(
        self, unscaled: TablePreprocessing, mechanism: Mechanism, rows_per_unit: int, device: torch.device
    ) -> None:
        self._unscaled = unscaled
        self._levels = MeasuredLevels(unscaled, mechanism, rows_per_unit, device)
        self._scales = MeasuredScales(unscaled, mechanism, rows_per_unit, device)
        self._read_anew()

    @property
    def n_steps(self) -> int:
        """Of both."""
        return self._levels.n_steps + self._scales.n_steps

    @property
    def preprocessing(self) -> TablePreprocessing:
        """With what was measured; a missing number becomes the centre."""
        return self._preprocessing

    def engine(self, step: int) -> ClippedSums:
        """Counts of levels, then sizes and values of numbers."""
        part, own = self._part(step)
        return part.engine(own)

    def learn(self, step: int, noisy: Tensor) -> None:
        """Take over the noisy sum of a step over the divisor."""
        part, own = self._part(step)
        part.learn(own, noisy)
        self._read_anew()

    def seen(self, inputs: Tensor) -> Tensor:
        """As the module reads them."""
        return self._recoding(inputs)

    def tensors(self) -> dict[str, Tensor]:
        """All that was learned so far."""
        return self._levels.tensors() | self._scales.tensors()

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave."""
        self._levels.restore(tensors)
        self._scales.restore(tensors)
        self._read_anew()

    def _part(self, step: int) -> tuple[MeasuredLevels | MeasuredScales, int]:
        """What a step measures, and the number of the step within that."""
        behind = step - self._levels.n_steps
        return (self._levels, step) if behind < 0 else (self._scales, behind)

    def _read_anew(self) -> None:
        self._preprocessing = self._scales.applied_to(self._levels.applied_to(self._unscaled))
        self._recoding = Recoding.between(self._unscaled, self._preprocessing)

"""What the first steps of a private training measure, before those that train.

They are steps of the same mechanism: the same draws of units, the same norm that each may add, the same
noise and divisor. What is made of their noisy sums costs no privacy of its own, and changes neither epsilon
nor what the ledger says, nor how a training is taken up again.
"""

from typing import Protocol

import torch
from torch import Tensor

from auditkit.data.preprocessing import Preprocessing
from auditkit.errors import AuditkitError
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.clipped_rows import ClippedRows
from auditkit.privacy.clipping import ClippedSums

STEPS_PER_MEAN = 50
"""One step in so many measures the mean of the rows, where it is wanted."""


class FirstSteps(Protocol):
    """Figures that are measured, one step after the other, and how rows look by them.

    Whatever is learned of rows is learned of the noisy means that :meth:`learn` is given.
    """

    @property
    def n_steps(self) -> int:
        """How many steps measure; all later ones train."""
        ...

    @property
    def preprocessing(self) -> Preprocessing | None:
        """By which raw rows become what the trained module reads, as far as was measured."""
        ...

    def engine(self, step: int) -> ClippedSums:
        """What units add in one of these steps, with a single "parameter" in whose shape their sum is."""
        ...

    def learn(self, step: int, noisy: Tensor) -> None:
        """Take over the noisy sum of a step over the divisor; steps come in their order."""
        ...

    def seen(self, inputs: Tensor) -> Tensor:
        """Private rows as the module sees them, by what is known by now."""
        ...

    def tensors(self) -> dict[str, Tensor]:
        """Copies of what was learned, by names that begin with ``measured``."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put back what :meth:`tensors` gave."""
        ...


class NothingMeasured:
    """Every step trains, on rows as they are.

    Args:
        preprocessing: By which they were encoded.
    """

    n_steps = 0

    def __init__(self, preprocessing: Preprocessing | None = None) -> None:
        self.preprocessing = preprocessing

    def engine(self, step: int) -> ClippedSums:
        """There is none."""
        raise AuditkitError(f"step {step} of a private training was to measure something, and nothing is")

    def learn(self, step: int, noisy: Tensor) -> None:
        """Nothing."""

    def seen(self, inputs: Tensor) -> Tensor:
        """As they are."""
        return inputs

    def tensors(self) -> dict[str, Tensor]:
        """None."""
        return {}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Nothing."""


class MeasuredCentre:
    """The mean of the rows, written into ``centre`` of a :class:`CentredLinear`, which takes it off itself.

    Args:
        centre: Shape ``(d,)``, part of the module that is trained.
        mechanism: Of the training.
        rows_per_unit: As of the engine that trains.
        preprocessing: By which the rows were encoded.
    """

    def __init__(
        self,
        centre: Tensor,
        mechanism: Mechanism,
        rows_per_unit: int = 1,
        preprocessing: Preprocessing | None = None,
    ) -> None:
        self.preprocessing = preprocessing
        self._rows = ClippedRows(centre, mechanism.max_grad_norm, rows_per_unit)
        self.n_steps = max(1, mechanism.steps // STEPS_PER_MEAN)

    @property
    def _centre(self) -> Tensor:
        return self._rows.parameters[0]

    def engine(self, step: int) -> ClippedSums:
        """Rows, each clipped."""
        return self._rows

    def learn(self, step: int, noisy: Tensor) -> None:
        """The mean over the steps so far."""
        with torch.no_grad():
            self._centre.lerp_(noisy, 1 / (step + 1))

    def seen(self, inputs: Tensor) -> Tensor:
        """As they are: the module takes the centre off itself."""
        return inputs

    def tensors(self) -> dict[str, Tensor]:
        """The mean."""
        return {"measured centre": self._centre.detach().cpu().clone()}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """Put the mean back."""
        with torch.no_grad():
            self._centre.copy_(tensors["measured centre"])

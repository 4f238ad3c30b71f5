"""Early stopping: the weights of the epoch that did best on rows set aside."""

import math
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from auditkit.config.model import EarlyStoppingConfig
from auditkit.data.dataset import Dataset
from auditkit.data.rows import texts
from auditkit.data.splits import held_out
from auditkit.errors import DataError
from auditkit.models.losses import mean_loss
from auditkit.training.rows import TrainingRows


def set_aside(data: Dataset, config: EarlyStoppingConfig) -> tuple[Dataset, Dataset]:
    """Rows to train on and rows to validate on; rows of one person stay together.

    Which rows these are depends on the data alone, not on the seed.

    Raises:
        DataError: A part would be empty.
    """
    person = None if data.person is None else texts([str(code) for code in data.person.tolist()])
    validation = held_out(len(data), config.validation_fraction, name="validation", person=person)
    if not validation.any() or validation.all():
        raise DataError(f"{data.name}: {len(data)} rows are too few to set some aside for early stopping")
    return data.take(np.flatnonzero(~validation)), data.take(np.flatnonzero(validation))


@dataclass(slots=True)
class Validation:
    """The smallest loss so far and the weights that gave it.

    Attributes:
        rows: Those set aside, on the device of the module.
        patience: Epochs without a smaller loss after which training stops.
        batch_size: Rows evaluated at once.
    """

    rows: TrainingRows
    patience: int
    batch_size: int
    kept_epoch: int = 0
    _smallest: float = math.inf
    _weights: dict[str, torch.Tensor] = field(default_factory=dict)

    def observe(self, module: nn.Module, epoch: int) -> bool:
        """Evaluate after ``epoch``; whether to go on."""
        loss = self.loss_of(module)
        if loss < self._smallest:
            self._smallest, self.kept_epoch = loss, epoch
            self._weights = {name: tensor.clone() for name, tensor in module.state_dict().items()}
        return epoch - self.kept_epoch < self.patience

    def loss_of(self, module: nn.Module) -> float:
        """Mean loss in evaluation mode; the module keeps its mode."""
        training = module.training
        module.eval()
        total, count = 0.0, 0
        with torch.no_grad():
            for part in self.rows.parts(self.batch_size):
                counted = len(part) if part.targets.is_floating_point() else int((part.targets >= 0).sum())
                total += float(mean_loss(module(part.inputs), part.targets)) * counted
                count += counted
        module.train(training)
        return total / count

    def restore(self, module: nn.Module) -> None:
        """Put the best weights back."""
        if self._weights:
            module.load_state_dict(self._weights)

"""Adversarial debiasing: a model learns to foretell the label while an adversary fails to foretell a group.

Source: Zhang, Lemoine and Mitchell (2018), arXiv:1801.07593, sections 3 and 4.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import nn
from torch.nn import functional

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.errors import UsageError
from auditkit.models.losses import class_logits, per_row_loss
from auditkit.models.zoo import build_module, complete
from auditkit.randomness import derive_seed, global_generators_seeded, torch_rng
from auditkit.records import TrainingRecord
from auditkit.training.optimizers import Stepper
from auditkit.training.rows import TrainingRows
from auditkit.training.threads import batch_flops, threads_for
from auditkit.variants.mitigate_task import CONDITIONS, BinaryTask, Constraint

Progress = Callable[[int, int, str], None]

ADVERSARY_LEARNING_RATE = 0.05
"""Of Adam. The adversary has a handful of parameters and must keep up with the model: at 0.01 it lagged
behind, and gaps came back with the other sign."""

LEAST_AVERAGING = 0.98
"""Decay of the running average of the weights. The two turn around each other; their average settles."""

_UNUSED = {"augmentation": None, "early_stopping": None, "precision": "float32", "compile": False}
"""Settings of a recipe that this training does not have, with the value that leaves them off."""


class Adversary(nn.Module):
    """Foretells the group from ``s = sigmoid((1 + |c|) logit)`` and, for equalized odds, the label.

    A linear layer, as in section 4 of the paper, with one output per group. For equalized odds it reads
    ``s y``, ``s (1 - y)`` and ``y``; otherwise ``s`` alone, of those rows whose rates are to be equal.
    """

    def __init__(self, n_groups: int, constraint: Constraint) -> None:
        super().__init__()
        self.conditions = CONDITIONS[constraint]
        self.sharpness = nn.Parameter(torch.ones(()))
        self.output = nn.Linear(3 if len(self.conditions) > 1 else 1, n_groups)

    def forward(self, logit: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """Logits of the groups, shape ``(n, n_groups)``, for logits and labels of shape ``(n,)``."""
        score = torch.sigmoid((1 + self.sharpness.abs()) * logit)
        columns: tuple[torch.Tensor, ...] = (score,)
        if len(self.conditions) > 1:
            label = positive.to(score.dtype)
            columns = (score * label, score * (1 - label), label)
        outputs: torch.Tensor = self.output(torch.stack(columns, dim=1))
        return outputs

    def counted(self, group: torch.Tensor, positive: torch.Tensor) -> torch.Tensor:
        """Rows that the adversary learns from: of a known group, and with the label that counts."""
        counted = group >= 0
        if len(self.conditions) == 1 and self.conditions[0] is not None:
            counted &= positive == self.conditions[0]
        return counted


def debiased_gradient(
    model: Sequence[torch.Tensor], adversary: Sequence[torch.Tensor], strength: float
) -> list[torch.Tensor]:
    """``g - proj_h g - strength h``, for ``g`` and ``h`` the gradients of both losses in the weights.

    The projection keeps the model from helping the adversary; the last term works against it (equation 1).
    Both gradients are taken as one vector over all tensors.
    """
    inner = sum(((g * h).sum() for g, h in zip(model, adversary, strict=True)), torch.zeros(()))
    square = sum(((h * h).sum() for h in adversary), torch.zeros(()))
    share = torch.where(square > 0, inner / square.clamp(min=torch.finfo(square.dtype).tiny), 0.0)
    return [g - (share + strength) * h for g, h in zip(model, adversary, strict=True)]


def unused_settings(config: TrainingConfig) -> list[str]:
    """Settings of the recipe that are on and play no part here."""
    return [name for name, off in _UNUSED.items() if getattr(config, name) != off]


def settled(config: TrainingConfig) -> TrainingConfig:
    """The recipe with a running average of the weights, and a rate that falls: else neither side settles."""
    schedule = "cosine" if config.schedule == "constant" else config.schedule
    return config.model_copy(
        update={"averaging": max(config.averaging, LEAST_AVERAGING), "schedule": schedule}
    )


@dataclass(frozen=True, slots=True)
class Aim:
    """Which rates are to be equal, and how hard the model works against its adversary (alpha)."""

    constraint: Constraint
    strength: float


@dataclass(frozen=True, slots=True)
class Debiased:
    """A trained module, the architecture with all sizes, and the record of the training."""

    module: nn.Module
    architecture: Architecture
    training: TrainingRecord


def adversarial_fit(
    architecture: Architecture,
    data: Dataset,
    task: BinaryTask,
    config: TrainingConfig,
    *,
    aim: Aim,
    seed: int,
    device: str,
    report_progress: Progress,
) -> Debiased:
    """Train a new module against an adversary, with the optimiser, rate, batches and epochs of ``config``.

    See :func:`settled` for what is added to it.

    Raises:
        UsageError: The loss became NaN or infinite.
    """
    config = settled(config)
    full = complete(architecture, **data.sizes())
    module = build_module(full, rng=torch_rng(seed, "adversarial", "initial values")).to(device)
    with global_generators_seeded(derive_seed(seed, "adversarial", "adversary")):
        adversary = Adversary(len(task.levels), aim.constraint).to(device)
    duel = _Duel(module, adversary, config, aim.strength, data.positive_index or 0)
    rows = _Rows.of(data, task, device)
    started = time.perf_counter()
    with (
        global_generators_seeded(derive_seed(seed, "adversarial", "dropout")),
        threads_for(batch_flops(module, data.inputs[:1].to(device), config.batch_size)),
    ):
        steps, loss = duel.run(rows, torch_rng(seed, "adversarial", "order"), report_progress)
    duration_s = time.perf_counter() - started
    mitigation = {"method": "adversarial", "constraint": aim.constraint, "strength": aim.strength}
    record = TrainingRecord(
        steps=steps,
        epochs=config.epochs,
        duration_s=duration_s,
        samples_per_s=config.epochs * len(data) / duration_s,
        seed=seed,
        data_source=data.source,
        data_digest=data.digest(),
        n_rows=len(data),
        recipe={
            **config.model_dump(mode="json"),
            "architecture": full.model_dump(mode="json"),
            "mitigation": {**mitigation, "attribute": task.attribute},
        },
        final_loss=loss,
    )
    return Debiased(module.eval(), full, record)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Training rows with the group of each; ``-1`` where it is unknown."""

    rows: TrainingRows
    group: torch.Tensor

    @classmethod
    def of(cls, data: Dataset, task: BinaryTask, device: str) -> "_Rows":
        return cls(TrainingRows.of(data, device), torch.from_numpy(task.group).to(device))

    def shuffled(self, size: int, rng: torch.Generator) -> Iterator["_Rows"]:
        order = torch.randperm(len(self.group), generator=rng).to(self.group.device)
        for start in range(0, len(order), size):
            part = order[start : start + size]
            yield _Rows(self.rows.take(part), self.group[part])


@dataclass(frozen=True, slots=True)
class _Duel:
    """A model and its adversary, trained in turns on the same batches, in place."""

    module: nn.Module
    adversary: Adversary
    config: TrainingConfig
    strength: float
    positive: int

    def run(self, rows: _Rows, rng: torch.Generator, report: Progress) -> tuple[int, float]:
        """Steps taken, and the mean loss of the model over the last epoch in nats."""
        config = self.config
        per_step = config.batch_size * config.accumulate
        total = config.epochs * math.ceil(len(rows.group) / per_step)
        stepper = Stepper.of(self.module, config, total)
        opponent = torch.optim.Adam(self.adversary.parameters(), lr=ADVERSARY_LEARNING_RATE)
        self.module.train()
        loss = math.nan
        for epoch in range(1, config.epochs + 1):
            summed = torch.zeros((), dtype=torch.float64, device=rows.group.device)
            for batch in rows.shuffled(per_step, rng):
                summed += self._step(batch, stepper, opponent) * len(batch.group)
            loss = float(summed) / len(rows.group)
            if not math.isfinite(loss):
                raise UsageError(
                    f"mitigate: the loss became {loss} in epoch {epoch} at strength {self.strength:g}; lower "
                    "strengths, or subject.training.learning_rate"
                )
            report(stepper.taken, total, f"epoch {epoch} of {config.epochs}, loss {loss:.4f}")
        stepper.exchange_average()
        return stepper.taken, loss

    def _step(self, batch: _Rows, stepper: Stepper, opponent: torch.optim.Optimizer) -> torch.Tensor:
        """Move both along their gradients; returns the loss of the model before."""
        outputs = class_logits(self.module(batch.rows.inputs))
        loss = self._loss(outputs, batch.rows)
        gradients = list(
            torch.autograd.grad(loss, stepper.parameters, retain_graph=True, materialize_grads=True)
        )
        against = self._adversary_loss(outputs, batch)
        if against is not None:
            own = list(self.adversary.parameters())
            found = torch.autograd.grad(against, [*stepper.parameters, *own], materialize_grads=True)
            n = len(stepper.parameters)
            gradients = debiased_gradient(gradients, found[:n], self.strength)
            for parameter, gradient in zip(own, found[n:], strict=True):
                parameter.grad = gradient
            opponent.step()
        for weight, gradient in zip(stepper.parameters, gradients, strict=True):
            weight.grad = gradient
        stepper.step()
        return loss.detach()

    def _loss(self, outputs: torch.Tensor, rows: TrainingRows) -> torch.Tensor:
        losses = per_row_loss(outputs, rows.targets, label_smoothing=self.config.label_smoothing)
        return losses.mean() if rows.weight is None else (losses * rows.weight).mean()

    def _adversary_loss(self, outputs: torch.Tensor, batch: _Rows) -> torch.Tensor | None:
        """Cross-entropy of the group over the rows that count; ``None`` where the batch has none."""
        positive = batch.rows.targets == self.positive
        counted = self.adversary.counted(batch.group, positive)
        if not bool(counted.any()):
            return None
        logit = outputs[:, self.positive] - outputs[:, 1 - self.positive]
        guesses = self.adversary(logit[counted], positive[counted])
        losses = functional.cross_entropy(guesses, batch.group[counted], reduction="none")
        return losses.mean() if batch.rows.weight is None else (losses * batch.rows.weight[counted]).mean()

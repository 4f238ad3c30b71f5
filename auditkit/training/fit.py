"""The training loop: cross-entropy or squared error on shuffled batches, reproducible, without a trace."""

import math
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import nn

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import Preprocessing, ValueTablePreprocessing
from auditkit.errors import ConfigError, DataError, Problem, UsageError
from auditkit.models.frozen_front import FrozenFront
from auditkit.models.losses import by_row, mean_loss, per_row_loss
from auditkit.models.own_class import require_answers
from auditkit.models.zoo import build_module, complete, require_value_model
from auditkit.randomness import derive_seed, global_generators_seeded, torch_rng
from auditkit.records import UNTRAINED, Message, TrainingRecord
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.augmentation import Augment, augmentation_of
from auditkit.training.optimizers import Stepper
from auditkit.training.rows import TrainingRows
from auditkit.training.threads import batch_flops, threads_for
from auditkit.training.untrained import fixed_values, untrained_names
from auditkit.training.validation import Validation, set_aside

Progress = Callable[[int, int, str], None]

_REPORTS = 100


def no_progress(_done: int, _total: int, _text: str) -> None:
    """Report to nobody."""


def fit(
    architecture: Architecture,
    data: Dataset,
    config: TrainingConfig,
    *,
    seed: int,
    device: str = "cpu",
    title: str = "model",
    preprocessing: Preprocessing | None = None,
    report_progress: Progress = no_progress,
) -> TorchSubject:
    """Train a new module on the rows of ``data``.

    Initial values, order of rows and dropout come from streams of their own under ``seed``; on a CPU the
    same seed gives the same weights bit for bit. Sample weights are scaled to a mean of 1 and multiply the
    loss of their rows. The target of a regression is standardised by ``preprocessing``.

    Args:
        architecture: Sizes that it leaves open are those of the data.
        data: The training rows, encoded. Early stopping sets some of them aside.
        config: Optimiser, learning rate, batch size, epochs, and what else a recipe may say.
        seed: Of all randomness.
        device: Where it is trained and stays.
        title: What the report calls the model.
        preprocessing: How ``data`` was encoded; kept with the subject.
        report_progress: Called with steps done, steps in all, and a text.

    Raises:
        DataError: All rows have the same label or outcome, or the weights are all 0.
        ConfigError: The architecture is unknown or does not fit the data, fails on them if it is a class of
            the user, or the augmentation does not fit.
        UsageError: The loss became NaN or infinite.
    """
    _check(data)
    scale = _scale_of(data, config, preprocessing)
    if data.task == "regression":
        require_value_model(architecture)
    full = complete(architecture, **data.sizes())
    module = build_module(full, rng=torch_rng(seed, "fit", "initial values")).to(device)
    with global_generators_seeded(derive_seed(seed, "fit", "first look")):
        require_answers(module, full.name, data.inputs[:2].to(device))
    trained, validated = data, None
    if config.early_stopping is not None:
        trained, validated = set_aside(data, config.early_stopping)
    training = _Training(
        module=module,
        rows=TrainingRows.of(trained, device, scale),
        config=config,
        seed=seed,
        augment=augmentation_of(
            config.augmentation, data, preprocessing, torch_rng(seed, "fit", "augmentation")
        ),
        validation=_validation(validated, config, device, scale),
        report=report_progress,
    ).behind_front()
    fixed = fixed_values(module)
    started = time.perf_counter()
    with (
        global_generators_seeded(derive_seed(seed, "fit", "dropout")),
        threads_for(batch_flops(module, data.inputs[:1].to(device), config.batch_size)),
    ):
        done = training.run()
    duration_s = time.perf_counter() - started
    record = TrainingRecord(
        steps=done.steps,
        epochs=done.epochs,
        duration_s=duration_s,
        samples_per_s=done.epochs * len(trained) / duration_s,
        seed=seed,
        data_source=data.source,
        data_digest=data.digest(),
        n_rows=len(trained),
        recipe={
            **config.model_dump(mode="json"),
            "architecture": full.model_dump(mode="json"),
            UNTRAINED: untrained_names(module, fixed),
        },
        final_loss=done.final_loss,
    )
    return TorchSubject.build(
        module,
        title=title,
        source="training",
        architecture=full,
        classes=data.classes,
        preprocessing=preprocessing,
        training=record,
        statements=_statements(config, device, training.validation, done),
        device=device,
    )


@dataclass(frozen=True, slots=True)
class _Done:
    """What a training took, and the mean loss over its last epoch.

    It is in nats, or the squared error in units of the variance of the target.
    """

    steps: int
    epochs: int
    final_loss: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Training:
    """One training of one module, in place."""

    module: nn.Module
    rows: TrainingRows
    config: TrainingConfig
    seed: int
    augment: Augment
    validation: Validation | None
    report: Progress

    def behind_front(self) -> "_Training":
        """The training of what stands behind a frozen front, on features that are computed once.

        Rows that are changed anew in every epoch have no features to keep: they pass the front each time.
        """
        front = self.module
        if not isinstance(front, FrozenFront) or self.config.augmentation is not None:
            return self

        def behind(rows: TrainingRows) -> TrainingRows:
            return replace(rows, inputs=front.features(rows.inputs))

        validation = self.validation and replace(self.validation, rows=behind(self.validation.rows))
        return replace(self, module=front.output, rows=behind(self.rows), validation=validation)

    def run(self) -> _Done:
        config = self.config
        per_step = config.batch_size * config.accumulate
        total = config.epochs * math.ceil(len(self.rows) / per_step)
        stepper = Stepper.of(self.module, config, total)
        forward = torch.compile(self.module) if config.compile else self.module
        rng = torch_rng(self.seed, "fit", "order")
        every = max(1, total // _REPORTS)
        self.module.train()
        loss, epoch = math.nan, 0
        for epoch in range(1, config.epochs + 1):
            loss = 0.0
            summed = torch.zeros((), dtype=torch.float64, device=self.rows.targets.device)
            for batch in self.rows.shuffled(per_step, rng):
                summed += self._backward(forward, batch) * len(batch)
                stepper.step()
                if stepper.taken % every == 0:
                    self.report(stepper.taken, total, f"epoch {epoch} of {config.epochs}")
            loss = float(summed) / len(self.rows)
            self._require_finite(loss, epoch)
            self.report(stepper.taken, total, f"epoch {epoch} of {config.epochs}, loss {loss:.4f}")
            if self._is_enough(stepper, epoch):
                break
        self._finish(stepper)
        return _Done(stepper.taken, epoch, loss)

    def _backward(self, forward: Callable[..., torch.Tensor], batch: TrainingRows) -> torch.Tensor:
        """Gradients of the mean loss of one step's rows; returns that loss."""
        loss = torch.zeros((), device=batch.targets.device)
        for part in batch.parts(self.config.batch_size):
            with self._precision():
                outputs = by_row(forward(self.augment(part.inputs)), len(part))
            own = self._loss(outputs.float(), part) * (len(part) / len(batch))
            own.backward()  # type: ignore[no-untyped-call]  # torch leaves it untyped
            loss += own.detach()
        return loss

    def _loss(self, outputs: torch.Tensor, part: TrainingRows) -> torch.Tensor:
        smoothing = self.config.label_smoothing
        if part.weight is None:
            return mean_loss(outputs, part.targets, label_smoothing=smoothing)
        return (per_row_loss(outputs, part.targets, label_smoothing=smoothing) * part.weight).mean()

    def _precision(self) -> AbstractContextManager[object]:
        if self.config.precision == "mixed" and self.rows.targets.device.type == "cuda":
            return torch.autocast("cuda", dtype=torch.bfloat16)
        return nullcontext()

    def _is_enough(self, stepper: Stepper, epoch: int) -> bool:
        if self.validation is None:
            return False
        stepper.exchange_average()
        go_on = self.validation.observe(self.module, epoch)
        stepper.exchange_average()
        return not go_on

    def _finish(self, stepper: Stepper) -> None:
        if self.validation is None:
            stepper.exchange_average()
        else:
            self.validation.restore(self.module)
        self.module.eval()

    def _require_finite(self, loss: float, epoch: int) -> None:
        if not math.isfinite(loss):
            raise UsageError(
                f"training: the loss became {loss} in epoch {epoch} at learning rate "
                f"{self.config.learning_rate:g}; lower subject.training.learning_rate"
            )


def _validation(
    data: Dataset | None, config: TrainingConfig, device: str, scale: ValueTablePreprocessing | None
) -> Validation | None:
    if data is None or config.early_stopping is None:
        return None
    return Validation(
        TrainingRows.of(data, device, scale), config.early_stopping.patience, max(256, config.batch_size)
    )


def _scale_of(
    data: Dataset, config: TrainingConfig, preprocessing: Preprocessing | None
) -> ValueTablePreprocessing | None:
    """On which scale numbers are learned; ``None`` where labels are.

    Raises:
        ConfigError: The recipe has settings that are for labels.
        UsageError: The scale is not given.
    """
    if data.task != "regression":
        return None
    if config.label_smoothing:
        path = ("subject", "training", "label_smoothing")
        raise ConfigError([Problem("is for labels, and data.task is regression; remove it", path)])
    if not isinstance(preprocessing, ValueTablePreprocessing):
        raise UsageError(f"{data.name}: a regression needs the preprocessing that fit_preprocessing gives")
    return preprocessing


def _statements(
    config: TrainingConfig, device: str, validation: Validation | None, done: _Done
) -> tuple[Message, ...]:
    found = []
    if config.precision == "mixed" and not device.startswith("cuda"):
        found.append(
            Message(text="Mixed precision was asked for; on a CPU the training ran in single precision.")
        )
    if validation is not None:
        text = (
            "Of {epochs} epochs the weights of epoch {kept} were kept: the smallest loss on {n} training "
            "rows set aside for that."
        )
        values = {"epochs": done.epochs, "kept": validation.kept_epoch, "n": len(validation.rows)}
        found.append(Message(text=text, values=values))
    return tuple(found)


def _check(data: Dataset) -> None:
    if data.outcome is not None:
        if float(data.outcome.min()) == float(data.outcome.max()):
            raise DataError(
                f"{data.name}: all {len(data)} training rows have the outcome {data.outcome[0]:g}; "
                "there is nothing to learn"
            )
        _check_weight(data)
        return
    seen = np.unique(data.y_true)
    if len(seen) < 2:
        only = data.classes[int(seen[0])]
        raise DataError(
            f"{data.name}: all {len(data)} training rows have the label {only!r}; "
            "a classifier needs two or more"
        )
    _check_weight(data)


def _check_weight(data: Dataset) -> None:
    if data.sample_weight is not None and not data.sample_weight.any():
        raise DataError(f"{data.name}: all training rows have the weight 0")

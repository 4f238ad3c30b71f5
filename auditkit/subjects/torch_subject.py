"""A torch module as a subject."""

import copy
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import fx, nn
from torch.nn import functional

from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FloatArray, Task
from auditkit.data.preprocessing import LanguagePreprocessing, Preprocessing, ValueTablePreprocessing
from auditkit.data.sequences import NOT_COUNTED, targets_of
from auditkit.errors import UsageError
from auditkit.models.losses import by_row, class_logits, values_of
from auditkit.records import Certificate, Message, SubjectCard, TrainingRecord
from auditkit.subjects.subject import Capability, Predictions, TokenLosses, no_labels

MOST_LOGITS = 2**26
"""Numbers that a model of language may give at once: 256 MiB in single precision."""

FEWEST_ROWS = 16
"""Products of matrices with very few rows take another path, which ends in other last digits. A short last
batch is filled up to so many, so that what is said of a row does not depend on how many stand beside it."""


@dataclass(frozen=True, slots=True)
class TorchSubject:
    """A classifier, regression or model of language in evaluation mode with the preprocessing of its inputs.

    Attributes:
        card: Identity, with the digest of the weights.
        module: In evaluation mode on ``device``; every parameter keeps its ``requires_grad``.
        architecture: Name and parameters from which the module can be built again.
        preprocessing: How raw rows become inputs; ``None`` when inputs are used as they are.
        device: Where the parameters are.
    """

    card: SubjectCard
    module: nn.Module
    architecture: Architecture
    preprocessing: Preprocessing | None
    device: torch.device

    @classmethod
    def build(  # noqa: PLR0913 - every part of the card, by keyword
        cls,
        module: nn.Module,
        *,
        name: str = "baseline",
        title: str = "model",
        kind: str = "baseline",
        source: str = "memory",
        architecture: Architecture,
        classes: tuple[str, ...],
        preprocessing: Preprocessing | None = None,
        training: TrainingRecord | None = None,
        certificate: Certificate | None = None,
        statements: tuple[Message, ...] = (),
        size_b: int | None = None,
        device: str | torch.device = "cpu",
    ) -> "TorchSubject":
        """Put ``module`` on ``device`` in evaluation mode and write its card.

        ``size_b`` is the stored size when it differs from the parameters in memory (int8 variants).
        """
        place = torch.device(device)
        module = module.to(place).eval()
        tensors = [*module.parameters(), *module.buffers()]
        in_memory_b = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        card = SubjectCard(
            name=name,
            title=title,
            kind=kind,
            source=source,
            digest=_digest(module, architecture, preprocessing),
            architecture=architecture.name,
            n_parameters=sum(parameter.numel() for parameter in module.parameters()),
            size_b=in_memory_b if size_b is None else size_b,
            classes=() if isinstance(preprocessing, LanguagePreprocessing) else classes,
            capabilities=tuple(sorted(_capabilities(module, preprocessing, training))),
            training=training,
            certificate=certificate,
            statements=statements,
        )
        return cls(card, module, architecture, preprocessing, place)

    @property
    def capabilities(self) -> frozenset[Capability]:
        """Everything that the module allows; ``recipe`` when the training is on record."""
        return _capabilities(self.module, self.preprocessing, self.card.training)

    @property
    def task(self) -> Task:
        """What the module does; decided by what its inputs are."""
        if isinstance(self.preprocessing, ValueTablePreprocessing):
            return "regression"
        return (
            "language-modelling"
            if isinstance(self.preprocessing, LanguagePreprocessing)
            else "classification"
        )

    def logits(self, inputs: torch.Tensor) -> torch.Tensor:
        """Unnormalised log-probabilities, shape ``(n, k)`` with ``k >= 2``.

        A single output is taken as the logit of the second class. Log-probabilities pass unchanged in
        meaning, because log-softmax leaves them as they are. A model of language answers with the token that
        follows the last one of each row. In a regression these are numbers on the scale of the training,
        shape ``(n, 1)``.

        Raises:
            UsageError: The module does not answer with one row of numbers per row.
        """
        # A module may write into its inputs; the rows of the caller are not to change.
        given = inputs if inputs.requires_grad else inputs.clone()
        outputs = by_row(self.module(given), len(inputs))
        if self.task == "regression":
            return values_of(outputs).unsqueeze(1)
        if self.task == "language-modelling":
            last = (inputs != self._padding).sum(dim=1).clamp(min=1) - 1
            return outputs[torch.arange(len(inputs), device=inputs.device), last]
        return class_logits(outputs)

    def predict(self, data: Dataset, *, batch_size: int) -> Predictions:
        """Log-probabilities of all rows, in float64.

        Raises:
            UsageError: It foretells numbers, or its answers are none.
        """
        if self.task == "regression":
            raise no_labels(self.card.title)
        logarithms = torch.log_softmax(self._outputs(data, batch_size), dim=1)
        unknown = int(logarithms.isnan().any(dim=1).sum())
        if unknown:
            raise UsageError(
                f"{self.card.title}: the logits of {unknown} of {len(data)} rows are NaN or infinite, which "
                "is no answer. Look for a division by 0, the logarithm of a number below 0, or an overflow "
                "in the model, and for NaN in the rows"
            )
        return Predictions(logarithms.numpy())

    def predict_values(self, data: Dataset, *, batch_size: int) -> FloatArray:
        """The number foretold for every row, in the unit of the target, float64.

        Raises:
            UsageError: It is no regression, or foretells a number that is not finite.
        """
        scale = self.preprocessing
        if not isinstance(scale, ValueTablePreprocessing):
            raise UsageError(f"{self.card.title}: tells classes, not numbers")
        values: FloatArray = self._outputs(data, batch_size)[:, 0].numpy() * scale.scale + scale.mean
        if not np.isfinite(values).all():
            raise UsageError(
                f"{self.card.title}: {int((~np.isfinite(values)).sum())} of {len(values)} foretold numbers "
                "are not finite"
            )
        return values

    def _outputs(self, data: Dataset, batch_size: int) -> torch.Tensor:
        """What :meth:`logits` says of all rows, float64, on the CPU."""
        parts = []
        with torch.inference_mode():
            for start in range(0, len(data), batch_size):
                rows = data.inputs[start : start + batch_size]
                batch = _filled(rows, min(batch_size, FEWEST_ROWS)).to(self.device)
                parts.append(self.logits(batch)[: len(rows)].double().cpu())
        return torch.cat(parts)

    def token_losses(self, data: Dataset, *, batch_size: int) -> TokenLosses:
        """The loss of every token, in nats and float64."""
        targets, parts = targets_of(data), []
        step = max(1, min(batch_size, MOST_LOGITS // (targets.shape[1] * len(data.classes))))
        with torch.inference_mode():
            for start in range(0, len(data), step):
                rows = slice(start, start + step)
                outputs = self.module(data.inputs[rows].to(self.device, copy=True))
                parts.append(_of_tokens(outputs, targets[rows].to(self.device)))
        nats, foretold = (torch.cat(part).cpu().numpy() for part in zip(*parts, strict=True))
        return TokenLosses(nats, (targets != NOT_COUNTED).numpy(), foretold)

    @property
    def _padding(self) -> int:
        return getattr(getattr(self.preprocessing, "tokenizer", None), "padding", 0)

    def state(self) -> Mapping[str, torch.Tensor]:
        """Parameters and buffers by name."""
        return self.module.state_dict()

    def copy_module(self) -> nn.Module:
        """A deep copy of the module, for variants to change."""
        return copy.deepcopy(self.module)

    def to(self, device: str | torch.device) -> "TorchSubject":
        """The same subject on another device. The module is moved, not copied."""
        place = torch.device(device)
        return TorchSubject(self.card, self.module.to(place), self.architecture, self.preprocessing, place)


def _filled(rows: torch.Tensor, least: int) -> torch.Tensor:
    """``rows``, the last one repeated where there are fewer than ``least``."""
    absent = least - len(rows)
    return rows if absent <= 0 else torch.cat([rows, rows[-1:].expand(absent, *rows.shape[1:])])


def _capabilities(
    module: nn.Module, preprocessing: Preprocessing | None, training: TrainingRecord | None
) -> frozenset[Capability]:
    is_regression = isinstance(preprocessing, ValueTablePreprocessing)
    # Audits that follow gradients or losses take outputs as logits of classes.
    found: set[Capability] = {"values"} if is_regression else {"losses", "gradients"}
    # A compiled graph computes without calling its parts: hooks on them never fire.
    if not any(isinstance(part, torch.jit.ScriptModule | fx.GraphModule) for part in module.modules()):
        found.add("layers")
    if isinstance(preprocessing, LanguagePreprocessing):
        found.add("generative")
    elif not is_regression:
        found |= {"predictions", "probabilities"}
    return frozenset(found | ({"recipe"} if training else set()))


def _of_tokens(outputs: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Loss of each token, and whether it was the most probable one; rows one by one, to keep memory small."""
    nats = torch.stack(
        [
            functional.cross_entropy(row.double(), target, ignore_index=NOT_COUNTED, reduction="none")
            for row, target in zip(outputs, targets, strict=True)
        ]
    )
    return nats, outputs.argmax(dim=2) == targets


def weights_digest(module: nn.Module) -> str:
    """sha256 over names, shapes, types and values of all parameters and buffers."""
    sha = hashlib.sha256()
    for name, tensor in sorted(module.state_dict().items()):
        sha.update(f"{name}{tuple(tensor.shape)}{tensor.dtype}".encode())
        flat = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        sha.update(flat.numpy())
    return sha.hexdigest()


def _digest(module: nn.Module, architecture: Architecture, preprocessing: Preprocessing | None) -> str:
    sha = hashlib.sha256(weights_digest(module).encode())
    sha.update(architecture.model_dump_json().encode())
    sha.update(preprocessing.model_dump_json().encode() if preprocessing else b"")
    return sha.hexdigest()

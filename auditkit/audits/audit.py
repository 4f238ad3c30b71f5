"""What an audit is: a frozen set of parameters that turns a subject and data into measurements.

One audit is one file. It is found by its entry point; nothing else in the package names it. Audits are
stateless, never write files, never print and never judge.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Generic, Literal, TypeVar

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict

from auditkit.data.dataset import Dataset
from auditkit.data.files import find_file
from auditkit.randomness import derive_seed, numpy_rng, torch_rng
from auditkit.records import Evidence, Measurement, Message
from auditkit.subjects.subject import Subject

Requirement = Literal[
    "predictions",
    "probabilities",
    "losses",
    "scores",
    "gradients",
    "layers",
    "recipe",
    "generative",
    "texts",
    "values",
    "sensitive_features",
    "members",
    "positive",
    "single_rows",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditInfo:
    """What the registry, the runner and the report need to know without running the audit.

    Attributes:
        name: As in the config and in figure addresses.
        version: Raised whenever the same inputs would give other figures; part of the result's key.
        area: Chapter of the report: performance, fairness, explainability, privacy, robustness, compute.
        question: What is asked of the subject, in one sentence.
        requires: Capabilities of the subject and parts of the data without which it is skipped.
        limits: What a reader may not conclude; printed beside the figures.
        sources: Where the methods come from.
        timed_metrics: Metrics that rest on clocks or counters, and so differ from run to run.
        reads_counts: Whether rows that stand for several (``data.counts``) are counted as such; an audit that
            looks at single rows is skipped on them.
    """

    name: str
    version: int
    area: str
    question: str
    requires: frozenset[Requirement] = frozenset({"predictions"})
    limits: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()
    timed_metrics: frozenset[str] = frozenset()
    reads_counts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditContext:
    """What the runner grants an audit: randomness, batch size and device.

    The seed is derived from the run's seed and the audit's name, so figures depend neither on the order
    of the audits nor on where they run. ``batch_size`` must not change a figure beyond rounding.
    """

    seed: int
    batch_size: int = 256
    device: str = "cpu"

    def numpy_rng(self, *names: str) -> np.random.Generator:
        """The NumPy stream of this audit called ``names``."""
        return numpy_rng(self.seed, *names)

    def torch_rng(self, *names: str) -> torch.Generator:
        """The torch (CPU) stream of this audit called ``names``."""
        return torch_rng(self.seed, *names)

    def derive_seed(self, *names: str) -> int:
        """A seed for engines that take an integer."""
        return derive_seed(self.seed, *names)


@dataclass(frozen=True, slots=True)
class AuditOutput:
    """What an audit returns. ``notes`` are limits that apply to this subject or data in particular."""

    measurements: Sequence[Measurement]
    evidence: Sequence[Evidence] = ()
    notes: Sequence[Message] = field(default=())


class Audit(BaseModel, ABC):
    """Base of all audits. Subclass fields are the parameters a user may set in the config."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)
    info: ClassVar[AuditInfo]

    @abstractmethod
    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Measure ``subject`` on ``data``.

        ``data`` holds held-out rows only, unless ``info.requires`` names ``members``; then it holds both
        and ``data.is_member`` tells them apart.
        """


class PairedAudit(Audit):
    """An audit that can also say how much a variant differs from the baseline, row by row."""

    @abstractmethod
    def compare(
        self, baseline: Subject, variant: Subject, data: Dataset, context: AuditContext
    ) -> AuditOutput:
        """Paired differences, variant minus baseline, on the same rows.

        Metric names end in ``.change`` (or ``.ratio`` for figures compared by quotient).
        """


Partial = TypeVar("Partial")


class ShardedAudit(Audit, Generic[Partial]):
    """An audit whose work divides by rows. ``merge`` must be associative and commutative.

    The runner cuts the rows into shards by their number alone, never by the number of workers.
    """

    @abstractmethod
    def partial(self, subject: Subject, data: Dataset, context: AuditContext) -> Partial:
        """What one shard of rows contributes; picklable."""

    @abstractmethod
    def merge(self, partials: Sequence[Partial]) -> Partial:
        """The contribution of several shards together."""

    @abstractmethod
    def conclude(self, total: Partial, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """Measurements from the merged contribution. ``data`` is for names and cards only."""

    def measure(self, subject: Subject, data: Dataset, context: AuditContext) -> AuditOutput:
        """The whole at once: one shard."""
        return self.conclude(self.merge([self.partial(subject, data, context)]), subject, data, context)


def parameters(audit: BaseModel) -> dict[str, Any]:
    """The parameters of an audit or variant as plain JSON values."""
    return audit.model_dump(mode="json")


def reading_from(folder: Path | None) -> dict[str, Path]:
    """What parameters are validated with, so that paths among them start at the folder of the config."""
    return {} if folder is None else {"folder": folder}


def place_of(path: str, context: Any) -> Path:
    """Where a path among the parameters leads: from the folder of the config, else the working directory.

    Args:
        path: As it was written.
        context: Of the validation, from :func:`reading_from`; without any there is no config.
    """
    return find_file(path, (context or {}).get("folder", Path()))

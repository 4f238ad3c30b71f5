"""Running audits on subjects: what can run, in which pieces, isolated, timed, and recorded whatever happens.

A piece of work is (subject x audit x shard), or (baseline x variant x audit) for a paired comparison. Its
result is keyed by the content that made it, never by where or in which order it ran.
"""

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError

from auditkit import __version__
from auditkit.audits.audit import (
    Audit,
    AuditContext,
    AuditOutput,
    PairedAudit,
    Requirement,
    ShardedAudit,
    parameters,
)
from auditkit.data.dataset import Dataset
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.errors import AuditkitError
from auditkit.execution.executor import Executor, WorkerLost
from auditkit.execution.isolation import Watch, unchanged
from auditkit.randomness import derive_seed
from auditkit.records import AuditResult, Cost, Message
from auditkit.subjects.recoded import reads_as
from auditkit.subjects.subject import Subject, preprocessing_of

ROWS_PER_SHARD = 65_536
"""Fixed, so that neither the number of workers nor the machine changes how rows are grouped."""

Observer = Callable[[str, Mapping[str, Any]], None]


@dataclass(frozen=True, slots=True)
class ReadRows:
    """Rows as one subject reads them, and those of them that were not in the training data."""

    data: Dataset
    held_out: Dataset

    @classmethod
    def of(cls, data: Dataset) -> "ReadRows":
        """With the rows held out."""
        return cls(data, data.held_out())


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """Everything that tasks share; travels to a worker once.

    ``data`` and ``held_out`` are the rows as the baseline reads them; ``own_rows`` has those of subjects that
    read them otherwise, by name: the same rows in the same order.
    """

    subjects: Mapping[str, Subject]
    data: Dataset
    data_digest: str
    held_out: Dataset
    audits: Mapping[str, Audit]
    seed: int
    batch_size: int
    device: str
    own_rows: Mapping[str, ReadRows] = field(default_factory=dict)

    def rows_for(self, audit: Audit, subject: str = "baseline") -> Dataset:
        """Held-out rows as ``subject`` reads them; members too for audits that require them."""
        rows = self.own_rows.get(subject) or ReadRows(self.data, self.held_out)
        return rows.data if "members" in audit.info.requires else rows.held_out

    def alike(self, subject: str, baseline: str) -> Subject:
        """``subject`` on the inputs that ``baseline`` reads, to be compared with it."""
        return reads_as(self.subjects[subject], preprocessing_of(self.subjects[baseline]))

    def context_for(self, audit: Audit) -> AuditContext:
        """The same for every subject, so that differences between subjects are paired."""
        seed = derive_seed(self.seed, audit.info.name)
        return AuditContext(seed=seed, batch_size=self.batch_size, device=self.device)


@dataclass(frozen=True, slots=True)
class Job:
    """One audit of one subject, or of a variant against another subject."""

    audit: str
    subject: str
    against: str | None = None


@dataclass(frozen=True, slots=True)
class Task:
    """A job, or one shard of it."""

    job: Job
    kind: Literal["measure", "compare", "partial"]
    rows: tuple[int, int] = (0, 0)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of a task: a value, or the error; and what the audit changed that it must not."""

    value: Any
    duration_s: float
    error: Message | None = None
    trace: str = ""
    violations: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ResultShelf:
    """Where finished results are kept between starts; the default keeps none."""

    find: Callable[[str], AuditResult | None] = lambda _key: None
    keep: Callable[[AuditResult], None] = lambda _result: None


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Runs every audit on every subject and every paired audit on every variant.

    Attributes:
        bench: Subjects (``"baseline"`` first), data, audits and settings.
        executor: Where tasks run.
        shelf: Results of an earlier start.
        plugins: ``NAME VERSION`` of the distribution behind each audit.
        observe: Called with an event name and details.
    """

    bench: Bench
    executor: Executor
    shelf: ResultShelf = field(default_factory=ResultShelf)
    plugins: Mapping[str, str] = field(default_factory=dict)
    observe: Observer = lambda _event, _details: None

    def run(self) -> tuple[AuditResult, ...]:
        """All results in the order of audits, then subjects, comparisons last."""
        jobs = list(self._jobs())
        done: dict[Job, AuditResult] = {}
        open_jobs = []
        for job in jobs:
            result = self._skipped(job) or self.shelf.find(self._key(job))
            if result is None:
                open_jobs.append(job)
            else:
                done[job] = result
                self.observe("reused" if result.status == "measured" else "skipped", _details(result))
        for result, job in self._perform(open_jobs):
            done[job] = result
            self.shelf.keep(result)
            self.observe(result.status, _details(result))
        return tuple(done[job] for job in jobs)

    def _jobs(self) -> Iterator[Job]:
        for name, audit in self.bench.audits.items():
            for subject in self.bench.subjects:
                yield Job(name, subject)
            if isinstance(audit, PairedAudit):
                for subject in list(self.bench.subjects)[1:]:
                    yield Job(name, subject, against=next(iter(self.bench.subjects)))

    def _perform(self, jobs: Sequence[Job]) -> Iterator[tuple[AuditResult, Job]]:
        tasks = [task for job in jobs for task in self._tasks(job)]
        waiting = {job: len(self._tasks(job)) for job in jobs}
        outcomes: dict[Job, dict[int, Outcome]] = {job: {} for job in jobs}
        for index, outcome in self.executor.run(perform, self.bench, tasks):
            task = tasks[index]
            outcomes[task.job][index] = (
                Outcome(None, 0.0, Message(text=outcome.reason))
                if isinstance(outcome, WorkerLost)
                else outcome
            )
            waiting[task.job] -= 1
            if waiting[task.job] == 0:
                ordered = [outcomes[task.job][key] for key in sorted(outcomes[task.job])]
                yield self._result(task.job, ordered), task.job

    def _tasks(self, job: Job) -> list[Task]:
        audit = self.bench.audits[job.audit]
        if job.against is not None:
            return [Task(job, "compare")]
        if not isinstance(audit, ShardedAudit):
            return [Task(job, "measure")]
        n = len(self.bench.rows_for(audit))
        starts = range(0, n, ROWS_PER_SHARD)
        return [Task(job, "partial", (start, min(n, start + ROWS_PER_SHARD))) for start in starts]

    def _result(self, job: Job, outcomes: Sequence[Outcome]) -> AuditResult:
        pieces = list(outcomes)
        if not any(piece.error or piece.violations for piece in pieces):
            pieces.append(self._conclude(job, [piece.value for piece in pieces]))
        duration_s = sum(piece.duration_s for piece in pieces)
        failed = next((piece for piece in pieces if piece.error or piece.violations), None)
        if failed is None:
            try:
                return self._record(job, "measured", duration_s, output=_checked(pieces[-1].value))
            except (ValidationError, TypeError) as error:
                text = f"The audit returned something that is not a valid output: {error}"
                failed = Outcome(None, 0.0, Message(text=text))
        if failed.trace:
            self.observe("traceback", {"audit": job.audit, "subject": job.subject, "text": failed.trace})
        return self._record(job, "failed", duration_s, reason=_reason(failed))

    def _conclude(self, job: Job, values: list[Any]) -> Outcome:
        audit = self.bench.audits[job.audit]
        if not isinstance(audit, ShardedAudit) or job.against is not None:
            return Outcome(values[0], 0.0)
        subject, data, context = (
            self.bench.subjects[job.subject],
            self.bench.rows_for(audit, job.subject),
            self.bench.context_for(audit),
        )
        return _isolated(
            lambda: audit.conclude(audit.merge(values), subject, data, context), [subject], context.seed
        )

    def _record(
        self,
        job: Job,
        status: Literal["measured", "skipped", "failed"],
        duration_s: float,
        *,
        output: AuditOutput | None = None,
        reason: Message | None = None,
    ) -> AuditResult:
        audit = self.bench.audits[job.audit]
        output = output or AuditOutput(measurements=())
        return AuditResult(
            audit=job.audit,
            version=audit.info.version,
            area=audit.info.area,
            question=Message(text=audit.info.question),
            params=parameters(audit),
            subject=job.subject,
            against=job.against,
            status=status,
            reason=reason,
            measurements=tuple(output.measurements),
            evidence=tuple(output.evidence),
            limits=(*(Message(text=limit) for limit in audit.info.limits), *output.notes),
            sources=audit.info.sources,
            plugin=self.plugins.get(job.audit, "auditkit"),
            cost=Cost(duration_s=duration_s),
            key=self._key(job),
        )

    def _skipped(self, job: Job) -> AuditResult | None:
        audit = self.bench.audits[job.audit]
        names = [job.subject, *([job.against] if job.against else [])]
        for name in names:
            unmet = unmet_requirements(audit, self.bench.subjects[name], self.bench.data)
            if unmet:
                needs = Message(
                    text="It needs {needs}.",
                    values={"needs": "; ".join(_NEEDS.get(need, need) for need in unmet)},
                )
                return self._record(job, "skipped", 0.0, reason=needs)
        return None

    def _key(self, job: Job) -> str:
        """sha256 over everything that decides the figures of this job."""
        audit = self.bench.audits[job.audit]
        names = [job.subject, *([job.against] if job.against else [])]
        content = {
            "auditkit": __version__,
            "plugin": self.plugins.get(job.audit, "auditkit"),
            "audit": [job.audit, audit.info.version, parameters(audit)],
            "subjects": [[name, self.bench.subjects[name].card.digest] for name in names],
            "data": self.bench.data_digest,
            "seed": self.bench.seed,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def perform(bench: Bench, task: Task) -> Outcome:
    """Run one task in isolation; never raises."""
    job = task.job
    audit = bench.audits[job.audit]
    context, subject = bench.context_for(audit), bench.subjects[job.subject]
    if task.kind == "compare" and isinstance(audit, PairedAudit) and job.against is not None:
        baseline, variant = bench.subjects[job.against], bench.alike(job.subject, job.against)
        shared = bench.rows_for(audit, job.against)
        return _isolated(
            lambda: audit.compare(baseline, variant, shared, context), [baseline, variant], context.seed
        )
    rows = bench.rows_for(audit, job.subject)
    if task.kind == "partial" and isinstance(audit, ShardedAudit):
        return _isolated(
            lambda: audit.partial(subject, _shard(rows, task.rows), context), [subject], context.seed
        )
    return _isolated(lambda: audit.measure(subject, rows, context), [subject], context.seed)


def _shard(rows: Dataset, span: tuple[int, int]) -> Dataset:
    return rows if span == (0, len(rows)) else rows.take(np.arange(*span))


def unmet_requirements(audit: Audit, subject: Subject, data: Dataset) -> list[Requirement]:
    """What ``audit`` needs and ``subject`` or ``data`` does not have, in alphabetical order."""
    members = data.is_member
    available: dict[str, bool] = {
        "sensitive_features": bool(data.sensitive_features),
        "members": members is not None and bool(members.any()) and not bool(members.all()),
        "positive": data.positive is not None,
        "texts": isinstance(preprocessing_of(subject), TextPreprocessing),
    }
    capabilities = subject.capabilities
    # of classes; and of the next token, where it is not found by masking one after the other
    available["scores"] = bool({"probabilities", "gradients"} & capabilities)
    unmet = {need for need in audit.info.requires if not available.get(need, need in capabilities)}
    if data.counts is not None and not audit.info.reads_counts:
        unmet.add("single_rows")
    return sorted(unmet)


_NEEDS: Mapping[Requirement, str] = {
    "predictions": "a subject that predicts classes",
    "probabilities": "a subject that gives probabilities of classes",
    "losses": "a subject that gives probabilities, not labels alone",
    "scores": "a subject that says how probable each answer to a row is",
    "gradients": "a subject with gradients (a torch module)",
    "layers": "a subject whose layers can be seen (a torch module)",
    "recipe": "a checkpoint with its training record, so that it can be trained again",
    "generative": "a subject that foretells tokens (a model of language)",
    "values": "a subject that foretells numbers (data.task: regression)",
    "texts": "a classifier of texts that says how it reads them",
    "sensitive_features": "data.sensitive_features: [COLUMN, ...]",
    "members": "data.members: a split (train) or a column that tells training rows apart",
    "positive": "data.positive: the favourable label",
    "single_rows": "rows one by one, not counts of them",
}


def _checked(value: Any) -> AuditOutput:
    if not isinstance(value, AuditOutput):
        raise TypeError(f"got {type(value).__name__}, expected AuditOutput")
    return value


def _isolated(work: Callable[[], Any], subjects: Sequence[Subject], seed: int) -> Outcome:
    start = time.perf_counter()
    value, error, trace, watch = None, None, "", Watch()
    try:
        with unchanged(*subjects, seed=seed) as watch:
            value = work()
    except AuditkitError as problem:
        error = Message(text=str(problem))
    except (Exception, SystemExit) as problem:
        error = Message(text=f"{type(problem).__name__}: {problem}")
        trace = traceback.format_exc()
    return Outcome(value, time.perf_counter() - start, error, trace, tuple(watch.violations))


def _reason(outcome: Outcome) -> Message:
    what = ", ".join(outcome.violations)
    if outcome.error is None:
        return Message(
            text="The audit changed the subject ({what}); this was undone and its figures are not used.",
            values={"what": what},
        )
    if not what:
        return outcome.error
    return Message(
        text="{error} (It also changed the subject: {what}; this was undone.)",
        values={"error": str(outcome.error), "what": what},
    )


def _details(result: AuditResult) -> dict[str, Any]:
    return {
        "audit": result.audit,
        "subject": result.subject,
        "against": result.against,
        "reason": str(result.reason) if result.reason else None,
        "duration_s": round(result.cost.duration_s, 3),
    }

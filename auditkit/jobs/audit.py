"""Job: audit a subject and its variants, judge the figures, store the run."""

import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from auditkit import __version__
from auditkit.audits.audit import parameters
from auditkit.data.dataset import Dataset
from auditkit.errors import ConfigError, NothingMeasuredError
from auditkit.execution.executor import make_executor
from auditkit.jobs.environment import describe_environment
from auditkit.jobs.prepare import (
    Progress,
    Project,
    audit_data,
    audits_of,
    no_progress,
    obtain_subject,
    open_project,
    untrained_subject,
)
from auditkit.jobs.variants import derive_variants, refuse_early
from auditkit.policy import judge
from auditkit.records import Run
from auditkit.registry import AUDITS
from auditkit.reporting.write import write_reports
from auditkit.runner import Bench, ReadRows, ResultShelf, Runner
from auditkit.store import RunFolder
from auditkit.subjects.subject import Subject, preprocessing_of

Language = Literal["en", "zh"]
Observer = Callable[[str, Mapping[str, Any]], None]


def no_observer(_event: str, _details: Mapping[str, Any]) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a run will do, before it does anything dear.

    Attributes:
        project: The config and where it stands.
        subject: The baseline.
        data: Rows to audit, with members where the config names them.
        data_digest: Digest of those rows.
        run_id: The same for the same config, files named by audits, subject, data and version; names the run.
    """

    project: Project
    subject: Subject
    data: Dataset
    data_digest: str
    run_id: str


def prepare_audit(
    config: Path | str,
    *,
    overrides: Sequence[str] = (),
    only: Sequence[str] = (),
    train: bool = True,
    report_progress: Progress = no_progress,
) -> Prepared:
    """Read the config, the subject and the data.

    A subject that has no checkpoint yet is trained, unless ``train`` is false: then it has initial weights,
    enough to plan with and not to be audited.

    Raises:
        ConfigError: No audit is named, or ``only`` names one that the config does not.
    """
    project = _select(open_project(config, overrides), only)
    refuse_early(project)
    subject = obtain_subject(project, report_progress) if train else untrained_subject(project)
    data = audit_data(project, subject)
    digest = data.digest()
    return Prepared(project, subject, data, digest, _run_id(project, subject, digest))


def audit(
    prepared: Prepared,
    *,
    out: Path | None = None,
    fresh: bool = False,
    report_progress: Progress = no_progress,
    observe: Observer = no_observer,
) -> tuple[Run, RunFolder]:
    """Run what was prepared, or go on with it where an earlier start stopped.

    Args:
        prepared: From :func:`prepare_audit`.
        out: The run folder; default ``runs/RUN_ID`` beside the working directory.
        fresh: Ignore results of earlier starts.
        report_progress: Called while variants are trained.
        observe: Called with an event name and details as audits finish.

    Raises:
        NothingMeasuredError: No audit gave a figure; the run is stored all the same.
    """
    folder = RunFolder(out or Path("runs") / prepared.run_id)
    if folder.is_complete and not fresh:
        run = folder.load_run()
        if run.run_id == prepared.run_id:
            observe("complete", {"run_id": run.run_id})
            _complete_reports(run, folder, prepared.project.config.report.languages)
            return run, folder
    run = _execute(prepared, folder, fresh, report_progress, observe)
    if not any(result.status == "measured" for result in run.results):
        reasons = "; ".join(f"{result.audit}: {result.reason}" for result in run.results)
        raise NothingMeasuredError(f"nothing was measured: {reasons}")
    return run, folder


def _execute(
    prepared: Prepared, folder: RunFolder, fresh: bool, report_progress: Progress, observe: Observer
) -> Run:
    start = time.perf_counter()
    folder.start()
    project, config = prepared.project, prepared.project.config

    def log(event: str, details: Mapping[str, Any]) -> None:
        folder.log(event, **details)
        observe(event, details)

    log("run_started", {"run_id": prepared.run_id})
    subjects = derive_variants(
        project, prepared.subject, folder, fresh=fresh, report_progress=report_progress, observe=log
    )
    bench = Bench(
        subjects=subjects,
        data=prepared.data,
        data_digest=prepared.data_digest,
        held_out=prepared.data.held_out(),
        own_rows=_own_rows(project, subjects),
        audits=audits_of(project),
        seed=config.seed,
        batch_size=config.execution.batch_size,
        device=project.device,
    )
    shelf = (
        ResultShelf(keep=folder.keep_result)
        if fresh
        else ResultShelf(find=folder.find_result, keep=folder.keep_result)
    )
    runner = Runner(
        bench=bench,
        executor=make_executor(config.execution.executor, config.execution.workers),
        shelf=shelf,
        plugins={name: AUDITS.distribution(name) for name in config.audits},
        observe=log,
    )
    results = runner.run()
    cards = tuple(subject.card for subject in subjects.values())
    run = Run(
        run_id=prepared.run_id,
        title=config.report.title or project.title,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        duration_s=time.perf_counter() - start,
        seed=config.seed,
        config=config.model_dump(mode="json"),
        subjects=cards,
        data=prepared.data.card(),
        environment=describe_environment(project.device),
        results=results,
        findings=judge(config.policy, results, cards),
    )
    log("run_finished", {"run_id": run.run_id})
    folder.write_run(run)
    write_reports(run, folder.path, languages=config.report.languages, formats=("html",))
    folder.seal()
    return run


def _own_rows(project: Project, subjects: Mapping[str, Subject]) -> dict[str, ReadRows]:
    """The rows of variants that read them otherwise than the baseline, as those trained privately do."""
    shared = preprocessing_of(subjects["baseline"])
    return {
        name: ReadRows.of(audit_data(project, subject))
        for name, subject in subjects.items()
        if preprocessing_of(subject) not in (None, shared)
    }


def _complete_reports(run: Run, folder: RunFolder, languages: Sequence[Language]) -> None:
    """Write the languages that an earlier start was not asked for."""
    absent = tuple(code for code in languages if not (folder.path / f"report.{code}.html").exists())
    if absent:
        write_reports(run, folder.path, languages=absent, formats=("html",))
        folder.seal()


def _select(project: Project, only: Sequence[str]) -> Project:
    audits = project.config.audits
    unknown = [name for name in only if name not in audits]
    if unknown:
        raise ConfigError(f"--only {','.join(unknown)}: the config has {', '.join(audits) or 'no audits'}")
    if not audits:
        raise ConfigError(
            "audits: none are named, so nothing would be measured. `auditkit audits` lists them"
        )
    if not only:
        return project
    chosen = {name: audits[name] for name in audits if name in only}
    return replace(project, config=project.config.model_copy(update={"audits": chosen}))


def _run_id(project: Project, subject: Subject, data_digest: str) -> str:
    """``STEM-`` and eight digits of a digest over all that decides figures and findings."""
    config = project.config.model_dump(mode="json", exclude={"execution", "report", "retrain", "tuning"})
    # files that audits name are known by their digest, which the config as it was written lacks
    audits = {name: [one.info.version, parameters(one)] for name, one in audits_of(project).items()}
    content = [__version__, config, audits, subject.card.digest, data_digest]
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
    return f"{project.stem}-{digest[:8]}"

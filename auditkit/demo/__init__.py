"""The whole story on embedded data: train, audit, retrain with DP, audit again, compare, report."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from auditkit.jobs.audit import audit, prepare_audit
from auditkit.jobs.prepare import Progress
from auditkit.jobs.train import train
from auditkit.records import Run
from auditkit.store import write_atomically


@dataclass(frozen=True, slots=True)
class Demo:
    """What a demo leaves: its config, the stored run and the reports."""

    config: Path
    run: Run
    reports: tuple[Path, ...]


def run_demo(
    name: str,
    folder: Path,
    *,
    say: Callable[[str], None],
    report_progress: Progress,
    observe: Callable[[str, Mapping[str, Any]], None],
) -> Demo:
    """Run the demo called ``name`` in ``folder``. Its config stays there, to be changed and run again."""
    config = folder / f"{name}.yaml"
    if not config.exists():
        write_atomically(config, (files("auditkit.demo") / f"{name}.yaml").read_bytes())
    say(f"training on {name}")
    train(config, report_progress=report_progress)
    prepared = prepare_audit(config)
    say(f"auditing the baseline and {len(prepared.project.config.variants)} variants")
    run, stored = audit(prepared, out=folder / "run", report_progress=report_progress, observe=observe)
    return Demo(config, run, tuple(sorted(stored.path.glob("report.*.html"))))

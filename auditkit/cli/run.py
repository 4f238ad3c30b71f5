"""``auditkit run CONFIG``."""

from pathlib import Path

import click

from auditkit.cli.options import (
    config_argument,
    device_option,
    json_option,
    set_option,
    with_counts,
    with_device,
)
from auditkit.cli.terminal import progress, say, show_event


@click.command("run")
@config_argument
@set_option
@click.option("--only", default="", metavar="AUDIT,...", help="Run these audits of the config only.")
@click.option(
    "--counts", metavar="PARQUET", help="Audit these predictions, counted, instead of the subject of CONFIG."
)
@device_option
@click.option("--out", type=click.Path(path_type=Path), help="Run folder; default runs/NAME-DIGEST.")
@click.option("--dry-run", is_flag=True, help="Check everything and show the plan; measure nothing.")
@click.option("--fresh", is_flag=True, help="Ignore results of earlier starts.")
@json_option
def command(
    config: Path,
    overrides: tuple[str, ...],
    only: str,
    counts: str | None,
    device: str | None,
    out: Path | None,
    dry_run: bool,
    fresh: bool,
    as_json: bool,
) -> int:
    """Audit the model of CONFIG and its variants, judge the figures, write the report.

    Repeating the command goes on where an interrupted run stopped.
    """
    from auditkit.jobs.audit import audit, prepare_audit
    from auditkit.jobs.plan import plan_lines
    from auditkit.policy import exit_code
    from auditkit.reporting.terminal import summary_lines
    from auditkit.store import as_json as to_json

    with progress() as report_progress:
        prepared = prepare_audit(
            config,
            overrides=with_counts(with_device(overrides, device), counts),
            only=tuple(name.strip() for name in only.split(",") if name.strip()),
            train=not dry_run,
            report_progress=report_progress,
        )
        if dry_run:
            click.echo("\n".join(plan_lines(prepared)))
            return 0
        say(f"auditing {prepared.project.title} on {prepared.data.card().n_rows:,} rows")
        run, folder = audit(
            prepared, out=out, fresh=fresh, report_progress=report_progress, observe=show_event
        )
    if as_json:
        click.echo(to_json(run), nl=False)
    else:
        click.echo("\n".join(summary_lines(run)))
        click.echo("\n".join(str(path) for path in sorted(folder.path.glob("report.*.html"))))
    return exit_code(run.findings, run.results)

"""``auditkit verify RUN``."""

from pathlib import Path

import click

from auditkit.cli.options import run_argument


@click.command("verify")
@run_argument
def command(run: Path) -> int:
    """Check every file of RUN against its manifest, and the report against its figures."""
    from auditkit.jobs.report import verify

    problems = verify(run)
    for problem in problems:
        click.echo(problem)
    if not problems:
        click.echo(f"{run}: as sealed; the reports follow from run.json")
    return 2 if problems else 0

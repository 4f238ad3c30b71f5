"""``auditkit report RUN``."""

from pathlib import Path

import click

from auditkit.cli.options import run_argument


@click.command("report")
@run_argument
@click.option("--lang", default="en", metavar="en,zh", help="Languages.")
@click.option(
    "--format", "formats", default="html", metavar="html,json,md,junit,sarif,model-card", help="Formats."
)
def command(run: Path, lang: str, formats: str) -> None:
    """Write the report of RUN again, from its stored figures alone."""
    from auditkit.jobs.report import report

    for path in report(run, languages=_split(lang), formats=_split(formats)):
        click.echo(str(path))


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())

"""``auditkit init [PATH]``."""

from pathlib import Path

import click

from auditkit.cli.terminal import say


@click.command("init")
@click.argument("path", type=click.Path(path_type=Path, dir_okay=False), default="audit.yaml")
@click.option("--template", default="tabular", metavar="tabular|image|text|lm", help="What kind of model.")
@click.option(
    "--data", type=click.Path(path_type=Path), help="A CSV, TSV or Parquet file to fill it in from."
)
@click.option("--target", help="The label column of that file; default its last.")
@click.option("--force", is_flag=True, help="Overwrite PATH.")
def command(path: Path, template: str, data: Path | None, target: str | None, force: bool) -> None:
    """Write a commented config to PATH (default audit.yaml), with the schema that editors use."""
    from auditkit.jobs.init import write_config

    written = write_config(path, template=template, data=data, target=target, force=force)
    for file in written.files:
        click.echo(str(file))
    if written.identifiers:
        say(
            f"not inputs, as no two rows are alike in them: {', '.join(written.identifiers)} (data.drop; "
            "take out what is a measurement after all)"
        )
    if written.texts:
        say(
            f"not inputs, as they hold texts: {', '.join(written.texts)} (data.drop). A model of texts reads "
            "one of them: data.text: COLUMN, or auditkit init --template text"
        )
    click.echo(f"next: auditkit run {path}", err=True)

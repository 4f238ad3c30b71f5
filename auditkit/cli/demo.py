"""``auditkit demo``."""

from pathlib import Path

import click

from auditkit.cli.terminal import progress, say, show_event


@click.command("demo")
@click.argument("name", type=click.Choice(["lending", "digits"]), default="lending")
@click.option("--out", type=click.Path(path_type=Path), help="Folder; default runs/demo-NAME.")
def command(name: str, out: Path | None) -> None:
    """Train, audit, retrain with DP, audit again and report, on embedded data.

    ``lending`` is synthetic, with planted faults; ``digits`` is real handwriting from scikit-learn.
    """
    from auditkit.demo import run_demo
    from auditkit.reporting.terminal import summary_lines

    with progress() as report_progress:
        demo = run_demo(
            name,
            out or Path("runs") / f"demo-{name}",
            say=say,
            report_progress=report_progress,
            observe=show_event,
        )
    click.echo("\n".join(summary_lines(demo.run)))
    click.echo(f"\nconfig  {demo.config}")
    for path in demo.reports:
        click.echo(f"report  {path}")

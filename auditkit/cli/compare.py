"""``auditkit compare RUN_A RUN_B``."""

import json
from pathlib import Path

import click

from auditkit.cli.options import json_option


@click.command("compare")
@click.argument("run_a", type=click.Path(path_type=Path))
@click.argument("run_b", type=click.Path(path_type=Path))
@click.option("--html", type=click.Path(path_type=Path, dir_okay=False), help="Write a page.")
@click.option("--lang", type=click.Choice(["en", "zh"]), default="en", help="Language of the page.")
@json_option
def command(run_a: Path, run_b: Path, html: Path | None, lang: str, as_json: bool) -> None:
    """Compare the figures that RUN_A and RUN_B share: which differ beyond their intervals?"""
    from auditkit.reporting.compare import comparison_lines, comparison_rows, render_comparison
    from auditkit.store import RunFolder, write_atomically

    first, second = RunFolder(run_a).load_run(), RunFolder(run_b).load_run()
    if html is not None:
        write_atomically(html, render_comparison(first, second, "zh" if lang == "zh" else "en"))
    if as_json:
        rows = [row.model_dump(mode="json") for row in comparison_rows(first, second)]
        click.echo(json.dumps(rows, ensure_ascii=False))
    else:
        click.echo("\n".join(comparison_lines(first, second)))

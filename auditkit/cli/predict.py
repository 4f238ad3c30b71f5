"""``auditkit predict CONFIG --out TABLE``."""

import json
from io import StringIO
from pathlib import Path

import click

from auditkit.cli.options import config_argument, device_option, json_option, set_option, with_device
from auditkit.cli.terminal import progress, say


@click.command("predict")
@config_argument
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), required=True, help="The Parquet file to write."
)
@set_option
@device_option
@json_option
def command(config: Path, out: Path, overrides: tuple[str, ...], device: str | None, as_json: bool) -> None:
    """Write the predictions of the model of CONFIG as a table, and print the config that audits it.

    Figures of an audit of the table are those of the model. The model itself need not be handed over.
    """
    from ruamel.yaml import YAML

    from auditkit.jobs.predict import predict

    with progress() as report_progress:
        table = predict(
            config, out=out, overrides=with_device(overrides, device), report_progress=report_progress
        )
    if as_json:
        click.echo(json.dumps({"table": str(table.path), "rows": table.n_rows, **table.sections}))
        return
    say(f"{table.path}: {table.n_rows:,} rows; these sections audit it:")
    text = StringIO()
    yaml = YAML(typ="safe", pure=True)
    yaml.default_flow_style = False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]  # as ruamel documents it
    yaml.dump(table.sections, text)
    click.echo(text.getvalue(), nl=False)

"""``auditkit train CONFIG``."""

import json
from pathlib import Path

import click

from auditkit.cli.options import config_argument, device_option, json_option, set_option, with_device
from auditkit.cli.terminal import progress


@click.command("train")
@config_argument
@set_option
@device_option
@json_option
def command(config: Path, overrides: tuple[str, ...], device: str | None, as_json: bool) -> None:
    """Train the model that CONFIG describes; writes model.safetensors and card.json."""
    from auditkit.jobs.train import train

    with progress() as report_progress:
        subject, folder = train(
            config, overrides=with_device(overrides, device), report_progress=report_progress
        )
    record = subject.card.training
    if as_json:
        click.echo(json.dumps({"checkpoint": str(folder), "card": subject.card.model_dump(mode="json")}))
    elif record is not None:
        click.echo(
            f"{folder}\n{subject.card.n_parameters:,} parameters, {record.steps:,} steps in "
            f"{record.duration_s:.1f} s ({record.samples_per_s:,.0f} rows/s)"
        )

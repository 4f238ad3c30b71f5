"""``auditkit config schema`` and ``auditkit config show CONFIG``."""

import json
from pathlib import Path

import click

from auditkit.cli.options import config_argument, set_option


@click.group("config")
def command() -> None:
    """Show the resolved config, or the JSON Schema that editors use."""


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of the config."""
    from auditkit.config import RunConfig

    document = {"$schema": "https://json-schema.org/draft/2020-12/schema", **RunConfig.model_json_schema()}
    click.echo(json.dumps(document, indent=1, ensure_ascii=False))


@command.command("show")
@config_argument
@set_option
def show(config: Path, overrides: tuple[str, ...]) -> None:
    """Print CONFIG as it is understood, defaults and overrides included."""
    from auditkit.jobs.prepare import open_project

    project = open_project(config, overrides)
    click.echo(json.dumps(project.config.model_dump(mode="json"), indent=1, ensure_ascii=False))

"""``auditkit audits [NAME]``."""

import json

import click

from auditkit.cli.options import json_option


@click.command("audits")
@click.argument("name", required=False)
@json_option
def command(name: str | None, as_json: bool) -> None:
    """List the audits with their questions, or describe one with its parameters and limits."""
    from auditkit.jobs.catalogue import audit_catalogue, audit_description

    if name is None:
        catalogue = audit_catalogue()
        if as_json:
            click.echo(json.dumps(catalogue, ensure_ascii=False))
            return
        for entry in catalogue:
            click.echo(f"{entry['name']:<22} {entry['area']:<15} {entry['question']}")
        return
    description = audit_description(name)
    click.echo(json.dumps(description, ensure_ascii=False) if as_json else _text(description))


def _text(description: dict[str, object]) -> str:
    lines = []
    for key, value in description.items():
        if isinstance(value, list):
            lines += [f"{key}:", *(f"  - {item}" for item in value)]
        else:
            lines.append(f"{key}: {value}")
    return "\n".join(lines)

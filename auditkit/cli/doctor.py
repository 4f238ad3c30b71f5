"""``auditkit doctor``."""

import json
from dataclasses import asdict

import click

from auditkit.cli.options import json_option


@click.command("doctor")
@json_option
def command(as_json: bool) -> int:
    """Check this installation: versions, device, plug-ins, templates, data, energy counters.

    Exits with 2 when something is missing that auditkit cannot do without.
    """
    from auditkit.jobs.doctor import examine, is_usable

    checks = examine()
    if as_json:
        document = {"usable": is_usable(checks), "checks": [asdict(check) for check in checks]}
        click.echo(json.dumps(document, ensure_ascii=False))
    else:
        for check in checks:
            click.echo(f"{check.status:<8} {check.name:<12} {check.text}")
    return 0 if is_usable(checks) else 2

"""``auditkit selftest``."""

import json

import click

from auditkit.cli.options import json_option


@click.command("selftest")
@json_option
def command(as_json: bool) -> int:
    """Plant a fault for every audit: is it found, and is nothing seen without it?

    Exits with 3 when an audit misses its fault or sees one that is not there.
    """
    from auditkit.selftest import proof_line, run_selftest, selftest_document, selftest_lines

    if as_json:
        selftest = run_selftest()
        click.echo(json.dumps(selftest_document(selftest), ensure_ascii=False))
    else:
        selftest = run_selftest(lambda proof: click.echo(proof_line(proof)))
        click.echo("\n".join(selftest_lines(selftest)))
    return selftest.exit_code

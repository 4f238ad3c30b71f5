"""The command group. Verbs load when they are called, so that ``--help`` imports neither torch nor pandas."""

import difflib
from importlib import import_module
from typing import Any

import click

from auditkit import __version__

VERBS = {
    "demo": "Train, audit, retrain with DP, audit again and report, on embedded data.",
    "init": "Write a commented config.",
    "train": "Train the model a config describes.",
    "run": "Audit a model and its variants.",
    "retrain": "Train the model again with differential privacy.",
    "ledger": "Show how much privacy is spent on which rows, and check the record.",
    "predict": "Write the predictions of a model as a table that can be audited instead.",
    "report": "Write the report of a run again, in any language or format.",
    "compare": "Compare the figures of two runs.",
    "verify": "Check that a run is as it was sealed.",
    "audits": "List the audits, or describe one.",
    "doctor": "Check this installation.",
    "selftest": "Prove on this machine that the audits find planted faults.",
    "config": "Show the resolved config, or its JSON Schema.",
}


class LazyGroup(click.Group):
    """A group that imports a verb's module when the verb is asked for."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """The verbs in the order of a first use."""
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import ``auditkit.cli.VERB``."""
        if cmd_name not in VERBS:
            return None
        module = import_module(f"auditkit.cli.{cmd_name}")
        command: click.Command = module.command
        return command

    def resolve_command(self, ctx: click.Context, args: list[str]) -> Any:
        """As click does, with the closest verb for a typo."""
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, n=1)
            hint = f" Did you mean {near[0]!r}?" if near else ""
            raise click.UsageError(f"No such command {args[0]!r}.{hint}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The verbs with one line each, without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl(list(VERBS.items()))


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="auditkit")
@click.option("--debug", is_flag=True, help="Show tracebacks.")
def cli(debug: bool) -> None:
    """Evidence about a trained model: can it be trusted, and what would it cost to make it better?

    Exit codes: 0 all rules pass or there is no policy · 1 a rule failed · 2 bad usage, config or data ·
    3 an audit crashed or nothing was measured · 4 no failure, but something inconclusive or not shown ·
    5 refused as unsafe · 6 an extra is missing · 130 interrupted.
    """

"""Options that several verbs share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

Decorated = Callable[..., Any]

config_argument = click.argument("config", type=click.Path(path_type=Path, dir_okay=False))
run_argument = click.argument("run", type=click.Path(path_type=Path))
set_option = click.option(
    "--set", "overrides", multiple=True, metavar="A.B=C", help="Change one value of the config; repeatable."
)
device_option = click.option("--device", default=None, metavar="auto|cpu|cuda[:N]", help="Where to compute.")
json_option = click.option("--json", "as_json", is_flag=True, help="Machine output only, on stdout.")


def with_counts(overrides: tuple[str, ...], table: str | None) -> tuple[str, ...]:
    """``--counts`` as overrides: the table in place of subject and data, and no variants of it."""
    if not table:
        return overrides
    name = json.dumps(table, ensure_ascii=False)
    nothing = (f"data.{key}=null" for key in ("members", "limit", "split", "train", "text"))
    return (f"subject={{counts: {name}}}", f"data.source={name}", "variants={}", *nothing, *overrides)


def with_device(overrides: tuple[str, ...], device: str | None) -> tuple[str, ...]:
    """``--device`` as one more override."""
    return (*overrides, f"execution.device={device}") if device else overrides


def with_budget(overrides: tuple[str, ...], budget: float | None) -> tuple[str, ...]:
    """``--budget`` as one more override."""
    return overrides if budget is None else (*overrides, f"privacy_budget={budget}")

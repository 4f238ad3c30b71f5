"""``auditkit ledger [DATASET]``."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from auditkit.cli.options import json_option, set_option
from auditkit.cli.terminal import counted, say

if TYPE_CHECKING:
    from collections.abc import Iterator

    from auditkit.jobs.ledger import LedgerSummary
    from auditkit.privacy.ledger import RunState
    from auditkit.records import Law


@click.command("ledger")
@click.argument("dataset", required=False)
@click.option("--delta", type=float, default=None, help="Default that of the budget, else 1e-5.")
@click.option("--folder", type=click.Path(path_type=Path, file_okay=False), help="Where the ledgers lie.")
@click.option("--set-budget", "budget", type=float, help="Bound, or bound anew, all runs on DATASET.")
@click.option(
    "--import",
    "imported",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Charge the history of an Opacus checkpoint to the training rows of the config DATASET.",
)
@click.option(
    "--tuned-by",
    type=click.Choice(("poisson", "geometric", "logarithmic")),
    help="Tell what the best of a random number of runs like the last would spend; the law of that number.",
)
@click.option("--mean", type=float, default=10.0, show_default=True, help="Expected number of those runs.")
@set_option
@json_option
def command(
    dataset: str | None,
    delta: float | None,
    folder: Path | None,
    budget: float | None,
    imported: Path | None,
    tuned_by: "Law | None",
    mean: float,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """List the rows whose privacy was spent, or show one ledger, named by its data or fingerprint.

    Every line is checked against the one before it; a ledger that was changed is refused. What the end of a
    file once held cannot be told from the file: certificates name the line they rest on.
    """
    from auditkit.jobs import ledger

    place = folder or ledger.folder_of(None)
    if delta is not None and not 0 < delta < 1:
        raise click.BadParameter(f"{delta:g}: expected a number between 0 and 1", param_hint="--delta")
    if dataset is None:
        if budget is not None or imported is not None or tuned_by is not None:
            raise click.UsageError("Name the DATASET that is meant.")
        _list(ledger.ledgers(place, delta=delta), place, as_json=as_json)
        return
    if imported is not None:
        found = ledger.import_history(dataset, imported, delta=delta, overrides=overrides, tell=say)
    else:
        found = ledger.find_ledger(place, dataset, delta=delta)
    if budget is not None:
        found = ledger.change_budget(found, budget, delta)
    tuning = None if tuned_by is None else ledger.tuning_cost(found, tuned_by, mean)
    if as_json:
        lines = [line.model_dump(mode="json") for line in found.lines]
        tuned = {} if tuning is None else {"tuning": asdict(tuning)}
        click.echo(json.dumps({**_document(found), **tuned, "lines": lines}, ensure_ascii=False))
        return
    _show(found)
    _show_lost(found)
    _show_unverified(found)
    if tuning is not None:
        click.echo(
            f"the best of a random number of runs like {tuning.run} ({tuning.law}, {tuning.mean:g} expected, "
            f"drawn before the first, the others never looked at): epsilon {tuning.tuned:.4f} instead of "
            f"{tuning.one:.4f} at delta {found.delta:g} (Papernot and Steinke 2022, by RDP)"
        )


def _list(found: "list[LedgerSummary]", place: Path, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps([_document(one) for one in found], ensure_ascii=False))
        return
    from auditkit.records.bounds import rounded_up

    if not found:
        click.echo(f"{place}: no privacy was spent yet")
    for one in found:
        runs = counted(len(_runs(one)), "run")
        click.echo(
            f"{one.account.fingerprint[:12]}  {one.account.name:<20} {runs:>8}  epsilon "
            f"{rounded_up(one.spent.epsilon):.3f} at delta {one.delta:g}{_left(one)}"
        )


def _show(one: "LedgerSummary") -> None:
    from auditkit.records.bounds import rounded_up

    click.echo(
        f"{one.account.name} ({one.account.source})\n{one.account.path}\n"
        f"fingerprint {one.account.fingerprint}\n"
        f"all runs together: epsilon {rounded_up(one.spent.epsilon, 4):.4f} at delta {one.delta:g} "
        f"({one.spent.accountant}); {rounded_up(one.spent.rdp, 4):.4f} by RDP, also for settings chosen "
        f"by looking at results{_left(one)}"
    )
    for run in one.state.runs.values():
        kind = "certified" if run.certified else "not certified"
        spent = f"epsilon {one.epsilon_of(run):.4f}" if run.spends else "nothing spent"
        what = " and ".join(_parts(run))
        click.echo(f"  {run.run}  {run.purpose}: {what}, {spent}, {kind}, {_became(one, run)}")
    click.echo(f"{counted(len(one.lines), 'line')}, each as it was written; the last is {one.lines[-1].hash}")


def _show_lost(one: "LedgerSummary") -> None:
    for line in one.lines:
        if line.entry.kind == "waiver":
            lines = ", ".join(f"{lost.number + 1} ({lost.hash[:12]})" for lost in line.entry.lost)
            click.echo(
                f"lost, and accepted on {line.time[:10]}: line {lines} of an earlier ledger, on "
                f"which certificates rest ({line.entry.checkpoint} for one). What was spent until then is in "
                "no sum here"
            )


def _show_unverified(one: "LedgerSummary") -> None:
    if one.unverified:
        click.echo("what was imported holds only if this is true, which no file shows:")
    for assumption in one.unverified:
        click.echo(f"- {assumption}")


def _parts(run: "RunState") -> "Iterator[str]":
    """What a run did, without the number of runs in a tuning, which nobody knows."""
    for tuned in run.tunings:
        yield f"a tuning ({tuned.law}, {counted(tuned.mean, 'run')} expected)"
    if run.steps or not run.tunings:
        yield counted(run.steps, "step")


def _became(one: "LedgerSummary", run: "RunState") -> str:
    if run.has_ended:
        return "ended"
    if run.planned is None:
        return "charged as a whole" if run.tunings else "imported"
    return "going on" if one.account.is_alive(run.run) else "interrupted"


def _left(one: "LedgerSummary") -> str:
    if one.state.budget is None or one.remaining is None:
        return ", no budget set"
    from auditkit.records.bounds import rounded_up

    budget, left = one.state.budget, -rounded_up(-one.remaining)
    return f", {left:.3f} left of {budget.epsilon:g} at delta {budget.delta:g}"


def _runs(one: "LedgerSummary") -> list[dict[str, Any]]:
    return [
        {
            "run": run.run,
            "purpose": run.purpose,
            "steps": run.steps,
            "tunings": [tuned.model_dump(mode="json") for tuned in run.tunings],
            "epsilon": one.epsilon_of(run),
            "certified": run.certified,
            "resumes": run.resumes,
            "ended": run.has_ended,
        }
        for run in one.state.runs.values()
    ]


def _document(one: "LedgerSummary") -> dict[str, Any]:
    return {
        "fingerprint": one.account.fingerprint,
        "name": one.account.name,
        "source": one.account.source,
        "file": str(one.account.path),
        "delta": one.delta,
        "epsilon": one.spent.epsilon,
        "accountant": one.spent.accountant,
        "rdp": one.spent.rdp,
        "budget": None if one.state.budget is None else one.state.budget.model_dump(mode="json"),
        "remaining": one.remaining,
        "runs": _runs(one),
        "lost": [line.model_dump(mode="json") for line in sorted(one.state.lost, key=lambda it: it.number)],
        "last_line": one.lines[-1].hash,
    }

"""``auditkit retrain CONFIG --epsilon E``."""

import json
from pathlib import Path
from typing import Literal

import click

from auditkit.cli.options import (
    config_argument,
    device_option,
    json_option,
    set_option,
    with_budget,
    with_device,
)
from auditkit.cli.terminal import counted, progress, say


@click.command("retrain")
@config_argument
@click.option("--epsilon", type=float, required=True, help="Privacy budget; smaller protects more.")
@click.option("--delta", type=float, default=None, help="Default min(1e-5, n^-1.1).")
@click.option("--reproducible", is_flag=True, help="Noise from the seed: for experiments, not for release.")
@click.option("--as-audited", is_flag=True, help="Keep the architecture, also where another does better.")
@click.option("--budget", type=float, default=None, help="Epsilon all trainings on these rows may spend.")
@click.option("--accept-weak", is_flag=True, help="Train even where epsilon is above 20 or rows are too few.")
@click.option("--fix", is_flag=True, help="Exchange layers that mix rows: BatchNorm for GroupNorm.")
@click.option(
    "--replay",
    is_flag=True,
    help="Keep the noise, locked by $AUDITKIT_REPLAY_KEY_FILE, to repeat steps bit by bit.",
)
@click.option(
    "--accept-lost-ledger", is_flag=True, help="Train though the ledger is gone; the certificate says so."
)
@click.option(
    "--unit",
    type=click.Choice(["person", "row"]),
    default=None,
    help="What is protected as one; default person where data.person is given.",
)
@click.option(
    "--tune",
    type=click.Choice(["private"]),
    default=None,
    help="Choose settings on the private rows, within epsilon (tuning: in CONFIG); default none.",
)
@click.option(
    "--train",
    "trained",
    type=click.Choice(["head", "biases", "low-rank", "all"]),
    default=None,
    help="What of pretrained weights is trained; default as the config says.",
)
@click.option("--public-body", is_flag=True, help="Pretrained weights were not trained on these rows.")
@click.option(
    "--public-preprocessing", is_flag=True, help="What the preprocessing learned, such as words, is public."
)
@set_option
@device_option
@json_option
def command(
    config: Path,
    epsilon: float,
    delta: float | None,
    reproducible: bool,
    as_audited: bool,
    budget: float | None,
    accept_weak: bool,
    fix: bool,
    replay: bool,
    accept_lost_ledger: bool,
    unit: Literal["person", "row"] | None,
    tune: Literal["private"] | None,
    trained: Literal["head", "biases", "low-rank", "all"] | None,
    public_body: bool,
    public_preprocessing: bool,
    overrides: tuple[str, ...],
    device: str | None,
    as_json: bool,
) -> None:
    """Train the model of CONFIG again, from scratch, with differential privacy.

    Steps, batches, clipping and augmentation stand under `retrain:` in CONFIG, or are given as
    `--set retrain.steps=200`; the options here go before them.

    Every step is charged to the privacy ledger of the training rows before it is taken (see `auditkit
    ledger`). Repeating an interrupted command goes on where it stopped. Under torchrun (`torchrun
    --nproc_per_node 2 -m auditkit retrain ...`) its processes train together.
    """
    from auditkit.jobs.retrain import retrain
    from auditkit.records.bounds import rounded_up
    from auditkit.reporting.terminal import figure_lines

    with progress() as report_progress:
        result = retrain(
            config,
            epsilon=epsilon,
            delta=delta,
            as_audited=as_audited,
            reproducible=reproducible,
            accept_weak=accept_weak,
            fix=fix,
            replay=replay,
            accept_lost_ledger=accept_lost_ledger,
            unit=unit,
            tune=tune,
            trained=trained,
            public_body=public_body,
            public_preprocessing=public_preprocessing,
            overrides=with_budget(with_device(overrides, device), budget),
            report_progress=report_progress,
            tell=say,
        )
    if result.rank:
        return
    certificate = result.certificate
    figures = result.figures
    if as_json:
        document = {
            "checkpoint": str(result.folder),
            "certificate": certificate.model_dump(mode="json"),
            f"{figures.quality}_before": figures.before.value,
            f"{figures.quality}_after": figures.after.value,
            "n": figures.n_rows,
            "figures": [
                one.model_dump(mode="json") for one in (figures.before, figures.after, figures.change)
            ],
        }
        click.echo(json.dumps(document))
        return
    click.echo(
        f"{result.folder}\n"
        f"epsilon {rounded_up(certificate.epsilon):.3f} at delta {certificate.delta:.3g} "
        f"({certificate.accountant}; {certificate.adjacency}; one {certificate.unit_of_privacy})\n"
        f"noise multiplier {certificate.noise_multiplier:g}, sample rate {certificate.sample_rate:.4g}, "
        f"{counted(certificate.steps, 'step')}"
    )
    for line in figure_lines(
        {
            f"{figures.quality} before": figures.before,
            f"{figures.quality} after": figures.after,
            f"paired change, {counted(figures.n_rows, 'row')}": figures.change,
        }
    ):
        click.echo(line)
    if certificate.tuning is not None:
        tuning = certificate.tuning
        click.echo(
            f"tuned by the {tuning.tuned.law} law, {counted(tuning.tuned.mean, 'run')} expected: "
            f"{tuning.chosen}, of {counted(len(tuning.candidates), 'candidate')}. That run alone, its "
            f"settings fixed beforehand, would have spent epsilon {rounded_up(tuning.untuned_epsilon):.3f}"
        )
    again = certificate.steps - (certificate.planned_steps or certificate.steps)
    if again:
        click.echo(
            f"{counted(again, 'step')} charged twice after an interruption: epsilon "
            f"{rounded_up(certificate.epsilon):.3f} where {epsilon:g} was asked for"
        )
    if certificate.replays:
        click.echo("after an interruption steps were repeated bit by bit with the same noise, charged once")
    ledger = certificate.ledger
    if ledger is not None:
        click.echo(
            f"ledger {ledger.fingerprint[:12]}: {counted(ledger.n_runs, 'training')} on these rows, epsilon "
            f"{rounded_up(ledger.epsilon):.3f}{_budget(ledger.budget_epsilon)}"
        )
    _, *other_statements = result.subject.card.statements
    for sentence in (*other_statements, *certificate.not_covered, *certificate.assumptions):
        click.echo(f"- {sentence}")


def _budget(epsilon: float | None) -> str:
    return ", no budget set" if epsilon is None else f" of a budget of {epsilon:g}"

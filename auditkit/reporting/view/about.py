"""About the run: subjects, data, machine, config, how to repeat and verify, sources."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from auditkit.records import UNTRAINED, DataCard, Environment, Run, SubjectCard
from auditkit.records.setting import setting
from auditkit.reporting.charts.rows import ChartRow, RowChart, bars_chart
from auditkit.reporting.labels import audit_title, variant_kind
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import Style, decimal_shortest, join_unit, scale_for

Facts = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Card:
    """Facts about one thing; ``statements`` are sentences about it."""

    title: str
    facts: Facts
    statements: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class About:
    """Everything that identifies the run."""

    subjects: tuple[Card, ...]
    data: Card
    groups: tuple[tuple[str, Markup], ...]
    environment: Card
    config: str
    sources: tuple[tuple[str, tuple[str, ...]], ...]


def about(run: Run, texts: Texts) -> About:
    """The cards of a run."""
    return About(
        subjects=tuple(_subject(card, texts) for card in run.subjects),
        data=_data(run.data, texts),
        groups=tuple((name, _group_chart(name, counts, texts)) for name, counts in run.data.groups.items()),
        environment=_environment(run, run.environment, texts),
        config=json.dumps(run.config, indent=1, ensure_ascii=False),
        sources=tuple(_sources(run, texts)),
    )


def short_digest(digest: str) -> str:
    """Both ends of a digest, enough to recognise it.

    >>> short_digest("9f2c61b07d3e4a58e07a")
    '9f2c61b0…e07a'
    """
    bare = digest.removeprefix("sha256:")
    return bare if len(bare) <= 14 else f"{bare[:8]}…{bare[-4:]}"


def _bytes(size_b: int) -> str:
    size = scale_for("B", Style.PLAIN, [float(size_b)])
    return join_unit(decimal_shortest(size_b * size.factor, 4), size.symbol)


def _subject(card: SubjectCard, texts: Texts) -> Card:
    facts = [
        (texts.text("digest"), card.digest),
        (texts.text("from"), card.source),
        (texts.text("architecture"), card.architecture),
        (texts.text("parameters"), "" if card.n_parameters is None else grouped(card.n_parameters)),
        (texts.text("size of the weights"), "" if card.size_b is None else _bytes(card.size_b)),
        (texts.text("classes"), _few(card.classes, texts)),
        *_training(card, texts),
    ]
    title = texts.text("{subject}: {kind}", subject=card.name, kind=variant_kind(texts, card.kind))
    statements = tuple(texts.message(statement) for statement in card.statements)
    return Card(title, tuple((name, value) for name, value in facts if value), statements)


def _training(card: SubjectCard, texts: Texts) -> Iterator[tuple[str, str]]:
    training = card.training
    if training is None:
        return
    yield (
        texts.text("trained on"),
        texts.text(
            "{source}, {n} rows, digest {digest}",
            source=training.data_source,
            n=grouped(training.n_rows),
            digest=short_digest(training.data_digest),
        ),
    )
    yield (
        texts.text("training"),
        texts.text(
            "{steps} steps, {epochs} epochs, {duration} s at {speed} rows per second, seed {seed}",
            steps=grouped(training.steps),
            epochs=decimal_shortest(training.epochs, 4),
            duration=decimal_shortest(training.duration_s, 3),
            speed=decimal_shortest(training.samples_per_s, 3),
            seed=training.seed,
        ),
    )
    if training.final_loss is not None:
        yield texts.text("final loss"), decimal_shortest(training.final_loss, 4)
    recipe = {key: value for key, value in training.recipe.items() if key != UNTRAINED}
    if recipe:
        yield (
            texts.text("recipe"),
            texts.list_of(f"{key} {setting(v, number=decimal_shortest)}" for key, v in recipe.items()),
        )


def _data(data: DataCard, texts: Texts) -> Card:
    facts = [
        (texts.text("from"), data.source),
        (texts.text("split"), data.split or ""),
        (texts.text("digest"), data.digest),
        (texts.text("rows"), grouped(data.n_rows)),
        (texts.text("training rows among them"), "" if data.n_members is None else grouped(data.n_members)),
        _width(data, texts),
        (texts.text("target"), data.target),
        (texts.text("classes"), _few(data.classes, texts)),
        (texts.text("favourable class"), data.positive or ""),
    ]
    statements = tuple(texts.message(statement) for statement in data.statements)
    return Card(data.name, tuple((name, value) for name, value in facts if value), statements)


def _width(data: DataCard, texts: Texts) -> tuple[str, str]:
    """What a row is made of."""
    if data.tokens_per_row is None:
        return texts.text("features"), grouped(data.n_features)
    return texts.text("tokens per row"), texts.text("up to {n}", n=grouped(data.tokens_per_row))


def _group_chart(name: str, counts: dict[str, int], texts: Texts) -> Markup:
    total = sum(counts.values()) or 1
    rows = [
        ChartRow(label=group, value=float(n), text=f"{100 * n / total:.1f} %", n=grouped(n))
        for group, n in counts.items()
    ]
    axis = texts.text("rows")
    return bars_chart(RowChart(rows=rows, axis=axis, title=name, n_heading=axis, width=420.0))


def _environment(run: Run, environment: Environment, texts: Texts) -> Card:
    facts = [
        ("auditkit", environment.auditkit),
        ("Python", environment.python),
        (texts.text("platform"), environment.platform),
        (texts.text("processor"), environment.processor),
        (texts.text("cores and threads"), f"{environment.n_cpus}, {environment.threads}"),
        (texts.text("device"), environment.device),
        (
            texts.text("packages"),
            texts.list_of(f"{name} {version}" for name, version in environment.packages.items()),
        ),
        (texts.text("duration"), join_unit(decimal_shortest(run.duration_s, 3), "s")),
    ]
    return Card(texts.text("Machine"), tuple((name, value) for name, value in facts if value))


def _sources(run: Run, texts: Texts) -> Iterator[tuple[str, tuple[str, ...]]]:
    seen: dict[str, dict[str, None]] = {}
    for result in run.results:
        seen.setdefault(result.audit, {}).update(dict.fromkeys(result.sources))
    for audit, sources in seen.items():
        if sources:
            yield audit_title(texts, audit), tuple(sources)


def _few(names: Sequence[str], texts: Texts) -> str:
    shown = texts.list_of(names[:12])
    return shown if len(names) <= 12 else texts.text("{names} and {n} more", names=shown, n=len(names) - 12)

"""A model card in Markdown with the figures as a ``model-index``, as model hubs read them."""

import json
from decimal import Decimal

from auditkit.records import Measurement, Run, SubjectCard, figure_address
from auditkit.reporting.html import clean
from auditkit.reporting.labels import figure_label
from auditkit.reporting.language import Texts, texts_for
from auditkit.reporting.markdown import escaped, render_markdown

_METRICS_AT_MOST = 40
_CLASSES_AT_MOST = 20


def render_model_card(run: Run) -> str:
    """YAML front matter with the measured figures of the baseline, then what is known about the model.

    Nothing that was not measured or recorded is claimed; what only people can state is left open by name.
    Source: Hugging Face model card metadata, ``model-index``; Mitchell et al. (2019), arXiv:1810.03993.
    """
    texts = texts_for("en")
    card = run.subjects[0]
    body = [
        f"# {escaped(card.title)}",
        f"Architecture: {escaped(card.architecture)}, {_parameters(card)}{_answers(card)}.",
        _training(run),
        "## Intended use\n\nNot stated. Only those who answer for the model can state it.",
        "## Audit",
        "\n".join(render_markdown(run, "en").splitlines()[1:]).strip(),
    ]
    return clean(_front_matter(run, texts) + "\n\n".join(part for part in body if part) + "\n")


def _parameters(card: SubjectCard) -> str:
    return "" if card.n_parameters is None else f"{card.n_parameters:,} parameters, "


def _answers(card: SubjectCard) -> str:
    """What it chooses from: classes, or tokens."""
    if "generative" in card.capabilities:
        return "foretells tokens of a language"
    more = len(card.classes) - _CLASSES_AT_MOST
    named = ", ".join(card.classes[:_CLASSES_AT_MOST])
    return f"classes: {escaped(named)}{f' and {more:,} more' if more > 0 else ''}"


def _library(card: SubjectCard) -> list[str]:
    """The library of the model, where it is known from what can be asked of it."""
    if "layers" in card.capabilities:
        return ["library_name: pytorch"]
    return ["library_name: sklearn"] if card.architecture.startswith("scikit-learn ") else []


def _training(run: Run) -> str:
    training = run.subjects[0].training
    if training is None:
        return "How it was trained is not on record."
    return (
        f"Trained on {escaped(training.data_source)} ({training.n_rows:,} rows), {training.steps:,} steps, "
        f"seed {training.seed}."
    )


def _front_matter(run: Run, texts: Texts) -> str:
    # JSON strings are YAML strings, so quoting through JSON keeps every name inert.
    lines = [
        "---",
        *_library(run.subjects[0]),
        "tags: [auditkit]",
        "model-index:",
        f"- name: {json.dumps(run.subjects[0].title)}",
        "  results:",
        "  - task: {type: other}",
        "    dataset:",
        f"      name: {json.dumps(run.data.name)}",
        f"      type: {json.dumps(run.data.name)}",
        f"      split: {json.dumps(run.data.split or 'all')}",
        f"      revision: {json.dumps(run.data.digest)}",
        "    metrics:",
    ]
    for address, measurement in _figures(run):
        label = figure_label(texts, measurement, address.partition("/")[0])
        lines += [
            f"    - type: {json.dumps(address)}",
            f"      name: {json.dumps(label, ensure_ascii=False)}",
            f"      value: {format(Decimal(repr(measurement.value)), 'f')}",
        ]
    return "\n".join([*lines, "---", "", ""])


def _figures(run: Run) -> list[tuple[str, Measurement]]:
    figures = [
        (figure_address(result, measurement).rpartition("@")[0], measurement)
        for result in run.results
        if result.subject == run.subjects[0].name and result.against is None
        for measurement in result.measurements
        if measurement.value is not None and not measurement.group
    ]
    return figures[:_METRICS_AT_MOST]

"""Methods and controls on models whose weights are drawn anew."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial

from torch import nn

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.gradient import SALIENCY
from auditkit.audits.explainability.methods.guided_backprop import GUIDED_BACKPROP
from auditkit.audits.explainability.quality.explaining import Explain, Explainer
from auditkit.audits.explainability.quality.randomisation import randomisation
from auditkit.audits.explainability.quality.reinitialised import cascade, parametrised, reinitialised
from auditkit.audits.explainability.quality.scores import GRADIENT, GUIDED, Control, Drawn
from auditkit.audits.explainability.token_score import PathScore


def of_drawn_models(
    rows: ExplainedRows, explainers: Mapping[str, Explain], seeds: Sequence[int]
) -> tuple[dict[str, Drawn], tuple[Control, ...]]:
    """What models drawn anew make of each explainer, and of the controls beside them.

    Args:
        rows: Of a copy of the subject that may be changed; it is put back.
        explainers: By name.
        seeds: Of the models drawn as a whole; the first also draws layer by layer.

    Returns:
        Nothing where the model has no parameters.
    """
    layers = parametrised(rows.white_box.module)
    if not layers:
        return {}, ()
    all_of_them = {("method", name): explain for name, explain in explainers.items()} | {
        ("control", name): explain for name, explain in _controls(rows).items()
    }
    whole = randomisation(rows, all_of_them, [partial(_drawn, rows, layers, seed) for seed in seeds])
    steps = [partial(_drawn, rows, some, seeds[0]) for some in cascade(layers)]
    stepwise = randomisation(rows, all_of_them, steps)
    found = {key: Drawn(whole[key], stepwise[key].similarity) for key in all_of_them}
    return (
        {name: drawn for (role, name), drawn in found.items() if role == "method"},
        tuple(Control(name, drawn) for (role, name), drawn in found.items() if role == "control"),
    )


def _controls(rows: ExplainedRows) -> dict[str, Explain]:
    found: dict[str, Explain] = {GRADIENT: Explainer(SALIENCY, 0)}
    if GUIDED_BACKPROP.obstacle(rows) is None:
        found[GUIDED] = Explainer(GUIDED_BACKPROP, 0)
    return found


@contextmanager
def _drawn(rows: ExplainedRows, layers: Sequence[nn.Module], seed: int) -> Iterator[ExplainedRows]:
    with reinitialised(rows.white_box, layers, seed):
        yield _seen_now(rows)


def _seen_now(rows: ExplainedRows) -> ExplainedRows:
    """The same rows as the model sees them now: other weights give tokens other vectors."""
    if not isinstance(rows.score, PathScore):
        return rows
    ids, embedding = rows.target[:, 1:], rows.score.embedding
    return replace(rows, inputs=embedding.vectors(ids), baseline=embedding.of_padding(ids))

"""All scores of all methods from one pass over the perturbed rows."""

from collections.abc import Callable, Sequence

import numpy as np

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.method import AttributionMethod
from auditkit.audits.explainability.quality.agreement import Agreement, stability
from auditkit.audits.explainability.quality.completeness import complete
from auditkit.audits.explainability.quality.complexity import complexity
from auditkit.audits.explainability.quality.drawn_models import of_drawn_models
from auditkit.audits.explainability.quality.explaining import Explain, Explainer, some_of
from auditkit.audits.explainability.quality.imputers import Imputer
from auditkit.audits.explainability.quality.infidelity import infidelity
from auditkit.audits.explainability.quality.max_sensitivity import MaxSensitivity, max_sensitivity, neighbours
from auditkit.audits.explainability.quality.outputs import at_baseline, at_inputs, probability_of
from auditkit.audits.explainability.quality.removal import Removal, random_removal, removal
from auditkit.audits.explainability.quality.scores import Effort, MethodRows, Scores
from auditkit.audits.explainability.quality.sensitivity_n import sensitivity_n
from auditkit.data.dataset import FloatArray, IntArray
from auditkit.randomness import derive_seed, numpy_rng

Explanations = dict[str, FloatArray]


def scores_of(
    rows: ExplainedRows,
    methods: Sequence[AttributionMethod],
    imputed: Sequence[Imputer],
    again: IntArray,
    *,
    effort: Effort,
    seed: int,
) -> Scores:
    """Every score of every method; what is perturbed is perturbed once for all methods.

    Args:
        rows: Of a copy of the subject whose weights may be drawn anew; it is put back.
        methods: To score; each can be used on these rows.
        imputed: What stands in place of units, the baseline first.
        again: Rows explained again, for stability and for models drawn anew.
        effort: How many draws.
        seed: Of all of them.
    """
    some = some_of(rows, again)
    phi = {method.name: Explainer(method, seed)(rows) for method in methods}
    coarse = {method.name: Explainer(method, seed, is_coarse=True) for method in methods}
    models = [derive_seed(seed, "model", str(index)) for index in range(effort.models)]
    drawn, controls = of_drawn_models(some, coarse, models)
    unfaithful = _faithfulness(rows, phi, imputed[0], effort, seed)
    moved = _moved(some, coarse, effort, seed)
    removals = _removals(rows, phi, imputed, seed)
    change = at_inputs(rows, rows.score) - at_baseline(rows, rows.score)
    found = []
    for at, method in enumerate(methods):
        name = method.name
        stable, is_random = _stability(some, coarse[name], effort.seeds)
        found.append(
            MethodRows(
                method=method,
                attributions=phi[name],
                complete=complete(phi[name], change) if method.adds_up else None,
                removal=removals[name],
                sensitivity=unfaithful[0][:, at],
                infidelity=unfaithful[1][:, at],
                stability=stable,
                is_random=is_random,
                moved=moved[name],
                randomised=drawn.get(name),
                complexity=complexity(phi[name], rows.present),
            )
        )
    by_chance = _each(
        imputed,
        lambda one: random_removal(
            rows, probability_of(rows), one, numpy_rng(seed, "random removal", one.name)
        ),
    )
    return Scores(again=again, methods=tuple(found), by_chance=by_chance, controls=controls)


def _each(imputed: Sequence[Imputer], of: Callable[[Imputer], Removal]) -> dict[str, Removal]:
    return {one.name: of(one) for one in imputed}


def _faithfulness(
    rows: ExplainedRows, phi: Explanations, imputer: Imputer, effort: Effort, seed: int
) -> tuple[FloatArray, FloatArray]:
    columns = list(phi.values())
    sensitive = sensitivity_n(
        rows,
        columns,
        imputer,
        n_subsets=effort.subsets,
        n_random=effort.random,
        rng=numpy_rng(seed, "subsets"),
    )
    noisy = infidelity(
        rows, columns, n_noise=effort.noise, n_random=effort.random, rng=numpy_rng(seed, "noise")
    )
    return sensitive, noisy


def _moved(
    some: ExplainedRows, coarse: dict[str, Explainer], effort: Effort, seed: int
) -> dict[str, MaxSensitivity]:
    explainers: dict[str, Explain] = dict(coarse)
    return max_sensitivity(
        some, explainers, neighbours(some, effort.neighbours, numpy_rng(seed, "neighbours")), seed
    )


def _removals(
    rows: ExplainedRows, phi: Explanations, imputed: Sequence[Imputer], seed: int
) -> dict[str, dict[str, Removal]]:
    probability = probability_of(rows)
    return {
        name: {
            one.name: removal(rows, probability, values, one, numpy_rng(seed, "ties", name, one.name))
            for one in imputed
        }
        for name, values in phi.items()
    }


def _stability(some: ExplainedRows, explain: Explain, n_seeds: int) -> tuple[Agreement, bool]:
    """Over draws; a method that gives the same twice draws nothing and is not asked again."""
    found = [explain(some, draw) for draw in range(2)]
    is_random = not np.array_equal(found[0], found[1])
    if is_random:
        found += [explain(some, draw) for draw in range(2, n_seeds)]
    return stability(found, some.present), is_random

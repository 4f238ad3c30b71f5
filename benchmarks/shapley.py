"""Shapley values of all rows at once, against Captum's ``KernelShap``, which takes rows one by one.

Speed: 64 rows, 20 features, 200 scores per row, a network of 2 x 64 units, warm, in one process. Bar: at
least 100 times as fast. The limit is rows x coalitions passes through the network, in the same batches;
how long these take alone is told beside.

Error: relative L2 distance to the exact values over all 1,024 coalitions of 10 features, 16 rows, mean over
rows, networks and seeds. Bar: at most 0.7 times Captum's mean error at 100, 200 and 500 scores each.

Exactness: with all coalitions of 2 to 12 features, the values equal the sum over subsets to 1e-6, relative to
the change of the score; at any budget the values add up to that change to 1e-6.

Standard errors of permutation Shapley: the share of exact values within 1.96 of them.
"""

import os
import warnings
from collections.abc import Callable
from dataclasses import replace
from math import factorial

import numpy as np
import torch
from captum.attr import KernelShap
from torch import nn

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.coalition_design import all_coalitions
from auditkit.audits.explainability.methods.game import Game
from auditkit.audits.explainability.methods.kernel_shap import kernel_shap
from auditkit.audits.explainability.methods.permutation_shapley import permutation_shapley
from auditkit.audits.explainability.methods.players import players_of
from auditkit.config import Architecture
from auditkit.data.dataset import FeatureSpace
from auditkit.records import Message
from auditkit.subjects.torch_subject import TorchSubject
from benchmarks.paired import paired, seconds

SPEED_ROWS, SPEED_FEATURES, SPEED_SCORES = 64, 20, 200
ERROR_ROWS, ERROR_FEATURES, ERROR_SCORES = 16, 10, (100, 200, 500)
NETWORKS, SEEDS = 4, 3
BATCH_SIZE = 256
BAR_SPEED, BAR_ERROR, EXACT = 100, 0.7, 1e-6


def network(n_features: int, seed: int) -> nn.Module:
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return nn.Sequential(
            nn.Linear(n_features, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 2)
        ).eval()


def rows_of(module: nn.Module, n: int, n_features: int, seed: int) -> ExplainedRows:
    """The logit of the second class of normal rows, from a baseline of zeros."""
    inputs = torch.randn(n, n_features, generator=torch.Generator().manual_seed(seed))
    subject = TorchSubject.build(module, architecture=Architecture(name="test"), classes=("no", "yes"))
    return ExplainedRows(
        score=lambda x, target: subject.logits(x).gather(1, target.unsqueeze(1)).squeeze(1),
        inputs=inputs,
        baseline=torch.zeros(1, n_features),
        target=torch.ones(n, dtype=torch.int64),
        unit_of=torch.arange(n_features),
        present=np.ones((n, n_features), dtype=np.bool_),
        batch_size=BATCH_SIZE,
        score_meaning=Message(text=""),
        baseline_meaning=Message(text=""),
        subject=subject,
        features=FeatureSpace(tuple(f"x{i}" for i in range(n_features))),
    )


def in_double(rows: ExplainedRows) -> ExplainedRows:
    rows.white_box.module.double()
    return replace(rows, inputs=rows.inputs.double(), baseline=rows.baseline.double())


def peer(rows: ExplainedRows, n_samples: int) -> np.ndarray:
    """Captum's values; it treats a batch as one row, so that rows go one by one."""
    engine = KernelShap(rows.white_box.module)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return np.concatenate(
            [
                engine.attribute(
                    row.unsqueeze(0),
                    baselines=rows.baseline,
                    target=1,
                    n_samples=n_samples,
                    perturbations_per_eval=n_samples,
                )
                .detach()
                .numpy()
                for row in rows.inputs
            ]
        )


def drawn(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def scores_of_all(rows: ExplainedRows) -> np.ndarray:
    """Of every coalition, shape ``(n, 2 ** p)``; coalition ``c`` has the players whose bits are set in c."""
    players = players_of(rows, rows.n_units)
    return Game(rows, np.arange(len(rows.inputs)), players.of_unit, rows.n_units).scores(
        all_coalitions(rows.n_units)
    )


def by_definition(scores: np.ndarray, p: int) -> np.ndarray:
    """Shapley (1953): what a player adds to each set of others, weighted by the orders that begin so."""
    codes = np.arange(2**p)
    sizes = np.array([bin(code).count("1") for code in codes])
    weight = np.array([factorial(k) * factorial(p - 1 - k) / factorial(p) if k < p else 0.0 for k in sizes])
    values = np.empty((len(scores), p))
    for player in range(p):
        without = codes[codes >> player & 1 == 0]
        values[:, player] = (scores[:, without | 1 << player] - scores[:, without]) @ weight[without]
    return values


def error(found: np.ndarray, exact: np.ndarray) -> float:
    return float((np.linalg.norm(found - exact, axis=1) / np.linalg.norm(exact, axis=1)).mean())


def speed() -> dict[str, object]:
    """Ours against Captum, and the bare passes through the network."""
    rows = rows_of(network(SPEED_FEATURES, 0), SPEED_ROWS, SPEED_FEATURES, 0)
    wide = replace(rows, batch_size=4096)
    n_scores = 0

    def counted(inputs: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal n_scores
        n_scores += len(inputs)
        return rows.score(inputs, target)

    kernel_shap(replace(rows, score=counted), drawn(0), n_coalitions=SPEED_SCORES)
    flat = torch.randn(n_scores, SPEED_FEATURES, generator=drawn(1))
    target = torch.ones(n_scores, dtype=torch.int64)

    def bare() -> None:
        with torch.no_grad():
            for at in range(0, n_scores, BATCH_SIZE):
                rows.score(flat[at : at + BATCH_SIZE], target[at : at + BATCH_SIZE])

    name = "captum.attr.KernelShap, perturbations_per_eval=n_samples"
    found = {
        f"batches_of_{of.batch_size}": paired(
            lambda of=of: kernel_shap(of, drawn(0), n_coalitions=SPEED_SCORES),
            lambda: peer(rows, SPEED_SCORES),
            peer_name=name,
        )
        for of in (rows, wide)
    }
    return {
        **found,
        "n_rows": SPEED_ROWS,
        "n_features": SPEED_FEATURES,
        "scores_per_row": SPEED_SCORES,
        "model_evaluations": n_scores,
        "limit_evaluations": SPEED_ROWS * SPEED_SCORES,
        "bare_passes_s": float(np.median([seconds(bare) for _ in range(9)])),
    }


def errors() -> dict[str, object]:
    """Mean error of ours and of Captum's at each budget."""
    found: dict[str, list[float]] = {}

    def add(name: str, n: int, values: np.ndarray, exact: np.ndarray) -> None:
        found.setdefault(f"{name} {n}", []).append(error(values, exact))

    for index in range(NETWORKS):
        rows = rows_of(network(ERROR_FEATURES, index), ERROR_ROWS, ERROR_FEATURES, index)
        exact = by_definition(scores_of_all(rows), ERROR_FEATURES)
        for n in ERROR_SCORES:
            for seed in range(SEEDS):
                add("kernel-shap", n, kernel_shap(rows, drawn(seed), n_coalitions=n), exact)
                sampled = permutation_shapley(rows, drawn(seed), n_coalitions=n)
                add("permutation-shapley", n, sampled.values, exact)
                with torch.random.fork_rng():
                    torch.random.manual_seed(seed)
                    add("captum", n, peer(rows, n), exact)
    means = {name: float(np.mean(values)) for name, values in found.items()}
    return {
        "mean_relative_error": means,
        "ratio": {str(n): means[f"kernel-shap {n}"] / means[f"captum {n}"] for n in ERROR_SCORES},
        "networks": NETWORKS,
        "seeds": SEEDS,
    }


def exactness() -> dict[str, float]:
    """Largest difference to the definition with all coalitions, and largest gap of the sum at any budget."""
    difference, gap = 0.0, 0.0
    for p in range(2, 13):
        rows = in_double(rows_of(network(p, p), ERROR_ROWS, p, p))
        scores = scores_of_all(rows)
        change = scores[:, -1] - scores[:, 0]
        exact = by_definition(scores, p)
        scale = 1 + np.abs(change)[:, None]
        found = kernel_shap(rows, drawn(0), n_coalitions=2**p)
        difference = max(difference, float((np.abs(found - exact) / scale).max()))
        methods: tuple[Callable[[int], np.ndarray], ...] = (
            lambda n, rows=rows: kernel_shap(rows, drawn(1), n_coalitions=n),
            lambda n, rows=rows: permutation_shapley(rows, drawn(1), n_coalitions=n).values,
        )
        for method in methods:
            for n in (30, 100, 4096):
                gap = max(gap, float(np.abs(method(n).sum(axis=1) - change).max()))
    return {"largest_difference": difference, "largest_gap_of_sum": gap}


def standard_errors() -> float:
    """Share of exact values within 1.96 standard errors, 200 draws of 50 pairs of orders."""
    rows = rows_of(network(ERROR_FEATURES, 0), ERROR_ROWS, ERROR_FEATURES, 0)
    exact = by_definition(scores_of_all(rows), ERROR_FEATURES)
    inside = []
    for seed in range(200):
        found = permutation_shapley(rows, drawn(seed), n_coalitions=902)
        inside.append(np.abs(found.values - exact) <= 1.96 * found.standard_errors)
    return float(np.mean(inside))


def run() -> dict[str, object]:
    """All figures against their bars."""
    load = os.getloadavg()[0]
    fast, near, sure = speed(), errors(), exactness()
    ratios = [fast[f"batches_of_{size}"]["peer_over_ours"] for size in (BATCH_SIZE, 4096)]
    return {
        "speed": fast,
        "error": near,
        "exactness": sure,
        "share_within_1.96_standard_errors": standard_errors(),
        "load_average": [load, os.getloadavg()[0]],
        "bar": {"peer_over_ours": BAR_SPEED, "error_ratio": BAR_ERROR, "exact": EXACT},
        "holds": min(ratios) >= BAR_SPEED
        and max(near["ratio"].values()) <= BAR_ERROR
        and max(sure.values()) < EXACT,
    }


if __name__ == "__main__":
    print(run())

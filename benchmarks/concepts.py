"""Concepts: planted ones are shown, random ones are not, and what the usual t test makes of random ones.

Planted: a network trained on labels that depend on a concept, which is one noisy input among six. Bar: shown
in at least 19 of 20 networks. Random: five random subsets of the rows for each of 40 networks. Bars: shown
after correction in at most 5 % of 200, and an uncorrected p of at most 0.05 in 5 % of them before the
held-out accuracy sorts any out, give or take the error of the count. The t test compares 30 directions of a
concept, each against other random rows, with 30 of random concepts, as is usual; its outcome is shown,
not judged.
"""

import math
from itertools import pairwise

import numpy as np
import torch
from scipy.stats import ttest_ind
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.concepts import Concepts
from auditkit.audits.explainability.concepts.layers import places_of
from auditkit.audits.explainability.concepts.sensitivity import Explained, Plan, Pool, sensitivity
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.data.dataset import Dataset
from auditkit.models.given_weights import linear_layer
from auditkit.randomness import numpy_rng
from auditkit.selftest.subjects import rows_of, subject_of
from auditkit.subjects.torch_subject import TorchSubject

PLANTED_RUNS, NETWORKS, COINS, ROWS = 20, 40, 5, 600
PLANTED_FOUND, FALSE = 0.95, 0.05
USUAL_DIRECTIONS = 30
LAYER = "1"
"""Output of the first hidden layer, from which on the network bends."""


def trained(seed: int, *, used: float = 1.0) -> tuple[TorchSubject, Dataset]:
    """A network on labels that depend on the concept ``real``, and rows with ``COINS`` random subsets."""
    rng = numpy_rng(seed, "benchmark concepts")
    shows = rng.random(ROWS) < 0.4
    inputs = rng.normal(size=(ROWS, 6))
    inputs[:, 0] = shows + 0.3 * rng.normal(size=ROWS)
    yes = inputs @ np.array([2 * used, 1, -1, 0, 0, 0]) - 0.8 * used + rng.logistic(size=ROWS) > 0
    widths = (6, 16, 16, 2)
    layers: list[nn.Module] = []
    for fan_in, fan_out in pairwise(widths):
        weight = torch.from_numpy(rng.normal(size=(fan_out, fan_in)) / fan_in**0.5).float()
        layers += [linear_layer(weight, torch.zeros(fan_out)), nn.ReLU()]
    module = nn.Sequential(*layers[:-1])
    rows, labels = torch.from_numpy(inputs).float(), torch.from_numpy(yes.astype(np.int64))
    optimiser = torch.optim.Adam(module.parameters(), lr=1e-2)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(rows), labels).backward()
        optimiser.step()
    module.zero_grad(set_to_none=True)
    groups = {"real": np.where(shows, "yes", "no").tolist()}
    for index in range(COINS):
        groups[f"coin {index}"] = np.where(rng.random(ROWS) < 0.4, "yes", "no").tolist()
    return subject_of(module), rows_of(inputs, yes, groups=groups)


def shown(seed: int, names: list[str], *, used: float = 1.0) -> dict[str, bool]:
    """Which concepts the audit shows, corrected for all of them."""
    subject, data = trained(seed, used=used)
    audit = Concepts.model_validate(
        {"concepts": {name: {"feature": name, "level": "yes"} for name in names}, "layers": [LAYER]}
    )
    output = audit.measure(subject, data, AuditContext(seed=seed))
    found = {}
    for one in output.measurements:
        if one.metric == "concept_effect":
            p = 1.0 if one.note is None else float(one.note.values["p_adjusted"])
            found[one.group["concept"]] = p <= FALSE
    return found


def random_concept(seed: int, index: int) -> tuple[float, float]:
    """Exact p of a random subset before any gate, and that of the usual t test."""
    subject, data = trained(seed)
    probe = data.inputs[:16]
    (place,) = places_of(subject, (LAYER,), probe)
    reader = Reader(subject, place, "mean", None, 256)  # type: ignore[arg-type]
    yes = np.flatnonzero(data.y_true == 1)[:200]
    gradients = reader.gradients(
        data.inputs[torch.from_numpy(yes)], torch.ones(len(yes), dtype=torch.int64), LogitScore(subject)
    )
    activations, rng = reader.activations(data.inputs), np.random.default_rng([seed, index])
    codes = data.sensitive_features[f"coin {index}"].codes
    sides = [rng.permutation(np.flatnonzero(codes == code))[:200] for code in (1, 0)]
    rows = np.concatenate(sides)
    pool = Pool(activations[rows], np.repeat([True, False], [len(side) for side in sides]), rows)
    plan = Plan("mean-difference", 999, 50, 1, 0.95)
    exact = sensitivity(pool, Explained(gradients, yes), plan, rng).p
    return exact, usual_t_test(activations, gradients, sides[0], rng)


def usual_t_test(
    activations: np.ndarray, gradients: np.ndarray, concept: np.ndarray, rng: np.random.Generator
) -> float:
    """p of 30 scores of the concept against 30 of random concepts, as in Kim et al. (2018), section 3.4."""

    def score(rows: np.ndarray) -> float:
        others = rng.choice(ROWS, len(rows), replace=False)
        direction = activations[rows].mean(axis=0) - activations[others].mean(axis=0)
        return float((gradients @ direction > 0).mean())

    own = [score(concept) for _ in range(USUAL_DIRECTIONS)]
    random = [score(rng.choice(ROWS, len(concept), replace=False)) for _ in range(USUAL_DIRECTIONS)]
    return 0.0 if np.ptp(own + random) == 0 else float(ttest_ind(own, random).pvalue)


def run() -> dict[str, object]:
    """Shares of networks and of random concepts."""
    planted = [shown(seed, ["real"])["real"] for seed in range(PLANTED_RUNS)]
    coins = [f"coin {index}" for index in range(COINS)]
    false = [one for seed in range(NETWORKS) for one in shown(seed, coins).values()]
    chances = np.array([random_concept(seed, index) for seed in range(NETWORKS) for index in range(COINS)])
    exact, usual = (chances <= FALSE).mean(axis=0)
    slack = 2 * math.sqrt(FALSE * (1 - FALSE) / len(chances))
    return {
        "planted_shown": float(np.mean(planted)),
        "planted_runs": PLANTED_RUNS,
        "random_shown": float(np.mean(false)),
        "random_runs": len(false),
        "random_p_below_5_percent": float(exact),
        "usual_t_test_p_below_5_percent": float(usual),
        "bar": {"planted_shown": PLANTED_FOUND, "random_shown": FALSE, "random_p_slack": slack},
        "holds": bool(np.mean(planted) >= PLANTED_FOUND)
        and bool(np.mean(false) <= FALSE)
        and bool(exact <= FALSE + slack),
    }


if __name__ == "__main__":
    print(run())

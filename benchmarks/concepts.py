"""Concepts: planted ones are shown, random ones are not, and what the usual t test makes of random ones.

Planted: a network trained on labels that depend on a concept, which is one noisy input among six. Bar: shown
in at least 19 of 20 networks. Random: five random subsets of the rows for each of 40 networks. Bars: shown
after correction in at most 5 % of 200, and an uncorrected p of at most 0.05 in 5 % of them before the
held-out accuracy sorts any out, give or take the error of the count. Folders: networks trained to tell
stripes, which a quarter of the noisy rows have; a folder of larger colour pictures, all of them striped, at
the bar of planted inputs, and folders of pictures drawn as the rows are, at the bar of random subsets. The
t test compares 30 directions of a concept, each against other random rows, with 30 of random concepts, as is
usual; its outcome is shown, not judged.
"""

import math
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image
from scipy.stats import ttest_ind
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.concepts.activations import Reader
from auditkit.audits.explainability.concepts.concepts import Concepts
from auditkit.audits.explainability.concepts.layers import places_of
from auditkit.audits.explainability.concepts.sensitivity import Explained, Plan, Pool, sensitivity
from auditkit.audits.explainability.explained_score import LogitScore
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace
from auditkit.data.preprocessing import ImagePreprocessing
from auditkit.models.given_weights import linear_layer
from auditkit.randomness import numpy_rng
from auditkit.selftest.subjects import rows_of, subject_of
from auditkit.subjects.torch_subject import TorchSubject

PLANTED_RUNS, NETWORKS, COINS, ROWS = 20, 40, 5, 600
SIDE, IN_FOLDER, STRIPED = 8, 40, 0.25
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
    return found_by(audit, subject, data, seed)


def found_by(audit: Concepts, subject: TorchSubject, data: Dataset, seed: int) -> dict[str, bool]:
    output = audit.measure(subject, data, AuditContext(seed=seed))
    found = {}
    for one in output.measurements:
        if one.metric == "concept_effect":
            p = 1.0 if one.note is None else float(one.note.values["p_adjusted"])
            found[one.group["concept"]] = p <= FALSE
    return found


def noisy(rng: np.random.Generator, n: int, side: int = SIDE) -> np.ndarray:
    """Pictures of noise, grey values in ``[0, 1]``, shape ``(n, side, side)``."""
    return rng.uniform(0.0, 0.6, size=(n, side, side))


def stripes(rng: np.random.Generator, n: int, side: int = SIDE) -> np.ndarray:
    """What is added to pictures: two rows bright, two rows dark, from a row that is drawn."""
    period = side // 2
    lines = (np.arange(side) + rng.integers(period, size=(n, 1))) % period < period // 2
    return np.repeat(0.4 * lines[:, :, None], side, axis=2)


def of_pictures(seed: int) -> tuple[TorchSubject, Dataset]:
    """A convolutional network trained to tell which noisy pictures have stripes, up to wrong labels."""
    rng = numpy_rng(seed, "benchmark pictures")
    yes = rng.random(ROWS) < STRIPED
    grey = noisy(rng, ROWS) + yes[:, None, None] * stripes(rng, ROWS)
    labels = np.where(rng.random(ROWS) < 0.9, yes, ~yes)
    generator = torch.Generator().manual_seed(seed)
    module = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(128, 2)
    )
    with torch.no_grad():
        for weight in module.parameters():
            weight.uniform_(-0.2, 0.2, generator=generator)
    inputs, target = torch.from_numpy(grey[:, None]).float(), torch.from_numpy(labels.astype(np.int64))
    optimiser = torch.optim.Adam(module.parameters(), lr=3e-3)
    for _ in range(150):
        optimiser.zero_grad()
        nn.functional.cross_entropy(module(inputs), target).backward()
        optimiser.step()
    module.zero_grad(set_to_none=True)
    names = ("no", "yes")
    steps = ImagePreprocessing(
        target="t", classes=names, height=SIDE, width=SIDE, divisor=1, mean=0.0, scale=1.0, flatten=False
    )
    subject = TorchSubject.build(
        module, architecture=Architecture(name="planted"), classes=names, preprocessing=steps
    )
    data = Dataset(
        name="stripes",
        source="memory",
        split=None,
        inputs=inputs,
        y_true=target.numpy(),
        classes=names,
        positive="yes",
        features=FeatureSpace((), image_shape=(SIDE, SIDE)),
    )
    return subject, data


def shown_folders(seed: int) -> dict[str, bool]:
    """Whether a folder of stripes, and folders of pictures like the rows, are shown."""
    subject, data = of_pictures(seed)
    rng = numpy_rng(seed, "benchmark folders")
    large = np.repeat((noisy(rng, IN_FOLDER, 32) + stripes(rng, IN_FOLDER, 32))[..., None], 3, axis=3)
    like_rows = {}
    for index in range(COINS):
        some = rng.random(IN_FOLDER) < STRIPED
        like_rows[f"coin {index}"] = noisy(rng, IN_FOLDER) + some[:, None, None] * stripes(rng, IN_FOLDER)
    with TemporaryDirectory() as place:
        found = {}
        for names in ({"real": large}, like_rows):
            concepts = {name: {"examples": written(Path(place) / name, grey)} for name, grey in names.items()}
            audit = Concepts.model_validate({"concepts": concepts, "layers": ["3"], "positions": "flat"})
            found |= found_by(audit, subject, data, seed)
    return found


def written(folder: Path, grey: np.ndarray) -> str:
    """A folder of PNG files."""
    folder.mkdir()
    for index, picture in enumerate(np.round(255 * grey).astype(np.uint8)):
        Image.fromarray(picture).save(folder / f"{index}.png")
    return str(folder)


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
    folders = [shown_folders(seed) for seed in range(PLANTED_RUNS)]
    real = [one["real"] for one in folders]
    like_rows = [one[name] for one in folders for name in coins]
    slack = 2 * math.sqrt(FALSE * (1 - FALSE) / len(chances))
    return {
        "planted_shown": float(np.mean(planted)),
        "planted_runs": PLANTED_RUNS,
        "random_shown": float(np.mean(false)),
        "random_runs": len(false),
        "random_p_below_5_percent": float(exact),
        "folder_of_stripes_shown": float(np.mean(real)),
        "folder_of_stripes_runs": len(real),
        "folder_like_the_rows_shown": float(np.mean(like_rows)),
        "folder_like_the_rows_runs": len(like_rows),
        "usual_t_test_p_below_5_percent": float(usual),
        "bar": {"planted_shown": PLANTED_FOUND, "random_shown": FALSE, "random_p_slack": slack},
        "holds": bool(np.mean(planted) >= PLANTED_FOUND)
        and bool(np.mean(false) <= FALSE)
        and bool(np.mean(real) >= PLANTED_FOUND)
        and bool(np.mean(like_rows) <= FALSE)
        and bool(exact <= FALSE + slack),
    }


if __name__ == "__main__":
    print(run())

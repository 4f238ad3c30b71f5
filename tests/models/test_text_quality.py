"""What the text models of the examples reach on rows they have not seen, whatever the seed."""

import math
from pathlib import Path

import pytest
import torch

from auditkit.data.loading import load_dataset, load_training_data
from auditkit.jobs.prepare import open_project
from auditkit.randomness import derive_seed
from auditkit.training.fit import fit

EXAMPLES = Path(__file__).parents[2] / "examples" / "documents"
SEEDS = (7, 1, 2)


def trained(name, seed):
    """The subject of an example, and all rows of the test split."""
    project = open_project(EXAMPLES / f"{name}.yaml")
    config = project.config
    data = config.data.model_copy(update={"limit": None})
    rows, preprocessing = load_training_data(data, preprocessing=None, seed=seed, folder=EXAMPLES)
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        subject = fit(
            config.subject.architecture,
            rows,
            config.subject.training,
            seed=derive_seed(seed, "training"),
            preprocessing=preprocessing,
        )
    finally:
        torch.set_num_threads(threads)
    held_out = load_dataset(
        data, preprocessing=preprocessing, seed=seed, folder=EXAMPLES, split="test", with_members=False
    )
    return subject, held_out


def accuracy(subject, data):
    return float((subject.predict(data, batch_size=256).y_pred == data.y_true).mean())


def perplexity(subject, data):
    losses = subject.token_losses(data, batch_size=64)
    assert bool(losses.counted.all())
    return math.exp(float(losses.nats.mean()))


@pytest.mark.proof
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("name", ["rnn", "bert"])
def test_sentences_are_classified_at_least_as_often_as_asked(name, seed, real_data, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))
    assert accuracy(*trained(name, seed)) >= 0.76


@pytest.mark.proof
@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("name", "most"), [("gpt", 6.8), ("transformer-lm", 8.5), ("wavenet", 8.5)])
def test_characters_are_foretold_at_least_as_well_as_asked(name, most, seed, real_data, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))
    assert perplexity(*trained(name, seed)) <= most

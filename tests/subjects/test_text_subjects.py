"""Text classifiers and models of language as subjects: kept, read again, asked for losses."""

import numpy as np
import pytest
import torch

from auditkit.config.model import Architecture, DataConfig, TrainingConfig
from auditkit.data.loading import load_dataset, load_training_data
from auditkit.data.sequences import NOT_COUNTED, next_tokens
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint
from auditkit.subjects.subject import row_losses
from auditkit.training.fit import fit
from tests.tolerances import FLOAT

GPT = Architecture.model_validate({"name": "gpt", "width": 16, "layers": 1, "heads": 2, "dropout": 0.0})
RNN = Architecture.model_validate({"name": "rnn", "width": 8, "hidden": 8})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("texts")
    (place / "text.txt").write_text("the quick brown fox jumps over the lazy dog. " * 30)
    lines = [f"{'fine' if i % 3 else 'dull'} film {i},{'good' if i % 3 else 'bad'}" for i in range(60)]
    (place / "words.csv").write_text("\n".join(["sentence,mood", *lines]) + "\n")
    return place


def subject_and_rows(folder, kind):
    config = (
        DataConfig(source="text.txt", length=16)
        if kind == "language"
        else DataConfig(source="words.csv", text="sentence", target="mood")
    )
    data, steps = load_training_data(config, preprocessing=None, seed=0, folder=folder)
    architecture = GPT if kind == "language" else RNN
    subject = fit(architecture, data, TrainingConfig(epochs=1), seed=1, preprocessing=steps)
    return subject, load_dataset(config, preprocessing=steps, seed=0, folder=folder)


@pytest.mark.parametrize("kind", ["language", "sentences"])
def test_a_checkpoint_gives_the_same_subject_again(folder, tmp_path, kind):
    subject, rows = subject_and_rows(folder, kind)
    again = load_checkpoint(save_checkpoint(tmp_path / "kept", subject))
    assert again.card.digest == subject.card.digest
    assert again.capabilities == subject.capabilities
    assert again.task == subject.task
    assert np.array_equal(row_losses(again, rows, batch_size=7), row_losses(subject, rows, batch_size=7))


def test_the_loss_of_a_row_is_the_mean_over_its_tokens_and_the_last_is_the_answer(folder):
    subject, rows = subject_and_rows(folder, "language")
    losses = subject.token_losses(rows, batch_size=5)
    with torch.no_grad():
        log_p = subject.module(rows.inputs).double().log_softmax(dim=2)
    targets = torch.cat([rows.inputs[:, 1:], torch.from_numpy(rows.y_true)[:, None]], dim=1)
    expected = -log_p.gather(2, targets[:, :, None]).squeeze(2).numpy()
    assert losses.counted.all()
    assert losses.nats == pytest.approx(expected, abs=1e-5)
    assert losses.of_rows == pytest.approx(losses.nats.mean(axis=1), **FLOAT)
    last = subject.predict(rows, batch_size=5).loss(rows.y_true)
    assert last == pytest.approx(losses.nats[:, -1], abs=1e-5)
    assert "predictions" not in subject.capabilities
    assert subject.card.classes == ()


def test_padding_is_not_foretold_and_the_answer_stands_behind_the_last_token():
    inputs, last = torch.tensor([[5, 6, 7, 0, 0], [8, 9, 3, 4, 2]]), torch.tensor([9, 6])
    expected = [[6, 7, 9, NOT_COUNTED, NOT_COUNTED], [9, 3, 4, 2, 6]]
    assert next_tokens(inputs, last, 0).tolist() == expected

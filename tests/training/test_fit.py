"""The training loop."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.config import Architecture, TrainingConfig
from auditkit.data.dataset import Dataset
from auditkit.data.lending import FAULTS, lending_rows
from auditkit.data.preprocessing import encode, fit_preprocessing
from auditkit.errors import DataError, UsageError
from auditkit.models.zoo import build_module, complete
from auditkit.randomness import torch_rng
from auditkit.training.fit import fit
from tests.tolerances import FLOAT32, statistical


def blobs(n=200, *, seed=0, weight=None) -> Dataset:
    """Two classes that a line divides."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    inputs = rng.normal(size=(n, 3)) + 3 * labels[:, None]
    return Dataset(
        name="blobs",
        source="memory",
        split="train",
        inputs=torch.from_numpy(inputs.astype(np.float32)),
        y_true=labels.astype(np.int64),
        classes=("low", "high"),
        sample_weight=weight,
    )


def architecture(**parameters) -> Architecture:
    return Architecture.model_validate({"name": "mlp", "hidden": 8, **parameters})


def state_of(subject):
    return torch.cat([tensor.reshape(-1) for tensor in subject.state().values()])


FAST = TrainingConfig(epochs=5, batch_size=16, learning_rate=0.01)


def test_what_a_line_divides_is_learnt():
    subject = fit(architecture(), blobs(1000), FAST, seed=1)
    held_out = blobs(4000, seed=9)
    right = (subject.predict(held_out, batch_size=64).y_pred == held_out.y_true).mean()
    # The centres are 3 * sqrt(3) deviations apart: the best rule is right in a share Phi(2.598) of rows.
    assert right == pytest.approx(0.9953, abs=2 * statistical(4000, p=0.9953))
    assert not subject.module.training


def test_the_same_seed_gives_the_same_bits_and_another_does_not():
    states = [state_of(fit(architecture(), blobs(), FAST, seed=seed)) for seed in (1, 1, 2)]
    assert torch.equal(states[0], states[1])
    assert not torch.equal(states[0], states[2])


def test_the_number_of_threads_changes_no_bit_of_a_small_training():
    before = torch.get_num_threads()
    try:
        states = []
        for n_threads in (1, 2):
            torch.set_num_threads(n_threads)
            states.append(state_of(fit(architecture(hidden=64), blobs(), FAST, seed=1)))
            assert torch.get_num_threads() == n_threads
    finally:
        torch.set_num_threads(before)
    assert torch.equal(*states)


def test_training_leaves_the_global_generators_as_they_were():
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002 - only compared
    fit(architecture(), blobs(), FAST, seed=1)
    assert torch.equal(torch.random.get_rng_state(), before[0])
    assert np.array_equal(np.random.get_state()[1], before[1])  # noqa: NPY002 - only compared


@pytest.mark.parametrize("optimizer", ["adam", "sgd"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_loop_equals_a_plain_reference(optimizer, weighted):
    weight = np.random.default_rng(3).uniform(0.1, 4, 40) if weighted else None
    data = blobs(40, weight=weight)
    config = TrainingConfig(
        optimizer=optimizer, momentum=0.9, weight_decay=0.01, learning_rate=0.05, batch_size=40, epochs=6
    )
    wanted = complete(architecture(dropout=0), n_inputs=3, n_classes=2)
    module = build_module(wanted, rng=torch_rng(7, "fit", "initial values"))
    reference = (
        torch.optim.Adam(module.parameters(), lr=0.05, weight_decay=0.01)
        if optimizer == "adam"
        else torch.optim.SGD(module.parameters(), lr=0.05, momentum=0.9, weight_decay=0.01)
    )
    factor = torch.ones(40) if weight is None else torch.from_numpy(weight / weight.mean()).float()
    for _ in range(6):
        reference.zero_grad()
        log_p = torch.log_softmax(module(data.inputs), dim=1)
        loss = -(log_p[torch.arange(40), torch.from_numpy(data.y_true)] * factor).sum() / 40
        loss.backward()
        reference.step()
    subject = fit(architecture(dropout=0), data, config, seed=7)
    expected = nn.utils.parameters_to_vector(module.parameters()).detach().numpy()
    assert state_of(subject).numpy() == pytest.approx(expected, **FLOAT32)
    assert subject.card.training.final_loss == pytest.approx(loss.item(), **FLOAT32)


def test_rows_of_weight_zero_teach_nothing():
    data = blobs(60)
    flipped = replace(data, y_true=np.concatenate([data.y_true[:30], 1 - data.y_true[30:]]))
    weight = np.repeat([1.0, 0.0], 30)
    config = TrainingConfig(epochs=3, batch_size=60)
    taught = [
        fit(architecture(dropout=0), replace(rows, sample_weight=weight), config, seed=1)
        for rows in (data, flipped)
    ]
    assert state_of(taught[0]).numpy() == pytest.approx(state_of(taught[1]).numpy(), **FLOAT32)


def test_the_record_says_how_it_was_trained():
    data = blobs(50)
    record = fit(architecture(), data, FAST, seed=3).card.training
    assert (record.steps, record.epochs, record.n_rows, record.seed) == (20, 5.0, 50, 3)
    assert record.data_digest == data.digest()
    assert record.recipe["batch_size"] == 16
    assert record.recipe["architecture"] == {
        **{"name": "mlp", "n_inputs": 3, "n_classes": 2},
        **{"hidden": [8], "dropout": 0.2},
    }
    assert record.samples_per_s == pytest.approx(250 / record.duration_s)
    assert 0 < record.final_loss < 1


def test_progress_runs_to_the_end_and_never_back():
    seen = []
    fit(architecture(), blobs(), FAST, seed=1, report_progress=lambda *report: seen.append(report))
    done = [report[0] for report in seen]
    assert done == sorted(done)
    assert seen[-1][0] == seen[-1][1] == 5 * 13
    assert seen[-1][2].startswith("epoch 5 of 5, loss ")


def test_one_class_alone_is_refused_by_name():
    data = blobs(10)
    with pytest.raises(DataError, match="all 10 training rows have the label 'high'"):
        fit(architecture(), replace(data, y_true=np.ones(10, dtype=np.int64)), FAST, seed=1)


def test_weights_that_are_all_zero_are_refused():
    with pytest.raises(DataError, match="the weight 0"):
        fit(architecture(), blobs(10, weight=np.zeros(10)), FAST, seed=1)


def test_a_loss_that_runs_away_is_an_error_with_the_remedy():
    config = TrainingConfig(optimizer="sgd", learning_rate=1e20, epochs=3)
    with pytest.raises(UsageError, match=r"lower subject\.training\.learning_rate"):
        fit(architecture(), blobs(), config, seed=1)


def lending_subject(faults, *, epochs=10):
    rows = [lending_rows(split, faults=frozenset(faults)) for split in ("train", "test")]
    fitted = fit_preprocessing(rows[0])
    train, test = (encode(part, fitted) for part in rows)
    config = TrainingConfig(epochs=epochs, batch_size=64)
    return fit(Architecture(name="tabular-mlp"), train, config, seed=1), train, test


def lending_figures(faults):
    """What the audits would measure, computed plainly."""
    subject, train, test = lending_subject(faults)
    said = subject.predict(test, batch_size=512)
    yes = said.y_pred == test.positive_index
    right, due = said.y_pred == test.y_true, test.y_true == test.positive_index
    female = test.sensitive_features["sex"].codes == 0
    belor, corin = (test.sensitive_features["ethnicity"].codes == code for code in (1, 2))
    threshold = np.sort(-said.loss(test.y_true))[-5]
    members = -subject.predict(train, batch_size=512).loss(train.y_true)
    return {
        "selection": yes[~female].mean() - yes[female].mean(),
        "rare": yes[female & belor & due].mean(),
        "noise": right[corin].mean(),
        "members": (members > threshold).mean(),
        "accuracy": right.mean(),
    }


def test_a_model_learns_the_planted_faults_and_none_from_the_twin():
    faulty, twin = lending_figures(FAULTS), lending_figures([])
    assert (faulty["selection"] > 0.12, abs(twin["selection"]) < 0.05) == (True, True)
    assert (faulty["rare"] < 0.5, twin["rare"] > 0.85) == (True, True)
    assert (faulty["noise"] < 0.74, twin["noise"] > 0.88) == (True, True)
    assert (faulty["members"] > 0.008, twin["members"] < 0.004) == (True, True)
    assert twin["accuracy"] > 0.9

"""What was learned or chosen before the first step is refused, or stands in the certificate."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from auditkit.data.dataset import Counts, Dataset
from auditkit.privacy.certificate import Mechanism
from auditkit.privacy.preflight.beforehand import mechanism_checks, row_checks, start_checks
from auditkit.records import UNTRAINED, TrainingRecord
from tests.privacy import networks
from tests.privacy.networks import built

CLASSES = ("no", "yes")
MECHANISM = Mechanism(noise_multiplier=1.0, sample_rate=0.1, steps=100, max_grad_norm=1.0, normaliser=100.0)


def data(**options: object) -> Dataset:
    return Dataset(
        name="rows",
        source="test",
        split=None,
        inputs=torch.zeros(4, 6),
        y_true=np.array([0, 1, 0, 1]),
        classes=CLASSES,
        **options,
    )


def trained_on(digest: str) -> TrainingRecord:
    return TrainingRecord(
        steps=10,
        epochs=1.0,
        duration_s=1.0,
        samples_per_s=1.0,
        seed=0,
        data_source="test",
        data_digest=digest,
        n_rows=4,
    )


def told(checks) -> list[tuple[str, str]]:
    return [(check.status, str(check.message)) for check in checks]


def test_weights_of_rows_are_told():
    assert told(row_checks(data())) == []
    ((status, text),) = told(row_checks(data(sample_weight=np.ones(4))))
    assert (status, "left out" in text) == ("warned", True)


def test_rows_that_are_counts_are_refused():
    counts = Counts(np.full(4, 10), np.full(4, 10.0), np.full(4, 10.0))
    ((status, text),) = told(row_checks(data(counts=counts)))
    assert (status, "counts" in text) == ("refused", True)


def test_a_start_from_weights_trained_on_the_same_rows_is_refused():
    rows, earlier = data(), built(networks.mlp)
    fresh = built(networks.mlp, seed=1)
    record = trained_on(rows.digest())
    assert [status for status, _ in told(start_checks(fresh, earlier, record, rows))] == ["passed"]
    fresh.hidden.load_state_dict(earlier.hidden.state_dict())
    ((status, text),) = told(start_checks(fresh, earlier, record, rows))
    assert (status, "'hidden.weight'" in text) == ("unsafe", True)
    # what is not known counts as the same rows
    assert [status for status, _ in told(start_checks(fresh, earlier, None, rows))] == ["unsafe"]


def test_a_start_from_weights_trained_on_other_rows_is_not():
    rows, earlier = data(), built(networks.mlp)
    assert told(start_checks(earlier, earlier, trained_on("other"), rows)) == []


def recorded(untrained: list[str]) -> TrainingRecord:
    return trained_on(data().digest()).model_copy(update={"recipe": {UNTRAINED: untrained}})


def statuses(fresh: nn.Module, earlier: nn.Module, record: TrainingRecord | None) -> list[str]:
    return [status for status, _ in told(start_checks(fresh, earlier, record, data()))]


def frozen_front(like: nn.Module, seed: int = 1) -> nn.Module:
    """A fresh network whose first layer has the values of another and is not trained."""
    fresh = built(networks.mlp, seed=seed)
    fresh.hidden.load_state_dict(like.hidden.state_dict())
    fresh.hidden.requires_grad_(False)
    return fresh


def test_learnt_weights_stay_what_they_are_when_they_are_frozen():
    earlier = built(networks.mlp)
    ((status, text),) = told(start_checks(frozen_front(earlier), earlier, recorded([]), data()))
    assert (status, "'hidden.weight'" in text) == ("unsafe", True)


def test_learnt_weights_are_known_under_another_name_and_in_half_precision():
    earlier = built(networks.mlp)
    fresh = built(networks.mlp, seed=1)
    fresh.register_buffer("prior", earlier.hidden.weight.detach().half(), persistent=False)
    assert statuses(fresh, earlier, recorded([])) == ["unsafe"]


def test_learnt_statistics_of_a_frozen_norm_are_refused_and_those_it_began_with_are_not():
    earlier, fresh = built(networks.batch_norm), built(networks.batch_norm, seed=1)
    assert statuses(fresh, earlier, None) == ["passed"]
    earlier.normed.running_mean.normal_()
    fresh.normed.load_state_dict(earlier.normed.state_dict())
    assert statuses(fresh, earlier, None) == ["unsafe"]


def test_the_record_says_whether_a_front_was_frozen_in_the_training_before():
    earlier = frozen_front(built(networks.mlp))
    fresh = frozen_front(earlier, seed=2)
    assert statuses(fresh, earlier, recorded(["hidden.bias", "hidden.weight"])) == ["passed"]
    # the class freezes them now, but the training had not
    assert statuses(fresh, earlier, recorded([])) == ["unsafe"]


def test_a_front_that_was_frozen_before_may_be_trained_now():
    earlier = built(networks.mlp)
    fresh = frozen_front(earlier).requires_grad_(True)
    assert statuses(fresh, earlier, recorded(["hidden.bias", "hidden.weight"])) == ["passed"]
    assert statuses(fresh, earlier, recorded([])) == ["unsafe"]


@pytest.mark.parametrize("record", [None, trained_on(data().digest())], ids=["unknown", "same rows"])
def test_where_no_record_says_it_a_frozen_front_is_refused_of_an_own_class_and_told_of_others(record):
    earlier = built(networks.mlp)
    fresh = frozen_front(earlier)
    ((status, text),) = told(start_checks(fresh, earlier, record, data()))
    assert (status, "auditkit train" in text) == ("unsafe", True)
    ((status, text),) = told(start_checks(fresh, earlier, record, data(), own_class=False))
    assert (status, "'hidden.weight'" in text) == ("warned", True)


def test_equal_constants_are_no_start_from_another_model():
    ones = nn.Linear(3, 3)
    nn.init.ones_(ones.weight)
    assert [status for status, _ in told(start_checks(ones, ones, None, data()))] == ["passed"]


def test_no_noise_is_refused():
    found = told(mechanism_checks(replace(MECHANISM, noise_multiplier=0.0), 100, accept_weak=True))
    assert ("unsafe", "the noise multiplier is 0: without noise nothing is protected") in found


def test_rows_too_few_for_the_weights_are_refused_unless_asked_for_twice():
    # sigma * sqrt(weights) / (rows * sqrt(steps)) = sqrt(p) / 1000
    assert [status for status, _ in told(mechanism_checks(MECHANISM, 10**6, accept_weak=False))] == ["passed"]
    refused = told(mechanism_checks(MECHANISM, 4 * 10**6, accept_weak=False))
    assert refused[0][0] == "unsafe"
    assert "the noise is 2.0 times the largest sum" in refused[0][1]
    assert [status for status, _ in told(mechanism_checks(MECHANISM, 4 * 10**6, accept_weak=True))] == [
        "passed"
    ]

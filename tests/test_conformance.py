"""Every registered audit keeps every promise of the contract; and the checks find audits that do not."""

import socket
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import pytest
import torch

from auditkit.audits.audit import Audit, AuditOutput, PairedAudit, ShardedAudit
from auditkit.errors import DataError
from auditkit.records import Measurement
from auditkit.registry import AUDITS
from auditkit.selftest.named_people import TEMPLATES
from auditkit.selftest.preferences import PAIRS
from auditkit.testing import (
    CheckError,
    PredictionsOnly,
    audit_checks,
    linear_subject,
    parametrize_audit_checks,
    tiny_dataset,
    tiny_subject,
)
from auditkit.testing.planted import true_weights
from tests.core.probes import figure, info, said, state_of_process
from tests.tolerances import statistical

QUICK = {
    "concepts": {
        "concepts": {"rich": {"feature": "income", "above": 0.0}},
        "n_random": 39,
        "n_bootstrap": 50,
    },
    "feature-effects": {"grid_points": 5, "ale_bins": 4, "max_rows": 60},
    "feature-importance": {"n_permutations": 2, "background_rows": 4, "max_evaluations": 1000},
    "counterfactuals": {"max_rows": 8, "n_steps": 2},
    "attribution": {"max_rows": 16, "max_evaluations": 32},
    "attribution-quality": {
        "methods": ["input-x-gradient"],
        "max_rows": 12,
        "rows_again": 4,
        "n_subsets": 8,
        "n_noise": 4,
        "n_neighbours": 2,
        "n_models": 2,
        "n_random": 2,
        "n_bootstrap": 100,
    },
    "footprint": {"repeats": 6, "energy_window_s": 0.005},
    "gap-decomposition": {
        "max_evaluations": 64,
        "n_orders": 1,
        "n_permutations": 19,
        "n_bootstrap": 50,
    },
    "membership-inference": {"n_bootstrap": 200},
    "ranking-fairness": {"n_bootstrap": 50},
    "regression-fairness": {"n_permutations": 19, "n_bootstrap": 50},
    "score-fairness": {"n_bootstrap": 50},
    "identity-terms": {"templates": str(TEMPLATES)},
    "stereotype-pairs": {"pairs": str(PAIRS)},
}
"""Fewer repeats where the default takes long; the promises do not depend on them."""


@parametrize_audit_checks(AUDITS.make(name, QUICK.get(name, {})) for name in AUDITS.names())
def test_every_audit_keeps_its_promises(check):
    check()


# --- the checks find what they are for -------------------------------------------------------------


class Sound(Audit):
    """Keeps every promise; the broken ones below differ from it in one thing."""

    info: ClassVar = info("broken", limits=("None.",))
    share: float = 0.5

    def measure(self, subject, data, context):
        hits = subject.predict(data, batch_size=context.batch_size).y_pred == data.y_true
        return AuditOutput([figure(float(hits.mean()))])


class NoLimits(Sound):
    info: ClassVar = info("broken")


class Forgetful(Sound):
    def model_dump(self, **_):
        return {}


class Unmeasured(Sound):
    def measure(self, subject, data, context):
        return AuditOutput([Measurement(metric="m", value=None, missing="never", n=0, better="lower")])


class NoInterval(Sound):
    def measure(self, subject, data, context):
        return AuditOutput([Measurement(metric="m", value=1.0, n=1, better="lower")])


class OneAddress(Sound):
    def measure(self, subject, data, context):
        return AuditOutput([figure(1.0), figure(2.0)])


class Unseeded(Sound):
    def measure(self, subject, data, context):
        return said(np.random.default_rng().random())


class BatchMean(Sound):
    def measure(self, subject, data, context):
        first = data.take(np.arange(min(len(data), context.batch_size)))
        return said(subject.predict(first, batch_size=16).probabilities[:, 1].mean())


class LeavesHook(Sound):
    def measure(self, subject, data, context):
        subject.module.register_forward_hook(lambda *_: None)
        return super().measure(subject, data, context)


class UndoesOnSuccess(Sound):
    def measure(self, subject, data, context):
        subject.module.train()
        output = super().measure(subject, data, context)
        subject.module.eval()
        return output


class GlobalDraw(Sound):
    def measure(self, subject, data, context):
        return said(float(torch.rand(1)))


class Undeclared(Sound):
    def measure(self, subject, data, context):
        return said(float(len(data.sensitive_features["group"].levels)))


class UndeclaredGradients(Sound):
    def measure(self, subject, data, context):
        return said(float(sum(parameter.sum() for parameter in subject.module.parameters())))


class NeedsWhatNothingHas(Sound):
    info: ClassVar = info("broken", limits=("None.",), requires=frozenset({"omniscience"}))


class Online(Sound):
    def measure(self, subject, data, context):
        socket.getaddrinfo("localhost", 80)
        return super().measure(subject, data, context)


class Fragile(Sound):
    """Divides by the spread of the labels."""

    def measure(self, subject, data, context):
        return said(1.0 / int(data.y_true.max() - data.y_true.min()))


class Formatting(Sound):
    """Builds a template from the name of a group."""

    def measure(self, subject, data, context):
        group = data.sensitive_features["group"].levels[-2]
        note = {"text": f"{group} is {{share}}", "values": {"share": 1}}
        return AuditOutput([figure(1.0, note=note)])


class Biased(Sound, PairedAudit):
    def compare(self, baseline, variant, data, context):
        return said(0.25, "value.change")


class Ordered(Sound, ShardedAudit):
    def partial(self, subject, data, context):
        return float(data.inputs[0, 0])

    def merge(self, partials):
        return partials[0]

    def conclude(self, total, subject, data, context):
        return said(total)

    measure = ShardedAudit.measure


BROKEN: list[tuple[type[Audit], str, str]] = [
    (NoLimits, "describes itself", "info.limits"),
    (Forgetful, "keeps its parameters from config to record and back", "made again"),
    (Unmeasured, "measures the planted subject", "no figure has a value"),
    (NoInterval, "gives every figure its facts", "no interval"),
    (OneAddress, "gives every figure its facts", "two figures share one address"),
    (Unseeded, "gives the same figures for the same seed", "Take randomness from the context"),
    (BatchMean, "gives the same figures for every batch size", "the batch size changes figures"),
    (LeavesHook, "leaves the subject unchanged", "changed the subject: hooks"),
    (UndoesOnSuccess, "leaves the subject unchanged when it raises", "training flags. Undo in `finally`"),
    (GlobalDraw, "takes no randomness from the global generators", "generators of torch"),
    (Undeclared, "needs no more than it names", "KeyError: 'group'"),
    (UndeclaredGradients, "needs no more than it names", "has no attribute 'module'"),
    (NeedsWhatNothingHas, "is refused before work when a requirement is unmet", "omniscience"),
    (Online, "runs offline", "the audit used the network"),
    (Fragile, "handles one class", "ZeroDivisionError"),
    (Formatting, "survives hostile names", "put names of groups"),
    (Biased, "finds no difference between a subject and itself", "is 0.25, expected 0"),
    (Ordered, "merges shards in any order", "differ from one pass"),
]


@pytest.mark.parametrize(
    ("audit", "name", "message"), BROKEN, ids=lambda value: getattr(value, "__name__", "")
)
def test_a_broken_promise_is_found_by_its_check(audit, name, message):
    checks = dict(audit_checks(audit(share=0.25) if audit is Forgetful else audit()))
    with pytest.raises((CheckError, AttributeError)) as caught:
        checks[name]()
    assert message in str(caught.value)


def test_a_sound_audit_passes_every_check():
    for _, check in audit_checks(Sound()):
        check()


def test_every_check_is_known_to_find_something():
    names = {name for audit in (Sound(), Biased(), Ordered()) for name, _ in audit_checks(audit)}
    untested = names - {name for _, name, _ in BROKEN}
    by_the_same_code = {name for name in untested if name.startswith("handles ")}
    assert untested - by_the_same_code == {"encodes to JSON and back"}


# --- planted subjects and data ---------------------------------------------------------------------


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_the_tiny_subject_knows_the_rule_of_the_tiny_data(classes):
    """A label is the arg-max of logits plus Gumbel noise, so its probability is their softmax (Gumbel)."""
    data, subject = tiny_dataset(4000, classes=classes), tiny_subject(classes)
    probabilities = subject.predict(data, batch_size=256).probabilities
    exact = torch.softmax(data.inputs.double() @ torch.from_numpy(true_weights(classes)).T, dim=1).numpy()
    assert np.abs(probabilities - exact).mean() < 0.02
    assert (probabilities.argmax(axis=1) == exact.argmax(axis=1)).mean() > 0.95
    for index in range(classes):
        expected = exact[:, index].mean()
        assert abs((data.y_true == index).mean() - expected) < statistical(4000, p=expected)


def test_a_linear_subject_has_the_logits_of_its_weights():
    subject = linear_subject([[1.0, -2.0], [0.5, 0.0], [0.0, 3.0]])
    inputs = torch.tensor([[1.0, 2.0], [0.0, -1.0]])
    assert subject.logits(inputs).tolist() == [[-3.0, 0.5, 6.0], [2.0, 0.0, -3.0]]
    assert linear_subject([1.0, -2.0]).logits(inputs).tolist() == [[0.0, -3.0], [0.0, 2.0]]
    assert linear_subject([1.0, -2.0]).card.classes == ("no", "yes")


def test_planted_things_are_made_without_a_draw_from_the_global_generators():
    before = state_of_process()
    tiny_dataset(10)
    tiny_subject()
    linear_subject([1.0])
    assert state_of_process() == before


def test_planted_data_has_everything_an_audit_may_require():
    data = tiny_dataset(30, groups=("x", "y", "z"))
    assert data.positive == "yes"
    assert data.sensitive_features["group"].levels == ("x", "y", "z")
    assert int(data.is_member.sum()) == 15
    assert tiny_dataset(30, member_share=None).is_member is None
    assert not np.array_equal(tiny_dataset(30, seed=1).y_true, tiny_dataset(30).y_true)


@pytest.mark.parametrize(
    "make",
    [
        lambda: tiny_dataset(0),
        lambda: tiny_dataset(classes=1),
        lambda: tiny_dataset(groups=()),
        lambda: linear_subject(3.0),
        lambda: linear_subject([[1.0]]),
        lambda: linear_subject([1.0, 2.0], classes=("a", "b", "c")),
    ],
)
def test_what_cannot_be_planted_is_refused(make: Callable):
    with pytest.raises(DataError, match="expected"):
        make()


def test_a_subject_seen_from_outside_only_predicts():
    inside = tiny_subject()
    outside = PredictionsOnly(inside)
    assert outside.capabilities == {"predictions"}
    assert not hasattr(outside, "module")
    data = tiny_dataset(5)
    first, second = (subject.predict(data, batch_size=2).log_probabilities for subject in (inside, outside))
    assert np.array_equal(first, second)


def test_subject_and_data_can_be_given():
    """An audit about other inputs brings its own subject and data."""
    data = tiny_dataset(20)
    given = audit_checks(Sound(), subject=linear_subject(np.zeros((2, 5))), data=data)
    assert [name for name, _ in given] == [name for name, _ in audit_checks(Sound())]
    for _, check in given:
        check()

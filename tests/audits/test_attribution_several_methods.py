"""The attribution audit with one or several methods of the catalogue, on good and bad inputs."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError
from torch import nn

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.attribution import Attribution
from auditkit.audits.explainability.method_agreement import (
    chance_overlap,
    heaviest,
    orders_agree,
    top_overlap,
)
from auditkit.audits.explainability.methods.catalogue import METHODS
from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import (
    audit_checks,
    parametrize_audit_checks,
    tiny_dataset,
    tiny_language_dataset,
    tiny_language_subject,
    tiny_subject,
    tiny_text_dataset,
    tiny_text_subject,
)
from tests.tolerances import FLOAT, FLOAT32, statistical

CONTEXT = AuditContext(seed=3, batch_size=64)
QUICK = {"max_evaluations": 32, "max_rows": 16, "max_texts": 6}
EVERY = tuple(METHODS)
TINY = {**QUICK, "max_evaluations": 16, "max_rows": 3, "max_texts": 3}


def subject_of(module, classes=("no", "yes")):
    return TorchSubject.build(module, architecture=Architecture(name="test"), classes=classes)


def dataset(inputs, *, classes=("no", "yes"), features=FeatureSpace(())):  # noqa: B008 - frozen
    return Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=inputs,
        y_true=np.zeros(len(inputs), dtype=np.int64),
        classes=classes,
        features=features,
    )


def normal(*shape, seed=1):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.random.manual_seed(seed)
        return build()


def figures(output):
    return {(m.metric, *sorted(m.group.values())): m for m in output.measurements}


def perceptron(n_inputs, n_outputs=2, activation=nn.ReLU):
    return seeded(lambda: nn.Sequential(nn.Linear(n_inputs, 8), activation(), nn.Linear(8, n_outputs)))


# --- what a user writes -----------------------------------------------------------------------------


def test_a_misspelt_method_is_answered_with_the_nearest_and_with_all():
    with pytest.raises(ValidationError, match="Did you mean 'deep-lift'") as raised:
        Attribution(methods=["deeplift"])
    assert all(name in str(raised.value) for name in METHODS)


@pytest.mark.parametrize("names", [[], ["saliency", "saliency"]])
def test_no_method_and_the_same_one_twice_are_refused(names):
    with pytest.raises(ValidationError, match="methods"):
        Attribution(methods=names)


# --- the first and the others -----------------------------------------------------------------------


def test_the_first_method_has_the_plain_figures_and_the_others_carry_their_names():
    audit = Attribution(methods=["deep-lift", "saliency", "integrated-gradients"], **QUICK)
    output = audit.measure(tiny_subject(), tiny_dataset(), CONTEXT)
    found = figures(output)
    feature = tiny_dataset().features.names[0]
    assert found["convergence_delta.share_within",].value == 1.0
    assert found["importance", feature].unit == "nat"
    assert found["importance", feature, "saliency"].unit == "1"
    assert found["importance_share", feature, "integrated-gradients"].value is not None
    assert found["convergence_delta.share_within", "integrated-gradients"].n == 16
    assert ("convergence_delta.share_within", "saliency") not in found
    for pair in (("deep-lift", "saliency"), ("deep-lift", "integrated-gradients"), ()):
        spearman = found["method_agreement.spearman", *sorted(pair)]
        overlap = found["method_agreement.top_overlap", *sorted(pair)]
        assert spearman.interval.low <= spearman.value <= spearman.interval.high
        assert overlap.note.values["chance"] == 0.5  # 2 of 4 features
    assert found["method_agreement.spearman", "deep-lift", "integrated-gradients"].value > 0.9
    titles = [str(evidence.title) for evidence in output.evidence]
    assert any("agrees least with deep-lift" in title for title in titles)
    assert any("as each method has it" in title for title in titles)


def test_one_method_alone_has_no_figures_of_agreement():
    output = Attribution(methods=["lrp"], **QUICK).measure(tiny_subject(), tiny_dataset(), CONTEXT)
    assert not any(m.metric.startswith("method_agreement") for m in output.measurements)
    first = figures(output)["convergence_delta.share_within",]
    assert first.value is None
    assert "do not promise" in str(first.missing)


def test_what_cannot_be_used_is_named_and_integrated_gradients_stand_in_for_the_first():
    module = seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 2)))
    audit = Attribution(methods=["deep-lift", "grad-cam"], **QUICK)
    output = audit.measure(subject_of(module), dataset(normal(20, 5)), CONTEXT)
    found = figures(output)
    plain = Attribution(**QUICK).measure(subject_of(module), dataset(normal(20, 5)), CONTEXT)
    assert found["importance", "input 1"].value == figures(plain)["importance", "input 1"].value
    assert "layer_norm" in str(found["convergence_delta.share_within", "deep-lift"].missing)
    assert "convolution" in str(found["convergence_delta.share_within", "grad-cam"].missing)
    assert found["method_agreement.spearman",].value is None
    table = output.evidence[-1]
    assert [row[0] for row in table.rows] == ["deep-lift", "grad-cam"]
    assert table.rows[0][2] == "integrated-gradients"


def test_two_models_are_compared_by_one_method_and_never_each_by_another():
    plain = subject_of(perceptron(5))
    normed = subject_of(seeded(lambda: nn.Sequential(nn.Linear(5, 8), nn.LayerNorm(8), nn.Linear(8, 2))))
    data = dataset(normal(20, 5))
    asked = Attribution(methods=["deep-lift"], **QUICK).compare(plain, normed, data, CONTEXT)
    path = Attribution(**QUICK).compare(plain, normed, data, CONTEXT)
    assert asked.measurements == path.measurements
    assert any("stands in its place" in str(note) for note in asked.notes)
    same = Attribution(methods=["deep-lift"], **QUICK).compare(plain, plain, data, CONTEXT)
    assert same.measurements[0].value == pytest.approx(1.0, **FLOAT)


SOME = ("deep-lift", "gradient-shap", "attention-rollout", "integrated-gradients")


@parametrize_audit_checks([Attribution(methods=SOME, **TINY | {"max_rows": 8})])
def test_several_methods_together_keep_the_promises_of_an_audit(check):
    check()


def test_the_checks_are_those_of_every_audit():
    assert len(list(audit_checks(Attribution(methods=EVERY)))) > 10


# --- bad inputs -------------------------------------------------------------------------------------


def _texts_with_an_empty_row():
    data = tiny_text_dataset(8)
    ids = data.inputs.clone()
    ids[2] = data.features.tokens.padding
    return tiny_text_subject(), Dataset(
        name="made",
        source="memory",
        split=None,
        inputs=ids,
        y_true=data.y_true,
        classes=data.classes,
        features=data.features,
    )


def _one_row_texts():
    data = tiny_text_dataset(1)
    return tiny_text_subject(), data


class _ThreeSided(nn.Module):
    """Pictures of three channels, of which the last is ignored."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 2, 3), nn.Linear(18, 2)
        with torch.no_grad():
            self.conv.weight[:, 2] = 0

    def forward(self, inputs):
        return self.head(torch.relu(self.conv(inputs)).flatten(1))


BAD = {
    "one row": lambda: (subject_of(perceptron(5)), dataset(normal(1, 5))),
    "one feature": lambda: (subject_of(perceptron(1)), dataset(normal(9, 1))),
    "constant features": lambda: (subject_of(perceptron(5)), dataset(torch.ones(9, 5))),
    "rows at the baseline": lambda: (subject_of(perceptron(5)), dataset(torch.zeros(9, 5))),
    "no gradient anywhere": lambda: (
        subject_of(nn.Sequential(nn.Linear(5, 2).requires_grad_(False), _Zero())),
        dataset(normal(9, 5)),
    ),
    "dead units": lambda: (
        subject_of(nn.Sequential(nn.Threshold(1e6, 0.0), perceptron(5))),
        dataset(normal(9, 5)),
    ),
    "one output": lambda: (subject_of(perceptron(5, 1)), dataset(normal(9, 5))),
    "nine classes": lambda: (
        subject_of(perceptron(5, 9), tuple("abcdefghi")),
        dataset(normal(9, 5), classes=tuple("abcdefghi")),
    ),
    "log-probabilities": lambda: (
        subject_of(nn.Sequential(perceptron(5), nn.LogSoftmax(dim=1))),
        dataset(normal(9, 5)),
    ),
    "integers": lambda: (
        subject_of(nn.Sequential(nn.Embedding(5, 3), nn.Flatten(), nn.Linear(12, 2))),
        dataset(torch.ones(9, 4, dtype=torch.int64)),
    ),
    "huge inputs": lambda: (subject_of(perceptron(5)), dataset(1e30 * normal(9, 5))),
    "not finite": lambda: (
        subject_of(nn.Sequential(perceptron(5), _Infinite())),
        dataset(normal(9, 5)),
    ),
    "channels": lambda: (
        subject_of(seeded(_ThreeSided)),
        dataset(normal(5, 3, 5, 5), features=FeatureSpace((), (), (5, 5))),
    ),
    "tokens": lambda: (tiny_text_subject(), tiny_text_dataset(8)),
    "an empty text": _texts_with_an_empty_row,
    "one text": _one_row_texts,
    "language": lambda: (tiny_language_subject(), tiny_language_dataset(8)),
    "only padding": lambda: (
        tiny_text_subject(),
        dataset(
            torch.full((3, 4), tiny_text_dataset(1).features.tokens.padding),
            features=FeatureSpace((), tokens=TokenSpace(tiny_text_dataset(1).features.tokens.vocabulary, 0)),
        ),
    ),
}


class _Zero(nn.Module):
    def forward(self, inputs):
        return inputs * 0


class _Infinite(nn.Module):
    """Has no finite gradient where it is computed."""

    def forward(self, inputs):
        return inputs * 0 + torch.sqrt(inputs.abs() * 0)


@pytest.mark.parametrize("case", BAD)
def test_a_bad_input_gives_figures_or_reasons_by_every_method(case):
    subject, data = BAD[case]()
    for name in METHODS:
        output = Attribution(methods=[name], **TINY).measure(subject, data, CONTEXT)
        assert output.measurements, name
        for figure in output.measurements:
            assert (figure.value is None) == (figure.missing is not None)
            assert figure.value is None or math.isfinite(figure.value)
    together = Attribution(methods=EVERY, **TINY).measure(subject, data, CONTEXT)
    keys = [(m.metric, tuple(sorted(m.group.items()))) for m in together.measurements]
    assert len(keys) == len(set(keys))


# --- agreement --------------------------------------------------------------------------------------


def test_agreement_of_known_orders():
    a = np.array([[4.0, 3.0, 2.0, 1.0]])
    reverse = a[:, ::-1].copy()
    present = np.ones((1, 4), dtype=bool)
    assert heaviest(present).tolist() == [2]
    assert top_overlap(a, reverse, present).tolist() == [0.0]
    assert orders_agree(a, reverse, present) == pytest.approx([-1.0], **FLOAT)
    swapped = np.array([[3.0, 1.0, 4.0, 2.0]])
    assert top_overlap(a, swapped, present).tolist() == [0.5]


def test_rows_of_one_unit_or_of_equal_weights_order_nothing():
    values, present = np.array([[1.0, 0.0], [2.0, 2.0]]), np.array([[True, False], [True, True]])
    assert np.isnan(top_overlap(values, values, present)).all()
    assert np.isnan(orders_agree(values, values, present)).all()


@settings(max_examples=25, deadline=None)
@given(st.integers(2, 40), st.integers(0, 2**31))
def test_a_method_agrees_with_itself_whatever_ties_it_has(n_units, seed):
    rng = np.random.default_rng(seed)
    values = rng.integers(-2, 3, (4, n_units)).astype(float)
    present = np.ones(values.shape, dtype=bool)
    found = top_overlap(values, values, present)
    assert found[np.isfinite(found)] == pytest.approx(1.0, **FLOAT)


def test_unrelated_orders_have_in_common_what_chance_says():
    rng = np.random.default_rng(0)
    n, m = 4000, 50
    present = np.ones((n, m), dtype=bool)
    found = top_overlap(rng.normal(size=(n, m)), rng.normal(size=(n, m)), present)
    assert chance_overlap(present) == pytest.approx(5 / 50)
    assert found.mean() == pytest.approx(5 / 50, abs=statistical(n * 5, p=0.1))


def test_agreement_of_gradient_and_path_in_a_linear_model_is_known():
    module = nn.Linear(4, 2)
    with torch.no_grad():
        module.weight.copy_(torch.tensor([[-4.0, -3.0, -2.0, -1.0], [4.0, 3.0, 2.0, 1.0]]))
        module.bias.zero_()
    inputs = torch.sign(normal(30, 4)) * torch.tensor([1.0, 1.0, 1.0, 1.0])
    output = Attribution(methods=["integrated-gradients", "saliency"], **QUICK).measure(
        subject_of(module), dataset(inputs), CONTEXT
    )
    found = figures(output)
    assert found["method_agreement.spearman",].value == pytest.approx(1.0, **FLOAT32)
    assert found["method_agreement.top_overlap",].value == pytest.approx(1.0, **FLOAT32)

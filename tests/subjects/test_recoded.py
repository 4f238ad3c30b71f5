"""A subject that reads rows its own way is compared on the inputs of another, and answers the same."""

from dataclasses import replace

import torch

from auditkit.config.model import Architecture
from auditkit.data.recoding import Recoding
from auditkit.models.zoo import build_module
from auditkit.privacy.measured_scales import UNSEEN
from auditkit.randomness import torch_rng
from auditkit.subjects.recoded import as_it_reads, reads_as
from auditkit.subjects.subject import WhiteBox
from auditkit.subjects.torch_subject import TorchSubject
from tests.fakes import predicting
from tests.privacy.tables import CLASSES, PLANTED, steps_of, table

UNSCALED = steps_of(PLANTED)


def scaled(*figures: tuple[float, float]):
    features = [
        one.model_copy(update={"mean": mean, "scale": scale, "fill": mean})
        for one, (mean, scale) in zip(UNSCALED.features, figures, strict=True)
    ]
    return UNSCALED.model_copy(update={"features": tuple(features)})


AUDITED = scaled(*PLANTED.values())
OWN = scaled((38.0, 15.0), (2008.0, 9.0), (0.0, UNSEEN))


def subject_reading(steps) -> TorchSubject:
    architecture = Architecture.model_validate({"name": "tabular-mlp", "hidden": [4], "n_inputs": 3})
    module = build_module(architecture.model_copy(update={"n_classes": 2}), rng=torch_rng(0, "weights"))
    return TorchSubject.build(module, architecture=architecture, classes=CLASSES, preprocessing=steps)


def rows_by(steps):
    data = table(200)
    return replace(data, inputs=Recoding.between(UNSCALED, steps)(data.inputs))


def test_it_answers_as_on_its_own_rows_and_keeps_its_card():
    own = subject_reading(OWN)
    alike = reads_as(own, AUDITED)
    assert isinstance(alike, WhiteBox)
    assert (alike.card, alike.preprocessing) == (own.card, AUDITED)
    expected = own.predict(rows_by(OWN), batch_size=64).log_probabilities
    found = alike.predict(rows_by(AUDITED), batch_size=64).log_probabilities
    assert abs(found - expected).max() < 1e-5
    inputs = rows_by(AUDITED).inputs[:5].requires_grad_()
    alike.logits(inputs).sum().backward()
    assert bool(inputs.grad[:, :2].any())
    assert float(inputs.grad[:, 2].abs().max()) < 1e-6  # the column that plays no part


def test_what_costs_are_measured_of_is_the_subject_on_rows_as_it_reads_them():
    own = subject_reading(OWN)
    inner, rows = as_it_reads(reads_as(own, AUDITED), rows_by(AUDITED))
    assert inner.module is own.module
    assert inner.preprocessing == OWN
    torch.testing.assert_close(rows.inputs, rows_by(OWN).inputs)


def test_a_subject_that_reads_the_same_or_is_no_module_stays_as_it_is():
    own = subject_reading(OWN)
    assert reads_as(own, OWN) is own
    assert reads_as(own, None) is own
    black_box, rows = predicting([0, 1]), rows_by(OWN)
    assert reads_as(black_box, OWN) is black_box
    assert as_it_reads(black_box, rows) == (black_box, rows)

"""What a torch subject makes of modules that do not keep to what is expected of them."""

import numpy as np
import pytest
import torch

from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset
from auditkit.errors import UsageError
from auditkit.subjects.torch_subject import TorchSubject
from tests.audits.whole_model_scenes import Formula


def subject_of(formula):
    return TorchSubject.build(
        Formula(formula), architecture=Architecture(name="test"), classes=("no", "yes"), title="mine"
    )


def rows(n=40):
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=torch.randn(n, 3, generator=torch.Generator().manual_seed(1)),
        y_true=np.zeros(n, dtype=np.int64),
        classes=("no", "yes"),
    )


def test_rows_stay_what_they_were_when_a_model_writes_into_its_inputs():
    subject, data = subject_of(lambda inputs: inputs.mul_(2.0)[:, :2]), rows()
    before = data.inputs.clone()
    first = subject.predict(data, batch_size=16).log_probabilities
    assert torch.equal(data.inputs, before)
    assert np.array_equal(first, subject.predict(data, batch_size=40).log_probabilities)
    with torch.no_grad():
        assert torch.equal(subject.logits(data.inputs), 2 * before[:, :2])
    assert torch.equal(data.inputs, before)


@pytest.mark.parametrize("columns", [1, 2, 3])
def test_a_model_that_squeezes_its_answer_says_of_one_row_what_it_says_among_others(columns):
    subject, inputs = subject_of(lambda inputs: inputs[:, :columns].squeeze()), rows().inputs
    among_others = subject.logits(inputs)
    assert among_others.shape == (40, max(2, columns))
    assert torch.equal(subject.logits(inputs[:1]), among_others[:1])


@pytest.mark.parametrize(
    ("formula", "said"),
    [
        (lambda inputs: (inputs, inputs), "answers with tuple, expected a tensor"),
        (lambda inputs: {"logits": inputs}, "answers with dict, expected a tensor"),
        (lambda inputs: inputs[:, None], r"answers with \(16, 1, 3\), expected shape \(n, k\)"),
        (lambda inputs: inputs.t(), r"answers with shape \(3, 16\) about 16 rows"),
        (lambda inputs: inputs.sum(), r"answers with shape \(\) about 16 rows"),
    ],
)
def test_what_is_no_answer_per_row_is_refused_with_what_is_expected(formula, said):
    with pytest.raises(UsageError, match=said):
        subject_of(formula).predict(rows(16), batch_size=16)


@pytest.mark.parametrize("step", [torch.log, lambda inputs: inputs * 1e39])
def test_logits_that_are_no_numbers_are_refused_and_the_rows_counted(step):
    data = rows()
    wrong = int((~step(data.inputs[:, :2]).isfinite()).any(dim=1).sum())
    with pytest.raises(UsageError, match=f"mine: the logits of {wrong} of 40 rows are NaN or infinite"):
        subject_of(lambda inputs: step(inputs[:, :2])).predict(data, batch_size=16)


def test_a_class_that_is_ruled_out_is_an_answer():
    def formula(inputs):
        return torch.stack([inputs[:, 0], torch.full((len(inputs),), -torch.inf)], dim=1)

    assert (subject_of(formula).predict(rows(), batch_size=16).y_pred == 0).all()

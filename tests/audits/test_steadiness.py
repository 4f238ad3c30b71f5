"""Models whose answer about a row is not about that row alone, and those whose numbers have no end."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from auditkit.audits.audit import AuditContext
from auditkit.audits.explainability.attribution import Attribution
from auditkit.audits.explainability.counterfactuals.counterfactuals import Counterfactuals
from auditkit.audits.explainability.gap_decomposition.gap_decomposition import GapDecomposition
from auditkit.audits.explainability.global_view.feature_effects import FeatureEffects
from auditkit.audits.explainability.global_view.feature_importance import FeatureImportance
from auditkit.audits.explainability.global_view.surrogate import Surrogate
from auditkit.audits.explainability.influence.influence import Influence
from auditkit.audits.explainability.quality.attribution_quality import AttributionQuality
from auditkit.audits.explainability.steadiness import unsteady
from auditkit.config.model import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn
from auditkit.subjects.torch_subject import TorchSubject

AUDITS = (
    Attribution,
    AttributionQuality,
    Counterfactuals,
    FeatureEffects,
    FeatureImportance,
    GapDecomposition,
    Surrogate,
)
UNSTEADY = "asked about each row alone, the model answers otherwise"


class Net(nn.Module):
    """Two layers with something between them."""

    def __init__(self, between):
        super().__init__()
        self.first, self.last, self.between = nn.Linear(4, 12), nn.Linear(12, 2), between

    def forward(self, inputs):
        return self.last(self.between(self.first(inputs.to(self.first.weight.dtype))))


class Growing(nn.Module):
    """Keeps a state that no list of buffers shows."""

    state = 0.0

    def forward(self, inputs):
        self.state += 0.5
        return torch.tanh(inputs) * (1 + self.state)


UNSTEADY_PARTS = {
    "the mean of the batch is taken off": lambda: lambda x: torch.tanh(x - x.mean(dim=0)),
    "batches are normed in evaluation mode, too": lambda: nn.BatchNorm1d(12, track_running_stats=False),
    "dropout is left on": lambda: lambda x: functional.dropout(torch.tanh(x), 0.3, training=True),
    "a state is kept": Growing,
}


def subject_of(between, dtype=torch.float32):
    with torch.random.fork_rng():
        torch.random.manual_seed(0)
        module = Net(between).to(dtype)
    return TorchSubject.build(module, architecture=Architecture(name="test"), classes=("no", "yes"))


def rows(n=60):
    inputs = torch.randn(n, 4, generator=torch.Generator().manual_seed(1))
    return Dataset(
        name="made",
        source="memory",
        split="test",
        inputs=inputs,
        y_true=(inputs[:, 0] > 0).long().numpy(),
        classes=("no", "yes"),
        positive="yes",
        features=FeatureSpace(tuple("abcd"), (0, 1, 2, 3)),
        sensitive_features={"group": GroupColumn.from_values(["one", "two"] * (n // 2))},
        is_member=np.arange(n) % 2 == 0,
    )


def measured(audit, subject, data=None):
    return audit().measure(subject, data or rows(), AuditContext(seed=3)).measurements


@pytest.mark.parametrize("audit", AUDITS)
@pytest.mark.parametrize("part", UNSTEADY_PARTS)
def test_answers_that_are_not_about_the_row_give_no_figures(audit, part):
    found = measured(audit, subject_of(UNSTEADY_PARTS[part]()))
    assert found
    assert all(figure.value is None and UNSTEADY in str(figure.missing) for figure in found)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
def test_rounding_is_no_unsteadiness(dtype):
    assert unsteady(subject_of(torch.relu, dtype), rows()) is None


def test_a_single_row_is_answered_steadily():
    assert unsteady(subject_of(torch.relu), rows().take(np.array([7]))) is None


def test_a_model_that_writes_into_its_inputs_is_explained_by_its_answers_as_the_model_that_does_not():
    class Writing(Net):
        def forward(self, inputs):
            return super().forward(inputs.mul_(2.0))

    class Copying(Net):
        def forward(self, inputs):
            return super().forward(inputs * 2.0)

    figures = {}
    for kind in (Writing, Copying):
        with torch.random.fork_rng():
            torch.random.manual_seed(0)
            module = kind(nn.Identity())
        subject = TorchSubject.build(module, architecture=Architecture(name="t"), classes=("no", "yes"))
        audit = Attribution(methods=("kernel-shap",), explained="log_odds")
        found = audit.measure(subject, rows(), AuditContext(seed=3)).measurements
        figures[kind] = {one.group["feature"]: one.value for one in found if one.metric == "importance_share"}
    assert figures[Writing] == pytest.approx(figures[Copying], rel=1e-4)
    assert len(figures[Writing]) == 4


def test_a_model_that_autograd_refuses_is_explained_by_its_answers_with_the_reason():
    subject = subject_of(lambda x: torch.sigmoid(x).mul_(2.0))
    found = measured(Attribution, subject)
    refused = [str(one.missing) for one in found if one.value is None]
    assert any("no gradient can be taken through the model: one of the variables" in said for said in refused)
    assert sum(one.metric == "importance" and one.value is not None for one in found) == 4


def test_a_score_without_a_number_at_the_baseline_leaves_no_parts_of_a_gap_with_the_reason():
    subject = subject_of(lambda x: x / x.norm(dim=1, keepdim=True))
    with torch.no_grad():
        subject.module.first.bias.zero_()
    found = measured(GapDecomposition, subject)
    assert any("rows are not finite" in str(one.missing) for one in found)
    assert all(one.value is None or math.isfinite(one.value) for one in found)


def test_influences_beyond_single_precision_are_missing_with_the_reason():
    found = measured(Influence, subject_of(lambda x: torch.relu(x) * 1e25))
    assert any("Influences are not finite" in str(one.missing) for one in found)
    assert all(one.value is None or math.isfinite(one.value) for one in found)


def test_a_single_feature_has_nothing_to_be_removed_step_by_step_and_is_measured_all_the_same():
    subject = TorchSubject.build(nn.Linear(1, 2), architecture=Architecture(name="t"), classes=("no", "yes"))
    data = replace(rows(), inputs=rows().inputs[:, :1], features=FeatureSpace(("a",), (0,)))
    found = measured(AttributionQuality, subject, data)
    assert sum(one.value is not None for one in found) >= 10
    # of one feature there are no subsets over which anything could correlate
    undefined = [str(one.missing) for one in found if one.value is None]
    assert all("undefined in every row" in reason for reason in undefined)


def test_a_black_box_without_an_answer_at_the_baseline_is_missing_with_the_reason_for_asking():
    class Cut(Net):
        def forward(self, inputs):
            return super().forward(inputs / inputs.abs().sum(dim=1, keepdim=True)).detach()

    subject = TorchSubject.build(Cut(nn.Tanh()), architecture=Architecture(name="t"), classes=("no", "yes"))
    found = measured(Attribution, subject)
    assert all("cut off from its inputs" in str(one.missing) for one in found)


def test_a_model_that_maps_a_function_over_rows_is_explained_as_the_one_that_does_not():
    class Mapped(Net):
        def forward(self, inputs):
            return torch.vmap(super().forward)(inputs)

    shares = []
    for kind in (Net, Mapped):
        with torch.random.fork_rng():
            torch.random.manual_seed(0)
            module = kind(torch.relu)
        subject = TorchSubject.build(module, architecture=Architecture(name="t"), classes=("no", "yes"))
        found = measured(Attribution, subject)
        shares.append([one.value for one in found if one.metric == "importance_share"])
    assert shares[1] == pytest.approx(shares[0], rel=5e-3)
    assert len(shares[0]) == 4

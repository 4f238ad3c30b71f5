"""What the guarantee does not hold for is refused before the first step; what it holds for is not."""

import copy

import pytest
import torch
from torch import nn

from auditkit.data.dataset import TokenSpace
from auditkit.errors import PrivacyRefusedError, UsageError
from auditkit.privacy.preflight import PreflightReport, examine, refuse_unsuitable
from auditkit.privacy.preflight.report import refused, unsafe
from tests.privacy import networks, unsuitable
from tests.privacy.networks import built
from tests.privacy.unsuitable import VECTOR

TOKEN_SPACE = TokenSpace(tuple("abcde"))


def report_of(make, row):
    tokens = TOKEN_SPACE if row.dtype == torch.int64 else None
    return examine(built(make), row, 3, tokens=tokens)


@pytest.mark.parametrize("case", unsuitable.CASES)
def test_unsuitable_networks_are_refused_with_layer_and_remedy(case):
    make, row, expected = unsuitable.CASES[case]
    report = report_of(make, row)
    with pytest.raises(UsageError, match=expected):
        report.raise_if_refused()


@pytest.mark.parametrize("case", unsuitable.VALID)
def test_suitable_networks_pass_and_stay_as_they_were(case):
    make, row = unsuitable.VALID[case]
    module = built(make)
    before = (
        copy.deepcopy(dict(vars(module)["_modules"])),
        {name: tensor.clone() for name, tensor in module.state_dict().items()},
    )
    tokens = TOKEN_SPACE if row.dtype == torch.int64 else None
    assert refuse_unsuitable(module, row, 3, tokens=tokens).warned == ()
    assert module.training
    assert before[0].keys() == dict(module.named_children()).keys()
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before[1].items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_every_problem_is_named_at_once():
    module = nn.Sequential(nn.BatchNorm1d(6), unsuitable.Standardised(), nn.BatchNorm1d(3)).train()
    with pytest.raises(UsageError, match=r"(?s)'0'.*'2'.*'1' \(Standardised\)"):
        refuse_unsuitable(module, VECTOR, 3)


def test_a_promise_worth_nothing_is_refused_as_unsafe_and_an_unsuitable_model_as_bad_usage():
    worthless, unsuited = unsafe("feasibility", "noise drowns all"), refused("layers", "rows are mixed")
    with pytest.raises(PrivacyRefusedError, match="- noise drowns all"):
        PreflightReport((worthless,)).raise_if_refused()
    with pytest.raises(UsageError, match=r"(?s)- noise drowns all.*- rows are mixed"):
        PreflightReport((worthless, unsuited)).raise_if_refused()


def test_the_state_of_an_unsuitable_network_is_put_back():
    module = built(unsuitable.Counting)
    examine(module, VECTOR, 3)
    assert float(module.seen) == 0
    accumulating = built(unsuitable.Accumulating)
    examine(accumulating, VECTOR, 3)
    assert accumulating.centre is None


def test_frozen_batch_norm_in_evaluation_mode_is_told_and_not_refused():
    report = report_of(unsuitable.FixedBatchNorm, VECTOR)
    assert report.refused == ()
    assert [check.name for check in report.warned] == ["layers"]


def test_a_counter_that_changes_no_output_is_told_and_not_refused():
    report = report_of(unsuitable.CountsInPassing, VECTOR)
    assert report.refused == ()
    assert "'n_seen'" in str(report.warned[0].message)


def test_a_single_output_passes_for_two_classes():
    refuse_unsuitable(built(lambda: nn.Linear(6, 1)), VECTOR, 2)


def test_the_values_of_the_row_are_not_read():
    refuse_unsuitable(built(networks.mlp), torch.full((6,), float("nan")), 3)


def test_what_passed_is_evidence():
    report = examine(built(networks.mlp), VECTOR, 3)
    assert len(report.evidence) == len(report.checks) == 5
    assert "changed no output and no gradient" in " ".join(map(str, report.evidence))

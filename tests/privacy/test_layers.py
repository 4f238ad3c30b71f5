"""Gradients of single rows, layer by layer, against one backward pass per row and against Opacus."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from auditkit.models.losses import per_row_loss
from auditkit.models.standardised import standardise
from auditkit.privacy.clipping import ROUNDING_SLACK, ClippedGradients
from auditkit.privacy.per_example.book_keeping import Recorder, UnsuitableLayerError
from auditkit.randomness import torch_rng
from tests.privacy.layers import EXAMPLES, Judged, built_example
from tests.privacy.networks import Folded, built
from tests.privacy.opacus_hooks import NOT_RIGHT_IN_OPACUS, clipped_sum_of_hooks
from tests.privacy.reference import clipped_sum_one_by_one, length
from tests.tolerances import FLOAT

NORM_TOLERANCE = 1e-5
"""Relative; the bar for the engine."""

SUM_TOLERANCE = 1e-6
"""Relative; ten times below the bar for sums, which are single precision."""


def just_below(bound: float) -> float:
    """The norm that rows are clipped to: the engine keeps the rounding of its norms below the bound."""
    return bound * (1 - ROUNDING_SLACK)


def rows_for(name: str, n: int = 9):
    example, rng = EXAMPLES[name], torch_rng(0, "rows", name)
    shape = (n, *example.shape)
    inputs = (
        torch.randint(0, 7, shape, generator=rng) if example.tokens else torch.randn(shape, generator=rng)
    )
    return inputs, torch.randint(0, 3, (n,), generator=rng)


def norms_one_by_one(module: nn.Module, inputs: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """In double precision throughout."""
    module = copy.deepcopy(module).double()
    inputs = inputs.double() if inputs.is_floating_point() else inputs
    parameters = [parameter for parameter in module.parameters() if parameter.requires_grad]
    norms = []
    for row in range(len(inputs)):
        loss = per_row_loss(module(inputs[row : row + 1]), targets[row : row + 1]).sum()
        norms.append(length(list(torch.autograd.grad(loss, parameters))))
    return torch.tensor(norms, dtype=torch.float64)


EVEN_SIDE = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")


@EVEN_SIDE
@pytest.mark.parametrize("name", EXAMPLES)
def test_norms_equal_those_of_one_backward_pass_per_row(name):
    module = built_example(name)
    inputs, targets = rows_for(name)
    with ClippedGradients(module, 1.0) as clipped:
        found = clipped.norms(inputs, targets)
    torch.testing.assert_close(
        found, norms_one_by_one(module, inputs, targets), rtol=NORM_TOLERANCE, atol=0.0, check_dtype=False
    )


def half_clipped(name: str):
    """A network, its rows, and a bound that more than half of them are beyond."""
    module = built_example(name)
    inputs, targets = rows_for(name)
    return module, inputs, targets, 0.99 * float(norms_one_by_one(module, inputs, targets).median())


def difference(found: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    """Over the length of what is expected."""
    apart = length([a.double() - b.double() for a, b in zip(found, expected, strict=True)])
    return apart / length(expected)


@EVEN_SIDE
@pytest.mark.parametrize("name", EXAMPLES)
def test_sums_equal_those_of_one_backward_pass_per_row(name):
    module, inputs, targets, bound = half_clipped(name)
    expected = clipped_sum_one_by_one(copy.deepcopy(module), inputs, targets, just_below(bound))
    with ClippedGradients(module, bound) as clipped:
        found = clipped.clipped_sum(inputs, targets)
    assert difference(found, expected) <= SUM_TOLERANCE


@EVEN_SIDE
@pytest.mark.filterwarnings("ignore:Full backward hook is firing")
@pytest.mark.parametrize("name", [name for name in EXAMPLES if name not in NOT_RIGHT_IN_OPACUS])
def test_sums_equal_those_of_opacus(name):
    module, inputs, targets, bound = half_clipped(name)
    expected = clipped_sum_of_hooks(module, inputs, targets, just_below(bound))
    with ClippedGradients(module, bound) as clipped:
        found = clipped.clipped_sum(inputs, targets)
    assert difference(found, expected) <= SUM_TOLERANCE


@pytest.mark.parametrize("bound", [0.5, 1e9], ids=["clipped", "not clipped"])
def test_tied_tables_equal_one_backward_pass_per_row_up_to_double_precision(bound):
    # what is left in single precision is its rounding, about 3e-7
    name = "tied embedding"
    module = built_example(name).double()
    inputs, targets = rows_for(name)
    norms = norms_one_by_one(module, inputs, targets)
    assert (norms > bound).any() == (bound == 0.5)
    expected = clipped_sum_one_by_one(copy.deepcopy(module), inputs, targets, just_below(bound))
    with ClippedGradients(module, bound) as clipped:
        torch.testing.assert_close(
            clipped.norms(inputs, targets), norms, rtol=FLOAT["rel"], atol=0.0, check_dtype=False
        )
        found = clipped.clipped_sum(inputs, targets)
    assert difference(found, expected) <= FLOAT["rel"]


def test_what_opacus_does_not_get_right_is_an_example_and_most_are_compared_with_it():
    assert NOT_RIGHT_IN_OPACUS.keys() <= EXAMPLES.keys()
    assert len(EXAMPLES) - len(NOT_RIGHT_IN_OPACUS) >= 30


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    n=st.integers(1, 6),
    positions=st.integers(1, 40),
    d=st.integers(1, 20),
    p=st.integers(1, 20),
    bias=st.booleans(),
)
def test_linear_layers_of_any_shape(*, n, positions, d, p, bias):
    module = built(lambda: Judged(nn.Linear(d, p, bias=bias), p))
    rng = torch_rng(n, "any", str(positions))
    inputs, targets = torch.randn(n, positions, d, generator=rng), torch.randint(0, 3, (n,), generator=rng)
    with ClippedGradients(module, 1.0) as clipped:
        found = clipped.norms(inputs, targets)
    expected = norms_one_by_one(module, inputs, targets)
    torch.testing.assert_close(found, expected, rtol=NORM_TOLERANCE, atol=0.0, check_dtype=False)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    side=st.integers(1, 4),
    stride=st.integers(1, 3),
    padding=st.integers(0, 2),
    dilation=st.integers(1, 2),
    groups=st.sampled_from([1, 2]),
    channels=st.sampled_from([2, 4, 12]),
)
def test_convolutions_of_any_shape(*, side, stride, padding, dilation, groups, channels):
    module = built(
        lambda: Judged(
            nn.Conv2d(2, channels, side, stride, padding, dilation, groups), channels, channels_first=True
        )
    )
    rng = torch_rng(side, "any convolution")
    inputs, targets = torch.randn(4, 2, 8, 9, generator=rng), torch.randint(0, 3, (4,), generator=rng)
    with ClippedGradients(module, 1.0) as clipped:
        found = clipped.norms(inputs, targets)
    expected = norms_one_by_one(module, inputs, targets)
    torch.testing.assert_close(found, expected, rtol=NORM_TOLERANCE, atol=0.0, check_dtype=False)


def test_a_batch_as_long_as_another_dimension_is_not_taken_for_it():
    # eight rows of eight positions: the table of positions is looked up once for all rows
    name = "positions of one dimension"
    module = built_example(name)
    inputs, targets = rows_for(name, n=8)
    with ClippedGradients(module, 1.0) as clipped:
        found = clipped.norms(inputs, targets)
    torch.testing.assert_close(
        found, norms_one_by_one(module, inputs, targets), rtol=NORM_TOLERANCE, atol=0.0, check_dtype=False
    )


def test_rows_folded_into_another_dimension_are_refused():
    module = built(Folded)
    with (
        ClippedGradients(module, 1.0) as clipped,
        pytest.raises(UnsuitableLayerError, match=r"'output\.weight' is called with \d+ rows"),
    ):
        clipped.norms(torch.randn(5, 4, 6, generator=torch_rng(0)), torch.zeros(5, dtype=torch.long))


@pytest.mark.parametrize("name", [name for name in EXAMPLES if "standardised" in name])
def test_standardised_weights_do_not_need_the_network_to_be_vectorised(name):
    recorder = Recorder(built_example(name))
    recorder.parts(*rows_for(name), None)
    assert recorder.without_rule is None


@pytest.mark.parametrize("apart", [1e-3, 1e-4, 0.0])
def test_rows_along_a_standardised_kernel_stay_within_the_norm_though_rounding_hides_theirs(apart):
    kernel = built(lambda: nn.Conv2d(12, 1, 4))
    assert standardise(kernel, [""]) == []
    kernel.bias.requires_grad_(False)
    module = nn.Sequential(kernel, nn.Flatten(), built(lambda: nn.Linear(1, 3)).requires_grad_(False))
    along = (kernel.weight - kernel.weight.mean()).detach() * torch.arange(1, 9).view(-1, 1, 1, 1) + 3
    rows = along + apart * torch.randn(along.shape, generator=torch_rng(0))
    with ClippedGradients(module, 1e-6) as clipped:
        alone = [clipped.clipped_sum(row[None], torch.zeros(1, dtype=torch.long)) for row in rows]
    assert max(map(length, alone)) <= 1e-6


class WritesOver(nn.Module):
    """Changes what its first layer was given."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.output = nn.Linear(6, 6), nn.Linear(6, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        rows = rows * 1.0
        hidden = self.first(rows)
        rows += 1.0
        return self.output(hidden + rows)


def test_inputs_that_are_written_over_are_refused():
    inputs = torch.randn(5, 6, generator=torch_rng(0))
    with (
        ClippedGradients(built(WritesOver), 1.0) as clipped,
        pytest.raises(UnsuitableLayerError, match="changed in place"),
    ):
        clipped.norms(inputs, torch.zeros(5, dtype=torch.long))

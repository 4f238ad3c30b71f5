"""What the guarantee does not hold for is refused before the first step; what it holds for is not."""

import pytest
import torch
from torch import nn

from auditkit.errors import UsageError
from auditkit.privacy.preflight import refuse_unsuitable
from tests.privacy import networks
from tests.privacy.networks import built

VECTOR, PICTURE, TOKENS = torch.zeros(6), torch.zeros(1, 8, 8), torch.zeros(3, dtype=torch.int64)


@pytest.mark.parametrize(
    ("make", "row", "expected"),
    [
        (networks.batch_norm, VECTOR, r"'normed' \(BatchNorm1d\).*GroupNorm"),
        (networks.frozen_batch_norm, VECTOR, "BatchNorm1d"),
        (networks.running_instance_norm, PICTURE, "track_running_stats=False"),
        (networks.capped_embedding, TOKENS, "max_norm"),
        (networks.StepsFirst, torch.zeros(5, 6), r"'lstm' \(LSTM\).*batch_first=True"),
        (networks.FusedAttention, torch.zeros(5, 6), r"'attention' \(MultiheadAttention\)"),
        (networks.Standardised, VECTOR, "row changes when another row"),
        (networks.Folded, torch.zeros(2, 6), "folded"),
        (networks.Unused, VECTOR, "per-example gradients"),
        (networks.Counting, VECTOR, "'seen'"),
    ],
)
def test_unsuitable_networks_are_refused_with_the_reason(make, row, expected):
    module = built(make)
    with pytest.raises(UsageError, match=expected):
        refuse_unsuitable(module, row, 3)


def test_every_unsuitable_layer_is_named_at_once():
    module = nn.Sequential(nn.BatchNorm1d(6), nn.Linear(6, 6), nn.BatchNorm1d(6)).train()
    with pytest.raises(UsageError, match=r"(?s)'0'.*'2'"):
        refuse_unsuitable(module, VECTOR, 3)


@pytest.mark.parametrize(
    ("make", "row"),
    [
        (networks.mlp, VECTOR),
        (networks.mlp_with_dropout, VECTOR),
        (networks.convolutional, PICTURE),
        (networks.Sequences, TOKENS),
        (lambda: nn.Sequential(nn.Linear(6, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 3)), VECTOR),
        (
            lambda: nn.Sequential(
                nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 3), nn.LogSoftmax(1)
            ),
            PICTURE,
        ),
    ],
)
def test_suitable_networks_pass_and_stay_as_they_were(make, row):
    module = built(make)
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    refuse_unsuitable(module, row, 3)
    assert module.training
    assert all(torch.equal(tensor, module.state_dict()[name]) for name, tensor in before.items())
    assert all(parameter.grad is None for parameter in module.parameters())


def test_a_single_output_passes_for_two_classes():
    refuse_unsuitable(built(lambda: nn.Linear(6, 1)), VECTOR, 2)


def test_the_values_of_the_row_are_not_read():
    refuse_unsuitable(built(networks.mlp), torch.full((6,), float("nan")), 3)

"""What --fix exchanges: only what mixes rows or keeps them, and the network trains afterwards."""

import pytest
import torch
from torch import nn

from auditkit.config import Architecture
from auditkit.errors import UsageError
from auditkit.models.rows_apart import group_norm_of, keep_rows_apart
from auditkit.models.standardised import standardised_names
from auditkit.models.zoo import build_module, complete, skeleton
from auditkit.privacy.repair import repair
from auditkit.randomness import torch_rng
from tests.privacy import networks, unsuitable
from tests.privacy.networks import built
from tests.privacy.unsuitable import PICTURE, TOKENS, VECTOR, chain, pictures

REPAIRABLE = {
    name: unsuitable.CASES[name]
    for name in (
        "BatchNorm",
        "BatchNorm without weights",
        "frozen BatchNorm in training mode",
        "BatchNorm without running statistics",
        "SyncBatchNorm",
        "subclass of BatchNorm",
        "InstanceNorm with running statistics",
        "Embedding with max_norm",
        "Embedding scaled by frequency",
    )
}


@pytest.mark.parametrize("case", REPAIRABLE)
def test_what_is_refused_by_its_type_trains_after_the_repair(case):
    make, row, _ = REPAIRABLE[case]
    module = built(make)
    names = [name for name, _ in module.named_parameters()]
    repaired = repair(module, row, 3)
    assert repaired.report.refused == ()
    assert [name for name, _ in repaired.module.named_parameters()] == names
    proof = repaired.changes[-1].values
    assert 0 < proof["after"] < proof["before"]
    assert proof["moved"] == proof["total"] == sum(p.requires_grad for p in module.parameters())
    kinds = [change.text.split(" ")[0] for change in repaired.changes]
    assert kinds == ["Layer"] * (1 + len(standardised_names(repaired.module))) + ["After"]


class Residual(nn.Module):
    """As networks of pictures are written elsewhere: batch norm, activations in place, a shortcut."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 16, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(16)
        self.inner = nn.Conv2d(16, 16, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.output = nn.Linear(16, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = self.relu(self.norm1(self.first(rows)))
        maps = self.relu(self.norm2(self.inner(maps)) + maps)
        return self.output(maps.mean(dim=(2, 3)))


def test_a_residual_network_is_repaired_and_every_change_is_named():
    repaired = repair(built(Residual), PICTURE, 3)
    assert [str(change) for change in repaired.changes] == [
        "Layer 'norm1': BatchNorm2d over 16 channels became GroupNorm of 4 groups.",
        "Layer 'norm2': BatchNorm2d over 16 channels became GroupNorm of 4 groups.",
        "1 layers no longer change their input in place.",
        "Layer 'first': the weights of each of its 16 output channels are standardised to mean 0 and "
        "variance 1/9 before they are used.",
        "Layer 'inner': the weights of each of its 16 output channels are standardised to mean 0 and "
        "variance 1/144 before they are used.",
        PROOF.format(**repaired.changes[-1].values),
    ]
    assert (repaired.changes[-1].values["moved"], repaired.changes[-1].values["total"]) == (8, 8)


PROOF = (
    "After the repair one step on random rows moved {moved} of {total} weight tensors, all that the loss "
    "depends on, and lowered the loss from {before} to {after}."
)


class Asleep(nn.Module):
    """Units that never fire: their weights have no gradient, and other values would change the loss."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.output = nn.Linear(8, 3)
        nn.init.constant_(self.first.bias, -100.0)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.norm(torch.relu(self.first(rows))) + rows.mean(dim=1, keepdim=True))


def test_weights_that_get_no_gradient_though_the_loss_depends_on_them_are_refused_by_name():
    with pytest.raises(UsageError, match=r"no gradient reaches .*'first\.bias'") as refused:
        repair(built(Asleep), VECTOR, 3)
    assert "'output.weight'" not in str(refused.value)


class Uphill(torch.autograd.Function):
    """Passes values on and turns their gradient round."""

    @staticmethod
    def forward(ctx, rows):
        return rows.clone()

    @staticmethod
    def backward(ctx, gradient):
        return -gradient


class Turned(nn.Module):
    """Learns in the wrong direction."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.output = nn.Linear(8, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return Uphill.apply(self.output(self.norm(self.first(rows))))


def test_a_module_whose_loss_no_step_lowers_is_refused():
    with pytest.raises(UsageError, match="no step on random rows lowers their loss"):
        repair(built(Turned), VECTOR, 3)


class Idle(nn.Module):
    """With a weight whose factor is zero."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.shift = nn.Parameter(torch.zeros(1))
        self.norm = nn.BatchNorm1d(8)
        self.output = nn.Linear(8, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.norm(self.first(rows))) + 0 * self.shift


def test_a_weight_that_the_loss_does_not_depend_on_needs_no_gradient():
    proof = repair(built(Idle), VECTOR, 3).changes[-1].values
    assert (proof["moved"], proof["total"]) == (6, 7)


class Mixed(nn.Module):
    """One convolution feeds a batch norm, though they are far apart; the others feed something else."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.own = nn.BatchNorm2d(8), nn.GroupNorm(2, 8)
        self.bare, self.feeding, self.before_own = nn.Conv2d(8, 8, 3), nn.Conv2d(1, 8, 3), nn.Conv2d(8, 8, 3)
        self.output = nn.Linear(8, 3)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.norm(self.feeding(rows)))
        maps = torch.relu(self.own(self.before_own(maps)))
        return self.output(torch.relu(self.bare(maps)).mean(dim=(2, 3)))


@pytest.mark.parametrize(
    ("before", "expected"), [("exchanged", {"feeding"}), ("all", {"feeding", "before_own"}), ("none", set())]
)
def test_only_convolutions_that_feed_such_norms_are_standardised(before, expected):
    repaired = repair(built(Mixed), PICTURE, 3, standardised=before)
    assert set(standardised_names(repaired.module)) == expected
    told = [change.values["layer"] for change in repaired.changes if "standardised" in change.text]
    assert set(told) == expected


def test_standardising_moves_no_weight_and_leaves_no_hook():
    plain, module = built(Mixed), built(Mixed)
    repair(module, PICTURE, 3)
    for one, other in zip(plain.parameters(), module.parameters(), strict=True):
        assert torch.equal(one, other)
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in module.modules())


def test_weights_and_their_names_stay():
    module = built(networks.batch_norm)
    with torch.no_grad():
        module.normed.weight.uniform_(generator=torch_rng(0, "weights"))
    weight, bias = module.normed.weight, module.normed.bias
    repaired = repair(module, VECTOR, 3).module
    assert isinstance(repaired.normed, nn.GroupNorm)
    assert repaired.normed.weight is weight
    assert repaired.normed.bias is bias


def test_the_trial_step_is_taken_back():
    plain, module = built(networks.batch_norm), built(networks.batch_norm)
    repair(module, VECTOR, 3)
    for one, other in zip(plain.parameters(), module.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_layer_under_two_names_stays_one_layer():
    norm = nn.BatchNorm1d(8)
    module, _ = keep_rows_apart(nn.Sequential(nn.Linear(6, 8), norm, nn.Linear(8, 8), norm))
    assert module[1] is module[3]
    assert isinstance(module[1], nn.GroupNorm)


def test_a_network_that_is_one_layer_is_exchanged_as_a_whole():
    module, changes = keep_rows_apart(nn.BatchNorm1d(16))
    assert isinstance(module, nn.GroupNorm)
    assert len(changes) == 1


@pytest.mark.parametrize(
    "make", [networks.mlp, networks.convolutional, lambda: chain(nn.LayerNorm(6), nn.Linear(6, 3))]
)
def test_nothing_else_is_changed(make):
    module = built(make)
    before = list(module.modules())
    same, changes = keep_rows_apart(module)
    assert changes == ()
    assert list(same.modules()) == before


@pytest.mark.parametrize("channels", [2, 3, 8, 10, 16, 17, 31, 64, 100, 512])
@pytest.mark.parametrize("kind", [nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm])
def test_no_group_is_so_small_that_only_the_order_of_its_numbers_is_left(kind, channels):
    norm = group_norm_of(kind(channels))
    assert channels % norm.num_groups == 0
    together = channels // norm.num_groups
    fewest = 4 if kind in (nn.BatchNorm2d, nn.BatchNorm3d) else 8
    assert together >= min(channels, fewest)
    assert norm.num_groups <= 32


def test_a_single_number_per_row_has_no_group_to_be_normalised_by():
    with pytest.raises(UsageError, match="BatchNorm1d"):
        repair(built(lambda: chain(nn.Linear(6, 1), nn.BatchNorm1d(1), nn.Linear(1, 3))), VECTOR, 3)


def test_what_cannot_be_repaired_is_still_refused():
    with pytest.raises(UsageError, match=r"Standardised\.forward"):
        repair(built(unsuitable.Standardised), VECTOR, 3)


def test_instance_norm_reads_the_row_in_evaluation_mode_too():
    module = repair(built(networks.running_instance_norm), PICTURE, 3).module.eval()
    norm = module[1]
    maps = torch.randn(2, 4, 5, 5, generator=torch_rng(0, "maps"))
    torch.testing.assert_close(norm(maps)[:1], norm(maps[:1]))
    assert norm.running_mean is None


def test_an_embedding_keeps_its_vectors():
    module = built(REPAIRABLE["Embedding with max_norm"][0])
    before = module[0].weight.detach().clone()
    module = repair(module, TOKENS, 3).module
    assert module[0].max_norm is None
    assert torch.equal(module[0].weight, before)


# --- a repaired architecture is built again --------------------------------------------------------


def test_an_architecture_remembers_that_it_was_repaired():
    name = f"{__name__}:OwnPictures"
    architecture = Architecture.model_validate({"name": name, "rows_apart": True})
    module = build_module(architecture, rng=torch_rng(0, "test"))
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in module.modules())
    assert skeleton(architecture).state_dict().keys() == module.state_dict().keys()
    assert complete(architecture).rows_apart
    assert "rows_apart" not in architecture.parameters


def test_what_was_repaired_before_weights_were_standardised_is_built_as_it_was():
    earlier = Architecture.model_validate({"name": f"{__name__}:OwnPictures", "rows_apart": True})
    module = build_module(earlier, rng=torch_rng(0, "test"))
    assert standardised_names(module) == ()
    assert any(type(layer) is nn.Conv2d for layer in module.modules())


def test_an_architecture_that_was_not_repaired_says_nothing_of_it():
    assert Architecture(name="mlp").model_dump(mode="json") == {"name": "mlp"}


class OwnPictures(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.parts = pictures(nn.BatchNorm2d(4))

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.parts(rows)

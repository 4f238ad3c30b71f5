"""``fix``: a class of the user with batch normalisation is trained privately, and read back as it was."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from auditkit.config.model import Architecture, TrainingConfig
from auditkit.data.preprocessing import CategoricalFeature, NumericFeature, TablePreprocessing
from auditkit.errors import PrivacyRefusedError, UsageError
from auditkit.models.standardised import standardised_names
from auditkit.models.zoo import build_module
from auditkit.randomness import torch_rng
from auditkit.subjects.checkpoint import load_checkpoint, save_checkpoint
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.training.fit import fit
from auditkit.variants.dp import DpRetrain
from tests.variants.subjects import CLASSES, context, data, trained

QUICK = DpRetrain(epsilon=8, delta=1e-4, steps=20, expected_batch_size=150)
NAME = f"{__name__}:Normalised"


class Normalised(nn.Module):
    """As many write it: a batch norm behind the first layer."""

    def __init__(self, n_inputs: int, n_classes: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(n_inputs, 16)
        self.norm = nn.BatchNorm1d(16)
        self.relu = nn.ReLU(inplace=True)
        self.output = nn.Linear(16, n_classes)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(self.relu(self.norm(self.hidden(rows))))


class Pictures(nn.Module):
    """Two convolutions, a batch norm behind each, on rows of eight numbers as pictures of two lines."""

    def __init__(self, n_inputs: int, n_classes: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, (2, 3), padding=(0, 1), bias=False)
        self.norm1 = nn.BatchNorm2d(8)
        self.second = nn.Conv2d(8, 16, (1, 3), padding=(0, 1), bias=False)
        self.norm2 = nn.BatchNorm2d(16)
        self.output = nn.Linear(8 * n_inputs, n_classes)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        maps = torch.relu(self.norm1(self.first(rows.view(len(rows), 1, 2, -1))))
        return self.output(torch.relu(self.norm2(self.second(maps))).flatten(1))


PICTURES = f"{__name__}:Pictures"


class Resumed(nn.Module):
    """Starts from weights that an earlier training left behind."""

    earlier: dict[str, torch.Tensor] | None = None

    def __init__(self, n_inputs: int, n_classes: int) -> None:
        super().__init__()
        self.output = nn.Linear(n_inputs, n_classes)
        if Resumed.earlier is not None:
            self.load_state_dict(Resumed.earlier)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return self.output(rows)


def trained_own(name: str = NAME) -> TorchSubject:
    return fit(Architecture(name=name), data(), TrainingConfig(epochs=2), seed=0, title="own")


def accuracy(subject: TorchSubject) -> float:
    rows = data(300, seed=1)
    return float((subject.predict(rows, batch_size=64).y_pred == rows.y_true).mean())


def test_batch_norm_is_refused_with_the_layer_and_the_way_out(tmp_path):
    with pytest.raises(UsageError, match=r"'norm' \(BatchNorm1d\).*--fix"):
        QUICK.derive(trained_own(), context(tmp_path))


def test_with_fix_it_is_trained_and_every_change_is_stated(tmp_path):
    baseline = trained_own()
    found = QUICK.model_copy(update={"fix": True}).derive(baseline, context(tmp_path))
    stated = " ".join(map(str, found.card.statements))
    assert "Layer 'norm': BatchNorm1d over 16 channels became GroupNorm of 2 groups." in stated
    assert "one step on random rows moved 6 of 6 weight tensors" in stated
    assert isinstance(found.module.norm, nn.GroupNorm)
    assert isinstance(baseline.module.norm, nn.BatchNorm1d)
    save_checkpoint(tmp_path / "dp", found)
    again = load_checkpoint(tmp_path / "dp", name="variant", own_class=NAME)
    assert again.card.digest == found.card.digest
    rows = data(50, seed=1)
    assert (
        again.predict(rows, batch_size=64).y_pred.tolist()
        == found.predict(rows, batch_size=7).y_pred.tolist()
    )


def test_convolutions_before_exchanged_norms_are_standardised_and_read_back_so(tmp_path):
    three = QUICK.model_copy(update={"fix": True, "epsilon": 3, "steps": 40})
    found = three.derive(trained_own(PICTURES), context(tmp_path))
    assert found.card.certificate.epsilon <= 3
    assert accuracy(found) > 0.6
    stated = " ".join(map(str, found.card.statements))
    assert "Layer 'second': the weights of each of its 16 output channels are standardised" in stated
    assert found.architecture.weights_standardised == ("first", "second")
    save_checkpoint(tmp_path / "dp", found)
    again = load_checkpoint(tmp_path / "dp", name="variant", own_class=PICTURES)
    assert again.card.digest == found.card.digest
    assert torch.equal(again.module(data(50, seed=1).inputs), found.module(data(50, seed=1).inputs))


def test_a_checkpoint_repaired_without_standardised_weights_gives_the_outputs_it_gave(tmp_path):
    plain = QUICK.model_copy(update={"fix": True, "weight_standardisation": "none"})
    earlier = plain.derive(trained_own(PICTURES), context(tmp_path))
    assert earlier.architecture.model_dump(mode="json").keys() == {
        "name",
        "rows_apart",
        "n_inputs",
        "n_classes",
    }
    save_checkpoint(tmp_path / "dp", earlier)
    again = load_checkpoint(tmp_path / "dp", name="variant", own_class=PICTURES)
    assert standardised_names(again.module) == ()
    assert torch.equal(again.module(data(50, seed=1).inputs), earlier.module(data(50, seed=1).inputs))


class Grouped(Pictures):
    """With group norms from the start."""

    def __init__(self, n_inputs: int, n_classes: int) -> None:
        super().__init__(n_inputs, n_classes)
        self.norm1, self.norm2 = nn.GroupNorm(2, 8), nn.GroupNorm(4, 16)


@pytest.mark.parametrize(
    ("asked", "expected"), [("exchanged", ()), ("all", ("first", "second"))], ids=["by default", "asked for"]
)
def test_convolutions_before_norms_that_were_there_are_standardised_where_asked_for(
    tmp_path, asked, expected
):
    told: list[str] = []
    baseline = trained_own(f"{__name__}:Grouped")
    chosen = QUICK.model_copy(update={"weight_standardisation": asked})
    found = chosen.derive(baseline, replace(context(tmp_path), tell=told.append))
    assert found.architecture.weights_standardised == expected
    assert not found.architecture.rows_apart
    assert sum("standardised" in line for line in told) == len(expected)
    assert standardised_names(baseline.module) == ()


def test_where_nothing_mixes_rows_fix_changes_nothing(tmp_path):
    baseline = trained()
    plain, fixed = (
        QUICK.model_copy(update={"fix": fix}).derive(baseline, context(tmp_path)) for fix in (False, True)
    )
    assert plain.card.digest == fixed.card.digest
    assert plain.card.statements == fixed.card.statements
    assert not fixed.architecture.rows_apart


def test_a_start_from_the_weights_of_the_audited_model_is_refused(tmp_path, monkeypatch):
    baseline = trained_own(f"{__name__}:Resumed")
    monkeypatch.setattr(Resumed, "earlier", baseline.module.state_dict())
    with pytest.raises(
        PrivacyRefusedError, match=r"trained on the same rows without noise \('output\.weight'"
    ):
        QUICK.derive(baseline, context(tmp_path))


def test_the_certificate_names_what_was_examined_and_what_the_preprocessing_learned(tmp_path):
    numbers = [NumericFeature(name=f"x{i}", mean=0.0, scale=1.0, fill=0.0) for i in range(6)]
    levels = CategoricalFeature(name="city", levels=("a", "b"))
    steps = TablePreprocessing(target="label", classes=CLASSES, features=(*numbers, levels))
    made = trained()
    baseline = TorchSubject.build(
        build_module(made.architecture, rng=torch_rng(0, "baseline")),
        architecture=made.architecture,
        classes=CLASSES,
        preprocessing=steps,
    )
    told = []
    found = QUICK.derive(baseline, replace(context(tmp_path), tell=told.append))
    assert found.card.certificate is not None
    certificate = found.card.certificate
    examined = [str(message) for message in certificate.preflight]
    assert len(examined) == 9
    assert (
        "means and scales of numeric columns, 6 in all, were measured by the first 12 steps, within epsilon"
        in examined
    )
    assert any(one.startswith("text columns, 1 in all") for one in examined)
    assert "changing one row changed no output and no gradient of another" in examined
    assert certificate.not_covered == ()
    assert certificate.failure_probability == pytest.approx(1e-3 * certificate.delta)
    assert any(str(one).startswith("Of 2 levels of text columns noisy") for one in found.card.statements)
    assert any("a level comes out by its name" in str(one) for one in certificate.assumptions)
    assert told

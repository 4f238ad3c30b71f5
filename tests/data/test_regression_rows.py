"""Outcomes that are numbers: what a dataset of them keeps, and what it refuses."""

from dataclasses import replace

import numpy as np
import pytest

from auditkit.config.model import DataConfig
from auditkit.data.dataset import Dataset
from auditkit.data.loading import load_dataset, load_training_data
from auditkit.data.preprocessing import ValueTablePreprocessing
from auditkit.data.sequences import targets_of
from auditkit.data.sources import read_rows
from auditkit.errors import DataError, UsageError
from auditkit.testing import tiny_value_dataset
from tests.tolerances import FLOAT


@pytest.fixture
def folder(tmp_path):
    lines = ["x,group,price,said", *(f"{i},{'ab'[i % 2]},{100 + i / 2},{100 + i}" for i in range(40))]
    (tmp_path / "prices.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tmp_path


def config(**more):
    return DataConfig(
        source="prices.csv", target="price", task="regression", sensitive_features=("group",), **more
    )


def test_a_table_gives_outcomes_and_no_classes(folder):
    data = load_dataset(config(split="all", drop=("said",)), preprocessing=None, seed=0, folder=folder)
    assert data.task == "regression"
    assert data.classes == ()
    assert data.outcome.tolist() == [100 + i / 2 for i in range(40)]
    assert not data.y_true.any()
    assert data.features.names == ("x", "group")


def test_a_column_of_predictions_is_read_and_is_no_input(folder):
    data = load_dataset(config(split="all", prediction="said"), preprocessing=None, seed=0, folder=folder)
    assert data.predicted_outcome.tolist() == [100 + i for i in range(40)]
    assert "said" not in data.features.names


def test_the_scale_is_that_of_the_training_rows(folder):
    data, steps = load_training_data(config(), preprocessing=None, seed=0, folder=folder)
    assert isinstance(steps, ValueTablePreprocessing)
    assert steps.mean == pytest.approx(data.outcome.mean(), **FLOAT)
    assert steps.scale == pytest.approx(data.outcome.std(), **FLOAT)
    assert len(data) == 28


def test_a_selection_keeps_outcomes_beside_their_rows():
    data = tiny_value_dataset(10)
    chosen = data.take(np.array([3, 1]))
    assert chosen.outcome.tolist() == data.outcome[[3, 1]].tolist()


def test_the_digest_covers_outcomes_and_predictions():
    data = tiny_value_dataset(10)
    other = replace(data, outcome=data.outcome + 1)
    said = replace(data, predicted_outcome=data.outcome)
    assert len({data.digest(), other.digest(), said.digest()}) == 3


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_outcomes_that_are_not_finite_are_refused(bad):
    data = tiny_value_dataset(10)
    with pytest.raises(DataError, match="outcome holds 1 values"):
        replace(data, outcome=np.append(data.outcome[:-1], bad))


def test_a_dataset_has_either_classes_or_outcomes():
    data = tiny_value_dataset(10)
    for wrong in ({"classes": ("a",)}, {"outcome": None}, {"task": "classification"}):
        with pytest.raises(DataError, match="a regression has outcomes and no classes"):
            replace(data, **wrong)


def test_lengths_of_outcomes_are_checked():
    data = tiny_value_dataset(10)
    with pytest.raises(DataError, match="outcome has 9 rows"):
        replace(data, outcome=data.outcome[:9])


def test_there_are_no_classes_to_train_on():
    with pytest.raises(UsageError, match="numbers, not labels"):
        targets_of(tiny_value_dataset(10))


@pytest.mark.parametrize("source", ["lending", "digits", "shakespeare"])
def test_built_in_sources_have_no_numbers_to_foretell(folder, source):
    asked = DataConfig(source=source, task="regression")
    with pytest.raises(DataError, match="no target that is a number"):
        read_rows(asked, split="test", seed=0, folder=folder)


def test_predictions_that_are_missing_are_counted(folder):
    table = folder / "prices.csv"
    table.write_text(table.read_text().replace(",100\n", ",\n"), encoding="utf-8")
    with pytest.raises(DataError, match=r"data\.prediction: 'said' is missing in 1 of 40 rows"):
        read_rows(config(prediction="said"), split="all", seed=0, folder=folder)


def test_the_card_names_the_target_and_no_classes():
    card = tiny_value_dataset(10).card()
    assert card.target == "price"
    assert card.classes == ()


def test_a_size_of_one_output_is_told():
    data: Dataset = tiny_value_dataset(10)
    assert data.sizes()["n_classes"] == 1

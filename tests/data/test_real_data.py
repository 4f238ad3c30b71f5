"""The published data sets, against numbers published about them. Skipped where they are absent."""

import gzip

import numpy as np
import pytest

from auditkit.config import DataConfig
from auditkit.data.compas import FEATURES
from auditkit.data.loading import load_dataset, load_training_data
from auditkit.data.sources import read_rows
from auditkit.errors import DataError
from tests.tolerances import FLOAT


@pytest.fixture
def read(real_data, monkeypatch, tmp_path):
    monkeypatch.setenv("AUDITKIT_DATA", str(real_data))

    def rows(source, split, **keys):
        return read_rows(DataConfig(source=source, **keys), split=split, seed=0, folder=tmp_path)

    return rows


def test_adult_has_the_published_rows_and_rates(read):
    train, test = read("adult", "train"), read("adult", "test")
    assert (len(train), len(test)) == (32_561, 16_281)
    assert set(test.labels.tolist()) == {"<=50K", ">50K"}
    rich = train.labels == ">50K"
    male, black = train.sensitive["sex"] == "Male", train.sensitive["race"] == "Black"
    assert (int((rich & male).sum()), int(male.sum())) == (6662, 21_790)
    assert (int((rich & ~male).sum()), int((~male).sum())) == (1179, 10_771)
    assert int(black.sum()) == 3124
    assert "fnlwgt" not in train.columns
    assert not train.statements


def test_adult_question_marks_are_missing_values(read):
    train = read("adult", "train")
    # Counted in the published file: 1,836 rows without workclass, 583 without native-country.
    assert sum(value is None for value in train.columns["workclass"]) == 1836
    assert sum(value is None for value in train.columns["native-country"]) == 583


def test_all_of_adult_is_both_parts(read):
    rows = read("adult", "all")
    assert (len(rows), rows.split) == (48_842, "all")


def test_compas_gives_the_published_confusion_counts(read):
    rows = read("compas", "all")
    assert len(rows) == 7214
    published = {
        "African-American": (1369, 532, 805, 990),
        "Caucasian": (505, 461, 349, 1139),
        "Hispanic": (103, 129, 87, 318),
        "Other": (43, 90, 36, 208),
        "Asian": (6, 3, 2, 21),
        "Native American": (9, 1, 3, 5),
    }
    said, did = rows.prediction == "1", rows.labels == "1"
    for race, counts in published.items():
        group = rows.sensitive["race"] == race
        found = (said & did & group, ~said & did & group, said & ~did & group, ~said & ~did & group)
        assert tuple(int(cell.sum()) for cell in found) == counts


def test_compas_inputs_hold_nothing_that_happened_later(read):
    assert set(read("compas", "train").columns) == set(FEATURES)


def test_compas_columns_that_occur_twice_can_be_named(read):
    rows = read("compas", "all", features=["decile_score", "decile_score.1", "priors_count.1"])
    assert np.array_equal(rows.columns["decile_score"], rows.columns["decile_score.1"])


def test_a_misspelt_compas_column_is_answered_with_the_closest(read):
    with pytest.raises(DataError, match="Did you mean 'age_cat'"):
        read("compas", "test", sensitive_features=["age_catt"])


def test_mnist_has_the_published_rows_and_grey_values(read, real_data, monkeypatch):
    config = DataConfig(source="mnist", members="train", limit=50)
    train, fitted = load_training_data(config, preprocessing=None, seed=0, folder=real_data)
    assert tuple(train.inputs.shape) == (60_000, 784)
    assert np.bincount(train.y_true).tolist()[:3] == [5923, 6742, 5958]
    # The mean and deviation that are widely used for MNIST are 0.1307 and 0.3081.
    assert (round(fitted.mean, 4), round(fitted.scale, 4)) == (0.1307, 0.3081)
    data = load_dataset(config, preprocessing=fitted, seed=0, folder=real_data)
    assert (len(data.held_out()), int(data.is_member.sum())) == (50, 50)
    assert data.card().n_features == 784


def test_a_truncated_mnist_file_is_named(read, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for file in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        content = (real_data / "mnist" / file).read_bytes()
        (tmp_path / "mnist" / file).write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match=r"t10k-images-idx3-ubyte.gz: truncated or damaged"):
        read("mnist", "test")


def test_mnist_labels_of_another_number_are_refused(read, real_data, tmp_path, monkeypatch):
    monkeypatch.setenv("AUDITKIT_DATA", str(tmp_path))
    (tmp_path / "mnist").mkdir()
    for file in ("t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"):
        (tmp_path / "mnist" / file).write_bytes((real_data / "mnist" / file).read_bytes())
    labels = tmp_path / "mnist" / "t10k-labels-idx1-ubyte.gz"
    plain = gzip.decompress(labels.read_bytes())
    labels.write_bytes(gzip.compress(plain[:4] + (9_999).to_bytes(4, "big") + plain[8:-1]))
    with pytest.raises(DataError, match="10000 pictures but 9999 labels"):
        read("mnist", "test")


def test_rates_of_adult_equal_the_published_ones(read):
    train = read("adult", "train")
    rich = train.labels == ">50K"
    rates = [rich[train.sensitive["sex"] == sex].mean() for sex in ("Male", "Female")]
    assert [round(rate, 5) for rate in rates] == [0.30574, 0.10946]
    assert rates[1] / rates[0] == pytest.approx(1179 / 10_771 * 21_790 / 6662, **FLOAT)

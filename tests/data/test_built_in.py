"""Built-in data without files: digits and lending."""

import numpy as np
import pytest
from sklearn.datasets import load_digits

from auditkit.config import DataConfig
from auditkit.data.lending import FAULTS, lending_rows
from auditkit.data.preprocessing import encode, fit_preprocessing
from auditkit.data.sources import read_rows
from auditkit.errors import DataError, UsageError
from tests.tolerances import statistical


def digits(split, folder, **keys):
    return read_rows(DataConfig(source="digits", **keys), split=split, seed=0, folder=folder)


def test_digits_are_split_once_and_for_all_with_equal_shares(tmp_path):
    train, test, everything = (digits(split, tmp_path) for split in ("train", "test", "all"))
    assert (len(train), len(test), len(everything)) == (1258, 539, 1797)
    for digit in map(str, range(10)):
        share = (test.labels == digit).sum() / (everything.labels == digit).sum()
        assert share == pytest.approx(0.3, abs=0.005)


def test_digits_in_file_order_are_those_of_scikit_learn(tmp_path):
    rows = digits("all", tmp_path)
    bunch = load_digits()
    assert np.array_equal(rows.images, bunch.images)
    assert rows.labels.tolist() == [str(label) for label in bunch.target]
    assert fit_preprocessing(rows).divisor == 16


@pytest.mark.parametrize("keys", [{"sensitive_features": ["sex"]}, {"target": "income"}, {"members": "flag"}])
def test_pictures_have_no_columns_to_name(tmp_path, keys):
    with pytest.raises(DataError, match=f"remove data.{next(iter(keys))}"):
        digits("test", tmp_path, **keys)


def test_a_digit_can_be_the_favourable_label_and_eleven_cannot(tmp_path):
    assert digits("test", tmp_path, positive=3).positive == "3"
    with pytest.raises(DataError, match="no label '11'"):
        digits("test", tmp_path, positive=11)


def approved(rows, chosen):
    return (rows.labels == "approved")[chosen].mean()


def shares(faults):
    """What each fault changes in the rows themselves, without any model."""
    rows = lending_rows("test", n_test=20_000, faults=frozenset(faults))
    female = rows.sensitive["sex"] == "female"
    belor, corin = (rows.sensitive["ethnicity"] == people for people in ("Belor", "Corin"))
    penalised = np.isin(rows.columns["postcode_area"], ("G", "H"))
    return {
        "gap of women": approved(rows, ~female & ~belor) - approved(rows, female & ~belor),
        "gap of areas": approved(rows, ~penalised & ~belor) - approved(rows, penalised & ~belor),
        "Belor in G and H": penalised[belor].mean(),
        "women among Belor": female[belor].mean(),
        "Belor women": approved(rows, female & belor & (rows.columns["credit_history"] > 650)),
        "Corin": approved(rows, corin & (rows.columns["credit_history"] > 700)),
    }


def test_the_twin_has_no_fault():
    twin = shares([])
    assert abs(twin["gap of women"]) < 2 * statistical(7500)
    assert abs(twin["gap of areas"]) < 2 * statistical(3700)
    assert twin["Belor in G and H"] == pytest.approx(0.25, abs=statistical(5000, p=0.25))
    assert twin["women among Belor"] == pytest.approx(0.5, abs=statistical(5000))
    assert twin["Belor women"] > 0.7
    assert twin["Corin"] > 0.8


@pytest.mark.parametrize(
    ("fault", "changed"),
    [
        ("direct-effect", {"gap of women": (0.2, 0.4)}),
        ("proxy", {"gap of areas": (0.25, 0.5), "Belor in G and H": (0.75, 0.85)}),
        ("under-represented", {"women among Belor": (0.08, 0.12), "Belor women": (0.0, 0.3)}),
        ("label-noise", {"Corin": (0.55, 0.72)}),
    ],
)
def test_each_fault_changes_what_it_says_and_nothing_else(fault, changed):
    twin, faulty = shares([]), shares([fault])
    for name, (low, high) in changed.items():
        assert low < faulty[name] < high
    for name in set(twin) - set(changed) - {"Belor women", "Corin"}:
        assert faulty[name] == pytest.approx(twin[name], abs=statistical(3700))


def test_outliers_are_in_the_training_rows_alone():
    faults = frozenset({"memorised-outliers"})
    for split, low, high in (("train", 110, 190), ("test", 0, 0)):
        twin, faulty = lending_rows(split, faults=frozenset()), lending_rows(split, faults=faults)
        changed = np.zeros(len(twin), dtype=bool)
        for name, column in twin.columns.items():
            changed |= column != faulty.columns[name]
        assert low <= changed.sum() <= high
        assert (twin.labels != faulty.labels)[~changed].sum() == 0


def test_every_fault_names_its_figure_and_the_twin_none():
    rows = lending_rows("test")
    assert len(rows.planted) == len(FAULTS) == 5
    assert all(planted.figure.endswith("@baseline") for planted in rows.planted)
    assert rows.synthetic
    assert lending_rows("test", faults=frozenset()).planted == ()


def test_ethnicity_is_known_but_no_input():
    rows = lending_rows("test")
    assert set(rows.sensitive) == {"sex", "ethnicity"}
    assert "ethnicity" not in rows.columns
    assert rows.positive == "approved"


def test_the_same_seed_draws_the_same_rows_and_another_does_not():
    digests = [
        encode(rows, fit_preprocessing(rows)).digest()
        for rows in (lending_rows("train"), lending_rows("train"), lending_rows("train", seed=1))
    ]
    assert digests[0] == digests[1]
    assert digests[0] != digests[2]


def test_all_of_lending_is_both_parts(tmp_path):
    rows = read_rows(DataConfig(source="lending"), split="all", seed=0, folder=tmp_path)
    assert len(rows) == 10_000


def test_the_config_decides_over_the_defaults_of_lending(tmp_path):
    config = DataConfig(source="lending", sensitive_features=["sex"], drop=["ethnicity", "sex"])
    rows = read_rows(config, split="test", seed=0, folder=tmp_path)
    assert set(rows.sensitive) == {"sex"}
    assert not {"sex", "ethnicity"} & set(rows.columns)


def test_an_unknown_fault_is_answered_with_the_closest():
    with pytest.raises(UsageError, match="Did you mean 'proxy'"):
        lending_rows("test", faults=frozenset({"prxy"}))

"""Files of a user as rows: roles of columns, splits, and what is refused."""

from pathlib import Path

import numpy as np
import pytest

from auditkit.config import DataConfig
from auditkit.data.loading import load_dataset, load_training_data
from auditkit.data.sources import read_rows
from auditkit.errors import DataError

PEOPLE = "id,sex,age,city,member,weight,said,score,label\n" + "".join(
    f"p{i // 2},{'f' if i % 3 else 'm'},{20 + i},{'x' if i % 4 else ''},{'true' if i < 12 else 'false'},"
    f"{1 + i % 2},{i % 2},{(i % 2) * 0.8 + 0.1:.1f},{(i // 2) % 2}\n"
    for i in range(40)
)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "people.csv").write_text(PEOPLE)
    return tmp_path


def config(**keys) -> DataConfig:
    return DataConfig(**{"source": "people.csv", "target": "label", **keys})


def rows_of(folder, split="all", **keys):
    return read_rows(config(**keys), split=split, seed=0, folder=folder)


def test_columns_without_a_role_are_inputs(folder):
    rows = rows_of(
        folder,
        sensitive_features=["sex"],
        weight="weight",
        person="id",
        members="member",
        prediction="said",
        score="score",
        positive="1",
    )
    assert list(rows.columns) == ["sex", "age", "city"]
    assert rows.columns["age"].dtype == np.float64
    assert rows.columns["city"].tolist()[:5] == [None, "x", "x", "x", None]
    assert rows.weight.tolist()[:2] == [1.0, 2.0]
    assert rows.member.sum() == 12


def test_dropped_sensitive_features_stay_groups_but_are_no_inputs(folder):
    rows = rows_of(folder, sensitive_features=["sex"], drop=["sex"])
    assert "sex" not in rows.columns
    assert set(rows.sensitive["sex"].tolist()) == {"f", "m"}


def test_named_features_are_the_only_inputs(folder):
    assert list(rows_of(folder, features=["age"]).columns) == ["age"]


def test_all_misspelt_columns_are_reported_at_once_with_the_closest(folder):
    with pytest.raises(DataError) as caught:
        rows_of(folder, sensitive_features=["sexx"], drop=["agee"], weight="nonsense")
    message = str(caught.value)
    assert "data.sensitive_features: no column 'sexx'. Did you mean 'sex'?" in message
    assert "data.drop: no column 'agee'" in message
    assert "data.weight: no column 'nonsense'. Known: age" in message


def test_without_a_target_the_columns_are_listed(folder):
    with pytest.raises(DataError, match=r"data.target is not set.*id, sex, age"):
        rows_of(folder, target=None)


@pytest.mark.parametrize("wanted", ["1", "1.0", 1, 1.0])
def test_the_positive_label_is_found_however_it_is_written(folder, wanted):
    assert rows_of(folder, positive=wanted).positive == "1"


def test_an_unknown_positive_label_is_refused_with_the_known_ones(folder):
    with pytest.raises(DataError, match=r"no label 'yes'\. Known: 0, 1"):
        rows_of(folder, positive="yes")


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"weight": "city"}, "must hold numbers"),
        ({"score": "age", "positive": "1"}, "expected probabilities"),
        ({"members": "age"}, "true or false"),
        ({"prediction": "city"}, "lacks a value in 10 of 40"),
        ({"features": ["age", "label"]}, "cannot be an input"),
    ],
)
def test_a_column_that_cannot_have_its_role_is_refused(folder, keys, said):
    with pytest.raises(DataError, match=said):
        rows_of(folder, **keys)


def test_test_and_training_rows_are_all_rows_once(folder):
    ages = [rows_of(folder, split).columns["age"].tolist() for split in ("train", "test", "all")]
    assert sorted(ages[0] + ages[1]) == sorted(ages[2])
    assert (len(ages[0]), len(ages[1])) == (28, 12)


def test_the_seed_moves_no_row_between_the_splits(folder):
    held = [
        read_rows(config(), split="test", seed=seed, folder=folder).columns["age"].tolist() for seed in (0, 9)
    ]
    assert held[0] == held[1]


def test_rows_of_a_person_are_not_divided_between_the_splits(folder):
    train, test = (rows_of(folder, split, person="id").person for split in ("train", "test"))
    assert not set(train.tolist()) & set(test.tolist())


def test_a_training_file_of_its_own_leaves_the_source_whole(folder):
    (folder / "old.csv").write_text(PEOPLE.replace("\np", "\nq"))
    train = rows_of(folder, "train", train="old.csv", person="id")
    test = rows_of(folder, "test", train="old.csv", person="id")
    assert len(train) == len(test) == 40
    assert train.person[0] == "q0"
    assert test.person[0] == "p0"


def test_a_column_of_members_decides_the_training_rows(folder):
    data, _ = load_training_data(config(members="member"), preprocessing=None, seed=0, folder=folder)
    audited = load_dataset(config(members="member"), preprocessing=None, seed=0, folder=folder)
    assert len(data) == 12
    assert data.is_member is None
    assert len(audited) == 40
    assert audited.is_member.sum() == 12


def test_paths_start_at_the_config_and_else_at_the_working_directory(folder, tmp_path, monkeypatch):
    monkeypatch.chdir(folder)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    assert len(read_rows(config(), split="all", seed=0, folder=elsewhere)) == 40


@pytest.mark.parametrize("source", ["adlt", "people"])
def test_a_source_that_is_neither_built_in_nor_a_file_is_refused(tmp_path, source):
    with pytest.raises(DataError, match="Known: adult, compas, digits, lending, mnist"):
        read_rows(DataConfig(source=source), split="test", seed=0, folder=tmp_path)


def test_an_unknown_split_is_refused(folder):
    with pytest.raises(DataError, match="Did you mean 'test'"):
        rows_of(folder, split="tst")


def test_a_limit_draws_that_many_rows_and_says_so(folder):
    rows = rows_of(folder, limit=7)
    assert len(rows) == 7
    assert str(rows.statements[-1]) == "7 of 40 rows, drawn at random (data.limit)."


def test_predictions_of_a_table_are_labels_without_scores(folder):
    data = load_dataset(config(prediction="said", positive="1"), preprocessing=None, seed=0, folder=folder)
    assert len(data) == 40
    assert data.scores is None
    assert data.predicted.tolist()[:2] == [0, 1]


def test_scores_are_the_probability_of_the_positive_label(folder):
    data = load_dataset(config(score="score", positive="0"), preprocessing=None, seed=0, folder=folder)
    probabilities = np.exp(data.scores)
    assert probabilities[0].tolist() == pytest.approx([0.9 - 0.8, 0.9])
    assert probabilities.sum(axis=1) == pytest.approx(np.ones(40))


def test_predictions_that_contradict_the_scores_are_refused(folder):
    with pytest.raises(DataError, match="disagree in 40 of 40 rows"):
        load_dataset(
            config(score="score", prediction="said", positive="0"), preprocessing=None, seed=0, folder=folder
        )


def test_scores_without_a_positive_label_are_refused(folder):
    with pytest.raises(DataError, match=r"needs two classes and data.positive"):
        load_dataset(config(score="score"), preprocessing=None, seed=0, folder=folder)


def test_members_are_appended_behind_the_held_out_rows(folder):
    data = load_dataset(config(members="train"), preprocessing=None, seed=0, folder=folder)
    assert data.is_member.tolist() == [False] * 12 + [True] * 28
    assert len(data.held_out()) == 12
    without = load_dataset(
        config(members="train"), preprocessing=None, seed=0, folder=folder, with_members=False
    )
    assert without.is_member is None


def test_members_that_overlap_with_the_audited_rows_are_refused(folder):
    with pytest.raises(DataError, match="overlaps with the audited split 'all'"):
        load_dataset(config(members="train", split="all"), preprocessing=None, seed=0, folder=folder)


def test_a_limit_does_not_shorten_the_training_rows(folder):
    data, _ = load_training_data(config(limit=5), preprocessing=None, seed=0, folder=folder)
    assert len(data) == 28

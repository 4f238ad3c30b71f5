"""What slices are made of: levels and bins in the units a reader knows, and nothing lost."""

import numpy as np
import pytest
import torch

from auditkit.audits.fairness.number_bins import number_levels, snapped
from auditkit.audits.fairness.slice_features import slice_features
from auditkit.audits.fairness.slice_items import MOST_ITEMS, items_of
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn, TokenSpace
from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.lending import lending_rows
from auditkit.data.raw import fit_raw
from tests.fakes import table_data


def levels_of(column):
    return [column.levels[code] for code in column.codes]


def data_of(inputs, space, **more):
    inputs = torch.as_tensor(inputs)
    n = len(inputs)
    return Dataset(
        name="rows",
        source="memory",
        split=None,
        inputs=inputs,
        y_true=np.arange(n, dtype=np.int64) % 2,
        classes=("no", "yes"),
        features=space,
        **more,
    )


def test_whole_numbers_become_ranges_without_gaps():
    column = number_levels(np.arange(1.0, 101.0), 4)
    assert column.levels == ("up to 25", "26 to 50", "51 to 75", "over 75")
    assert list(column.counts().values()) == [25, 25, 25, 25]


def test_other_numbers_lie_above_the_lower_edge_and_up_to_the_upper():
    column = number_levels(np.arange(1, 101) / 8, 4)
    assert column.levels == ("up to 3.12", "3.12 to 6.25", "6.25 to 9.38", "over 9.38")
    values = np.arange(1, 101) / 8
    for value, level in zip(values, levels_of(column), strict=True):
        numbers = [float(part) for part in level.split() if part[0].isdigit()]
        if level.startswith("up to"):
            assert value <= numbers[0]
        elif level.startswith("over"):
            assert value > numbers[0]
        else:
            assert numbers[0] < value <= numbers[1]


def test_few_values_are_levels_of_their_own():
    assert number_levels(np.array([0.0, 1, 1, 0.5]), 4).levels == ("0", "0.5", "1")


def test_a_value_that_most_rows_share_is_no_two_bins():
    column = number_levels(np.r_[np.zeros(90), np.arange(1.0, 11.0)], 4)
    assert column.levels == ("up to 0", "over 0")
    assert column.counts() == {"up to 0": 90, "over 0": 10}


def test_a_missing_number_is_unknown():
    column = number_levels(np.r_[np.arange(8.0), np.nan], 2)
    assert column.levels[-1] == "unknown"
    assert column.counts()["unknown"] == 1
    assert number_levels(np.full(3, np.nan), 4).counts() == {"unknown": 3}


def test_single_precision_does_not_show():
    raw = np.array([18.0, 37.0, 68.0])
    standard = ((raw - 38.4) / 9.7).astype(np.float32).astype(np.float64)
    assert snapped(standard * 9.7 + 38.4, 9.7).tolist() == raw.tolist()


def test_an_encoded_table_and_the_table_as_read_make_the_same_slices():
    """The steps before a model are undone: bins have the edges, and levels the names, of the raw rows."""
    rows = lending_rows("test", n_test=1500)
    steps = fit_preprocessing(rows)
    encoded, read = encode(rows, steps), encode(rows, fit_raw(rows))
    found = []
    for data, known in ((encoded, steps), (read, None)):
        features = slice_features(data, known, bins=4)
        items = items_of(features, len(data), min_rows=20)
        found.append(
            {name: np.flatnonzero(mask).tolist() for name, mask in zip(items.names, items.rows, strict=True)}
        )
    assert found[0] == found[1]
    assert ("sex", "female") in found[0]
    ages = np.asarray(rows.columns["age"], dtype=np.float64)
    (youngest,) = [name for name in found[0] if name[0] == "age" and name[1].startswith("up to")]
    assert found[0][youngest] == np.flatnonzero(ages <= float(youngest[1].split()[-1])).tolist()


def test_a_missing_number_of_an_encoded_table_is_unknown_and_no_median():
    from auditkit.data.steps import NumericFeature, TablePreprocessing

    feature = NumericFeature(name="age", mean=40.0, scale=10.0, fill=40.0, missing_indicator=True)
    steps = TablePreprocessing(target="label", classes=("no", "yes"), features=(feature,))
    data = data_of(
        np.array([[-1.0, 0], [0.0, 1], [1.5, 0]], dtype=np.float32), FeatureSpace(("age",), (0, 0))
    )
    assert levels_of(slice_features(data, steps, bins=4).columns["age"]) == ["30", "unknown", "55"]


def test_a_level_unseen_in_training_is_other():
    from auditkit.data.steps import CategoricalFeature, TablePreprocessing

    feature = CategoricalFeature(name="job", levels=("cook", "other"))
    steps = TablePreprocessing(target="label", classes=("no", "yes"), features=(feature,))
    data = data_of(np.array([[1, 0], [0, 1], [0, 0]], dtype=np.float32), FeatureSpace(("job",), (0, 0)))
    assert levels_of(slice_features(data, steps, bins=4).columns["job"]) == ["cook", "other", "other "]


def test_without_steps_columns_speak_for_themselves_and_riddles_are_named():
    inputs = np.array([[1, 0, 0.5, 3.0], [0, 1, 0.2, 4.0], [0, 0, 0.1, 5.0]], dtype=np.float32)
    space = FeatureSpace(("job", "riddle", "size"), (0, 0, 1, 2))
    wide = np.column_stack([inputs[:, :3], inputs[:, 2] * 3, inputs[:, 3]]).astype(np.float32)
    found = slice_features(data_of(wide, FeatureSpace(space.names, (0, 0, 1, 1, 2))), None, bins=4)
    assert levels_of(found.columns["job"]) == ["1", "2", "other"]
    assert levels_of(found.columns["size"]) == ["3", "4", "5"]
    assert found.unreadable == ("riddle",)
    assert set(slice_features(data_of(inputs, FeatureSpace(())), None, bins=4).columns) == {
        "input 1",
        "input 2",
        "input 3",
        "input 4",
    }


def test_of_pictures_and_texts_the_class_and_the_given_columns_are_used():
    group = {"place": GroupColumn(("a", "b"), np.array([0, 1, 0]))}
    picture = data_of(
        np.zeros((3, 4), dtype=np.float32), FeatureSpace((), image_shape=(2, 2)), sensitive_features=group
    )
    text = data_of(
        np.zeros((3, 4), dtype=np.int64),
        FeatureSpace((), tokens=TokenSpace(("", "x"))),
        control_features=group,
    )
    for data in (picture, text):
        assert list(slice_features(data, None, bins=4).columns) == ["place", "label"]


def test_a_sensitive_age_in_years_is_binned_and_a_code_is_not():
    ages, codes = np.arange(20, 60).astype(str).tolist(), (np.arange(40) % 7).astype(str).tolist()
    data = table_data(np.zeros(40, dtype=int), sensitive_features={"age": ages, "code": codes})
    columns = slice_features(data, None, bins=4).columns
    assert columns["age"].levels == ("up to 29", "30 to 39", "40 to 49", "over 49")
    assert len(columns["code"].levels) == 7


def test_an_input_that_is_sensitive_too_counts_once():
    rows = lending_rows("test", n_test=300)
    steps = fit_preprocessing(rows)
    data = encode(rows, steps)
    items = items_of(slice_features(data, steps, bins=4), len(data), min_rows=10)
    assert len(set(items.names)) == len(items.names)
    assert len({mask.tobytes() for mask in items.rows}) == len(items)


def test_levels_with_too_few_rows_or_too_small_a_rest_are_no_items():
    data = table_data(np.zeros(100, dtype=int), sensitive_features={"g": ["a"] * 3 + ["b"] * 97})
    features = slice_features(data, None, bins=2)
    names = items_of(features, 100, min_rows=4).names
    assert not any(feature == "g" for feature, _ in names)
    assert ("g", "a") in items_of(features, 100, min_rows=3).names


def test_of_very_many_levels_the_largest_are_kept_and_the_others_counted():
    n = 4000
    values = np.minimum((np.arange(n) ** 0.75).astype(int), 400)
    data = table_data(np.zeros(n, dtype=int), sensitive_features={"g": [f"v{value}" for value in values]})
    features = slice_features(data, None, bins=2)
    items = items_of(features, n, min_rows=1)
    assert len(items) == MOST_ITEMS
    assert items.left_out > 0
    assert items.rows.sum(axis=1).min() >= 1


@pytest.mark.parametrize("names", [("b", "a"), ("a", "b")])
def test_the_name_of_a_slice_does_not_depend_on_the_order_of_columns(names):
    columns = {name: ["x", "y"] * 10 if name == "a" else ["x"] * 10 + ["z"] * 10 for name in names}
    data = table_data(np.zeros(20, dtype=int), sensitive_features=columns)
    items = items_of(slice_features(data, None, bins=2), 20, min_rows=2)
    chosen = (items.names.index(("a", "y")), items.names.index(("b", "z")))
    assert items.label(chosen) == items.label(chosen[::-1]) == "a: y, b: z"
    assert list(items.group(chosen)) == ["a", "b"]

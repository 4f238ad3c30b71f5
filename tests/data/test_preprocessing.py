"""Fitting on training rows, and encoding with what was fitted."""

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.data.preprocessing import (
    CategoricalFeature,
    ImagePreprocessing,
    NumericFeature,
    TablePreprocessing,
    encode,
    fit_preprocessing,
    n_inputs,
)
from auditkit.data.rows import Rows, texts
from auditkit.errors import DataError
from tests.tolerances import FLOAT, FLOAT32


def table(labels=None, **columns) -> Rows:
    arrays = {
        name: np.array(values, dtype=np.float64)
        if all(value is None or isinstance(value, int | float) for value in values)
        else texts(values)
        for name, values in columns.items()
    }
    n = len(next(iter(arrays.values())))
    return Rows(
        name="rows",
        source="memory",
        split="train",
        target="label",
        labels=texts(labels if labels is not None else [str(i % 2) for i in range(n)]),
        columns=arrays,
    )


def test_numbers_are_centred_scaled_and_filled_with_the_median():
    fitted = fit_preprocessing(table(age=[20, 30, 70, float("nan")]))
    (age,) = fitted.features
    assert age.mean == pytest.approx(40.0, **FLOAT)
    assert age.scale == pytest.approx(np.std([20, 30, 70]), **FLOAT)
    assert age.fill == 30.0
    assert age.missing_indicator


def test_encoding_equals_a_plain_reference_on_mixed_columns():
    rng = np.random.default_rng(3)
    numbers = rng.normal(5, 2, 200)
    letters = rng.choice(["a", "b", "c"], 200, p=[0.6, 0.3, 0.1])
    rows = table(x=numbers.tolist(), kind=letters.tolist())
    data = encode(rows, fit_preprocessing(rows))
    order = pd.Series(letters).value_counts().index
    expected = np.column_stack(
        [(numbers - numbers.mean()) / numbers.std(), *((letters == level).astype(float) for level in order)]
    )
    assert data.inputs.dtype == torch.float32
    assert data.inputs.numpy() == pytest.approx(expected, **FLOAT32)
    assert data.features.names == ("x", "kind")
    assert data.features.owner == (0, 1, 1, 1)


def test_test_rows_do_not_change_what_training_rows_said():
    fitted = fit_preprocessing(table(x=[0, 2]))
    data = encode(table(x=[100, float("nan")]), fitted)
    assert data.inputs[:, 0].tolist() == [99.0, 0.0]


def test_what_stands_in_for_a_missing_value_is_called_by_its_name():
    fitted = fit_preprocessing(table(x=[0, 0, 3]))
    data = encode(table(x=[1, float("nan")]), fitted)
    assert str(data.statements[0]) == "x is missing in 1 of 2 rows; the median of training rows stands in."
    (feature,) = fitted.features
    by_mean = fitted.model_copy(update={"features": (feature.model_copy(update={"fill": feature.mean}),)})
    data = encode(table(x=[1, float("nan")]), by_mean)
    assert str(data.statements[0]) == "x is missing in 1 of 2 rows; the mean of training rows stands in."


def test_missing_texts_are_a_level_and_unseen_ones_set_no_column():
    fitted = fit_preprocessing(table(city=["x", "x", None, "y", "y", "x"]))
    assert fitted.features[0].levels == ("x", "y", "unknown")
    data = encode(table(city=[None, "z", "y"]), fitted)
    assert data.inputs.tolist() == [[0, 0, 1], [0, 0, 0], [0, 1, 0]]


def test_rare_levels_and_those_beyond_a_hundred_get_no_column():
    common = [f"level {i:03d}" for i in range(120) for _ in range(40)]
    fitted = fit_preprocessing(table(many=[*common, "once", "twice", "twice"], two=["a", "b"] * 2401 + ["a"]))
    levels = fitted.features[0].levels
    assert len(levels) == 100
    assert "once" not in levels


def test_a_level_in_one_of_two_thousand_rows_stays_and_a_rarer_one_falls_out():
    fitted = fit_preprocessing(table(kind=["a"] * 1998 + ["b"] * 1 + ["c"] * 1, x=list(range(2000))))
    assert fitted.features[0].levels == ("a", "b", "c")
    fitted = fit_preprocessing(table(kind=["a"] * 2000 + ["b"], x=list(range(2001))))
    assert fitted.features[0].levels == ("a",)


def test_constant_and_empty_columns_are_left_out():
    nothing = [float("nan")] * 4
    fitted = fit_preprocessing(table(x=[1, 2, 3, 4], same=[7] * 4, word=["w"] * 4, nothing=nothing))
    assert [feature.name for feature in fitted.features] == ["x"]


def test_a_column_that_becomes_empty_after_training_is_filled_and_stated():
    fitted = fit_preprocessing(table(x=[1, 3]))
    data = encode(table(x=[float("nan")] * 2), fitted)
    assert data.inputs.tolist() == [[0.0], [0.0]]
    assert "2 of 2 rows" in str(data.statements[0])


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (table(x=[1, 2, 3, 4], labels=["a", None, "b", None]), "missing in 2 of 4 rows"),
        (table(x=[1, 1]), "no input column varies"),
        (table(x=[1, float("inf")]), "infinite"),
        (table(x=[1e308, -1e308, 1e308]), "too large"),
        (table(x=list(range(1001)), labels=[str(i) for i in range(1001)]), "1001 different values"),
    ],
)
def test_rows_that_cannot_train_are_refused_with_the_reason(rows, said):
    with pytest.raises(DataError, match=said):
        fit_preprocessing(rows)


FITTED = fit_preprocessing(table(income=[1, 2, 3, 4], city=["x", "y", "x", "y"]))


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (table(incme=[1, 2], city=["x", "y"]), "no column 'income'. Did you mean 'incme'"),
        (table(income=[1, 2], city=["x", "y"], labels=["0", "7"]), "target unknown to the model: '7'"),
        (table(income=["1", "many"], city=["x", "y"]), "now also texts"),
        (table(income=[1, float("inf")], city=["x", "y"]), "infinite or too large"),
        (table(income=[1, 1e300], city=["x", "y"]), "infinite or too large"),
        (table(income=[1, 2], city=["x", "y"], labels=[None, "0"]), "missing in 1 of 2"),
    ],
)
def test_rows_that_do_not_fit_are_refused_with_the_reason(rows, said):
    with pytest.raises(DataError, match=said):
        encode(rows, FITTED)


def test_numbers_written_as_texts_are_read_and_numbers_as_levels_too():
    fitted = fit_preprocessing(table(x=[1, 3], code=["1", "2"]))
    data = encode(table(x=["1", "3"], code=[1, 2]), fitted)
    assert data.inputs.tolist() == [[-1, 1, 0], [1, 0, 1]]


def test_missing_sensitive_values_are_a_group_of_their_own():
    rows = table(x=[1, 2, 3])
    rows = Rows(
        **{name: getattr(rows, name) for name in ("name", "source", "split", "target", "labels", "columns")},
        sensitive={"race": texts(["b", None, "a"])},
    )
    group = encode(rows, fit_preprocessing(rows)).sensitive_features["race"]
    assert group.levels == ("a", "b", "unknown")
    assert group.codes.tolist() == [1, 2, 0]


def test_number_labels_are_ordered_as_numbers():
    assert fit_preprocessing(table(x=[1, 2, 3], labels=["10", "9", "2"])).classes == ("2", "9", "10")


@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.sampled_from(["a", "b", None])), min_size=3, max_size=30),
    st.randoms(use_true_random=False),
)
@settings(derandomize=True, deadline=None, max_examples=60)
def test_the_order_of_rows_changes_only_the_order_of_inputs(cells, random):
    rows = table(x=[x for x, _ in cells] + [0.0, 1.0], kind=[k for _, k in cells] + ["a", "b"])
    fitted = fit_preprocessing(rows)
    order = np.array(random.sample(range(len(rows)), len(rows)))
    assert torch.equal(encode(rows.take(order), fitted).inputs, encode(rows, fitted).inputs[order])


def test_a_stored_preprocessing_encodes_as_the_fitted_one():
    again = TablePreprocessing.model_validate_json(FITTED.model_dump_json())
    assert again == FITTED
    assert n_inputs(again) == 3


def test_the_steps_are_told_apart_when_read_back():
    steps = TablePreprocessing(
        target="y",
        classes=("a", "b"),
        features=(
            NumericFeature(name="n", mean=0, scale=1, fill=0, missing_indicator=True),
            CategoricalFeature(name="c", levels=("x", "y", "z")),
        ),
    )
    assert TablePreprocessing.model_validate_json(steps.model_dump_json()) == steps
    assert n_inputs(steps) == 5


def pictures(images, labels=None) -> Rows:
    images = np.asarray(images, dtype=np.uint8)
    return Rows(
        name="pictures",
        source="memory",
        split="train",
        target="digit",
        labels=texts(labels or [str(i % 2) for i in range(len(images))]),
        images=images,
        divisor=16.0,
    )


def test_pixels_are_divided_centred_and_scaled():
    rows = pictures(np.random.default_rng(0).integers(0, 17, (9000, 2, 3)))
    fitted = fit_preprocessing(rows)
    greys = rows.images / 16.0
    assert isinstance(fitted, ImagePreprocessing)
    assert fitted.mean == pytest.approx(greys.mean(), **FLOAT)
    assert fitted.scale == pytest.approx(greys.std(), **FLOAT)
    data = encode(rows, fitted)
    expected = ((greys - greys.mean()) / greys.std()).reshape(9000, 6)
    assert data.inputs.numpy() == pytest.approx(expected, **FLOAT32)
    assert data.features.image_shape == (2, 3)


def test_pictures_of_another_size_and_tables_are_refused():
    fitted = fit_preprocessing(pictures([[[0, 1]], [[2, 3]]]))
    with pytest.raises(DataError, match="pictures are 2x2, the model takes 1x2"):
        encode(pictures([[[0, 1], [2, 3]]]), fitted)
    with pytest.raises(DataError, match="is a table"):
        encode(table(x=[1, 2]), fitted)
    with pytest.raises(DataError, match="is pictures"):
        encode(pictures([[[0, 1]], [[2, 3]]]), FITTED)

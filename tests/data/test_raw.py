"""Rows as they were read: what goes in comes out."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from auditkit.config import DataConfig
from auditkit.data.loading import load_dataset, load_raw_data
from auditkit.data.preprocessing import encode, fit_raw
from auditkit.data.raw import frame_of, texts_of
from auditkit.data.rows import Rows, texts
from auditkit.errors import DataError


def rows_with(**columns) -> Rows:
    n = len(next(iter(columns.values())))
    return Rows(
        name="rows",
        source="memory",
        split="all",
        target="label",
        labels=texts([str(i % 2) for i in range(n)]),
        columns=columns,
    )


def test_a_table_comes_back_as_it_was_read(tmp_path):
    frame = pd.DataFrame(
        {
            "whole": [1, 20, 300, -4],
            "gaps": [1.0, np.nan, 3.0, 4.5],
            "fine": [0.1, 1e-300, 123456.789, -0.0],
            "text": ["b", None, "a", "b"],
            "label": ["y", "n", "y", "n"],
        }
    )
    frame.to_csv(tmp_path / "t.csv", index=False)
    data, preprocessing = load_raw_data(DataConfig(source="t.csv", target="label"), seed=0, folder=tmp_path)
    pd.testing.assert_frame_equal(frame_of(data.inputs, preprocessing), frame.drop(columns="label"))


def test_the_types_of_columns_do_not_depend_on_the_rows_that_are_asked_for(tmp_path):
    rows = rows_with(number=np.array([1.0, np.nan, 2.0, 3.0]), text=texts(["a", None, "b", None]))
    preprocessing = fit_raw(rows)
    inputs = encode(rows, preprocessing).inputs
    whole, one = frame_of(inputs, preprocessing), frame_of(inputs[3:], preprocessing)
    assert list(whole.dtypes) == list(one.dtypes)


@given(
    numbers=st.lists(
        st.one_of(st.floats(allow_nan=False, allow_infinity=False), st.none()), min_size=2, max_size=20
    )
)
@settings(max_examples=30, deadline=None, derandomize=True)
def test_numbers_keep_every_bit(numbers):
    column = np.array([np.nan if x is None else x for x in numbers])
    rows = rows_with(x=column)
    preprocessing = fit_raw(rows)
    back = frame_of(encode(rows, preprocessing).inputs, preprocessing)["x"].to_numpy(dtype=np.float64)
    assert np.array_equal(back, column, equal_nan=True)


@given(words=st.lists(st.text(max_size=12), min_size=2, max_size=8))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_texts_come_back_from_their_bytes(words):
    words = [word.encode(errors="ignore").decode() for word in words]
    rows = Rows(
        name="rows",
        source="memory",
        split="all",
        target="label",
        labels=texts([str(i % 2) for i in range(len(words))]),
        texts=texts(words),
    )
    data = encode(rows, fit_raw(rows))
    assert texts_of(data.inputs) == words
    assert not data.statements


def test_pictures_are_grey_values_between_0_and_1():
    data, _ = load_raw_data(DataConfig(source="digits"), seed=0, folder=Path())
    assert data.inputs.shape[1:] == (8, 8)
    assert (float(data.inputs.min()), float(data.inputs.max())) == (0.0, 1.0)
    assert data.inputs.dtype == torch.float32


def test_the_audited_rows_are_those_of_the_split(tmp_path):
    frame = pd.DataFrame({"x": np.arange(40.0) / 7, "label": np.arange(40) % 2})
    frame.to_csv(tmp_path / "t.csv", index=False)
    config = DataConfig(source="t.csv", target="label")
    _, preprocessing = load_raw_data(config, seed=0, folder=tmp_path)
    data = load_dataset(config, preprocessing=preprocessing, seed=0, folder=tmp_path)
    assert len(data) == 12
    assert set(frame_of(data.inputs, preprocessing)["x"]) < set(frame["x"])


def test_missing_values_are_allowed_and_infinite_ones_are_not():
    rows = rows_with(x=np.array([1.0, np.nan]))
    assert encode(rows, fit_raw(rows)).inputs.isnan().tolist() == [[False], [True]]
    with pytest.raises(DataError, match="'x' holds 1 infinite values"):
        fit_raw(rows_with(x=np.array([1.0, np.inf])))


def test_the_digest_knows_the_texts_behind_the_codes():
    first, second = (rows_with(city=texts(names)) for names in (["a", "b"], ["a", "c"]))
    digests = {encode(rows, fit_raw(rows)).digest() for rows in (first, second)}
    assert len(digests) == 2


def test_a_level_that_was_not_there_is_refused_by_name():
    preprocessing = fit_raw(rows_with(city=texts(["a", "b"])))
    with pytest.raises(DataError, match="'city' has the text 'c'"):
        encode(rows_with(city=texts(["a", "c"])), preprocessing)


def test_a_running_text_without_labels_is_refused():
    rows = Rows(
        name="book",
        source="memory",
        split="all",
        target="next token",
        labels=texts(["a", "b"]),
        texts=texts(["a", "b"]),
        task="language-modelling",
    )
    with pytest.raises(DataError, match="Name data with a target"):
        fit_raw(rows)

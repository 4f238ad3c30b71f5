"""Levels without a name: their columns stay, and are 0 in every row."""

import numpy as np
import pytest
import torch

from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.public_steps import public_steps
from auditkit.data.recoding import Recoding
from auditkit.data.rows import Rows, texts
from auditkit.data.told_levels import is_told, with_only

CITIES = ["bern"] * 40 + ["oslo"] * 10 + ["rome"] * 9


def table() -> Rows:
    n = len(CITIES)
    return Rows(
        name="people",
        source="test",
        split=None,
        target="label",
        labels=texts(["no", "yes"] * (n // 2) + ["no"] * (n % 2)),
        columns={"age": np.arange(float(n)), "city": texts(CITIES)},
    )


def without(steps, *left_out):
    age, city = steps.features
    kept = [level for level in city.levels if level not in left_out]
    return steps.model_copy(update={"features": (age, with_only(city, kept))})


def test_levels_without_a_name_come_last_and_keep_the_width():
    city = without(public_steps(fit_preprocessing(table())), "bern").features[1]
    assert city.levels[:2] == ("oslo", "rome")
    assert [is_told(level) for level in city.levels] == [True, True, False]


@pytest.mark.parametrize("taken_from", ["the raw rows", "inputs that the audited model reads"])
def test_the_column_of_a_level_without_a_name_is_zero_in_all_rows(taken_from):
    rows = table()
    learned = fit_preprocessing(rows)
    frequent = without(public_steps(learned), "rome")
    inputs = (
        encode(rows, frequent).inputs
        if taken_from == "the raw rows"
        else Recoding.between(learned, frequent)(encode(rows, learned).inputs)
    )
    assert inputs[:, 1:].sum(dim=0).tolist() == [40, 10, 0]


def test_what_is_read_again_equals_the_rows_read_at_once():
    rows = table()
    steps = public_steps(fit_preprocessing(rows))
    frequent = without(steps, "oslo")
    again = Recoding.between(steps, frequent)(encode(rows, steps).inputs)
    assert torch.equal(again, encode(rows, frequent).inputs)


def test_where_all_levels_have_a_name_nothing_changes():
    steps = public_steps(fit_preprocessing(table()))
    assert without(steps) == steps

"""Levels of few rows are not told in what a private training publishes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.public_steps import public_steps
from auditkit.data.rare_levels import FEWEST_ROWS, is_told, without_rare_levels
from auditkit.data.recoding import Recoding
from auditkit.data.rows import Rows, texts

CITIES = ["bern"] * 40 + ["oslo"] * FEWEST_ROWS + ["rome"] * (FEWEST_ROWS - 1)


def table(person=None) -> Rows:
    n = len(CITIES)
    return Rows(
        name="people",
        source="test",
        split=None,
        target="label",
        labels=texts(["no", "yes"] * (n // 2) + ["no"] * (n % 2)),
        columns={"age": np.arange(float(n)), "city": texts(CITIES)},
        person=person,
    )


def told(rows: Rows) -> tuple[str, ...]:
    steps = public_steps(fit_preprocessing(rows))
    city = without_rare_levels(steps, encode(rows, steps)).features[1]
    assert len(city.levels) == 3
    return tuple(level for level in city.levels if is_told(level))


def test_a_level_of_nine_rows_has_no_name_and_one_of_ten_has():
    assert told(table()) == ("bern", "oslo")


def test_rows_of_one_person_count_once():
    persons = [str(number) for number in range(40)] + ["one"] * FEWEST_ROWS + ["other"] * (FEWEST_ROWS - 1)
    assert told(table(texts(persons))) == ("bern",)


@pytest.mark.parametrize("taken_from", ["the raw rows", "inputs that the audited model reads"])
def test_the_column_of_a_level_without_a_name_is_zero_in_all_rows(taken_from):
    rows = table()
    learned = fit_preprocessing(rows)
    steps = public_steps(learned)
    frequent = without_rare_levels(steps, encode(rows, steps))
    inputs = (
        encode(rows, frequent).inputs
        if taken_from == "the raw rows"
        else Recoding.between(learned, frequent)(encode(rows, learned).inputs)
    )
    assert inputs[:, 1:].sum(dim=0).tolist() == [40, FEWEST_ROWS, 0]


def test_what_is_read_again_equals_the_rows_read_at_once():
    rows = table()
    steps = public_steps(fit_preprocessing(rows))
    frequent = without_rare_levels(steps, encode(rows, steps))
    again = Recoding.between(steps, frequent)(encode(rows, steps).inputs)
    assert torch.equal(again, encode(rows, frequent).inputs)


def test_levels_of_many_rows_all_keep_their_names():
    rows = replace(table(), columns={"city": texts(["bern", "oslo"] * 20 + ["bern"] * 19)})
    steps = public_steps(fit_preprocessing(rows))
    assert without_rare_levels(steps, encode(rows, steps)) == steps

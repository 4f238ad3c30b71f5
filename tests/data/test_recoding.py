"""Inputs by one preprocessing become inputs by another without the rows that they came from."""

import numpy as np
import pytest
import torch

from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.preprocessing import ImagePreprocessing, NumericFeature, TablePreprocessing
from auditkit.data.public_steps import public_steps
from auditkit.data.recoding import Recoding
from auditkit.data.rows import Rows, texts
from auditkit.errors import DataError
from tests.tolerances import FLOAT32

N = 200


def table() -> Rows:
    rng = np.random.default_rng(0)
    income = np.exp(rng.normal(10, 1, N))
    income[::7] = np.nan
    return Rows(
        name="people",
        source="test",
        split=None,
        target="label",
        labels=texts(["no", "yes"] * (N // 2)),
        columns={
            "year": rng.integers(2001, 2021, N).astype(np.float64),
            "city": texts(rng.choice(["rome", "bern", "oslo"], N, p=[0.2, 0.3, 0.5]).tolist()),
            "income": income,
        },
    )


def measured(steps: TablePreprocessing) -> TablePreprocessing:
    """As a private training would have it: other figures, gaps filled by the mean."""
    figures = {"year": (2010.0625, 4.7), "income": (31_003.7, 9_000.1)}
    return steps.model_copy(
        update={
            "features": tuple(
                NumericFeature(
                    name=one.name,
                    mean=figures[one.name][0],
                    scale=figures[one.name][1],
                    fill=figures[one.name][0],
                    missing_indicator=one.missing_indicator,
                )
                if isinstance(one, NumericFeature)
                else one
                for one in steps.features
            )
        }
    )


def test_rows_in_their_own_unit_become_what_encoding_them_gives_to_the_last_bit():
    rows = table()
    unscaled = public_steps(fit_preprocessing(rows))
    own = measured(unscaled)
    found = Recoding.between(unscaled, own)(encode(rows, unscaled, keep_digits=True).inputs)
    assert torch.equal(found, encode(rows, own).inputs)


def test_inputs_of_the_audited_model_become_those_of_the_private_one():
    rows = table()
    fitted = fit_preprocessing(rows)
    own = measured(public_steps(fitted))
    assert fitted != own
    found = Recoding.between(fitted, own)(encode(rows, fitted).inputs)
    torch.testing.assert_close(found, encode(rows, own).inputs, rtol=FLOAT32["rel"], atol=1e-5)


def test_pictures_are_scaled_anew():
    fitted = ImagePreprocessing(
        target="t", classes=("a", "b"), height=2, width=2, divisor=255.0, mean=0.13, scale=0.31
    )
    grey = torch.tensor([[0.0, 0.25, 0.5, 1.0]])
    found = Recoding.between(fitted, public_steps(fitted))((grey - 0.13) / 0.31)
    assert found[0].tolist() == pytest.approx([0.0, 0.5, 1.0, 2.0], abs=1e-6)


def test_gradients_pass_through():
    unscaled = public_steps(fit_preprocessing(table()))
    inputs = torch.ones((1, 6), dtype=torch.float64, requires_grad=True)
    Recoding.between(unscaled, measured(unscaled))(inputs).sum().backward()
    # the value of income is missing here, so that it makes no difference
    assert inputs.grad[0].tolist() == pytest.approx([1 / 4.7, 1.0, 1.0, 1.0, 0.0, 1.0])


def test_steps_of_other_columns_are_refused():
    steps = public_steps(fit_preprocessing(table()))
    fewer = steps.model_copy(update={"features": steps.features[:1]})
    swapped = steps.model_copy(update={"features": steps.features[::-1]})
    for other in (fewer, swapped):
        with pytest.raises(DataError, match="cannot be read as"):
            Recoding.between(steps, other)

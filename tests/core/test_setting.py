"""What a user set, as a report prints it."""

import pytest

from auditkit.records.setting import setting

DIGEST = "a373a2e1ab0d71e5b295262a06fd0249ba5e810d883bfb47a13185559ab7a47a"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (3, "3"),
        (None, "none"),
        ((), "none"),
        (["sex", "race"], "sex, race"),
        ({"name": "cnn", "hidden": [128, 64], "dropout": None}, "name cnn, hidden 128, 64"),
        (
            [{"path": "seed1", "weights_sha256": DIGEST}, {"path": "seed2"}],
            "path seed1, weights_sha256 a373a2e1…a47a; path seed2",
        ),
    ],
)
def test_a_setting_reads_without_brackets(value, text):
    assert setting(value) == text

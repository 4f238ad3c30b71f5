"""One fingerprint for one set of rows, whatever is done with them."""

from dataclasses import replace

import numpy as np

from auditkit.data.rows import Rows
from auditkit.privacy.fingerprint import fingerprint_of_rows


def table(**changes) -> Rows:
    labels = np.array(["1", "0", "1", "0"], dtype=object)
    columns = {
        "age": np.array([30.0, np.nan, 50.0, 60.0]),
        "job": np.array(["farm", None, "shop", "farm"], dtype=object),
    }
    return replace(
        Rows(name="people", source="p.csv", split="train", target="granted", labels=labels, columns=columns),
        **changes,
    )


def test_the_order_of_rows_does_not_matter_and_their_number_does():
    whole = fingerprint_of_rows(table())
    assert fingerprint_of_rows(table().take(np.array([2, 0, 3, 1]))) == whole
    assert fingerprint_of_rows(table().take(np.array([0, 1, 2]))) != whole
    assert fingerprint_of_rows(table().take(np.array([0, 1, 2, 3, 3]))) != whole


def test_another_target_or_a_sensitive_role_is_the_same_people():
    original = table()
    columns = dict(original.columns)
    age = columns.pop("age")
    swapped = replace(
        original,
        target="age",
        labels=np.array([None if np.isnan(a) else str(a) for a in age], dtype=object),
        columns={"granted": np.array([1.0, 0.0, 1.0, 0.0]), "job": columns["job"]},
        sensitive={"job": columns["job"]},
    )
    assert fingerprint_of_rows(swapped) == fingerprint_of_rows(original)
    assert fingerprint_of_rows(replace(original, name="others", source="q.csv", split="all")) == (
        fingerprint_of_rows(original)
    )


def test_an_edited_value_is_another_set_of_rows():
    edited = table(columns={**table().columns, "age": np.array([30.0, np.nan, 50.0, 61.0])})
    assert fingerprint_of_rows(edited) != fingerprint_of_rows(table())


def test_pictures_and_texts_have_one_too():
    labels = np.array(["a", "b"], dtype=object)
    pictures = Rows(
        name="p",
        source="p",
        split=None,
        target="t",
        labels=labels,
        images=np.arange(18, dtype=np.uint8).reshape(2, 3, 3),
    )
    texts = Rows(
        name="t",
        source="t",
        split=None,
        target="t",
        labels=labels,
        texts=np.array(["one", "two"], dtype=object),
    )
    found = {
        fingerprint_of_rows(one)
        for one in (pictures, pictures.take(np.array([1, 0])), texts, texts.take(np.array([1, 0])))
    }
    assert len(found) == 2

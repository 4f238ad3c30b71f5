"""A small classifier of texts: every byte adds its part, whatever the order."""

import numpy as np
import torch

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn, TokenSpace
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.data.tokenizers import ByteTokenizer, padded
from auditkit.errors import DataError
from auditkit.models.given_weights import BagOfWords
from auditkit.randomness import numpy_rng, torch_rng
from auditkit.subjects.torch_subject import TorchSubject

CLASSES = ("no", "yes")
LENGTH = 48
_TOKENIZER = ByteTokenizer()
_WHO = ("a man", "a woman", "the young boy", "a muslim", "two men", "a christian", "the elderly", "nobody")
_DOES = ("walks home", "reads a book", "is late", "sings well", "sleeps")


def tiny_text_dataset(n: int = 60, *, seed: int = 0, member_share: float | None = 0.5) -> Dataset:
    """Short sentences about people, labelled at random.

    Args:
        n: Rows, at least 1.
        seed: Another seed draws other rows.
        member_share: Share of rows marked as training rows (the first ones); ``None`` leaves it unknown.

    Raises:
        DataError: ``n`` is too small.
    """
    if n < 1:
        raise DataError(f"tiny_text_dataset: got n={n}, expected n >= 1")
    rng = numpy_rng(seed, "tiny_text_dataset")
    texts = [f"{who} {does}" for who, does in zip(rng.choice(_WHO, n), rng.choice(_DOES, n), strict=True)]
    ids = padded([_TOKENIZER.ids(text) for text in texts], LENGTH, _TOKENIZER.padding)
    groups = ("a", "b")
    return Dataset(
        name="tiny texts",
        source="auditkit.testing",
        split=None,
        inputs=torch.tensor(ids, dtype=torch.int64),
        y_true=rng.integers(0, len(CLASSES), n),
        classes=CLASSES,
        positive="yes",
        features=FeatureSpace((), tokens=TokenSpace(_TOKENIZER.vocabulary, _TOKENIZER.padding)),
        sensitive_features={"group": GroupColumn(groups, rng.integers(0, len(groups), n))},
        is_member=None if member_share is None else np.arange(n) < round(member_share * n),
        synthetic=True,
    )


def tiny_text_subject(*, seed: int = 0, name: str = "baseline") -> TorchSubject:
    """A classifier that adds up one pair of numbers per byte, drawn from the seed."""
    rows = torch.randn(len(_TOKENIZER.vocabulary), len(CLASSES), generator=torch_rng(seed, "tiny_text"))
    rows[_TOKENIZER.padding] = 0.0
    return TorchSubject.build(
        BagOfWords(rows),
        name=name,
        title="planted",
        kind="baseline" if name == "baseline" else "other",
        source="auditkit.testing",
        architecture=Architecture(name="planted"),
        classes=CLASSES,
        preprocessing=TextPreprocessing(target="label", classes=CLASSES, tokenizer=_TOKENIZER, length=LENGTH),
    )

"""A small model of language whose right answers are known: every token depends on the one before it."""

import numpy as np
import torch

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, FloatArray, GroupColumn, TokenSpace
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.tokenizers import CharacterTokenizer
from auditkit.errors import DataError
from auditkit.models.given_weights import lookup_layer
from auditkit.randomness import numpy_rng, torch_rng
from auditkit.subjects.torch_subject import TorchSubject

TOKENIZER = CharacterTokenizer(characters=tuple("\n abcd"))
LENGTH = 12
_SPECIAL = 2


def true_transitions() -> FloatArray:
    """Probability of each token after each token, shape ``(8, 8)``; padding and the unknown never come."""
    size = len(TOKENIZER.vocabulary)
    weights = numpy_rng(0, "true_transitions").exponential(size=(size, size)) ** 2
    weights[:, :_SPECIAL] = 0.0
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def tiny_language_dataset(n: int = 60, *, seed: int = 0, member_share: float | None = 0.5) -> Dataset:
    """Rows of 2 to 12 tokens drawn from :func:`true_transitions`, padded on the right.

    Args:
        n: Rows, at least 1.
        seed: Another seed draws other rows from the same rule.
        member_share: Share of rows marked as training rows (the first ones); ``None`` leaves it unknown.

    Raises:
        DataError: ``n`` is too small.
    """
    if n < 1:
        raise DataError(f"tiny_language_dataset: got n={n}, expected n >= 1")
    rng = numpy_rng(seed, "tiny_language_dataset")
    chances = true_transitions()
    drawn = [rng.integers(_SPECIAL, len(chances), n)]
    for _ in range(LENGTH):
        drawn.append(np.array([rng.choice(len(chances), p=chances[token]) for token in drawn[-1]]))
    tokens, lengths = np.stack(drawn, axis=1), rng.integers(2, LENGTH + 1, n)
    inputs = np.where(np.arange(LENGTH) < lengths[:, None], tokens[:, :LENGTH], TOKENIZER.padding)
    groups = ("a", "b")
    return Dataset(
        name="tiny language",
        source="auditkit.testing",
        split=None,
        inputs=torch.from_numpy(inputs),
        y_true=tokens[np.arange(n), lengths],
        classes=TOKENIZER.vocabulary,
        target="next token",
        positive="a",
        features=FeatureSpace((), tokens=TokenSpace(TOKENIZER.vocabulary, TOKENIZER.padding)),
        sensitive_features={"group": GroupColumn(groups, rng.integers(0, len(groups), n))},
        is_member=None if member_share is None else np.arange(n) < round(member_share * n),
        task="language-modelling",
        synthetic=True,
    )


def tiny_language_subject(*, seed: int = 0, name: str = "baseline") -> TorchSubject:
    """A model that knows the rule of :func:`tiny_language_dataset`, up to a small error from the seed."""
    exact = torch.from_numpy(np.log(true_transitions() + 1e-3)).float()
    error = 0.05 * torch.randn(exact.shape, generator=torch_rng(seed, "tiny_language_subject"))
    return TorchSubject.build(
        lookup_layer(exact + error),
        name=name,
        title="planted",
        kind="baseline" if name == "baseline" else "other",
        source="auditkit.testing",
        architecture=Architecture(name="planted"),
        classes=TOKENIZER.vocabulary,
        preprocessing=LanguagePreprocessing(tokenizer=TOKENIZER, length=LENGTH),
    )

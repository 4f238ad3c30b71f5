"""A language whose tokens go round in a circle, and models that know the circle or do not."""

from functools import partial
from typing import Final

import numpy as np
import torch

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.data.preprocessing import LanguagePreprocessing
from auditkit.data.tokenizers import CharacterTokenizer
from auditkit.models.given_weights import lookup_layer
from auditkit.randomness import numpy_rng
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.subjects.torch_subject import TorchSubject

TOKENIZER: Final = CharacterTokenizer(characters=tuple("abcdef"))
LENGTH: Final = 8
_FIRST: Final = 2
"""The first id that is a character."""


def forgotten_order() -> Plant:
    """Foretelling every token as equally probable has the size of the vocabulary as its perplexity."""
    return Plant(
        audit="language-modelling",
        fault=Message(text="the subject has forgotten in which order tokens come"),
        figure="language-modelling/perplexity",
        above=2.0,
        faulty=partial(_scene, 0.0),
        sound=partial(_scene, 6.0),
        expected=float(len(TOKENIZER.vocabulary)),
    )


def _scene(strength: float) -> Scene:
    """Rows of the circle, and a model whose logit of the token that comes next is ``strength``."""
    size = len(TOKENIZER.vocabulary)
    following = _FIRST + (torch.arange(size) - _FIRST + 1) % (size - _FIRST)
    module = lookup_layer(strength * torch.nn.functional.one_hot(following, size).float())
    subject = TorchSubject.build(
        module,
        title="planted",
        source="auditkit.selftest",
        architecture=Architecture(name="planted"),
        classes=TOKENIZER.vocabulary,
        preprocessing=LanguagePreprocessing(tokenizer=TOKENIZER, length=LENGTH),
    )
    return Scene(subject, _rows(size - _FIRST))


def _rows(n_characters: int) -> Dataset:
    starts = numpy_rng(0, "selftest", "circle").integers(0, n_characters, 60)
    tokens = _FIRST + (starts[:, None] + np.arange(LENGTH + 1)) % n_characters
    return Dataset(
        name="planted",
        source="auditkit.selftest",
        split=None,
        inputs=torch.from_numpy(tokens[:, :LENGTH]),
        y_true=tokens[:, LENGTH],
        classes=TOKENIZER.vocabulary,
        target="next token",
        features=FeatureSpace((), tokens=TokenSpace(TOKENIZER.vocabulary, TOKENIZER.padding)),
        is_member=np.zeros(len(tokens), dtype=bool),
        task="language-modelling",
        synthetic=True,
    )

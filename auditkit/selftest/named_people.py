"""A classifier of texts that holds it against a sentence when it names one kind of people."""

from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
import torch

from auditkit.config import Architecture
from auditkit.data.dataset import Dataset, FeatureSpace, TokenSpace
from auditkit.data.identity_templates import read_templates
from auditkit.data.preprocessing import TextPreprocessing
from auditkit.data.tokenizers import WordTokenizer, padded
from auditkit.models.given_weights import BagOfWords
from auditkit.records import Message
from auditkit.selftest.plant import Plant, Scene
from auditkit.selftest.subjects import CLASSES
from auditkit.subjects.torch_subject import TorchSubject

TEMPLATES: Final = Path(__file__).with_name("templates.csv")
"""Forty sentences that end in a good or a bad word, each with six terms."""

TERM: Final = "muslim"
_LENGTH: Final = 6


def judged_by_a_term() -> Plant:
    """One term alone puts every sentence into the unfavourable class."""
    return Plant(
        audit="identity-terms",
        fault=Message(text="sentences that name one group get the unfavourable class"),
        figure=f"identity-terms/false_positive_rate.gap[language=en,term={TERM}]",
        above=0.3,
        faulty=partial(_scene, -8.0),
        sound=partial(_scene, 0.0),
        parameters={"templates": str(TEMPLATES), "own_texts": False},
        expected=1.0,
    )


def _scene(of_term: float) -> Scene:
    """A bag of words that knows good and bad words, and adds ``of_term`` to the log-odds for the term."""
    (grid,) = read_templates(TEMPLATES)
    tokenizer = WordTokenizer.fit([text for frame in grid.texts for text in frame], min_count=1)
    odds = torch.zeros(len(tokenizer.vocabulary))
    for frame, toxic in zip(grid.texts, grid.toxic, strict=True):
        odds[tokenizer.ids(frame[0])[-1]] = -3.0 if toxic else 3.0
    odds[tokenizer.ids(TERM)] = of_term
    subject = TorchSubject.build(
        BagOfWords(torch.stack([-odds / 2, odds / 2], dim=1)),
        title="planted",
        source="auditkit.selftest",
        architecture=Architecture(name="planted"),
        classes=CLASSES,
        preprocessing=TextPreprocessing(target="label", classes=CLASSES, tokenizer=tokenizer, length=_LENGTH),
    )
    rows = padded([tokenizer.ids(frame[0]) for frame in grid.texts], _LENGTH, tokenizer.padding)
    data = Dataset(
        name="planted",
        source="auditkit.selftest",
        split=None,
        inputs=torch.tensor(rows, dtype=torch.int64),
        y_true=(~grid.toxic).astype(np.int64),
        classes=CLASSES,
        positive=CLASSES[1],
        features=FeatureSpace((), tokens=TokenSpace(tokenizer.vocabulary, tokenizer.padding)),
        is_member=np.zeros(len(rows), dtype=bool),
        synthetic=True,
    )
    return Scene(subject, data)

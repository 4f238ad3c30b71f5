"""The rows behind a concept: as many that show it as that do not."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch

from auditkit.audits.explainability.concepts.columns import Holders, holders
from auditkit.audits.explainability.concepts.definition import PATTERNS, ConceptDefinition
from auditkit.audits.explainability.concepts.example_file import rows_of_examples
from auditkit.audits.explainability.concepts.patterns import painted
from auditkit.data.dataset import BoolArray, Dataset, IntArray
from auditkit.records import Message
from auditkit.subjects.subject import Subject, preprocessing_of

FEWEST = 10
"""Rows (persons) on either side: two in each of five folds."""


@dataclass(frozen=True, slots=True)
class Examples:
    """Inputs of which some show the concept.

    Attributes:
        inputs: Shape ``(n, *d)``.
        shows: Shape ``(n,)``; as many rows do as do not.
        units: Which rows belong together with which rows of the data: a person or a row; those of a file or
            folder have negative numbers, equal pictures the same.
    """

    inputs: torch.Tensor
    shows: BoolArray
    units: IntArray


def definitions_for(given: Mapping[str, ConceptDefinition], data: Dataset) -> Mapping[str, ConceptDefinition]:
    """The concepts that were named; without any, the painted ones for pictures."""
    if given or data.features.image_shape is None or not data.inputs.is_floating_point():
        return given
    return {pattern: ConceptDefinition(pattern=pattern) for pattern in PATTERNS}


def units_of(data: Dataset) -> IntArray:
    """Person of each row, or the row itself."""
    return np.arange(len(data)) if data.person is None else data.person


def examples_of(
    definition: ConceptDefinition,
    subject: Subject,
    data: Dataset,
    *,
    most: int,
    rng: np.random.Generator,
) -> Examples | Message:
    """At most ``most`` rows of either kind, drawn with the seed, or why there are none.

    Raises:
        DataError: A file or folder of examples cannot be read.
    """
    if definition.pattern is not None:
        return _painted(definition, subject, data, most, rng)
    if definition.place is not None:
        given = rows_of_examples(definition.place, definition.examples_sha256, subject)
        return _beside_data(given, data, most, rng)
    found = (
        _of_tokens(data, definition)
        if definition.tokens
        else holders(data, preprocessing_of(subject), definition)
    )
    return found if isinstance(found, Message) else _drawn(found, data, most, rng)


def _painted(
    definition: ConceptDefinition, subject: Subject, data: Dataset, most: int, rng: np.random.Generator
) -> Examples | Message:
    shape = data.features.image_shape
    if shape is None or definition.pattern is None or not data.inputs.is_floating_point():
        return Message(text="the rows are no pictures that could be painted over")
    rows = rng.permutation(len(data))[: 2 * min(most, len(data) // 2)]
    if len(rows) < 2 * FEWEST:
        return _too_few(len(rows) // 2, len(rows) // 2)
    shows = np.arange(len(rows)) % 2 == 0
    chosen = data.inputs[torch.from_numpy(rows)].detach().cpu()
    paint = painted(
        chosen.double().numpy(),
        shows,
        definition.pattern,
        preprocessing=preprocessing_of(subject),
        image_shape=shape,
        rng=rng,
    )
    return Examples(torch.from_numpy(paint).to(chosen.dtype), shows, units_of(data)[rows])


def _beside_data(
    given: torch.Tensor, data: Dataset, most: int, rng: np.random.Generator
) -> Examples | Message:
    """Examples of a file or folder against rows of the data, whatever those show."""
    n = min(most, len(given), len(data))
    if given[0].numel() != data.inputs[0].numel():
        return Message(
            text="its examples have {n} numbers each, the rows have {expected}",
            values={"n": given[0].numel(), "expected": data.inputs[0].numel()},
        )
    chosen = rng.permutation(len(given))[:n]
    own = _told_apart(given[torch.from_numpy(chosen)], data)
    if min(n, len(np.unique(own))) < FEWEST:
        return _too_few(len(np.unique(_told_apart(given, data))), len(data))
    rows = np.sort(rng.permutation(len(data))[:n])
    beside = data.inputs[torch.from_numpy(rows)].cpu()
    inputs = torch.cat([given[torch.from_numpy(chosen)].reshape(beside.shape), beside])
    return Examples(inputs, np.arange(2 * n) < n, np.concatenate([-1 - own, units_of(data)[rows]]))


def _told_apart(given: torch.Tensor, data: Dataset) -> IntArray:
    """Which examples are one and the same: copies of a picture; rows of a table may be equal by chance."""
    if data.features.image_shape is None:
        return np.arange(len(given))
    _, codes = torch.unique(given.reshape(len(given), -1), dim=0, return_inverse=True)
    return np.asarray(codes.numpy(), dtype=np.int64)


def _of_tokens(data: Dataset, definition: ConceptDefinition) -> Holders | Message:
    space = data.features.tokens
    if space is None:
        return Message(text="the rows are not of tokens")
    known = {text: code for code, text in enumerate(space.vocabulary)}
    ids = [known[token] for token in definition.tokens if token in known]
    if not ids:
        return Message(
            text="the vocabulary has none of: {tokens}", values={"tokens": "; ".join(definition.tokens)}
        )
    shows = torch.isin(data.inputs, torch.tensor(ids)).any(dim=1).numpy()
    return Holders(shows, ~shows)


def _drawn(found: Holders, data: Dataset, most: int, rng: np.random.Generator) -> Examples | Message:
    sides = [np.flatnonzero(found.shows), np.flatnonzero(found.lacks)]
    persons = [len(np.unique(units_of(data)[side])) for side in sides]
    if min(persons) < FEWEST:
        return _too_few(*persons)
    n = min(most, *(len(side) for side in sides))
    rows = np.sort(np.concatenate([rng.permutation(side)[:n] for side in sides]))
    return Examples(data.inputs[torch.from_numpy(rows)], found.shows[rows], units_of(data)[rows])


def _too_few(showing: int, lacking: int) -> Message:
    return Message(
        text="{showing} rows (persons) show it and {lacking} do not; {least} of each are needed",
        values={"showing": showing, "lacking": lacking, "least": FEWEST},
    )

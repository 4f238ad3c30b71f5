"""What a classifier says of every template with every term."""

from dataclasses import dataclass

import numpy as np

from auditkit.audits.fairness.texts.classified import Classifier
from auditkit.audits.fairness.texts.unknown_tokens import UnknownTokens, unknown_id
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.data.identity_templates import TemplateGrid
from auditkit.data.tokenizers import Tokenizer
from auditkit.records import Message

FEWEST_TERMS = 2


@dataclass(frozen=True, slots=True)
class Terms:
    """One term, or all terms of an axis, against all others.

    Attributes:
        group: In the address of its figures.
        inside: Columns of these terms.
        outside: Columns of the others; never empty.
    """

    group: dict[str, str]
    inside: IntArray
    outside: IntArray

    @property
    def label(self) -> str:
        """The term or the axis."""
        return self.group.get("term") or self.group["axis"]

    @property
    def is_term(self) -> bool:
        """Whether it is a single term."""
        return "term" in self.group


@dataclass(frozen=True, slots=True)
class TermGrid:
    """What a classifier says; arrays have one row per template and one column per term.

    Attributes:
        grid: The templates and terms.
        classes: The predicted class.
        scores: Probability of the unfavourable class; ``None`` where that class is not known.
        unfavourable: Whether the unfavourable class is predicted; ``None`` likewise.
    """

    grid: TemplateGrid
    classes: IntArray
    scores: FloatArray | None
    unfavourable: BoolArray | None

    @property
    def terms(self) -> list[Terms]:
        """Every term, and every axis that has some of the terms and not all."""
        axes = np.array(self.grid.axes, dtype=object)
        columns = np.arange(len(axes))
        singles = [({"term": term}, columns == index) for index, term in enumerate(self.grid.terms)]
        named = sorted({axis for axis in self.grid.axes if axis})
        several = [({"axis": axis}, axes == axis) for axis in named]
        return [
            Terms({"language": self.grid.language, **group}, columns[inside], columns[~inside])
            for group, inside in (*singles, *several)
            if not inside.all()
        ]


@dataclass(frozen=True, slots=True)
class ReadGrid:
    """A grid as a model reads it.

    Attributes:
        grid: Terms whose words the model knows, templates short enough; chosen at random where many.
        ids: Token ids of the sentences, row by row.
        unknown: Tokens of those sentences that the vocabulary lacks.
        unknown_terms: Terms that hold unknown words.
        n_too_long: Templates that are too long with some term.
        n_drawn_from: Templates before some were chosen.
        n_same: Templates that are the same tokens to the model as another one of their label.
        refusal: Why no figure can be given, or ``None``.
    """

    grid: TemplateGrid
    ids: list[list[int]]
    unknown: UnknownTokens
    unknown_terms: tuple[str, ...]
    n_too_long: int
    n_drawn_from: int
    n_same: int
    refusal: Message | None


def read_grid(
    grid: TemplateGrid,
    tokenizer: Tokenizer,
    *,
    length: int,
    most_templates: int,
    most_unknown: float,
    rng: np.random.Generator,
) -> ReadGrid:
    """Encode a grid.

    Args:
        grid: The templates.
        tokenizer: That of the model.
        length: Tokens that it reads.
        most_templates: Of each label; more are chosen from at random, as many of each form where possible.
        most_unknown: Share of unknown tokens beyond which no figure is given.
        rng: Chooses templates.
    """
    known = [not _is_unknown(term, tokenizer) for term in grid.terms]
    terms = np.flatnonzero(known)
    unknown_terms = tuple(term for term, is_known in zip(grid.terms, known, strict=True) if not is_known)
    # Where no term is known the share is that of all terms, which then is the reason.
    columns = terms if len(terms) >= FEWEST_TERMS else np.arange(len(grid.terms))
    different = _different(grid, tokenizer, int(columns[0]))
    rows = _chosen(grid, different, most_templates, rng)
    some = grid.take(rows, columns)
    encoded = [[tokenizer.ids(text) for text in frame] for frame in some.texts]
    fits = np.array([max(len(ids) for ids in frame) <= length for frame in encoded], dtype=np.bool_)
    flat = [ids for frame, fit in zip(encoded, fits, strict=True) if fit for ids in frame]
    unknown = UnknownTokens.of(tokenizer, [ids for frame in encoded for ids in frame])
    refusal = unknown.refusal(most_unknown)
    if refusal is None and len(terms) < FEWEST_TERMS:
        refusal = Message(
            text="Of {total} terms the model's vocabulary has {n}; two are needed.",
            values={"total": len(grid.terms), "n": len(terms)},
        )
    if refusal is None and not fits.any():
        refusal = Message(text="Every template is longer than what the model reads.")
    kept = some.take(np.flatnonzero(fits), np.arange(len(columns)))
    n_too_long = int((~fits).sum())
    n = len(grid.texts)
    return ReadGrid(kept, flat, unknown, unknown_terms, n_too_long, n, n - len(different), refusal)


def ask(read: ReadGrid, classifier: Classifier) -> TermGrid:
    """What the classifier says of the sentences."""
    said = classifier.says(read.ids)
    shape = len(read.grid.texts), len(read.grid.terms)
    classes = said.classes.reshape(shape)
    if said.scores is None:
        return TermGrid(read.grid, classes, None, None)
    return TermGrid(read.grid, classes, said.scores.reshape(shape), classes == classifier.unfavourable)


def _is_unknown(term: str, tokenizer: Tokenizer) -> bool:
    unknown = unknown_id(tokenizer)
    return unknown is not None and unknown in tokenizer.ids(term)


def _different(grid: TemplateGrid, tokenizer: Tokenizer, term: int) -> IntArray:
    """Templates but those that a model reads as another of their label: unknown words are all the same."""
    seen: dict[tuple[bool, tuple[int, ...]], int] = {}
    for row, (frame, toxic) in enumerate(zip(grid.texts, grid.toxic.tolist(), strict=True)):
        seen.setdefault((toxic, tuple(tokenizer.ids(frame[term]))), row)
    return np.array(list(seen.values()), dtype=np.int64)


def _chosen(grid: TemplateGrid, rows: IntArray, most: int, rng: np.random.Generator) -> IntArray:
    """At most so many of ``rows`` of each label, one of each form in turn; in their order."""
    chosen: list[int] = []
    for label in (False, True):
        by_form: dict[str, list[int]] = {}
        for row in rng.permutation(rows[grid.toxic[rows] == label]).tolist():
            by_form.setdefault(grid.forms[row], []).append(row)
        turns = sorted((turn, form) for form, found in by_form.items() for turn in range(len(found)))
        chosen += [by_form[form][turn] for turn, form in turns[:most]]
    return np.array(sorted(chosen), dtype=np.int64)

"""Sentences that are alike but for whom they name: every template with every identity term.

The published ones are those of Dixon et al. (2018) and Borkan, Dixon, Sorensen, Thain and Vasserman (2019),
in English and Chinese, Apache 2.0. Their phrases do not say which word is the term; it is found again here.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from auditkit.data.csv_texts import read_texts
from auditkit.data.dataset import BoolArray, IntArray
from auditkit.data.identity_terms import axes_of
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.errors import DataError
from auditkit.records import Message

_HOME = (
    "https://raw.githubusercontent.com/conversationai/unintended-ml-bias-analysis/main/sentence_templates/"
)
FILES = {
    "en": PublishedFile(
        "identity_templates",
        "en_sentence_templates.csv",
        "8ed7d07f61000a95a2e18747b8f1fbf43d75257cd342cddef1f3533254374633",
        _HOME + "en_sentence_templates.csv",
    ),
    "zh": PublishedFile(
        "identity_templates",
        "zh-cn_sentence_templates.csv",
        "d1eff6f6653435a58dda7c55e766ce84d3659bdfead3ada0011b3a233cf29cfe",
        _HOME + "zh-cn_sentence_templates.csv",
    ),
}
COLUMNS = ("template", "toxicity", "phrase")
LABELS = ("nontoxic", "toxic")
OWN = "own"
"""What a file of one's own is called where its rows name no language."""


@dataclass(frozen=True, slots=True)
class TemplateGrid:
    """Every template with every term.

    Attributes:
        language: ``"en"``, ``"zh"``, or what the file says.
        terms: The identity terms.
        axes: What each term is about; empty where that is not known.
        texts: ``texts[template][term]``.
        toxic: Whether a template is toxic whatever the term, one entry per template.
        forms: What each template is a form of, in the words of the file; templates of one form are alike.
        n_left_out: Phrases that are in no template with all terms, such as those that name an occupation.
        statements: What a reader should know of the file.
    """

    language: str
    terms: tuple[str, ...]
    axes: tuple[str, ...]
    texts: tuple[tuple[str, ...], ...]
    toxic: BoolArray
    forms: tuple[str, ...]
    n_left_out: int = 0
    statements: tuple[Message, ...] = ()

    def take(self, templates: IntArray, terms: IntArray) -> "TemplateGrid":
        """The templates and terms selected by index."""
        return TemplateGrid(
            self.language,
            tuple(self.terms[term] for term in terms),
            tuple(self.axes[term] for term in terms),
            tuple(tuple(self.texts[row][term] for term in terms) for row in templates),
            self.toxic[templates],
            tuple(self.forms[row] for row in templates),
            self.n_left_out,
            self.statements,
        )


def published_templates(language: str) -> TemplateGrid:
    """The published templates of a language, from this machine or their home.

    Raises:
        DataError: They are nowhere on this machine and cannot be downloaded.
    """
    file = FILES[language]
    path = locate(file)
    rows = [{**row, "language": language} for row in read_texts(path, COLUMNS)]
    return _grid(path, language, rows, differences([(file, path)]))


def read_templates(path: Path) -> list[TemplateGrid]:
    """Templates of one's own, one grid per language.

    Args:
        path: A CSV file with the columns ``template`` (a name for phrases that belong together), ``toxicity``
            (toxic or nontoxic) and ``phrase``; ``term``, ``axis`` and ``language`` are read where present.
            Without ``term`` it is a published term of the language that the phrase holds, else what the
            phrases of one template do not share.

    Raises:
        DataError: The file cannot be read, lacks a column, or no template has every term.
    """
    rows = read_texts(path, COLUMNS)
    languages = dict.fromkeys(row.get("language") or OWN for row in rows)
    return [
        _grid(path, language, [row for row in rows if (row.get("language") or OWN) == language], ())
        for language in languages
    ]


def term_of(phrase: str, terms: Sequence[str]) -> tuple[str, str, str] | None:
    """The last of ``terms`` in a phrase, the longest that stands there, with what is before and after it.

    >>> term_of("Being middle eastern is great", ("eastern", "middle eastern"))
    ('Being ', 'middle eastern', ' is great')
    """
    if not terms:
        return None
    found = list(_any_of(tuple(terms)).finditer(phrase))
    if not found:
        return None
    return phrase[: found[-1].start()], found[-1].group(), phrase[found[-1].end() :]


@lru_cache(maxsize=64)
def _any_of(terms: tuple[str, ...]) -> re.Pattern[str]:
    return re.compile("|".join(_whole_words(term) for term in sorted(terms, key=len, reverse=True)))


def compared(phrases: Sequence[str]) -> list[tuple[str, str, str]]:
    """What phrases share at both ends, and what each has between; cut between words where there are spaces.

    >>> compared(["I am old", "I am over there"])
    [('I am ', 'old', ''), ('I am ', 'over there', '')]
    """
    head = _shared_start(phrases)
    tail = _shared_start([phrase[len(head) :][::-1] for phrase in phrases])[::-1]
    if any(" " in phrase for phrase in phrases):
        head = head[: head.rfind(" ") + 1]
        tail = tail[tail.find(" ") :] if " " in tail else ""
    return [(head, phrase[len(head) : len(phrase) - len(tail)], tail) for phrase in phrases]


def _shared_start(phrases: Sequence[str]) -> str:
    first, last = min(phrases), max(phrases)
    n = next((index for index, pair in enumerate(zip(first, last, strict=False)) if pair[0] != pair[1]), None)
    return first[: min(len(first), len(last)) if n is None else n]


def _whole_words(term: str) -> str:
    """The term between word ends; scripts without spaces have none."""
    return rf"(?<!\w){re.escape(term)}(?!\w)" if term.isascii() else re.escape(term)


def _grid(
    path: Path, language: str, rows: Sequence[Mapping[str, str]], statements: tuple[Message, ...]
) -> TemplateGrid:
    _check_labels(path, rows)
    axes = axes_of(language)
    frames: dict[tuple[str, str, str, str], dict[str, str]] = {}
    n_without = 0
    for row, parts in zip(rows, _parted(rows, tuple(axes)), strict=True):
        if parts is None:
            n_without += 1
            continue
        before, term, after = parts
        axes.setdefault(term, "")
        axes[term] = row.get("axis") or axes[term]
        frames.setdefault((row["template"], row["toxicity"], before, after), {})[term] = row["phrase"]
    terms = tuple(dict.fromkeys(term for frame in frames.values() for term in frame))
    whole = {key: frame for key, frame in frames.items() if len(frame) == len(terms)}
    if len(terms) < 2 or not whole:
        raise DataError(
            f"{path}: no template has all of the {len(terms)} terms found in {len(rows)} phrases "
            f"({', '.join(terms[:5])}); write every template with every term, and name it in a column term"
        )
    return TemplateGrid(
        language,
        terms,
        tuple(axes[term] for term in terms),
        tuple(tuple(frame[term] for term in terms) for frame in whole.values()),
        np.array([key[1] == LABELS[1] for key in whole], dtype=np.bool_),
        tuple(key[0] for key in whole),
        n_without + sum(len(frame) for key, frame in frames.items() if key not in whole),
        statements,
    )


def _parted(rows: Sequence[Mapping[str, str]], known: tuple[str, ...]) -> list[tuple[str, str, str] | None]:
    """Before, term and after of each phrase, or ``None`` where no term is found."""
    own = [row.get("term") for row in rows]
    parts = [term_of(row["phrase"], (term,) if term else known) for row, term in zip(rows, own, strict=True)]
    if any(parts) or known:
        return parts
    by_template: dict[tuple[str, str], list[int]] = {}
    for index, row in enumerate(rows):
        by_template.setdefault((row["template"], row["toxicity"]), []).append(index)
    for group in by_template.values():
        for index, found in zip(group, compared([rows[index]["phrase"] for index in group]), strict=True):
            parts[index] = found if found[1] else None
    return parts


def _check_labels(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    other = sorted({row["toxicity"] for row in rows} - set(LABELS))
    if other:
        raise DataError(f"{path}: toxicity is {', '.join(map(repr, other[:5]))}, expected toxic or nontoxic")

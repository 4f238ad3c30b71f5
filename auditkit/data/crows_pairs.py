"""CrowS-Pairs: sentences that differ in whom they are about, one of them the more stereotyping.

Nangia, Vania, Bhalerao and Bowman (2020), EMNLP; published under CC BY-SA 4.0. A file of one's own has the
same columns.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from auditkit.data.csv_texts import read_texts
from auditkit.data.dataset import IntArray
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.errors import DataError
from auditkit.records import Message

FILE = PublishedFile(
    "crows_pairs",
    "crows_pairs_anonymized.csv",
    "dfb36986ce0502abbaf7055b9176da3d08d48e07df1251991b5dfbcbceab9d0c",
    "https://raw.githubusercontent.com/nyu-mll/crows-pairs/master/data/crows_pairs_anonymized.csv",
)
COLUMNS = ("sent_more", "sent_less", "stereo_antistereo", "bias_type")
DIRECTIONS = ("stereo", "antistereo")
"""Whether the more stereotyping sentence states a stereotype of a disadvantaged group, or the less
stereotyping one contradicts it."""


@dataclass(frozen=True, slots=True)
class SentencePairs:
    """Pairs of sentences; all tuples have the same length.

    Attributes:
        name: Of the collection.
        more: The more stereotyping sentence of each pair.
        less: The less stereotyping one.
        direction: ``"stereo"`` or ``"antistereo"``.
        bias_type: What the stereotype is about.
        statements: What a reader should know of the file.
    """

    name: str
    more: tuple[str, ...]
    less: tuple[str, ...]
    direction: tuple[str, ...]
    bias_type: tuple[str, ...]
    statements: tuple[Message, ...] = ()

    def __len__(self) -> int:
        return len(self.more)

    def take(self, rows: IntArray) -> "SentencePairs":
        """The pairs selected by index."""
        more, less, direction, bias_type = (
            tuple(column[int(row)] for row in rows)
            for column in (self.more, self.less, self.direction, self.bias_type)
        )
        return SentencePairs(self.name, more, less, direction, bias_type, self.statements)

    @property
    def types(self) -> tuple[str, ...]:
        """The bias types, the most frequent first."""
        names, counts = np.unique(np.array(self.bias_type, dtype=object), return_counts=True)
        return tuple(str(names[index]) for index in np.lexsort((names, -counts)))


def published_pairs() -> SentencePairs:
    """The 1,508 published pairs, from this machine or their home.

    Raises:
        DataError: They are nowhere on this machine and cannot be downloaded.
    """
    path = locate(FILE)
    return read_pairs(path, name="CrowS-Pairs", statements=differences([(FILE, path)]))


def read_pairs(path: Path, *, name: str | None = None, statements: tuple[Message, ...] = ()) -> SentencePairs:
    """Pairs from a CSV file with the columns of :data:`COLUMNS`; others are not read.

    Raises:
        DataError: The file cannot be read, lacks a column, a sentence is empty, or a direction is unknown.
    """
    rows = read_texts(path, COLUMNS)
    wrong = [
        index
        for index, row in enumerate(rows, start=2)
        if row["stereo_antistereo"] not in DIRECTIONS or not all(row[column].strip() for column in COLUMNS)
    ]
    if wrong:
        raise DataError(
            f"{path}: {len(wrong)} rows have an empty cell or a direction other than "
            f"{' or '.join(DIRECTIONS)}, the first in line {wrong[0]}; complete or remove them"
        )
    more, less, direction, bias_type = (tuple(row[column] for row in rows) for column in COLUMNS)
    return SentencePairs(name or path.stem, more, less, direction, bias_type, statements)

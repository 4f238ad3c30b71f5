"""Tiny Shakespeare: 1.1 million characters of his plays (Karpathy 2015, char-rnn); public domain."""

from dataclasses import replace

from auditkit.config.model import DataConfig
from auditkit.data.plain_text import read_text, rows_of_text
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.data.rows import Rows

TEST_FRACTION = 0.1
FILE = PublishedFile(
    "tinyshakespeare",
    "input.txt",
    "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
)


def shakespeare_rows(config: DataConfig, split: str) -> Rows:
    """The first 90 % of the text, the last 10 %, or all of it, as windows."""
    path = locate(FILE)
    rows = rows_of_text(
        read_text(path), config, name="Tiny Shakespeare", split=split, test_fraction=TEST_FRACTION
    )
    return replace(rows, statements=(*rows.statements, *differences([(FILE, path)])))

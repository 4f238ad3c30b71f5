"""SST-2: sentences of film reviews, positive or negative (Socher et al. 2013)."""

from dataclasses import replace

from auditkit.config.model import DataConfig
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.data.roles import rows_of_table, with_defaults
from auditkit.data.rows import Rows
from auditkit.data.table import read_table
from auditkit.errors import DataError

_HOME = "https://raw.githubusercontent.com/clairett/pytorch-sentiment-classification/master/data/SST2/"
COLUMNS = ("sentence", "sentiment")
FILES = {
    "train": PublishedFile(
        "sst2",
        "train.tsv",
        "ec192f833a64da08f475488a77b0d0b47db47acd0f458bd18433fc793b569920",
        _HOME + "train.tsv",
    ),
    "test": PublishedFile(
        "sst2",
        "test.tsv",
        "831169c7e2e429d6026e1bdbb542f33b636e3e596caad9602ebc953c205928b7",
        _HOME + "test.tsv",
    ),
}


def sst2_rows(config: DataConfig, split: str) -> Rows:
    """The published training sentences, test sentences, or both one after the other.

    Unless the config says otherwise a token is a word and ``positive`` the favourable label.
    """
    if split == "all":
        return sst2_rows(config, "train").followed_by(sst2_rows(config, "test"), split="all")
    full = with_defaults(config, target="sentiment", text="sentence", positive="positive")
    if full.target != "sentiment":
        raise DataError(f"data.target: SST-2 has the label 'sentiment', got {full.target!r}")
    path = locate(FILES[split])
    table = read_table(path, names=COLUMNS)
    table = table.derived(
        "sentiment", "CASE CAST({sentiment} AS VARCHAR) WHEN '1' THEN 'positive' ELSE 'negative' END"
    )
    rows = rows_of_table(table, full, name="SST-2", split=split)
    return replace(rows, statements=differences([(FILES[split], path)]))

"""Adult: income above 50,000 dollars in the US census of 1994 (Becker and Kohavi 1996, UCI, CC BY 4.0)."""

from dataclasses import replace

from auditkit.config.model import DataConfig
from auditkit.data.published import PublishedFile, differences, locate
from auditkit.data.roles import rows_of_table, with_defaults
from auditkit.data.rows import Rows
from auditkit.data.table import read_table

COLUMNS = (
    *("age", "workclass", "fnlwgt", "education", "education-num", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours-per-week", "native-country"),
    "income",
)
_HOME = "https://archive.ics.uci.edu/static/public/2/adult.zip"
FILES = {
    "train": PublishedFile(
        *("adult", "adult.data", "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d"),
        *(_HOME, "adult.data"),
    ),
    "test": PublishedFile(
        *("adult", "adult.test", "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05"),
        *(_HOME, "adult.test"),
    ),
}


def adult_rows(config: DataConfig, split: str) -> Rows:
    """The published training part, test part, or both one after the other.

    Unless the config says otherwise the label is ``income``, the favourable one ``>50K``, sex and race are
    sensitive, and the census weight ``fnlwgt`` is not an input. ``?`` is a missing value.
    """
    if split == "all":
        return adult_rows(config, "train").followed_by(adult_rows(config, "test"), split="all")
    full = with_defaults(
        config,
        target="income",
        positive=">50K" if config.target in (None, "income") else None,
        sensitive_features=("sex", "race"),
        drop=("fnlwgt",),
    )
    path = locate(FILES[split])
    table = read_table(path, names=COLUMNS, skip=1 if split == "test" else 0, missing=("?",))
    # Labels of the test file end in a full stop.
    table = table.derived("income", "rtrim({income}, '.')")
    rows = rows_of_table(table, full, name="Adult", split=split)
    return replace(rows, statements=differences([(FILES[split], path)]))

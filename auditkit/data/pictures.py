"""Pictures as rows: they have a label and no columns."""

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import IntArray
from auditkit.data.roles import SPLITS, matching_label
from auditkit.data.rows import ByteArray, Rows, texts
from auditkit.errors import DataError
from auditkit.records import Message

TARGET = "digit"
_OF_TABLES = (
    *("features", "drop", "sensitive_features", "control_features"),
    *("weight", "person", "prediction", "score", "train", "text"),
)


def rows_of_pictures(
    config: DataConfig,
    *,
    name: str,
    split: str,
    images: ByteArray,
    labels: IntArray,
    divisor: float = 255.0,
    statements: tuple[Message, ...] = (),
) -> Rows:
    """Rows of pictures whose labels are the digits they show.

    Raises:
        DataError: Pictures and labels differ in number, or the config names columns.
    """
    if len(images) != len(labels):
        raise DataError(f"{name}: {len(images)} pictures but {len(labels)} labels in the {split} files")
    named = [key for key in _OF_TABLES if getattr(config, key)]
    if config.target not in (None, TARGET):
        named.append("target")
    if config.members not in (None, *SPLITS):
        named.append("members")
    if named:
        keys = ", ".join(f"data.{key}" for key in named)
        raise DataError(
            f"{name} is pictures and has no columns; remove {keys} (the label is called {TARGET!r})"
        )
    digits = texts([str(label) for label in labels.tolist()])
    return Rows(
        name=name,
        source=config.source,
        split=split,
        target=TARGET,
        labels=digits,
        positive=matching_label(config.positive, np.unique(digits.astype(str)).tolist(), "data.positive"),
        images=images,
        divisor=divisor,
        statements=statements,
    )

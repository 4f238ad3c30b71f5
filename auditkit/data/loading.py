"""From a config to encoded rows: those to audit, those that trained the model, those to train on."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from auditkit.config.model import DataConfig
from auditkit.data.dataset import Dataset
from auditkit.data.encoding import encode
from auditkit.data.fitting import fit_preprocessing
from auditkit.data.raw import fit_raw
from auditkit.data.roles import SPLITS
from auditkit.data.rows import Rows
from auditkit.data.sources import default_split, read_rows
from auditkit.data.splits import subsample
from auditkit.data.steps import Preprocessing
from auditkit.errors import DataError
from auditkit.records import Message

MOST_MEMBERS = 10_000
"""Training rows appended for membership audits, unless the held-out rows are more or a limit is set."""


def load_dataset(
    config: DataConfig,
    *,
    preprocessing: Preprocessing | None,
    seed: int,
    folder: Path,
    split: str | None = None,
    with_members: bool = True,
) -> Dataset:
    """The rows to audit.

    Args:
        config: The data section.
        preprocessing: That of the model; ``None`` fits one on the training rows.
        seed: Decides which rows ``limit`` keeps and which training rows are appended.
        folder: That of the config file.
        split: Instead of ``config.split``.
        with_members: Whether to append training rows where ``config.members`` names a split. They have
            ``is_member`` True, and are at most as many as ``config.limit`` (10,000 without one) or the
            held-out rows.

    Raises:
        DataError: The data cannot be read, or do not fit the preprocessing.
    """
    chosen = split or config.split or default_split(config)
    rows = read_rows(config, split=chosen, seed=seed, folder=folder)
    if preprocessing is None:
        preprocessing = fit_preprocessing(
            rows if chosen == "all" else read_rows(_whole(config), split="train", seed=seed, folder=folder)
        )
    if with_members and config.members in SPLITS:
        rows = _with_members(rows, config, chosen, seed, folder)
    if not with_members:
        rows = replace(rows, member=None)
    return encode(rows, preprocessing)


def load_training_data(
    config: DataConfig, *, preprocessing: Preprocessing | None, seed: int, folder: Path
) -> tuple[Dataset, Preprocessing]:
    """The training rows and the preprocessing: the given one, else the one they give.

    ``config.limit`` is about the rows to audit and does not apply.

    Raises:
        DataError: The data cannot be read, or do not fit the preprocessing.
    """
    rows = training_rows(config, seed=seed, folder=folder)
    fitted = preprocessing or fit_preprocessing(rows)
    return encode(rows, fitted), fitted


def training_rows(config: DataConfig, *, seed: int, folder: Path) -> Rows:
    """The training rows as they are read; ``config.limit`` does not apply.

    Raises:
        DataError: The data cannot be read.
    """
    return replace(read_rows(_whole(config), split="train", seed=seed, folder=folder), member=None)


def load_unscaled_training_data(
    config: DataConfig, steps: Preprocessing, *, seed: int, folder: Path
) -> Dataset:
    """The training rows by steps that leave numbers in their own unit, with all the digits that these have.

    Raises:
        DataError: The data cannot be read, or do not fit the steps.
    """
    rows = training_rows(config, seed=seed, folder=folder)
    return encode(rows, steps, keep_digits=True)


def load_raw_data(
    config: DataConfig, *, seed: int, folder: Path, most: int | None = None
) -> tuple[Dataset, Preprocessing]:
    """The rows of all splits as they were read, and how; ``config.limit`` does not apply.

    Args:
        config: The data section.
        seed: Of the run.
        folder: That of the config file.
        most: How many of them are encoded, from the first; default all. What is said of how they were read
            rests on all.

    Raises:
        DataError: The data cannot be read.
    """
    rows = read_rows(_whole(config), split="all", seed=seed, folder=folder)
    if config.train is not None:
        trained = read_rows(_whole(config), split="train", seed=seed, folder=folder)
        rows = rows.followed_by(trained, split="all")
    preprocessing = fit_raw(rows)
    shown = rows if most is None else rows.take(np.arange(min(most, len(rows)), dtype=np.int64))
    return encode(shown, preprocessing), preprocessing


def _whole(config: DataConfig) -> DataConfig:
    return config.model_copy(update={"limit": None})


def _with_members(rows: Rows, config: DataConfig, split: str, seed: int, folder: Path) -> Rows:
    """``rows`` as non-members, then rows of the split that the model was trained on."""
    if config.members == "all" or split in (config.members, "all"):
        raise DataError(
            f"data.members: {config.members!r} overlaps with the audited split {split!r}; "
            "write members: train with split: test"
        )
    trained = read_rows(_whole(config), split=str(config.members), seed=seed, folder=folder)
    limit = max(len(rows), MOST_MEMBERS if config.limit is None else config.limit)
    if limit < len(trained):
        trained = trained.take(subsample(len(trained), limit, seed=seed, name="members"))
    statement = Message(
        text="{n} training rows stand beside the held-out ones, for audits that look at both.",
        values={"n": len(trained)},
    )
    held_out = replace(rows, member=np.zeros(len(rows), dtype=np.bool_))
    members = replace(trained, member=np.ones(len(trained), dtype=np.bool_), statements=(statement,))
    return held_out.followed_by(members, split=rows.split)

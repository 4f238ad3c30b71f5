"""How many scores Shapley values may cost, and from where their draws come."""

from typing import Final

import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows

MOST_PLAYERS: Final = 64
"""Players of a picture or a text: with the 512 scores of a row, 8 for each."""

OF_TABLES: Final = 2048
OF_OTHERS: Final = 512


def default_budget(rows: ExplainedRows) -> int:
    """Scores per row: networks that read tables are cheap, others and models asked from outside are not."""
    is_table = rows.features.image_shape is None and rows.features.tokens is None
    return OF_TABLES if is_table and rows.no_gradients is None else OF_OTHERS


def stream_of(rng: torch.Generator) -> int:
    """One draw, as the seed of streams of their own: what a row gets does not hang on rows beside it."""
    return int(torch.randint(2**62, (1,), generator=rng))

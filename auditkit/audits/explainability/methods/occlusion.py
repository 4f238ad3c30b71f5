"""What the score loses when a window slides over the row and hides what it covers."""

from typing import Final

import numpy as np
import torch

from auditkit.audits.explainability.explained_rows import ExplainedRows
from auditkit.audits.explainability.methods.feature_ablation import losses_without
from auditkit.audits.explainability.methods.game import Game, play
from auditkit.audits.explainability.methods.method import AttributionMethod, anywhere
from auditkit.audits.explainability.methods.players import players_of
from auditkit.data.dataset import BoolArray, FloatArray, IntArray
from auditkit.records import Message

WINDOWS_ACROSS: Final = 7
"""So many windows side by side cover a picture, or a little less."""

SMALLEST_SIDE: Final = 2
"""A window of one pixel would be ablation."""

TOKENS_ACROSS: Final = 3
MOST_STRETCHES: Final = 256


def occlusion(
    rows: ExplainedRows, *, window: tuple[int, int] | None = None, stride: tuple[int, int] | None = None
) -> FloatArray:
    """Mean loss over all windows that cover a unit, shape ``(n, m)``.

    Windows start at multiples of the stride until one reaches the end; the last ends with the row or
    picture. They are rectangles of pixels in pictures, neighbouring tokens in texts, single features in
    tables.

    Args:
        rows: To explain.
        window: Height and width in pixels; of texts ``(1, tokens)``. Default a seventh of the picture, 3
            tokens.
        stride: Between windows, at most their size. Default half of it in pictures, 1 token.
    """
    shape = rows.features.image_shape
    if shape is not None:
        size = window or default_window(shape)
        step = stride or (max(1, size[0] // 2), max(1, size[1] // 2))
        n_pixels = shape[0] * shape[1]
        covered = _rectangles(shape, size, step)
        return play(rows, players_of(rows, n_pixels, idle_too=True), lambda game: _mean_loss(game, covered))
    if rows.features.tokens is None:
        width, pace = 1, 1
    else:
        width, pace = (window or (1, TOKENS_ACROSS))[1], (stride or (1, 1))[1]
    return play(
        rows,
        players_of(rows, MOST_STRETCHES, idle_too=True),
        lambda game: _mean_loss(game, _stretches(game.n_players, width, pace)),
    )


def default_window(image_shape: tuple[int, int]) -> tuple[int, int]:
    """Height and width of the window in pixels."""
    height, width = (max(SMALLEST_SIDE, side // WINDOWS_ACROSS) for side in image_shape)
    return height, width


def _mean_loss(game: Game, covered: BoolArray) -> FloatArray:
    covers = covered.astype(np.float64)
    return np.asarray(losses_without(game, covered) @ covers / covers.sum(axis=0))


def _rectangles(image_shape: tuple[int, int], window: tuple[int, int], stride: tuple[int, int]) -> BoolArray:
    """Pixels under each window, shape ``(w, height x width)``."""
    down, right = (_stretches(*side) for side in zip(image_shape, window, stride, strict=True))
    return np.asarray((down[:, None, :, None] & right[None, :, None, :]).reshape(len(down) * len(right), -1))


def _stretches(length: int, window: int, stride: int) -> BoolArray:
    """Places under each window, shape ``(w, length)``; no stride leaves a place uncovered."""
    pace = min(stride, window)
    starts: IntArray = np.arange(0, max(0, length - window) + pace, pace)[:, None]
    places = np.arange(length)
    return np.asarray((starts <= places) & (places < starts + window))


def _remark(rows: ExplainedRows) -> Message | None:
    if rows.features.image_shape is not None:
        height, width = default_window(rows.features.image_shape)
        return Message(
            text="Windows of {height} x {width} pixels are hidden; a pixel gets the mean of those that cover "
            "it.",
            values={"height": height, "width": width},
        )
    if rows.features.tokens is None:
        return None
    if rows.together is not None:
        text = "Windows of {n} neighbouring words are hidden; a word gets the mean of those that cover it."
        return Message(text=text, values={"n": TOKENS_ACROSS})
    text = "Windows of {n} neighbouring tokens are hidden; a token gets the mean of those that cover it."
    return Message(text=text, values={"n": TOKENS_ACROSS})


def _attribute(rows: ExplainedRows, _rng: torch.Generator) -> FloatArray:
    return occlusion(rows)


OCCLUSION: Final = AttributionMethod(
    name="occlusion",
    attribute=_attribute,
    obstacle=anywhere,
    remark=_remark,
    sources=(
        "Zeiler and Fergus (2014), Visualizing and Understanding Convolutional Networks, arXiv:1311.2901",
    ),
)

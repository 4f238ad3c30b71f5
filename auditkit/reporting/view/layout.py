"""Two columns of about equal height, from how tall each block will roughly be; wide tables above or below."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from auditkit.reporting.charts.svg import text_width
from auditkit.reporting.view.evidence.shapes import EvidenceView, TableView
from auditkit.reporting.view.tables import FigureTable

_HEIGHT = re.compile(r' height="([0-9.]+)"')
_WORDS = re.compile(r"[^ \u3000-\u9fff\uff00-\uffef-]+-?|[\u3000-\u9fff\uff00-\uffef]{1,3}")
"""What a line is not broken within: words, and in Chinese the few characters that a cell has room for."""

_GAP = 36.0
_COLUMN = 474.0
"""Pixels of a column on a wide screen."""

_FONT, _PADDING = 13.44, 17.6
"""Of tables, in pixels."""

_CHINESE = re.compile(r"[\u3400-\u9fff]")
_NARROWEST = 41.5
"""Pixels that the style sheet keeps for a cell in Chinese, so that no word stands upright."""

_LONG, _ROOM = 400.0, 200.0
"""Cells that take more pixels in one line are read as texts; these need so much room."""


@dataclass(frozen=True, slots=True)
class Block:
    """One thing in a column; which field is filled depends on ``kind``.

    ``width`` is what a table needs at least; all else fits any width.
    """

    kind: Literal["summary", "evidence", "limits"]
    height: float
    width: float = 0.0
    evidence: EvidenceView | None = None
    summary: FigureTable | None = None
    limits: tuple[str, ...] = ()
    method: str = ""


@dataclass(frozen=True, slots=True)
class Columns:
    """Left and right, and what takes the whole width above and below both."""

    above: tuple[Block, ...]
    left: tuple[Block, ...]
    right: tuple[Block, ...]
    below: tuple[Block, ...]


def two_columns(blocks: Sequence[Block]) -> Columns:
    """Blocks in their order, each to the column that is shorter so far.

    What is wider than a column stands above both where it comes first, as what comes first is what counts
    most, and below otherwise.
    """
    n_above = next((n for n, block in enumerate(blocks) if not _is_wide(block)), len(blocks))
    columns: tuple[list[Block], list[Block]] = ([], [])
    heights = [0.0, 0.0]
    for block in blocks[n_above:]:
        if not _is_wide(block):
            side = 0 if heights[0] <= heights[1] else 1
            columns[side].append(block)
            heights[side] += block.height + _GAP
    return Columns(
        above=tuple(blocks[:n_above]),
        left=tuple(columns[0]),
        right=tuple(columns[1]),
        below=tuple(block for block in blocks[n_above:] if _is_wide(block)),
    )


def _is_wide(block: Block) -> bool:
    return block.width > _COLUMN


def evidence_block(view: EvidenceView) -> Block:
    """A figure with its title, chart and the handle of its table."""
    heading = 23.0 * math.ceil(len(view.title) / 48) + (20.0 * math.ceil(len(view.caption) / 64)) + 12
    width = _table_width(view.table) if view.table is not None and view.kind == "table" else 0.0
    return Block("evidence", heading + _body_height(view), width, evidence=view)


def summary_block(table: FigureTable) -> Block:
    """The open table of an audit."""
    rows = [row for section in table.sections for row in section.rows]
    return Block("summary", 34 + sum(46.0 + 18 * bool(row.note) for row in rows), summary=table)


def limits_block(limits: tuple[str, ...], method: str) -> Block:
    """What may not be concluded, and how it was measured."""
    lines = sum(math.ceil(len(limit) / 62) for limit in limits) + math.ceil(len(method) / 62)
    return Block("limits", 24 + 22.0 * lines, limits=limits, method=method)


def _body_height(view: EvidenceView) -> float:
    if view.chart is not None:
        found = _HEIGHT.search(view.chart)
        return (float(found.group(1)) if found else 200.0) + 34
    if view.panels:
        tall = 190.0 + 150.0 * any(panel.plain for panel in view.panels)
        return tall * math.ceil(len(view.panels) / 3) + 60
    if view.tokens:
        return 34.0 * math.ceil(sum(len(token.text) + 2 for token in view.tokens) / 48) + 70
    if view.table is not None:
        return 34 + 30.0 * len(view.table.rows)
    return 25.0 * math.ceil(len(view.body) / 58)


def _table_width(table: TableView) -> float:
    """What a table needs at least: its longest words, and room for texts to be read as lines."""
    pieces = [[heading] for heading in table.columns]
    for row in table.rows:
        for column, cell in zip(pieces, row, strict=False):
            number = cell.number
            column.extend([cell.text] if number is None else [number.value, _unbroken(number.range)])
    floor = _NARROWEST if any(_CHINESE.search(heading) for heading in table.columns) else 0.0
    widths = (max(floor, *map(_least_width, column)) for column in pieces)
    return sum(widths) + _PADDING * (len(pieces) - 1)


def _unbroken(text: str) -> str:
    """An interval, which never breaks."""
    return text.replace(" ", "\N{NO-BREAK SPACE}")


def _least_width(text: str) -> float:
    if text_width(text, _FONT) > _LONG:
        return _ROOM
    return max((text_width(word, _FONT) for word in _WORDS.findall(text)), default=0.0)

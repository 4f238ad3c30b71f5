"""Two columns of about equal height, from how tall each block will roughly be."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from auditkit.reporting.view.evidence.shapes import EvidenceView
from auditkit.reporting.view.tables import FigureTable

_HEIGHT = re.compile(r' height="([0-9.]+)"')
_GAP = 36.0


@dataclass(frozen=True, slots=True)
class Block:
    """One thing in a column; which field is filled depends on ``kind``."""

    kind: Literal["summary", "evidence", "limits"]
    height: float
    evidence: EvidenceView | None = None
    summary: FigureTable | None = None
    limits: tuple[str, ...] = ()
    method: str = ""


Columns = tuple[tuple[Block, ...], tuple[Block, ...]]


def two_columns(blocks: Sequence[Block]) -> Columns:
    """Blocks in their order, each to the column that is shorter so far."""
    columns: tuple[list[Block], list[Block]] = ([], [])
    heights = [0.0, 0.0]
    for block in blocks:
        side = 0 if heights[0] <= heights[1] else 1
        columns[side].append(block)
        heights[side] += block.height + _GAP
    return tuple(columns[0]), tuple(columns[1])


def evidence_block(view: EvidenceView) -> Block:
    """A figure with its title, chart and the handle of its table."""
    heading = 23.0 * math.ceil(len(view.title) / 48) + (20.0 * math.ceil(len(view.caption) / 64)) + 12
    return Block("evidence", heading + _body_height(view), evidence=view)


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
        return 190.0 * math.ceil(len(view.panels) / 4) + 60
    if view.tokens:
        return 34.0 * math.ceil(sum(len(token.text) + 2 for token in view.tokens) / 48) + 70
    if view.table is not None:
        return 34 + 30.0 * len(view.table.rows)
    return 25.0 * math.ceil(len(view.body) / 58)

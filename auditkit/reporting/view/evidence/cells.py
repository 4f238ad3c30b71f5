"""Tables of evidence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from auditkit.records import Cell, Estimate, Message, Table
from auditkit.reporting.labels import readable
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import NO_NUMBER, Number, Scale, Style, decimal
from auditkit.reporting.view.evidence.estimates import estimate_number, estimates_scale, with_unit
from auditkit.reporting.view.evidence.shapes import CellView, TableView


@dataclass(frozen=True, slots=True)
class _Column:
    """How the cells of one column are written; ``scale`` is ``None`` where their units differ."""

    heading: str
    scale: Scale | None
    decimals: int
    is_numeric: bool


def table_cells(table: Table, texts: Texts) -> TableView:
    """A table; a column of one unit names it in its heading, in a mixed one each cell has its own."""
    width = max([len(table.columns), *(len(row) for row in table.rows)])
    columns = [_column(table, index, texts) for index in range(width)]
    rows = tuple(
        tuple(_cell(cell, column, texts) for cell, column in zip(row, columns, strict=False))
        for row in table.rows
    )
    return TableView(
        columns=tuple(column.heading for column in columns),
        rows=rows,
        numeric=tuple(column.is_numeric for column in columns),
    )


def _column(table: Table, index: int, texts: Texts) -> _Column:
    cells = [row[index] for row in table.rows if index < len(row)]
    estimates = [cell for cell in cells if isinstance(cell, Estimate)]
    units = {estimate.unit for estimate in estimates}
    scale = estimates_scale(estimates, Style.PLAIN, texts) if len(units) == 1 else None
    heading = texts.message(table.columns[index]) if index < len(table.columns) else ""
    return _Column(
        heading=with_unit(heading, units.pop(), scale) if scale else heading,
        scale=scale,
        decimals=_decimals(cells),
        is_numeric=_is_numeric(cells),
    )


def _is_numeric(cells: Sequence[Cell]) -> bool:
    known = [cell for cell in cells if cell is not None]
    return bool(known) and all(isinstance(cell, Estimate | int | float) for cell in known)


def _decimals(cells: Sequence[Cell]) -> int:
    """Decimals of plain numbers: three significant digits of the largest in the column."""
    largest = max((abs(cell) for cell in cells if isinstance(cell, float)), default=0.0)
    return 0 if largest == 0 else min(12, max(0, 2 - math.floor(math.log10(largest))))


def _cell(cell: Cell, column: _Column, texts: Texts) -> CellView:
    if cell is None:
        return CellView(number=NO_NUMBER)
    if isinstance(cell, Message):
        return CellView(texts.message(cell))
    if isinstance(cell, str):
        return CellView(readable(texts, cell))
    if isinstance(cell, Estimate):
        return _estimate(cell, column, texts)
    return CellView(number=Number(grouped(cell) if isinstance(cell, int) else decimal(cell, column.decimals)))


def _estimate(cell: Estimate, column: _Column, texts: Texts) -> CellView:
    missing = texts.message(cell.missing)
    if cell.value is None and missing:
        return CellView(missing)
    if column.scale is None:
        return CellView(number=estimate_number(cell, estimates_scale([cell], Style.PLAIN, texts)))
    return CellView(number=replace(estimate_number(cell, column.scale), unit=""))

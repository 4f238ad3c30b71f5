"""Tables of evidence."""

import math

from auditkit.records import Cell, Estimate, Message, Table
from auditkit.reporting.labels import readable
from auditkit.reporting.language import Texts, grouped
from auditkit.reporting.numbers import NO_NUMBER, Number, Scale, Style, decimal
from auditkit.reporting.view.evidence.estimates import estimate_number, estimates_scale
from auditkit.reporting.view.evidence.shapes import CellView, TableView


def table_cells(table: Table, texts: Texts) -> TableView:
    """A table with one unit per column of estimates."""
    scales = [
        estimates_scale(_estimates_of(table, column), Style.PLAIN, texts)
        for column in range(len(table.columns))
    ]
    decimals = [_decimals(table, column) for column in range(len(table.columns))]
    rows = tuple(
        tuple(
            _cell(cell, scales[min(index, len(scales) - 1)], decimals[min(index, len(scales) - 1)], texts)
            for index, cell in enumerate(row)
        )
        for row in table.rows
    )
    numeric = tuple(_is_numeric(table, column) for column in range(len(table.columns)))
    return TableView(tuple(texts.message(column) for column in table.columns), rows, numeric)


def _estimates_of(table: Table, column: int) -> list[Estimate]:
    cells = [row[column] for row in table.rows if column < len(row)]
    return [cell for cell in cells if isinstance(cell, Estimate)]


def _is_numeric(table: Table, column: int) -> bool:
    cells = [row[column] for row in table.rows if column < len(row) and row[column] is not None]
    return bool(cells) and all(isinstance(cell, Estimate | int | float) for cell in cells)


def _decimals(table: Table, column: int) -> int:
    """Decimals of plain numbers: three significant digits of the largest in the column."""
    cells = [row[column] for row in table.rows if column < len(row)]
    largest = max((abs(cell) for cell in cells if isinstance(cell, float)), default=0.0)
    return 0 if largest == 0 else min(12, max(0, 2 - math.floor(math.log10(largest))))


def _cell(cell: Cell, scale: Scale, decimals: int, texts: Texts) -> CellView:
    if cell is None:
        return CellView(number=NO_NUMBER)
    if isinstance(cell, Message):
        return CellView(texts.message(cell))
    if isinstance(cell, str):
        return CellView(readable(texts, cell))
    if isinstance(cell, Estimate):
        missing = texts.message(cell.missing)
        if cell.value is None and missing:
            return CellView(missing)
        return CellView(number=estimate_number(cell, scale))
    return CellView(number=Number(grouped(cell) if isinstance(cell, int) else decimal(cell, decimals)))

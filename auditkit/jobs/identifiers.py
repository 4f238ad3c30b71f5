"""Columns of a table that name its rows rather than tell anything of them."""

import re

from auditkit.data.table import Table

FEWEST_ROWS = 20
"""With fewer values, all of them differ by chance too often."""

_WORDS = {
    *("id", "ids", "uid", "uuid", "guid", "identifier", "key", "code", "index", "idx", "number", "nr", "no"),
    *("client", "customer", "user", "person", "patient", "account", "member", "employee", "applicant"),
    *("case", "row", "record", "unnamed", "clientid", "customerid", "userid", "personid", "patientid"),
    *("accountid", "caseid", "rowid", "编号", "序号", "客户", "客户编号", "客户号", "身份证号"),
}
_WHOLE = re.compile(r"[+-]?\d+")
_AMOUNT = re.compile(r"[+-]?[\d.,' ]*\d ?(%|\D{0,3})")
"""A number with a decimal comma or a unit, which is read as text: ``3,51`` or ``12.5 kg``."""
_TOKEN = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|[^\W\d_A-Za-z]+")


def identifiers(table: Table, among: tuple[str, ...]) -> tuple[str, ...]:
    """Columns without two equal values: texts, and whole numbers that are named so or count the rows.

    A measurement may differ everywhere, too, so that other whole numbers, and any with a decimal point, are
    never among them.
    """
    return tuple(name for name in among if _names_rows(table, name))


def _names_rows(table: Table, name: str) -> bool:
    values = [value for value in table.texts(name).tolist() if value is not None]
    if len(values) < FEWEST_ROWS or len(set(values)) < len(values):
        return False
    if name not in table.numeric:
        return not all(_AMOUNT.fullmatch(value) for value in values)
    if not all(_WHOLE.fullmatch(value) for value in values):
        return False
    return _is_named_so(name) or _counts(values)


def _is_named_so(name: str) -> bool:
    """Such as ``client_id``, ``CustomerNo`` or ``Unnamed: 0``."""
    return any(token.lower() in _WORDS for token in _TOKEN.findall(name))


def _counts(values: list[str]) -> bool:
    """Whether they are a row of whole numbers without a gap, in the order of the rows."""
    numbers = [int(value) for value in values]
    return numbers == list(range(numbers[0], numbers[0] + len(numbers)))

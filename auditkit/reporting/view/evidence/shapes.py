"""What the template draws: a piece of evidence with its chart, table, pictures or text."""

from dataclasses import dataclass

from markupsafe import Markup

from auditkit.reporting.numbers import Number


@dataclass(frozen=True, slots=True)
class CellView:
    """A table cell: a number with its interval, or text."""

    text: str = ""
    number: Number | None = None


@dataclass(frozen=True, slots=True)
class TableView:
    """A small table; ``note`` says what was left out."""

    columns: tuple[str, ...]
    rows: tuple[tuple[CellView, ...], ...]
    numeric: tuple[bool, ...]
    note: str = ""

    @property
    def is_numeric(self) -> bool:
        """Whether all columns but the first hold numbers, so that the table can say so once."""
        return self.numeric[:1] != (True,) and all(self.numeric[1:])


@dataclass(frozen=True, slots=True)
class PanelView:
    """One picture as data, with its shape.

    ``alt`` says in words what the picture shows; ``plain`` is the same picture without its overlay, where
    that would hide it.
    """

    label: str
    alt: str
    uri: str
    plain: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class TokenView:
    """A piece of text and the class of its weight: ``p1`` to ``p5`` for, ``n1`` to ``n5`` against.

    ``weight`` is written out for the heaviest, which can be reached by keyboard.
    """

    text: str
    class_: str
    weight: str = ""


@dataclass(frozen=True, slots=True)
class EvidenceView:
    """One piece of evidence; which fields are filled depends on ``kind``.

    ``is_signed`` says that weights for and against are told apart.
    """

    kind: str
    title: str
    caption: str
    chart: Markup | None = None
    table: TableView | None = None
    panels: tuple[PanelView, ...] = ()
    tokens: tuple[TokenView, ...] = ()
    separator: str = " "
    scale: str = ""
    body: str = ""
    notes: tuple[str, ...] = ()
    is_signed: bool = False

"""What stands behind figures: a closed set of kinds, each drawn by one template macro."""

from typing import Annotated, Literal, Self

from pydantic import Field, StrictInt, model_validator

from auditkit.records.measurement import Unit
from auditkit.records.message import Message, Record


class Estimate(Record):
    """A table cell or chart mark with uncertainty. ``value=None`` is drawn as absent with ``missing``."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int | None = None
    unit: Unit = "1"
    missing: Message | None = None


# In this order, so that a plain text stays one: a Message would be looked up in the translations.
Cell = Annotated[Estimate | str | StrictInt | float | Message | None, Field(union_mode="left_to_right")]


class EvidenceBase(Record):
    """What all evidence has: a one-sentence takeaway as title, and what to know when reading it.

    ``notes`` stand below: what is explained, for example, and from where.
    """

    title: Message
    caption: Message | None = None
    notes: tuple[Message, ...] = ()


class Table(EvidenceBase):
    """Rows of cells; ``columns`` are headings."""

    kind: Literal["table"] = "table"
    columns: tuple[Message, ...]
    rows: tuple[tuple[Cell, ...], ...]


class Mark(Record):
    """One row of a dot or bar chart; a label is a name from the data, or a text of our own."""

    label: Annotated[str | Message, Field(union_mode="left_to_right")]
    estimate: Estimate
    small: bool = False


class Dots(EvidenceBase):
    """The house chart: one dot with its interval per row, against reference lines.

    ``reference`` is a line such as the overall rate; ``low`` and ``high`` fix the axis where it is natural
    (0 and 1 for rates), else the marks decide.
    """

    kind: Literal["dots"] = "dots"
    axis: Message
    marks: tuple[Mark, ...]
    reference: float | None = None
    reference_label: Message | None = None
    low: float | None = None
    high: float | None = None


class Bars(EvidenceBase):
    """Signed horizontal bars from zero, with intervals where given."""

    kind: Literal["bars"] = "bars"
    axis: Message
    marks: tuple[Mark, ...]


class Series(Record):
    """One line of a curve, with an optional band. All arrays have the same length."""

    name: Message
    x: tuple[float, ...]
    y: tuple[float, ...]
    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _same_length(self) -> Self:
        lengths = {
            len(self.x),
            len(self.y),
            len(self.low) or len(self.x),
            len(self.high) or len(self.x),
        }
        if len(lengths) != 1:
            raise ValueError("series arrays differ in length")
        return self


class Curve(EvidenceBase):
    """Lines over a numeric axis; ``diagonal`` draws y = x for reference."""

    kind: Literal["curve"] = "curve"
    x_axis: Message
    y_axis: Message
    series: tuple[Series, ...]
    diagonal: bool = False
    x_log: bool = False
    y_log: bool = False


class Heatmap(EvidenceBase):
    """A matrix of numbers with labels, such as a confusion matrix. ``None`` cells are undefined."""

    kind: Literal["heatmap"] = "heatmap"
    row_axis: Message
    column_axis: Message
    row_labels: tuple[str, ...]
    column_labels: tuple[str, ...]
    values: tuple[tuple[float | None, ...], ...]


class Panel(Record):
    """One picture: grey values in [0, 1] and a signed overlay in [-1, 1], both height x width."""

    label: Message
    pixels: tuple[tuple[float, ...], ...]
    overlay: tuple[tuple[float, ...], ...] = ()


class Picture(EvidenceBase):
    """A row of pictures with overlays (attributions on images); ``scale`` says what +-1 stands for."""

    kind: Literal["picture"] = "picture"
    panels: tuple[Panel, ...]
    scale: Message


class Token(Record):
    """A piece of text and its signed weight in [-1, 1]."""

    text: str
    weight: float


class Tokens(EvidenceBase):
    """Highlighted text; ``separator`` stands between two tokens, ``scale`` says what +-1 stands for."""

    kind: Literal["tokens"] = "tokens"
    tokens: tuple[Token, ...]
    scale: Message
    separator: str = " "


class Note(EvidenceBase):
    """A paragraph."""

    kind: Literal["note"] = "note"
    body: Message


Evidence = Annotated[
    Table | Dots | Bars | Curve | Heatmap | Picture | Tokens | Note, Field(discriminator="kind")
]

"""Records in general, and the sentences in them."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Record(BaseModel):
    """Base of all records: frozen, unknown fields refused, never NaN or infinity."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Message(Record):
    """A sentence for a reader: an English template and the values that fill its ``{names}``.

    The template is the key of the translation. A text without values is taken literally, braces included.
    """

    text: str
    values: dict[str, str | int | float] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _from_text(cls, value: Any) -> Any:
        return {"text": value} if isinstance(value, str) else value

    def __str__(self) -> str:
        return self.text.format(**self.values) if self.values else self.text

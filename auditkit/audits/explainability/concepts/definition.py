"""What a user writes to say which rows show a concept."""

from pathlib import Path
from typing import Any, Literal, Self, get_args

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationInfo, model_validator

from auditkit.audits.audit import place_of
from auditkit.data.csv_texts import sha256_of_texts
from auditkit.data.picture_folder import sha256_of_pictures
from auditkit.errors import DataError

Pattern = Literal["horizontal-stripes", "vertical-stripes", "bright-centre", "bright-border"]
PATTERNS: tuple[Pattern, ...] = get_args(Pattern)


class ConceptDefinition(BaseModel):
    """One way to say which rows show a concept; exactly one of the four.

    ``feature`` with ``level`` or with ``above`` and ``below`` is a condition on a column, in the unit that
    the data have. ``tokens`` are words of a text. ``pattern`` is painted over half of the pictures.
    ``examples`` are rows that show the concept: a folder of pictures, a table with the columns of the data, a
    ``.npy`` file of pictures, or a ``.txt`` file with one text per line. The path starts at the folder of the
    config, else at the working directory.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    feature: str | None = Field(None, description="A column: an input, a sensitive or a control feature")
    level: tuple[str, ...] = Field((), description="The levels that show the concept")
    above: float | None = Field(None, description="The concept is a number above this")
    below: float | None = Field(None, description="The concept is a number below this")
    tokens: tuple[str, ...] = Field((), description="The concept is a text with any of these words")
    pattern: Pattern | None = Field(None, description="The concept is painted over pictures")
    examples: str | None = Field(None, description="A folder of pictures, or a file of rows, that show it")
    examples_sha256: str | None = Field(None, description="Of that folder or file; filled in")
    _place: Path | None = PrivateAttr(None)

    @model_validator(mode="before")
    @classmethod
    def _as_lists(cls, value: Any, info: ValidationInfo) -> Any:
        """A single level is a list of one, whatever YAML took it for; examples are known by digest."""
        if not isinstance(value, dict):
            return value
        found = dict(value)
        for key in ("level", "tokens"):
            if key in found:
                one = found[key]
                found[key] = [str(item) for item in (one if isinstance(one, list | tuple) else [one])]
        if isinstance(found.get("examples"), str) and found.get("examples_sha256") is None:
            found["examples_sha256"] = sha256_of_examples(place_of(found["examples"], info.context))
        return found

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        ways = [
            name
            for name in ("feature", "tokens", "pattern", "examples")
            if getattr(self, name) not in (None, ())
        ]
        if len(ways) != 1:
            raise ValueError(
                f"a concept is given by exactly one of feature, tokens, pattern and examples; got {ways}"
            )
        has_bounds = self.above is not None or self.below is not None
        if self.feature is not None and bool(self.level) == has_bounds:
            raise ValueError("a feature needs level, or above and/or below, but not both")
        if self.feature is None and (self.level or has_bounds):
            raise ValueError("level, above and below belong to feature")
        return self

    def model_post_init(self, context: Any, /) -> None:
        """Note where the examples are; the path stays as written, so that records are the same anywhere."""
        if self.examples is not None:
            self._place = place_of(self.examples, context)

    @property
    def is_folder(self) -> bool:
        """Whether the examples are a folder of pictures."""
        return self._place is not None and self._place.is_dir()

    @property
    def place(self) -> Path | None:
        """Where the examples are, as found when this was read."""
        return self._place


def sha256_of_examples(place: Path) -> str | None:
    """sha256 of a file or of a folder of pictures; ``None`` where there is none that can be read."""
    if not place.is_dir():
        return sha256_of_texts(str(place))
    try:
        return sha256_of_pictures(place)
    except (DataError, OSError):
        return None

"""Texts in the reader's language: one catalogue per language, numbers the same in all of them."""

import gettext
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Literal

from markupsafe import Markup, escape

from auditkit.records import Message

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = ("en", "zh")
DOMAIN = "auditkit"
VALUE_CONTEXT = "value"
"""Context of catalogue entries that stand for a value of a message rather than for a message."""

_STOPS = {"en": ".", "zh": "。"}
_BETWEEN: dict[str, tuple[str, str]] = {"en": (", ", "; "), "zh": ("、", "；")}


@dataclass(frozen=True, slots=True)
class Texts:
    """Translates templates and fills them. English is the key, so a missing entry reads as English."""

    language: Language
    catalogue: gettext.NullTranslations

    def text(self, template: str, **values: object) -> str:
        """The template in the reader's language, filled."""
        return _filled(self._translated(template), values)

    def rich(self, template: str, **values: object) -> Markup:
        """As :meth:`text`, as markup: values are escaped unless they are markup themselves."""
        return escape(self._translated(template)).format(**values)

    def plural(self, one: str, many: str, n: int, **values: object) -> str:
        """The form that fits ``n``; both forms may use ``{n}``."""
        return _filled(self.catalogue.ngettext(one, many, n), {"n": grouped(n), **values})

    def message(self, message: Message | None) -> str:
        """A stored message; empty for ``None``."""
        if message is None:
            return ""
        translated = self._translated(message.text)
        if not message.values:
            return translated
        return _filled(translated, {key: self._value(value) for key, value in message.values.items()})

    def list_of(self, items: Iterable[str]) -> str:
        """Short items in a row."""
        return _BETWEEN[self.language][0].join(items)

    def series_of(self, items: Iterable[str]) -> str:
        """Longer items in a row, that may hold commas themselves."""
        return _BETWEEN[self.language][1].join(items)

    def sentence(self, text: str) -> str:
        """A text as a sentence of its own: a capital first, a full stop last."""
        if not text:
            return ""
        is_closed = text.endswith((".", "!", "?", "。", "！", "？", ":", "："))
        return text[:1].upper() + text[1:] + ("" if is_closed else _STOPS[self.language])

    def _translated(self, template: str) -> str:
        # The empty key is the catalogue's own header.
        return self.catalogue.gettext(template) if template else ""

    def _value(self, value: str | int | float) -> str | int | float:
        """Values are data and stay as they are, but for the few known terms, alone or joined by ``"; "``."""
        if not isinstance(value, str):
            return value
        parts = [self.catalogue.pgettext(VALUE_CONTEXT, part) if part else "" for part in value.split("; ")]
        return self.series_of(parts) if parts != value.split("; ") else value


@cache
def texts_for(language: Language) -> Texts:
    """The texts of a language; English needs no catalogue."""
    if language == "en":
        return Texts("en", gettext.NullTranslations())
    home = files("auditkit.reporting") / "locales" / language / "LC_MESSAGES" / f"{DOMAIN}.mo"
    with home.open("rb") as file:
        return Texts(language, gettext.GNUTranslations(file))


def mark(template: str) -> str:
    """Marks a template for the catalogue where it is not translated on the spot."""
    return template


def grouped(n: int) -> str:
    """A count with its thousands set apart.

    >>> grouped(16281)
    '16,281'
    """
    return f"{n:,}"


def _filled(template: str, values: dict[str, object]) -> str:
    if not values:
        return template
    try:
        return template.format(**values)
    except (LookupError, ValueError, AttributeError, TypeError):
        # A stored text whose braces and values do not fit is shown as it is rather than losing the report.
        return template

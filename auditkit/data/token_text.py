"""Tokens as a reader sees them: marks for what is invisible, and what stands between two tokens of a text."""

import unicodedata
from collections.abc import Sequence

_MARKS = {" ": "␣", "\n": "↵", "\t": "⇥", "\r": "␍", "": "∅"}
"""Control pictures and arrows for characters that leave no ink."""

_GLUED = ("Ġ", "▁")
"""How byte-pair and sentence-piece vocabularies write where a word begins."""

_LEADING = {"Ġ": "␣", "▁": "␣", "Ċ": "↵"}


def visible(token: str) -> str:
    r"""A token with a mark for every space, line break and control character.

    >>> visible("\n"), visible("the"), visible("Ġcat")
    ('↵', 'the', '␣cat')
    """
    if token in _MARKS:
        return _MARKS[token]
    return "".join(_MARKS.get(one) or _LEADING.get(one) or _inked(one) for one in token)


def _inked(character: str) -> str:
    """The character, or its code point where it is a control or format character that shows nothing."""
    hidden = unicodedata.category(character) in {"Cc", "Cf", "Zl", "Zp", "Cs", "Cn"}
    return f"U+{ord(character):04X}" if hidden else character


def in_text(token: str) -> str:
    r"""A token within a text that is read: spaces stay, a line break is marked and breaks the line.

    >>> in_text("\n"), in_text("Ġcat"), in_text("\t")
    ('↵\n', ' cat', '⇥')
    """
    if not token:
        return visible(token)
    return visible(token).replace(_MARKS[" "], " ").replace(_MARKS["\n"], _MARKS["\n"] + "\n")


def between(vocabulary: Sequence[str]) -> str:
    """What stands between two tokens of a text: nothing for characters and pieces of words, else a space.

    >>> between(("<pad>", "a", "b")), between(("<pad>", "good", "film"))
    ('', ' ')
    """
    if any(token.startswith(_GLUED) for token in vocabulary):
        return ""
    plain = [token for token in vocabulary if not (len(token) > 1 and token[0] in "<[\\")]
    return " " if any(len(token) > 1 for token in plain) else ""

"""What a user set, in words."""

import re
from collections.abc import Callable, Mapping

_DIGEST = re.compile(r"[0-9a-f]{64}")


def setting(value: object, *, number: Callable[[float], str] = str) -> str:
    """One value: lists and mappings without brackets, digests cut, fractions as ``number`` writes them."""
    if isinstance(value, Mapping):
        parts = (f"{key} {setting(one, number=number)}" for key, one in value.items() if one is not None)
        return ", ".join(parts) or "none"
    if isinstance(value, list | tuple):
        joint = "; " if any(isinstance(one, Mapping) for one in value) else ", "
        return joint.join(setting(one, number=number) for one in value) or "none"
    if isinstance(value, float):
        return number(value)
    text = "none" if value is None else str(value)
    return f"{text[:8]}…{text[-4:]}" if _DIGEST.fullmatch(text) else text

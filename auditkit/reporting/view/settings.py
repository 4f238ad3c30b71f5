"""What a user set, in words."""

import re
from collections.abc import Mapping

from auditkit.reporting.numbers import decimal_shortest

_DIGEST = re.compile(r"[0-9a-f]{64}")


def setting(value: object) -> str:
    """One value: short numbers, lists and mappings without brackets, digests cut."""
    if isinstance(value, Mapping):
        parts = (f"{key} {setting(one)}" for key, one in value.items() if one is not None)
        return ", ".join(parts) or "none"
    if isinstance(value, list | tuple):
        joint = "; " if any(isinstance(one, Mapping) for one in value) else ", "
        return joint.join(setting(one) for one in value) or "none"
    if isinstance(value, float):
        return decimal_shortest(value)
    text = str(value)
    return f"{text[:8]}…{text[-4:]}" if _DIGEST.fullmatch(text) else text

"""What must hold before the first private step; each unmet condition is named with its remedy.

The guarantee of DP-SGD rests on every row's gradient depending on that row alone. Types are checked where
they are known, and the module itself is tried on random rows where they are not: nothing of the data is
used but the shape and type of a row.
"""

from auditkit.privacy.preflight.examine import examine, refuse_unsuitable
from auditkit.privacy.preflight.report import Check, PreflightReport

__all__ = ["Check", "PreflightReport", "examine", "refuse_unsuitable"]

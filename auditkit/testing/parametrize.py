"""The checks as tests of pytest."""

from collections.abc import Iterable
from typing import Any

from auditkit.audits.audit import Audit
from auditkit.testing.checks import audit_checks


def parametrize_audit_checks(audits: Iterable[Audit]) -> Any:
    """A decorator that runs a test once for every check of every audit, as its argument ``check``.

    >>> from auditkit.testing import parametrize_audit_checks
    >>> @parametrize_audit_checks([])
    ... def test_conformance(check):
    ...     check()
    """
    import pytest

    cases = [(audit.info.name, name, check) for audit in audits for name, check in audit_checks(audit)]
    return pytest.mark.parametrize(
        "check", [check for _, _, check in cases], ids=[f"{audit}: {name}" for audit, name, _ in cases]
    )

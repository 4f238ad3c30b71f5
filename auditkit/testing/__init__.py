"""The conformance kit for authors of audits: planted subjects and data, and the checks every audit must pass.

With pytest, one test covers them all::

    from auditkit.testing import parametrize_audit_checks
    from my_package import MyAudit

    @parametrize_audit_checks([MyAudit()])
    def test_conformance(check):
        check()

Without pytest, :func:`audit_checks` lists ``(name, callable)``; a callable that returns is a check that
passed, one that raises :class:`CheckError` says what was expected and what to do. Conformance is not
correctness: add a test with a planted truth, for example on :func:`linear_subject`, whose answers are known.
"""

from auditkit.testing.checks import CheckError, audit_checks
from auditkit.testing.language import tiny_language_dataset, tiny_language_subject
from auditkit.testing.parametrize import parametrize_audit_checks
from auditkit.testing.planted import PredictionsOnly, linear_subject, tiny_dataset, tiny_subject
from auditkit.testing.texts import tiny_text_dataset, tiny_text_subject
from auditkit.testing.values import linear_value_subject, tiny_value_dataset, tiny_value_subject

__all__ = [
    "CheckError",
    "PredictionsOnly",
    "audit_checks",
    "linear_subject",
    "linear_value_subject",
    "parametrize_audit_checks",
    "tiny_dataset",
    "tiny_language_dataset",
    "tiny_language_subject",
    "tiny_subject",
    "tiny_text_dataset",
    "tiny_text_subject",
    "tiny_value_dataset",
    "tiny_value_subject",
]

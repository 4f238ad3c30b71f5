"""Proof on the user's machine that the audits find planted faults and stay quiet without them."""

from auditkit.selftest.run import (
    Selftest,
    proof_line,
    run_selftest,
    selftest_document,
    selftest_lines,
)

__all__ = ["Selftest", "proof_line", "run_selftest", "selftest_document", "selftest_lines"]

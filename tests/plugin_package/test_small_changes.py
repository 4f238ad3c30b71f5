"""What the audit measures, on a subject whose answer is known; and the conformance of every audit."""

import numpy as np
import pytest
import torch
from auditkit_small_changes import SmallChanges

from auditkit.audits.audit import AuditContext
from auditkit.data.dataset import Dataset
from auditkit.testing import linear_subject, parametrize_audit_checks


@parametrize_audit_checks([SmallChanges()])
def test_conformance(check):
    check()


@pytest.mark.parametrize("step", [0.01, 0.1, 0.5])
def test_rows_flip_when_they_are_closer_to_the_boundary_than_the_step(step):
    """One input and a boundary at zero: exactly the rows with ``|x| < step * spread`` flip."""
    x = np.linspace(-1, 1, 1001) + 1e-4
    data = Dataset(
        name="line",
        source="memory",
        split=None,
        inputs=torch.from_numpy(x)[:, None].float(),
        y_true=(x > 0).astype(np.int64),
        classes=("no", "yes"),
    )
    output = SmallChanges(step=step).measure(linear_subject([1.0]), data, AuditContext(seed=0))
    assert output.measurements[0].value == np.mean(np.abs(x) < step * x.std())

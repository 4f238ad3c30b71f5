"""Evidence about trained PyTorch models.

The public names load lazily, so that ``import auditkit`` costs nothing and in particular does not
import torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from auditkit.audits.audit import Audit, AuditContext, AuditInfo, AuditOutput
    from auditkit.config import RunConfig, load_config
    from auditkit.data.dataset import Dataset
    from auditkit.jobs.audit import audit, prepare_audit
    from auditkit.jobs.retrain import retrain
    from auditkit.jobs.train import train
    from auditkit.records import Interval, Measurement, Run
    from auditkit.subjects.subject import Subject

_HOMES = {
    "Audit": "auditkit.audits.audit",
    "AuditContext": "auditkit.audits.audit",
    "AuditInfo": "auditkit.audits.audit",
    "AuditOutput": "auditkit.audits.audit",
    "Dataset": "auditkit.data.dataset",
    "Interval": "auditkit.records",
    "Measurement": "auditkit.records",
    "Run": "auditkit.records",
    "RunConfig": "auditkit.config",
    "Subject": "auditkit.subjects.subject",
    "audit": "auditkit.jobs.audit",
    "load_config": "auditkit.config",
    "prepare_audit": "auditkit.jobs.audit",
    "retrain": "auditkit.jobs.retrain",
    "train": "auditkit.jobs.train",
}

__all__ = [
    "Audit",
    "AuditContext",
    "AuditInfo",
    "AuditOutput",
    "Dataset",
    "Interval",
    "Measurement",
    "Run",
    "RunConfig",
    "Subject",
    "audit",
    "load_config",
    "prepare_audit",
    "retrain",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'auditkit' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])

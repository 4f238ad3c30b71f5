"""The three jobs as functions: train, audit, retrain with differential privacy."""

from auditkit.jobs.audit import audit
from auditkit.jobs.retrain import retrain
from auditkit.jobs.train import train

__all__ = ["audit", "retrain", "train"]

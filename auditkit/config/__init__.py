"""The config file: YAML 1.2 in, a frozen :class:`RunConfig` out, every problem with its position."""

from auditkit.config.load import load_config, read_document, validation_problems
from auditkit.config.model import (
    Architecture,
    DataConfig,
    ExecutionConfig,
    ReportConfig,
    RunConfig,
    SubjectConfig,
    TrainingConfig,
    TuningConfig,
    VariantConfig,
)

__all__ = [
    "Architecture",
    "DataConfig",
    "ExecutionConfig",
    "ReportConfig",
    "RunConfig",
    "SubjectConfig",
    "TrainingConfig",
    "TuningConfig",
    "VariantConfig",
    "load_config",
    "read_document",
    "validation_problems",
]

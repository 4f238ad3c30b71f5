"""The machine and the versions behind a run."""

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from auditkit import __version__
from auditkit.records import Environment

_PACKAGES = (
    "torch",
    "numpy",
    "scipy",
    "pandas",
    "captum",
    "opacus",
    "fairlearn",
    "scikit-learn",
    "duckdb",
    "transformers",
    "keras",
    "skops",
    "onnxruntime",
)


def describe_environment(device: str) -> Environment:
    """What made the figures."""
    return Environment(
        auditkit=__version__,
        python=platform.python_version(),
        platform=f"{platform.system()} {platform.machine()}",
        processor=_processor(),
        n_cpus=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        threads=torch.get_num_threads(),
        device=torch.cuda.get_device_name(device) if device.startswith("cuda") else "cpu",
        packages={name: found for name in _PACKAGES if (found := _version(name))},
    )


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            for line in file:
                if line.startswith("model name"):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()

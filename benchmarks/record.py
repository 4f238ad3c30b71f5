"""Where figures go: one JSON file per check, with the machine and versions that made them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from auditkit.jobs.environment import describe_environment

RESULTS = Path(__file__).parent / "results"


def missed(found: Mapping[str, Mapping[str, object]]) -> list[str]:
    """The checks whose figures missed their bar; one that has no bar cannot miss it."""
    return [name for name, figures in found.items() if not figures.get("holds", True)]


def write_result(name: str, figures: dict[str, object]) -> Path:
    """Write ``results/NAME.json``."""
    RESULTS.mkdir(exist_ok=True)
    document = {
        "check": name,
        "date": datetime.now(UTC).date().isoformat(),
        "figures": figures,
        "environment": describe_environment("cpu").model_dump(),
    }
    path = RESULTS / f"{name}.json"
    path.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    return path

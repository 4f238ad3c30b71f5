"""Job: the predictions of a subject as a table, and the config that audits the table instead of the model."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd

from auditkit.data.dataset import UNKNOWN, Dataset
from auditkit.errors import UsageError
from auditkit.jobs.prepare import Progress, Project, audit_data, no_progress, obtain_subject, open_project
from auditkit.subjects.subject import Predictions, Subject, values_of

_OFFLINE: dict[str, str | bool | int | float | list[str]] = {
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}


@dataclass(frozen=True, slots=True)
class PredictedTable:
    """What was written.

    Attributes:
        path: The Parquet file.
        n_rows: Rows in it.
        sections: ``subject:`` and ``data:`` of a config that audits it.
    """

    path: Path
    n_rows: int
    sections: dict[str, Any]


def predict(
    config: Path | str,
    *,
    out: Path,
    overrides: Sequence[str] = (),
    report_progress: Progress = no_progress,
) -> PredictedTable:
    """Write what the subject says of the audited rows, with everything that an audit of them needs.

    The table has the label, the prediction, the natural logarithm of every label's probability where the
    subject states them, the sensitive and control features, weight, person, and whether a row was trained on.
    Figures from it are those from the subject itself, to the last digit.

    Raises:
        UsageError: ``out`` is no ``.parquet``, or the subject predicts no labels.
    """
    if out.suffix != ".parquet":
        raise UsageError(f"--out {out}: expected a file that ends in .parquet")
    project = open_project(config, overrides)
    subject = obtain_subject(project, report_progress)
    if "values" in subject.capabilities:
        return _predict_values(project, subject, out)
    if "predictions" not in subject.capabilities:
        raise UsageError(
            f"{subject.card.title}: foretells tokens, not labels; a table of predictions needs a classifier"
        )
    data = audit_data(project, subject)
    predictions = subject.predict(data, batch_size=project.config.execution.batch_size)
    scored = "probabilities" in subject.capabilities
    table, roles = _table(data, predictions, scored=scored)
    write_parquet(table, out)
    sections = {"subject": {"predictions": str(out), "name": project.title}, "data": roles}
    return PredictedTable(out, len(table), sections)


def _predict_values(project: Project, subject: Subject, out: Path) -> PredictedTable:
    """The same for a subject that foretells numbers."""
    data = audit_data(project, subject)
    foretold = values_of(subject, data, batch_size=project.config.execution.batch_size)
    columns: dict[str, Any] = {}
    roles: dict[str, Any] = {"target": _add(columns, data.target, data.outcome), "task": "regression"}
    roles |= _group_roles(columns, data)
    roles["prediction"] = _add(columns, "prediction", foretold)
    roles |= _row_roles(columns, data)
    write_parquet(pd.DataFrame(columns), out)
    sections = {"subject": {"predictions": str(out), "name": project.title}, "data": roles}
    return PredictedTable(out, len(data), sections)


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """Write to a temporary name in the same folder and rename, so that no half file is left.

    Raises:
        UsageError: The place cannot be written.
    """
    temporary = path.with_name(f".{path.name}.part.parquet")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with duckdb.connect(":memory:", config=_OFFLINE) as connection:
            connection.register("written", table)
            connection.sql("SELECT * FROM written").write_parquet(str(temporary))
        temporary.replace(path)
    except (OSError, duckdb.Error) as error:
        raise UsageError(f"--out {path}: cannot be written: {str(error).splitlines()[0]}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _table(data: Dataset, predictions: Predictions, *, scored: bool) -> tuple[pd.DataFrame, dict[str, Any]]:
    """The columns, and the ``data:`` section that says what they mean."""
    columns: dict[str, Any] = {}
    classes = np.array([*data.classes, None], dtype=object)
    roles: dict[str, Any] = {"target": _add(columns, data.target, classes[data.y_true])}
    groups = _group_roles(columns, data)
    roles["prediction"] = _add(columns, "prediction", classes[predictions.y_pred])
    if scored:
        roles["score"] = {
            label: _add(columns, f"log_probability[{label}]", predictions.log_probabilities[:, index])
            for index, label in enumerate(data.classes)
        }
        roles["score_scale"] = "log-probability"
    if data.positive is not None:
        roles["positive"] = data.positive
    roles |= groups
    roles |= _row_roles(columns, data)
    return pd.DataFrame(columns), roles


def _add(columns: dict[str, Any], name: str, values: Any) -> str:
    """Put ``values`` under a name that is still free, and say which."""
    free = name
    while free.casefold() in {known.casefold() for known in columns}:
        free += "_"
    columns[free] = values
    return free


def _group_roles(columns: dict[str, Any], data: Dataset) -> dict[str, Any]:
    groups = {
        role: [_add(columns, name, _levels(column.levels, column.codes)) for name, column in found.items()]
        for role, found in (
            ("sensitive_features", data.sensitive_features),
            ("control_features", data.control_features),
        )
    }
    return {role: names for role, names in groups.items() if names}


def _row_roles(columns: dict[str, Any], data: Dataset) -> dict[str, Any]:
    single = (("weight", data.sample_weight), ("person", data.person), ("members", data.is_member))
    return {role: _add(columns, role, values) for role, values in single if values is not None}


def _levels(levels: tuple[str, ...], codes: Any) -> Any:
    """The group of every row; missing where it is unknown."""
    texts = np.array([None if level == UNKNOWN else level for level in levels], dtype=object)
    return texts[codes]

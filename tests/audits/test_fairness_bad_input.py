"""Every fairness audit on rows that have no answer: a figure with its support, a reason, or a clear error."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import pytest

from auditkit.__main__ import main
from auditkit.audits.audit import Audit
from auditkit.data.dataset import Dataset, GroupColumn
from auditkit.records import Measurement
from auditkit.registry import AUDITS
from auditkit.subjects.torch_subject import TorchSubject
from auditkit.testing import linear_subject, tiny_dataset, tiny_subject
from auditkit.testing.scene import Scene

QUICK = {"score-fairness": {"n_bootstrap": 50}}
"""Fewer resamples; what is refused does not depend on them."""


def fairness_audits() -> list[str]:
    """By area, so that an audit added later is tested without a word here."""
    return [name for name in AUDITS.names() if AUDITS.make(name, QUICK.get(name, {})).info.area == "fairness"]


def grouped(data: Dataset, levels: tuple[str, ...], codes: np.ndarray) -> Dataset:
    return replace(data, sensitive_features={"group": GroupColumn(levels, codes)})


def unknown(data: Dataset) -> Dataset:
    return replace(data, sensitive_features={"group": GroupColumn.from_values([None] * len(data))})


def many_groups(_: Dataset) -> Dataset:
    data = tiny_dataset(20_000, member_share=None)
    return grouped(data, tuple(f"{index:05d}" for index in range(10_000)), np.arange(20_000) % 10_000)


def nothing(_: Measurement) -> bool:
    return False


@dataclass(frozen=True)
class Case:
    """Rows, who judges them, and which figures must then be missing."""

    rows: Callable[[Dataset], Dataset]
    undefined: Callable[[Measurement], bool] = nothing
    subject: Callable[[], TorchSubject] = tiny_subject
    classes: int = 2


def silent_subject() -> TorchSubject:
    return linear_subject(np.zeros((2, 5)), classes=tiny_dataset().classes)


NEEDS_POSITIVE = {"true_positive_rate", "false_negative_rate", "auc", "mean_score_positive"}
NEEDS_SELECTED = {"positive_predictive_value", "false_discovery_rate"}
UNDECIDED = {
    f"{name}.{kind}"
    for name in ("selection_rate", "true_positive_rate", "false_positive_rate", "auc")
    for kind in ("difference", "ratio", "difference.smallest", "difference.largest")
}

CASES = {
    "single class": Case(
        lambda data: replace(data, y_true=np.zeros_like(data.y_true)),
        lambda one: one.metric.split(".")[0] in NEEDS_POSITIVE,
    ),
    "empty group": Case(
        lambda data: grouped(data, ("a", "b", "c"), data.sensitive_features["group"].codes),
        lambda one: one.group.get("group") == "c",
    ),
    "constant prediction": Case(
        lambda data: data,
        lambda one: one.metric.split(".")[0] in NEEDS_SELECTED and ".smallest" not in one.metric,
        silent_subject,
    ),
    "all unknown": Case(unknown, lambda one: one.across == ("group",)),
    "weights all zero": Case(
        lambda data: replace(data, sample_weight=np.zeros(len(data))), lambda one: bool(one.group)
    ),
    "ten thousand groups": Case(many_groups),
    "three classes and no positive one": Case(
        lambda data: replace(data, positive=None),
        lambda one: one.metric in UNDECIDED,
        lambda: tiny_subject(3),
        classes=3,
    ),
    "one row": Case(lambda data: data.take(np.array([0])), lambda one: bool(one.across)),
}


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
@pytest.mark.parametrize("name", fairness_audits())
def test_what_has_no_answer_gets_a_reason_and_no_number(name, case):
    audit: Audit = AUDITS.make(name, QUICK.get(name, {}))
    data = case.rows(tiny_dataset(200, classes=case.classes, member_share=None))
    outcome = Scene(audit, case.subject(), case.subject(), data).run()
    assert outcome.trace is None
    for result in outcome.results:
        assert result.status == "measured" or str(result.reason)
        for one in result.measurements:
            if one.value is None:
                assert str(one.missing)
            else:
                assert math.isfinite(one.value)
                assert one.n > 0, f"{one.metric} is {one.value} of no rows"
                assert not case.undefined(one), f"{one.metric} {one.group} is {one.value}"


# --- tables of predictions, through the command line ------------------------------------------------

TABLE = {
    "sex": ["F", "M"] * 30,
    "y": ["no", "yes", "yes"] * 20,
    "p": ["no", "no", "yes", "yes"] * 15,
    "s": [0.2, 0.4, 0.6, 0.8] * 15,
    "w": [1.0, 2.0] * 30,
}
CONFIG = """\
version: 1
subject: {predictions: table.csv}
data: {target: y, prediction: p, score: s, positive: "yes", sensitive_features: [sex], weight: w}
audits: {group-fairness: {}, score-fairness: {n_bootstrap: 50}, worst-slices: {}, disparity-bounds: {}}
"""


def audited(folder, **columns) -> int:
    table = {**TABLE, **columns}
    rows = zip(*table.values(), strict=True)
    lines = [",".join(table), *(",".join(str(value) for value in row) for row in rows)]
    (folder / "table.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "table.yaml").write_text(CONFIG, encoding="utf-8")
    return main(["run", str(folder / "table.yaml"), "--out", str(folder / "run")])


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"s": [0.2, 0.4, 0.6, 1.8] * 15}, "expected probabilities in [0, 1]"),
        ({"s": [-0.2, 0.4, 0.6, 0.8] * 15}, "expected probabilities in [0, 1]"),
        ({"s": ["", 0.4, 0.6, 0.8] * 15}, "lacks a value in 15 of 60 rows"),
        ({"s": ["high", 0.4, 0.6, 0.8] * 15}, "must hold numbers"),
        ({"w": [1.0, -2.0] * 30}, "weight"),
        ({"w": ["", 2.0] * 30}, "weight"),
        ({"y": ["no", "yes", "maybe"] * 20}, "a single column needs two classes"),
        ({"y": [""] * 60}, "y"),
        ({"y": ["no"] * 60}, "no label 'yes'. Known: no"),
    ],
)
def test_a_table_that_cannot_be_right_is_refused_before_work(tmp_path, capsys, columns, said):
    assert audited(tmp_path, **columns) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert not (tmp_path / "run" / "manifest.json").exists()


@pytest.mark.parametrize(
    "columns",
    [
        {"sex": [""] * 60},
        {"sex": ["F"] * 60},
        {"p": ["no"] * 60, "s": [0.1] * 60},
        {"w": [0.0] * 60},
        {"w": [0.0, 1.0] * 30},
    ],
    ids=["unknown", "one group", "constant", "zero weights", "a group without weight"],
)
def test_a_table_that_is_only_poor_is_reported_with_reasons(tmp_path, capsys, columns):
    code = audited(tmp_path, **columns)
    error = capsys.readouterr().err
    assert "Traceback" not in error
    assert code in {0, 3}
    assert (tmp_path / "run" / "manifest.json").exists()
    assert (tmp_path / "run" / "report.en.html").exists()

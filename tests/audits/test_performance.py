"""Performance: equal to scikit-learn, exact on planted tables, undefined where it cannot be told."""

import numpy as np
import pytest
from sklearn import metrics as oracle

from auditkit.audits.audit import AuditContext
from auditkit.audits.performance.performance import Performance
from auditkit.errors import DataError
from tests.fakes import TableSubject, predicting, scoring, table_card, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=3)
CLASSES = ("a", "b", "c", "d")


def figures(output):
    return {(m.metric, m.group.get("class")): m for m in output.measurements}


def multiclass(n=600, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(n, 4))
    log_probabilities = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    y_true = np.where(rng.random(n) < 0.5, log_probabilities.argmax(axis=1), rng.integers(0, 4, n))
    return TableSubject(table_card(CLASSES), log_probabilities), y_true


def binary(n=800, seed=0, sharpness=2.0):
    rng = np.random.default_rng(seed)
    signal = rng.normal(size=n)
    y_true = (rng.random(n) < 1 / (1 + np.exp(-2 * signal))).astype(int)
    return scoring(1 / (1 + np.exp(-sharpness * signal))), y_true


@pytest.mark.parametrize("weighted", [False, True])
def test_multiclass_figures_equal_scikit_learn(weighted):
    subject, y_true = multiclass()
    weights = np.random.default_rng(1).uniform(0.2, 3, len(y_true)) if weighted else None
    data = table_data(y_true, classes=CLASSES, positive=None, sample_weight=weights)
    found = figures(Performance().measure(subject, data, CONTEXT))
    y_pred, probabilities = subject.log_probabilities.argmax(axis=1), np.exp(subject.log_probabilities)
    options = {"sample_weight": weights}
    expected = {
        "accuracy": oracle.accuracy_score(y_true, y_pred, **options),
        "balanced_accuracy": oracle.balanced_accuracy_score(y_true, y_pred, **options),
        "log_loss": oracle.log_loss(y_true, probabilities, **options),
    }
    for name, value in expected.items():
        assert found[name, None].value == pytest.approx(value, **FLOAT)
    for name, score in (("recall", oracle.recall_score), ("precision", oracle.precision_score)):
        for label, value in zip(CLASSES, score(y_true, y_pred, average=None, **options), strict=True):
            assert found[name, label].value == pytest.approx(value, **FLOAT)


def test_binary_scores_equal_scikit_learn():
    subject, y_true = binary()
    found = figures(Performance().measure(subject, table_data(y_true), CONTEXT))
    score = np.exp(subject.log_probabilities[:, 1])
    assert found["auc", None].value == pytest.approx(oracle.roc_auc_score(y_true, score), **FLOAT)
    assert found["brier", None].value == pytest.approx(oracle.brier_score_loss(y_true, score), **FLOAT)


def test_the_declared_positive_label_turns_the_area_around_only_with_its_scores():
    subject, y_true = binary()
    yes = figures(Performance().measure(subject, table_data(y_true, positive="yes"), CONTEXT))
    no = figures(Performance().measure(subject, table_data(y_true, positive="no"), CONTEXT))
    assert no["auc", None].value == pytest.approx(yes["auc", None].value, **FLOAT)
    assert no["brier", None].value == pytest.approx(yes["brier", None].value, **FLOAT)


def test_every_figure_lies_in_an_interval():
    subject, y_true = binary()
    other, _ = binary(sharpness=3.0)
    data = table_data(y_true)
    for output in (
        Performance().measure(subject, data, CONTEXT),
        Performance().compare(subject, other, data, CONTEXT),
    ):
        for measurement in output.measurements:
            assert measurement.interval.low <= measurement.value <= measurement.interval.high


def test_a_perfect_subject_is_not_called_certain():
    y_true = np.array([0, 1] * 15)
    found = figures(Performance().measure(predicting(y_true), table_data(y_true), CONTEXT))
    for name in ("accuracy", "balanced_accuracy", "auc"):
        assert found[name, None].value == 1.0
        assert 0.8 < found[name, None].interval.low < 0.99


def test_accuracy_is_read_beside_always_guessing_the_most_frequent_class():
    y_true = np.array([0] * 9 + [1])
    found = figures(Performance().measure(predicting(np.zeros(10, dtype=int)), table_data(y_true), CONTEXT))
    assert found["accuracy", None].value == 0.9
    assert found["accuracy", None].note.values == {"label": "no", "percent": "90.0"}
    assert found["balanced_accuracy", None].value == 0.5


def test_an_absent_class_has_no_recall_and_is_named():
    data = table_data([0, 0, 1], classes=CLASSES, positive=None)
    found = figures(Performance().measure(predicting([0, 1, 1], classes=CLASSES), data, CONTEXT))
    assert found["recall", "c"].value is None
    assert "label" in str(found["recall", "c"].missing)
    assert found["precision", "d"].value is None
    assert found["balanced_accuracy", None].value == 0.75
    assert "c; d" in str(found["balanced_accuracy", None].note)


def test_one_label_alone_gives_no_area():
    found = figures(Performance().measure(predicting([1, 0, 1]), table_data([1, 1, 1]), CONTEXT))
    assert found["auc", None].value is None
    assert "both labels" in str(found["auc", None].missing)


def test_a_single_row_gives_figures_without_invented_intervals():
    found = figures(Performance().measure(predicting([1]), table_data([1]), CONTEXT))
    assert found["accuracy", None].interval.low < 0.05
    assert found["log_loss", None].interval is None
    assert "single row" in str(found["log_loss", None].note)


def test_whole_weights_equal_repeated_rows():
    subject, y_true = multiclass(120)
    weights = np.tile([1, 2, 3], 40)
    weighted = table_data(y_true, classes=CLASSES, positive=None, sample_weight=weights)
    rows = np.repeat(np.arange(120), weights)
    repeated = table_data(y_true, classes=CLASSES, positive=None).take(rows)
    one = figures(Performance().measure(subject, weighted, CONTEXT))
    other = figures(Performance().measure(subject, repeated, CONTEXT))
    for key, measurement in one.items():
        assert measurement.value == pytest.approx(other[key].value, **FLOAT)


def test_the_confusion_matrix_names_the_most_frequent_error():
    y_true, y_pred = [0, 0, 0, 1, 1, 2], [0, 1, 1, 1, 0, 2]
    data = table_data(y_true, classes=("a", "b", "c"), positive=None)
    output = Performance().measure(predicting(y_pred, classes=("a", "b", "c")), data, CONTEXT)
    heatmap = next(e for e in output.evidence if e.kind == "heatmap")
    assert heatmap.values == ((1, 2, 0), (1, 1, 0), (0, 0, 1))
    assert heatmap.title.values == {"label": "a", "prediction": "b", "n": 2, "rows": 3}


def test_changes_are_the_difference_of_the_figures():
    baseline, y_true = binary()
    variant, _ = binary(sharpness=0.5)
    noise = np.random.default_rng(1).normal(0, 0.5, len(y_true))
    variant = scoring(1 / (1 + np.exp(-(variant.log_probabilities @ [-1, 1] + noise))))
    data = table_data(y_true)
    before, after = (figures(Performance().measure(s, data, CONTEXT)) for s in (baseline, variant))
    changes = figures(Performance().compare(baseline, variant, data, CONTEXT))
    assert {name for name, _ in changes} == {
        "accuracy.change",
        "log_loss.change",
        "recall.change",
        "auc.change",
        "brier.change",
    }
    for (name, label), change in changes.items():
        key = name.removesuffix(".change"), label
        assert change.value == pytest.approx(after[key].value - before[key].value, **FLOAT)


def test_pairing_sees_a_change_that_separate_intervals_would_not():
    rng = np.random.default_rng(2)
    y_true = rng.integers(0, 2, 1000)
    right = rng.random(1000) < 0.8
    before = np.where(right, y_true, 1 - y_true)
    worse = right & (np.cumsum(right) > 25)
    after = np.where(worse, y_true, 1 - y_true)
    data = table_data(y_true)
    change = figures(Performance().compare(predicting(before), predicting(after), data, CONTEXT))[
        "accuracy.change", None
    ]
    apart = [
        figures(Performance().measure(predicting(p), data, CONTEXT))["accuracy", None]
        for p in (before, after)
    ]
    assert change.value == pytest.approx(-0.025, **FLOAT)
    assert change.interval.high < 0
    assert apart[1].interval.high > apart[0].interval.low


def test_an_unchanged_subject_has_no_change():
    subject, y_true = binary()
    changes = figures(Performance().compare(subject, subject, table_data(y_true), CONTEXT))
    for change in changes.values():
        assert change.value == 0
        assert change.interval.low <= 0 <= change.interval.high


@pytest.mark.proof
def test_accuracy_changes_are_covered():
    rng, runs, covered = np.random.default_rng(8), 300, 0
    for _ in range(runs):
        y_true = np.ones(60, dtype=int)
        before = (rng.random(60) < 0.8).astype(int)
        after = np.where(rng.random(60) < 0.3, (rng.random(60) < 0.6).astype(int), before)
        output = Performance().compare(predicting(before), predicting(after), table_data(y_true), CONTEXT)
        interval = figures(output)["accuracy.change", None].interval
        covered += interval.low <= 0.3 * (0.6 - 0.8) <= interval.high
    assert covered / runs > 0.95 - statistical(runs, p=0.05)


def test_rows_without_any_weight_are_refused_with_the_remedy():
    data = table_data([0, 1], sample_weight=[0.0, 0.0])
    with pytest.raises(DataError, match="Check the weight column"):
        Performance().measure(predicting([0, 1]), data, CONTEXT)


def test_a_class_whose_rows_carry_no_weight_has_no_recall():
    data = table_data([0, 1, 1], sample_weight=[0.0, 1.0, 1.0])
    found = figures(Performance().measure(predicting([0, 1, 0]), data, CONTEXT))
    assert found["recall", "no"].value is None
    assert "carry no weight" in str(found["recall", "no"].missing)
    assert found["recall", "yes"].value == 0.5

"""Attribute flips: the planted share, exactly nothing where nothing is read, and plain references."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import binomtest, norm

from auditkit.audits.audit import AuditContext
from auditkit.audits.fairness.attribute_flip import AttributeFlip
from auditkit.audits.fairness.attribute_flip_levels import Encoding, find_encoding
from auditkit.data.dataset import Dataset, FeatureSpace, GroupColumn
from auditkit.data.memory_table import MemoryTable
from auditkit.errors import DataError, UsageError
from auditkit.records import Message
from auditkit.selftest.subjects import logistic, rows_of, subject_of
from auditkit.statistics.intervals import wilson
from auditkit.statistics.multiplicity import holm
from auditkit.subjects.answers import certain
from auditkit.subjects.predictions_table import PredictionsTable
from auditkit.subjects.subject import Predictions
from auditkit.testing import PredictionsOnly
from tests.fakes import table_card
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=3)


def figures(output):
    return {
        f"{one.metric}[{','.join([f'{k}={v}' for k, v in one.group.items()] + list(one.across))}]": one
        for one in output.measurements
    }


def measured(subject, data, **parameters):
    return figures(AttributeFlip(**parameters).measure(subject, data, CONTEXT))


def with_group(n=2000, *, penalty=1.0, seed=0, one_hot=False):
    """A score, and whether the row is of group b, which costs ``penalty``; as one column or as two."""
    rng = np.random.default_rng(seed)
    score, is_b = rng.normal(size=n), rng.random(n) < 0.4
    columns = [score, ~is_b, is_b] if one_hot else [score, is_b]
    data = rows_of(np.column_stack(columns), score > 0, groups={"g": np.where(is_b, "b", "a").tolist()})
    owner = (0, 1, 1) if one_hot else (0, 1)
    weights = [8.0, 0.0, -8.0 * penalty] if one_hot else [8.0, -8.0 * penalty]
    return logistic(weights), replace(data, features=FeatureSpace(("score", "g"), owner)), score, is_b


# --- right figures ---------------------------------------------------------------------------------


@pytest.mark.parametrize("one_hot", [False, True])
@pytest.mark.parametrize("penalty", [0.3, 1.0])
def test_the_planted_share_is_found(one_hot, penalty):
    subject, data, score, _ = with_group(4000, penalty=penalty, one_hot=one_hot)
    found = measured(subject, data)
    hit = (score.astype(np.float32) > 0) & (score.astype(np.float32) <= np.float32(penalty))
    assert found["flip_rate[g]"].value == pytest.approx(hit.mean(), **FLOAT)
    truth = norm.cdf(penalty) - 0.5
    assert found["flip_rate[g]"].interval.low < truth < found["flip_rate[g]"].interval.high
    assert found["flip_rate[g]"].interval.low == pytest.approx(wilson(hit.sum(), 4000).low, **FLOAT)


@pytest.mark.proof
def test_the_planted_share_lies_within_its_interval_as_often_as_stated():
    truth, covered = norm.cdf(0.5) - 0.5, 0
    for seed in range(200):
        subject, data, _, _ = with_group(300, penalty=0.5, seed=seed)
        interval = measured(subject, data)["flip_rate[g]"].interval
        covered += interval.low <= truth <= interval.high
    assert abs(covered / 200 - 0.95) < statistical(200, p=0.95)


@pytest.mark.parametrize("one_hot", [False, True])
def test_a_blind_subject_never_flips(one_hot):
    subject, data, _, _ = with_group(penalty=0.0, one_hot=one_hot)
    found = measured(subject, data)
    assert found["flip_rate[g]"].value == 0
    assert found["score_change[g]"].value == 0
    assert found["flip_rate[g=a]"].value == found["flip_rate[g=b]"].value == 0
    assert found["favourable_change[from=a,to=b,g]"].value == 0
    assert found["flip_rate[g]"].interval.high > 0


def test_directions_and_groups_are_those_of_a_plain_loop():
    subject, data, score, is_b = with_group(500)
    found = measured(subject, data)
    score = score.astype(np.float32)
    now = score - is_b > 0
    raw_p = {}
    for name, own, then in (("a", ~is_b, score - 1 > 0), ("b", is_b, score > 0)):
        gained, lost = (then & ~now & own).sum(), (now & ~then & own).sum()
        assert found[f"flip_rate[g={name}]"].value == pytest.approx((gained + lost) / own.sum(), **FLOAT)
        pair = found[f"favourable_change[from={name},to={'ab'[name == 'a']},g]"]
        assert pair.value == pytest.approx((gained - lost) / own.sum(), **FLOAT)
        assert pair.note.values["gained"] == gained
        raw_p[name] = (binomtest(int(gained), int(gained + lost)).pvalue, pair.note.values["p"])
    adjusted = holm([raw for raw, _ in raw_p.values()])
    for expected, (_, stated) in zip(adjusted, raw_p.values(), strict=True):
        assert stated == pytest.approx(expected, rel=0.06)


def test_the_score_moves_by_the_mean_difference_of_probabilities():
    subject, data, score, is_b = with_group(300)
    chance = [1 / (1 + np.exp(-8 * (score - shift))) for shift in (0, 1)]
    expected = np.abs(chance[1] - chance[0]).mean()
    assert measured(subject, data)["score_change[g]"].value == pytest.approx(expected, abs=1e-6)
    assert is_b.any()


def three_levels(n=900, seed=0):
    rng = np.random.default_rng(seed)
    score, codes = rng.normal(size=n), rng.integers(0, 3, n)
    inputs = np.column_stack([score, codes[:, None] == np.arange(3)])
    data = rows_of(inputs, score > 0, groups={"g": np.array(["a", "b", "c"])[codes].tolist()})
    return (
        logistic([8.0, 0.0, -8.0, 4.0]),
        replace(data, features=FeatureSpace(("score", "g"), (0, 1, 1, 1))),
        score,
        codes,
    )


def test_any_of_several_levels_may_change_a_decision():
    subject, data, score, codes = three_levels()
    found = measured(subject, data)
    chosen = np.column_stack([score + shift > 0 for shift in (0.0, -1.0, 0.5)])
    own = chosen[np.arange(len(score)), codes]
    assert found["flip_rate[g]"].value == pytest.approx(
        (chosen != own[:, None]).any(axis=1).mean(), abs=0.002
    )
    assert sum(name.startswith("favourable_change") for name in found) == 6


def test_named_levels_alone_are_given():
    subject, data, _, codes = three_levels()
    found = measured(subject, data, levels={"g": ("b",)})
    assert [name for name in found if name.startswith("favourable")] == [
        "favourable_change[from=a,to=b,g]",
        "favourable_change[from=c,to=b,g]",
    ] or found["flip_rate[g]"].value is None
    assert (codes == 1).any()


def test_weights_that_are_whole_numbers_are_repeated_rows():
    subject, data, _, _ = with_group(200)
    weights = np.random.default_rng(1).integers(0, 4, 200)
    weighted = measured(subject, replace(data, sample_weight=weights.astype(float)))
    repeated = measured(subject, data.take(np.repeat(np.arange(200), weights)))
    for name in ("flip_rate[g]", "score_change[g]", "favourable_change[from=a,to=b,g]"):
        assert weighted[name].value == pytest.approx(repeated[name].value, **FLOAT)


def test_rows_of_one_person_widen_intervals():
    subject, data, _, _ = with_group(200)
    five = data.take(np.repeat(np.arange(200), 5))
    alone = measured(subject, five)
    shared = measured(subject, replace(five, person=np.repeat(np.arange(200), 5)))
    for name in ("flip_rate[g]", "score_change[g]", "favourable_change[from=a,to=b,g]"):
        widths = [one[name].interval.high - one[name].interval.low for one in (alone, shared)]
        assert widths[1] > 2 * widths[0]
    assert "no exact test" in shared["favourable_change[from=a,to=b,g]"].note.text


# --- encodings ---------------------------------------------------------------------------------------


def test_rows_of_a_table_are_encoded_as_if_they_had_been_read_with_the_other_level():
    """The same rows written with the other sex, read and encoded from the start, are what is asked about."""
    from auditkit.config.model import DataConfig
    from auditkit.data.preprocessing import encode, fit_preprocessing
    from auditkit.data.roles import rows_of_table

    rng = np.random.default_rng(0)
    sex = np.array(["f", "m"], dtype=object)[rng.integers(0, 2, 60)]
    other = np.where(sex == "f", "m", "f").astype(object)
    label = np.array(["no", "yes"], dtype=object)[rng.integers(0, 2, 60)]
    config = DataConfig(source="t", target="y", positive="yes", sensitive_features=["sex"])

    def read(column):
        table = MemoryTable("t", {"sex": column, "age": np.arange(60.0), "y": label})
        return rows_of_table(table, config, name="t", split=None)

    steps = fit_preprocessing(read(sex))
    data, swapped = encode(read(sex), steps), encode(read(other), steps)
    encoding = find_encoding(data, "sex", (), most=10)
    for position, level in enumerate(("f", "m")):
        given = encoding.with_level(data, position)
        rows = torch.from_numpy(other == level)
        assert torch.equal(given.inputs[rows], swapped.inputs[rows])


def test_inputs_that_the_attribute_decides_are_exchanged_with_it():
    subject, data, score, is_b = with_group(400)
    inputs = torch.column_stack([data.inputs, 3.0 - data.inputs[:, 1]])
    twice = replace(data, inputs=inputs, features=FeatureSpace(("score", "other_name", "code"), (0, 1, 2)))
    encoding = find_encoding(twice, "g", (), most=10)
    assert isinstance(encoding, Encoding)
    assert encoding.features == ("other_name", "code")
    found = measured(logistic([8.0, -8.0, 0.0]), twice)
    assert found["flip_rate[g]"].value == pytest.approx(
        measured(subject, data)["flip_rate[g]"].value, **FLOAT
    )
    assert len(score) == len(is_b)


def test_an_attribute_that_is_no_input_changes_nothing_by_construction():
    subject, data, _, _ = with_group()
    unrelated = replace(data, features=FeatureSpace(("score", "noise"), (0, 1)))
    unrelated.inputs[:, 1] = torch.from_numpy(np.random.default_rng(0).normal(size=2000)).float()
    found = measured(subject, unrelated)
    assert found["flip_rate[g]"].value == 0
    assert found["flip_rate[g]"].interval.method == "exact"
    assert "by construction" in found["flip_rate[g]"].note.text


def test_a_subject_that_looks_the_attribute_up_beside_the_inputs_is_asked():
    """Thresholds per group: the inputs say nothing of the group, the decision does."""
    _, data, score, is_b = with_group()
    data = replace(data, inputs=data.inputs[:, :1], features=FeatureSpace(("score",), (0,)))

    class PerGroup:
        card, capabilities = table_card(), frozenset({"predictions"})

        def predict(self, data, *, batch_size):
            threshold = data.sensitive_features["g"].codes.astype(float)
            chosen = data.inputs[:, 0].numpy() > threshold
            return Predictions(certain(chosen.astype(np.int64), 2))

    found = measured(PerGroup(), data)
    assert found["flip_rate[g]"].value == pytest.approx(((score > 0) & (score <= 1)).mean(), abs=1e-3)
    assert found["score_change[g]"].value is None
    assert is_b.any()


def test_columns_as_they_were_read_are_exchanged_too():
    """Codes of texts, NaN where missing, as a black box gets them."""
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 300).astype(float)
    codes[:10] = np.nan
    names = [None if np.isnan(code) else "fm"[int(code)] for code in codes]
    data = Dataset(
        name="raw",
        source="memory",
        split=None,
        inputs=torch.from_numpy(np.column_stack([codes, rng.normal(size=300)])),
        y_true=np.zeros(300, dtype=np.int64),
        classes=("no", "yes"),
        features=FeatureSpace(("sex", "x"), (0, 1), levels=(("f", "m"), ())),
        sensitive_features={"sex": GroupColumn.from_values(names)},
    )

    class OnlyMen:
        card, capabilities = table_card(), frozenset({"predictions"})

        def predict(self, data, *, batch_size):
            return Predictions(certain((data.inputs[:, 0].numpy() == 1).astype(np.int64), 2))

    output = AttributeFlip().measure(OnlyMen(), data, CONTEXT)
    assert figures(output)["flip_rate[sex]"].value == 1.0
    assert figures(output)["flip_rate[sex]"].n == 290
    assert any(note.values.get("n") == 10 for note in output.notes)


# --- what is missing -----------------------------------------------------------------------------------


def reason(found, name="flip_rate[g]"):
    assert found[name].value is None
    return str(found[name].missing)


def test_many_levels_need_names():
    rng = np.random.default_rng(0)
    age = rng.integers(20, 60, 800)
    data = rows_of(np.column_stack([age]), age > 40, groups={"age": age.astype(str).tolist()})
    data = replace(data, features=FeatureSpace(("age",), (0,)))
    subject = subject_of(torch.nn.Sequential(logistic([1.0]).copy_module()))
    assert "levels" in reason(measured(subject, data), "flip_rate[age]")
    found = measured(subject, data, levels={"age": ("25", "55")})
    assert found["flip_rate[age]"].value == 0


def test_a_level_with_several_codes_cannot_be_exchanged():
    subject, data, _, is_b = with_group(100)
    data.inputs[0, 1] = 0.5
    assert "several ways" in reason(measured(subject, data))
    assert len(is_b) == 100


def test_levels_that_do_not_occur_are_named():
    subject, data, _, _ = with_group(100)
    assert "do not occur: z" in reason(measured(subject, data, levels={"g": ("a", "z")}))


def test_an_attribute_that_is_none_is_refused():
    subject, data, _, _ = with_group(100)
    with pytest.raises(UsageError, match="no sensitive feature"):
        measured(subject, data, levels={"gender": ("a",)})


def test_a_table_of_predictions_cannot_be_asked():
    _, data, _, _ = with_group(100)
    table = PredictionsTable(table_card(), None, gives_probabilities=False)
    assert "table" in reason(measured(table, replace(data, predicted=data.y_true)))


@pytest.mark.parametrize(
    ("space", "words"),
    [(FeatureSpace(()), "no names"), (FeatureSpace((), (), (1, 2)), "no table")],
)
def test_inputs_without_names_have_a_reason(space, words):
    subject, data, _, _ = with_group(100)
    assert words in reason(measured(subject, replace(data, features=space)))


@pytest.mark.parametrize("names", [["a"] * 100, [None] * 100])
def test_one_level_cannot_be_exchanged(names):
    subject, data, _, _ = with_group(100)
    one = replace(data, sensitive_features={"g": GroupColumn.from_values(names)})
    assert "Fewer than two levels" in reason(measured(subject, one))


def test_no_weight_at_all_is_refused():
    subject, data, _, _ = with_group(50)
    with pytest.raises(DataError, match="weight 0"):
        measured(subject, replace(data, sample_weight=np.zeros(50)))


def test_labels_alone_have_no_score_and_three_classes_no_favourable_one():
    subject, data, _, _ = with_group(100)
    assert "no probabilities" in reason(measured(PredictionsOnly(subject), data), "score_change[g]")
    from auditkit.models.given_weights import linear_layer

    three = subject_of(linear_layer(torch.tensor([[0.0, 0.0], [8.0, -8.0], [4.0, 4.0]])), ("x", "y", "z"))
    found = measured(three, replace(data, classes=("x", "y", "z"), positive=None))
    assert found["flip_rate[g]"].value > 0
    assert found["score_change[g]"].value > 0
    assert "No positive label" in reason(found, "favourable_change[g]")


def test_reasons_are_messages():
    _, data, _, _ = with_group(50)
    assert isinstance(find_encoding(replace(data, features=FeatureSpace(())), "g", (), most=5), Message)

"""The loss attack: planted leaks are found, their absence is not reported as a leak, figures are exact."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import ks_2samp, ttest_ind

from auditkit.audits.audit import AuditContext
from auditkit.audits.privacy.loss_attack import RankedScores, advantage_dkw, auc_change, tpr_change, welch_gap
from auditkit.audits.privacy.membership_inference import AttackScores, MembershipInference
from auditkit.errors import DataError
from auditkit.records import Certificate, Curve, Dots
from auditkit.testing import tiny_language_dataset, tiny_language_subject
from tests.fakes import TableSubject, scoring, table_card, table_data
from tests.tolerances import FLOAT, statistical

CONTEXT = AuditContext(seed=1)


def data(n_in: int, n_out: int, *, classes: int = 2):
    """Members first; labels alternate."""
    n = n_in + n_out
    y_true = np.arange(n) % classes
    names = ("no", "yes") if classes == 2 else tuple("abcdefgh"[:classes])
    plain = table_data(y_true, classes=names, positive=None)
    return replace(plain, is_member=np.arange(n) < n_in)


def losing(losses, dataset) -> TableSubject:
    """A subject whose cross-entropy on row ``i`` is ``losses[i]``."""
    right = np.exp(-np.asarray(losses, dtype=np.float64))
    rest = len(dataset.classes) - 1
    table = np.repeat(np.log(np.clip((1 - right) / rest, 1e-300, None))[:, None], rest + 1, axis=1)
    table[np.arange(len(right)), dataset.y_true] = -np.asarray(losses, dtype=np.float64)
    return TableSubject(table_card(dataset.classes), table)


def figures(output) -> dict:
    return {measurement.metric: measurement for measurement in output.measurements}


def measured(losses, dataset, **parameters) -> dict:
    return figures(MembershipInference(**parameters).measure(losing(losses, dataset), dataset, CONTEXT))


# --- planted truth ----------------------------------------------------------------------------------


def test_a_memorising_table_is_recognised_entirely():
    dataset = data(2000, 2000)
    losses = np.where(dataset.is_member, 0.0, np.random.default_rng(0).uniform(0.1, 3, 4000))
    found = measured(losses, dataset)
    assert found["auc"].value == 1.0
    assert found["tpr_at_fpr_0.001"].value == found["tpr_at_fpr_0.01"].value == 1.0
    assert found["advantage"].value == 1.0
    assert found["auc"].interval.low > 0.99
    assert found["loss_gap"].interval.low > 1


def test_a_few_memorised_rows_show_at_small_false_positive_rates_only():
    rng = np.random.default_rng(0)
    dataset = data(4000, 4000)
    losses = rng.exponential(size=8000) + 0.1
    losses[:200] = 0.0
    found = measured(losses, dataset)
    assert found["tpr_at_fpr_0.001"].value == pytest.approx(0.05, abs=0.005)
    assert found["tpr_at_fpr_0.001"].interval.low > 0.04
    assert found["auc"].value < 0.55


@pytest.mark.parametrize(("n_in", "n_out"), [(300, 300), (1000, 200)])
def test_without_a_leak_the_intervals_cover_its_absence(n_in, n_out):
    """Same distribution of losses: AUC 0.5, TPR equal to the FPR, no advantage, no gap."""
    rng = np.random.default_rng(0)
    dataset, runs = data(n_in, n_out), 300
    audit = MembershipInference(false_positive_rates=(0.05,))
    truth = {"auc": 0.5, "tpr_at_fpr_0.05": 0.05, "advantage": 0.0, "loss_gap": 0.0}
    covered = dict.fromkeys(truth, 0)
    for _ in range(runs):
        losses = rng.exponential(size=n_in + n_out)
        for measurement in audit.figures(AttackScores.of(-losses, dataset.is_member)):
            interval = measurement.interval
            covered[measurement.metric] += interval.low <= truth[measurement.metric] <= interval.high
    slack = statistical(runs, p=0.95)
    assert all(count / runs >= 0.95 - slack for count in covered.values()), covered
    # DeLong and Welch are not needlessly wide
    assert covered["auc"] / runs <= 0.95 + slack
    assert covered["loss_gap"] / runs <= 0.95 + slack


def naive_tpr(in_scores, out_scores, fpr):
    """Try every threshold."""
    best = 0.0
    for threshold in [*in_scores, *out_scores, -math.inf]:
        if np.sum(out_scores > threshold) <= fpr * len(out_scores) + 1e-9:
            best = max(best, float(np.mean(in_scores > threshold)))
    return best


@settings(max_examples=40, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.integers(20, 60), st.integers(20, 60), st.sampled_from([0.05, 0.1, 0.3]))
def test_figures_equal_a_naive_reference_with_ties(seed, n_in, n_out, fpr):
    rng = np.random.default_rng(seed)
    dataset = data(n_in, n_out)
    losses = rng.integers(0, 12, n_in + n_out) / 4
    found = measured(losses, dataset, false_positive_rates=(fpr,))
    members, others = -losses[:n_in], -losses[n_in:]
    pairs = np.sign(members[:, None] - others[None, :])
    assert found["auc"].value == pytest.approx(float((pairs + 1).mean() / 2), **FLOAT)
    assert found[f"tpr_at_fpr_{fpr:g}"].value == pytest.approx(naive_tpr(members, others, fpr), **FLOAT)
    reference = max(0.0, ks_2samp(members, others, alternative="less").statistic)
    assert found["advantage"].value == pytest.approx(reference, **FLOAT)


def test_the_loss_gap_is_that_of_welch():
    rng = np.random.default_rng(3)
    high, low = rng.normal(1, 2, 40), rng.normal(0, 1, 25)
    value, interval = welch_gap(high, low, confidence=0.9)
    expected = ttest_ind(high, low, equal_var=False).confidence_interval(0.9)
    assert value == pytest.approx(high.mean() - low.mean(), **FLOAT)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high), **FLOAT)


def test_the_gap_is_positive_when_members_lose_less():
    dataset = data(50, 50)
    losses = np.where(dataset.is_member, 0.2, 0.7)
    assert measured(losses, dataset)["loss_gap"].value == pytest.approx(0.5)


# --- what the figures say of themselves -----------------------------------------------------------


def test_figures_are_about_this_attack_and_say_so():
    found = measured(np.linspace(0.1, 1, 3000), data(1000, 2000))
    for name in ("auc", "tpr_at_fpr_0.001", "tpr_at_fpr_0.01", "advantage"):
        assert (found[name].kind, found[name].better, found[name].unit) == ("estimate", "lower", "1")
        assert found[name].interval is not None
        assert "stronger attack" in str(found[name].note)
    assert found["auc"].n == 3000
    assert found["tpr_at_fpr_0.01"].n == 1000
    assert (found["loss_gap"].kind, found["loss_gap"].unit) == ("estimate", "nat")


def test_a_rate_that_the_sample_cannot_resolve_is_missing_with_the_needed_number():
    found = measured(np.linspace(0.1, 1, 1000), data(100, 900))
    assert found["tpr_at_fpr_0.001"].value is None
    assert "1000 non-members; there are 900" in str(found["tpr_at_fpr_0.001"].missing)
    assert found["tpr_at_fpr_0.01"].value is not None
    assert measured(np.linspace(0.1, 1, 1100), data(100, 1000))["tpr_at_fpr_0.001"].value is not None


@pytest.mark.parametrize(("n_in", "n_out"), [(5, 0), (0, 5)])
def test_members_alone_or_others_alone_give_reasons_and_no_figures(n_in, n_out):
    found = measured(np.linspace(0.1, 1, 5), data(n_in, n_out))
    assert set(found) == {"auc", "tpr_at_fpr_0.001", "tpr_at_fpr_0.01", "advantage", "loss_gap"}
    assert all(one.value is None and f"{n_in} and {n_out}" in str(one.missing) for one in found.values())


def test_one_row_of_each_is_enough_for_an_area_and_too_few_for_a_gap():
    found = measured([0.1, 0.9], data(1, 1))
    assert found["auc"].value == 1.0
    assert found["auc"].interval.low < 0.5
    assert found["loss_gap"].value is None


def test_unknown_membership_is_refused_with_the_remedy():
    dataset = table_data([0, 1])
    with pytest.raises(DataError, match=r"data\.members"):
        MembershipInference().measure(scoring([0.2, 0.7]), dataset, CONTEXT)


def test_a_certificate_is_mentioned_and_not_recomputed():
    dataset = data(100, 100)
    certificate = Certificate(
        epsilon=2.5,
        delta=1e-5,
        adjacency="add or remove one row",
        unit_of_privacy="row",
        noise_multiplier=1.0,
        sample_rate=0.1,
        steps=10,
        max_grad_norm=1.0,
        normaliser=10.0,
        accountant="test",
        certified=False,
    )
    subject = losing(np.linspace(0.1, 1, 200), dataset)
    private = replace(subject, card=subject.card.model_copy(update={"certificate": certificate}))
    plain = MembershipInference().measure(subject, dataset, CONTEXT)
    found = MembershipInference().measure(private, dataset, CONTEXT)
    assert found.measurements == plain.measurements
    assert plain.notes == []
    assert "epsilon 2.5" in str(found.notes[0])


def test_persons_with_several_rows_are_pointed_out():
    dataset = replace(data(10, 10), person=np.arange(20) // 2)
    notes = MembershipInference().measure(losing(np.linspace(0.1, 1, 20), dataset), dataset, CONTEXT).notes
    assert "several rows" in str(notes[0])


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.1])
def test_rates_outside_zero_and_one_are_refused(wrong):
    with pytest.raises(ValueError, match="between 0 and 1"):
        MembershipInference(false_positive_rates=(wrong,))


# --- evidence ---------------------------------------------------------------------------------------


def evidence(losses, dataset):
    output = MembershipInference().measure(losing(losses, dataset), dataset, CONTEXT)
    curve, dots = output.evidence
    assert isinstance(curve, Curve)
    assert isinstance(dots, Dots)
    return curve, dots


def test_the_roc_curve_rises_on_log_axes_and_holds_the_measured_rates():
    rng = np.random.default_rng(0)
    dataset = data(3000, 2000)
    losses = np.where(dataset.is_member, rng.exponential(0.5, 5000), rng.exponential(1, 5000))
    curve, _ = evidence(losses, dataset)
    series = curve.series[0]
    assert curve.x_log
    assert curve.y_log
    assert curve.diagonal
    assert 20 <= len(series.x) <= 60
    assert list(series.x) == sorted(series.x)
    assert list(series.y) == sorted(series.y)
    assert (series.x[-1], series.y[-1]) == (1.0, 1.0)
    assert min(*series.x, *series.low) > 0
    assert all(low <= y <= high for low, y, high in zip(series.low, series.y, series.high, strict=True))
    members, others = -losses[:3000], -losses[3000:]
    for x, y in list(zip(series.x, series.y, strict=True))[::10]:
        assert y == pytest.approx(naive_tpr(members, others, x), **FLOAT)


def test_the_class_that_leaks_is_named():
    rng = np.random.default_rng(0)
    dataset = data(1500, 1500, classes=3)
    losses = rng.exponential(size=3000) + 0.01
    leaking = dataset.is_member & (dataset.y_true == 1)
    losses[leaking] /= 10
    curve, dots = evidence(losses, dataset)
    assert str(dots.title) == "Members of class b are told apart most clearly"
    assert [mark.label for mark in dots.marks] == ["all rows", "a", "b", "c"]
    assert "tells members from others" in str(curve.title)


def test_without_a_leak_the_titles_claim_none_and_promise_nothing():
    losses = np.random.default_rng(1).exponential(size=2000)
    curve, dots = evidence(losses, data(1000, 1000))
    assert "not shown to do better than guessing" in str(curve.title)
    assert str(dots.title) == "In no class is the attack shown to do better than guessing"


def test_a_class_without_members_is_drawn_as_absent():
    dataset = data(40, 40)
    dataset = replace(dataset, y_true=np.where(dataset.is_member, 0, dataset.y_true))
    _, dots = evidence(np.linspace(0.1, 1, 80), dataset)
    absent = dots.marks[2].estimate
    assert absent.value is None
    assert "0 members" in str(absent.missing)


# --- paired differences ------------------------------------------------------------------------------


def changed(before, after, dataset, **parameters) -> dict:
    audit = MembershipInference(n_bootstrap=200, **parameters)
    return figures(audit.compare(losing(before, dataset), losing(after, dataset), dataset, CONTEXT))


def test_a_subject_does_not_differ_from_itself():
    dataset = data(1500, 1500)
    losses = np.random.default_rng(0).exponential(size=3000)
    found = changed(losses, losses, dataset)
    for name in ("auc.change", "tpr_at_fpr_0.01.change", "loss_gap.change"):
        interval = found[name].interval
        assert (found[name].value, interval.low, interval.high) == (0.0, 0.0, 0.0)
        assert found[name].kind == "estimate"


def test_a_variant_that_forgets_leaks_less():
    rng = np.random.default_rng(0)
    dataset = data(1500, 1500)
    losses = rng.exponential(size=3000) + 0.05
    memorised = np.where(dataset.is_member, losses / 20, losses)
    found = changed(memorised, losses, dataset)
    assert found["auc.change"].interval.high < -0.3
    assert found["tpr_at_fpr_0.01.change"].interval.high < -0.3
    assert found["loss_gap.change"].interval.high < -0.5
    assert "needs 10000 non-members" in str(found["tpr_at_fpr_0.001.change"].missing)


def test_two_perfect_attacks_differ_by_zero_with_an_interval_that_is_not():
    dataset = data(50, 50)
    one = np.where(dataset.is_member, 0.1, np.linspace(1, 2, 100))
    other = np.where(dataset.is_member, np.linspace(0.1, 0.2, 100), 3.0)
    found = changed(one, other, dataset)["auc.change"]
    assert found.value == 0
    assert found.interval.low < 0 < found.interval.high
    assert found.interval.method == "mover"


def test_changes_need_members_and_others():
    found = changed([0.1, 0.2], [0.1, 0.2], data(2, 0))
    assert found["auc.change"].value is None


def correlated(rng, n_in, n_out, *, shift_before, shift_after):
    """Scores of two models that share most of their noise."""
    common = rng.normal(size=n_in + n_out)
    scores = []
    for shift in (shift_before, shift_after):
        one = common + 0.5 * rng.normal(size=n_in + n_out)
        one[:n_in] += shift
        scores.append((one[:n_in], one[n_in:]))
    return scores


def true_auc(shift: float) -> float:
    return 0.5 * (1 + math.erf(shift / math.sqrt(1.25) / 2))


def test_the_interval_of_a_changed_area_covers_the_truth():
    rng = np.random.default_rng(0)
    runs, hits, widths = 400, 0, []
    truth = true_auc(0.3) - true_auc(1.0)
    for _ in range(runs):
        before, after = correlated(rng, 150, 250, shift_before=1.0, shift_after=0.3)
        _, interval = auc_change(before, after, confidence=0.95)
        hits += interval.low <= truth <= interval.high
        widths.append(interval.high - interval.low)
    assert abs(hits / runs - 0.95) <= statistical(runs, p=0.95)
    # pairing pays: unpaired areas of these sizes would differ by about 0.15
    assert np.mean(widths) < 0.12


def test_the_interval_of_a_changed_rate_covers_the_truth():
    rng = np.random.default_rng(0)
    runs, hits, spread = 200, 0, math.sqrt(1.25)
    rate = [0.5 * math.erfc((1.2815515655446004 - s / spread) / math.sqrt(2)) for s in (1.5, 0.2)]
    for _ in range(runs):
        before, after = correlated(rng, 300, 400, shift_before=1.5, shift_after=0.2)
        _, interval = tpr_change(before, after, fpr=0.1, n_bootstrap=200, confidence=0.95, rng=rng)
        hits += interval.low <= rate[1] - rate[0] <= interval.high
    assert hits / runs >= 0.93 - statistical(runs, p=0.95)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.sampled_from([0.05, 0.1, 0.5]))
def test_counting_a_row_several_times_is_repeating_it(seed, fpr):
    rng = np.random.default_rng(seed)
    members, others = rng.integers(0, 9, 30).astype(float), rng.integers(0, 9, 40).astype(float)
    in_counts, out_counts = (np.bincount(rng.integers(0, n, n), minlength=n) for n in (30, 40))
    found = RankedScores(members, others).tpr(in_counts, out_counts, fpr)
    repeated = np.repeat(members, in_counts), np.repeat(others, out_counts)
    assert found == pytest.approx(naive_tpr(*repeated, fpr), **FLOAT)


def test_the_change_of_a_rate_is_the_difference_of_two_rates():
    rng = np.random.default_rng(2)
    before, after = correlated(rng, 30, 40, shift_before=1.0, shift_after=0.0)
    value, _ = tpr_change(before, after, fpr=0.1, n_bootstrap=200, confidence=0.95, rng=rng)
    assert value == pytest.approx(naive_tpr(*after, 0.1) - naive_tpr(*before, 0.1), **FLOAT)


# --- invariances ------------------------------------------------------------------------------------


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6))
def test_the_order_of_rows_and_rising_transformations_change_no_rate(seed):
    rng = np.random.default_rng(seed)
    dataset = data(60, 50)
    losses = rng.exponential(size=110)
    order = rng.permutation(110)
    audit = MembershipInference(false_positive_rates=(0.1,))
    straight = figures(audit.measure(losing(losses, dataset), dataset, CONTEXT))
    shuffled = figures(audit.measure(losing(losses, dataset), dataset.take(order), CONTEXT))
    bent = figures(audit.measure(losing(losses**3, dataset), dataset, CONTEXT))
    for name in ("auc", "tpr_at_fpr_0.1", "advantage"):
        assert straight[name].value == pytest.approx(shuffled[name].value, **FLOAT)
        assert straight[name].value == pytest.approx(bent[name].value, **FLOAT)


def test_swapped_sides_give_the_complement():
    rng = np.random.default_rng(0)
    one, other = rng.normal(1, 1, 40), rng.normal(0, 1, 60)
    forwards, _ = advantage_dkw(one, other, confidence=0.95)
    assert forwards == pytest.approx(ks_2samp(one, other, alternative="less").statistic, **FLOAT)
    area = float(np.mean(one[:, None] > other[None, :]))
    found, _ = auc_change((one, other), (-one, -other), confidence=0.95)
    assert found == pytest.approx(1 - 2 * area, **FLOAT)


def test_the_same_seed_gives_the_same_intervals():
    dataset = data(1200, 1200)
    rng = np.random.default_rng(0)
    before, after = rng.exponential(size=2400), rng.exponential(size=2400)
    assert changed(before, after, dataset) == changed(before, after, dataset)


# --- models of language ----------------------------------------------------------------------------


def remembering_language(n_known):
    """A model whose loss is small on the first rows of its data, whatever their tokens."""
    rows = tiny_language_dataset(80, member_share=0.5)
    subject = tiny_language_subject()

    class Knows:
        card, capabilities = subject.card, subject.capabilities

        def predict(self, data, *, batch_size):
            return subject.predict(data, batch_size=batch_size)

        def token_losses(self, data, *, batch_size):
            losses = subject.token_losses(data, batch_size=batch_size)
            known = (np.arange(len(data)) < n_known)[:, None]
            return replace(losses, nats=np.where(known, 1e-3 * losses.nats, losses.nats + losses.counted))

    return Knows(), rows


def test_rows_that_a_model_of_language_remembers_are_recognised_by_the_mean_loss_of_their_tokens():
    subject, rows = remembering_language(40)
    output = MembershipInference().measure(subject, rows, CONTEXT)
    assert figures(output)["auc"].value == 1.0
    assert any("mean over its tokens" in str(note) for note in output.notes)


def test_a_model_of_language_has_no_chart_of_classes():
    output = MembershipInference().measure(tiny_language_subject(), tiny_language_dataset(80), CONTEXT)
    assert [type(one) for one in output.evidence] == [Curve]
    assert 0 < figures(output)["auc"].value < 1

"""Every audit on every subject: isolated, recorded whatever happens, keyed by the content that made it."""

import re

import numpy as np
import pytest

from auditkit import runner as runner_module
from auditkit.execution.executor import ProcessExecutor, SerialExecutor
from auditkit.runner import ResultShelf, Runner, unmet_requirements
from auditkit.store import RunFolder
from tests.core import probes
from tests.core.probes import bench, rows, state_of_process, subject
from tests.core.test_isolation import state_of
from tests.tolerances import SAME_RUN


def run(*audits, executor=None, shelf=None, **more):
    """Results by (audit, subject, against)."""
    events = more.pop("events", [])
    results = Runner(
        bench=bench(*audits, **more),
        executor=executor or SerialExecutor(),
        shelf=shelf or ResultShelf(),
        observe=lambda event, details: events.append((event, details)),
    ).run()
    return {(result.audit, result.subject, result.against): result for result in results}


def only(*audits, **more):
    results = run(*audits, **more)
    assert len(results) == 1
    return next(iter(results.values()))


def values(result) -> dict:
    return {measurement.metric: measurement.value for measurement in result.measurements}


# --- what is recorded ------------------------------------------------------------------------------


def test_a_result_carries_all_that_a_report_needs():
    result = only(probes.MeanScore(scale=2.0))
    assert (result.audit, result.version, result.area, result.subject) == (
        "mean-score",
        1,
        "performance",
        "baseline",
    )
    assert str(result.question) == "What does mean-score say?"
    assert result.params == {"scale": 2.0}
    assert [str(limit) for limit in result.limits] == ["A mean hides the rows."]
    assert result.cost.duration_s > 0
    assert re.fullmatch("[0-9a-f]{64}", result.key)


def test_results_come_in_the_order_of_audits_then_subjects_then_comparisons():
    subjects = {"baseline": subject(0), "dp-3": subject(1, "dp-3")}
    assert list(run(probes.PairedMean(), probes.Draw(), subjects=subjects)) == [
        ("paired-mean", "baseline", None),
        ("paired-mean", "dp-3", None),
        ("paired-mean", "dp-3", "baseline"),
        ("draw", "baseline", None),
        ("draw", "dp-3", None),
    ]


def test_only_paired_audits_are_compared_and_the_change_is_variant_minus_baseline():
    subjects = {"baseline": subject(0), "dp-3": subject(1, "dp-3")}
    results = run(probes.PairedMean(), probes.MeanScore(), subjects=subjects)
    assert ("mean-score", "dp-3", "baseline") not in results
    change = values(results["paired-mean", "dp-3", "baseline"])["value.change"]
    means = [values(results["paired-mean", name, None])["value"] for name in ("dp-3", "baseline")]
    assert change == pytest.approx(means[0] - means[1], **SAME_RUN)


def test_every_subject_gets_the_same_random_stream():
    results = run(probes.Draw(), subjects={"baseline": subject(0), "dp-3": subject(1, "dp-3")})
    assert values(results["draw", "baseline", None]) == values(results["draw", "dp-3", None])


def test_an_audit_draws_the_same_whatever_runs_beside_it():
    alone = run(probes.Draw(), seed=4)["draw", "baseline", None]
    beside = run(probes.MeanScore(), probes.Draw(), seed=4)["draw", "baseline", None]
    other_seed = run(probes.Draw(), seed=5)["draw", "baseline", None]
    assert values(alone) == values(beside)
    assert values(alone) != values(other_seed)


def test_members_are_kept_from_audits_that_do_not_ask_for_them():
    results = run(probes.Members(), probes.HeldOut(), data=rows(40, members=15))
    assert values(results["members", "baseline", None])["value"] == 40
    assert values(results["held-out", "baseline", None])["value"] == 25


# --- what cannot run -------------------------------------------------------------------------------


def test_an_audit_whose_needs_are_unmet_is_skipped_with_all_of_them():
    result = only(probes.Needing(), data=rows(sensitive=False))
    assert result.status == "skipped"
    reason = str(result.reason)
    assert "data.members" in reason
    assert "data.sensitive_features" in reason
    assert "training record" in reason
    assert "gradients" not in reason


@pytest.mark.parametrize(("members", "unmet"), [(0, ["members"]), (40, ["members"]), (15, [])])
def test_members_are_needed_on_both_sides(members, unmet):
    assert unmet_requirements(probes.Members(), subject(), rows(40, members=members)) == unmet


def test_a_comparison_is_skipped_when_either_side_lacks_something():
    class PairedNeeding(probes.PairedMean):
        info = probes.info("paired-needing", requires=frozenset({"positive", "recipe"}))

    subjects = {"baseline": subject(0), "dp-3": subject(1, "dp-3")}
    results = run(PairedNeeding(), subjects=subjects)
    assert {result.status for result in results.values()} == {"skipped"}


def test_a_need_that_nothing_meets_is_named_as_it_is():
    class Demanding(probes.MeanScore):
        info = probes.info("demanding", requires=frozenset({"omniscience"}))

    result = only(Demanding())
    assert (result.status, str(result.reason)) == ("skipped", "It needs omniscience.")


# --- what goes wrong -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("audit", "reason"),
    [
        (probes.Raising(), "ZeroDivisionError: by design"),
        (probes.Raising(kind="ours"), "the column is empty"),
        (probes.Raising(kind="exit"), "SystemExit: 0"),
        (probes.Returning(what="nothing"), "not a valid output: got NoneType, expected AuditOutput"),
        (probes.Returning(what="text"), "not a valid output: got str, expected AuditOutput"),
        (probes.Returning(what="rubbish"), "not a valid output: "),
    ],
)
def test_a_failure_is_recorded_with_its_reason_and_the_rest_goes_on(audit, reason):
    results = run(audit, probes.MeanScore())
    failed = results[audit.info.name, "baseline", None]
    assert failed.status == "failed"
    assert reason in str(failed.reason)
    assert failed.measurements == ()
    assert results["mean-score", "baseline", None].status == "measured"


def test_the_traceback_of_an_unforeseen_error_is_observed_that_of_ours_is_not():
    events = []
    run(probes.Raising(), events=events)
    traces = [details["text"] for event, details in events if event == "traceback"]
    assert len(traces) == 1
    assert "ZeroDivisionError: by design" in traces[0]
    assert "probes.py" in traces[0]
    events.clear()
    run(probes.Raising(kind="ours"), events=events)
    assert [event for event, _ in events] == ["failed"]


@pytest.mark.parametrize("raises", [False, True])
@pytest.mark.parametrize("what", probes.SUBJECT_CHANGES)
def test_an_audit_that_changes_the_subject_fails_and_the_next_sees_none_of_it(what, raises):
    audited = subject()
    before, clean = state_of(audited.module), values(only(probes.MeanScore()))
    results = run(
        probes.Tampering(what=what, raises=raises), probes.MeanScore(), subjects={"baseline": audited}
    )
    failed = results["tampering", "baseline", None]
    assert failed.status == "failed"
    assert "changed the subject (" in str(failed.reason) or "also changed the subject: " in str(failed.reason)
    assert ("after tampering" in str(failed.reason)) == raises
    assert values(results["mean-score", "baseline", None]) == clean
    assert state_of(audited.module) == before


@pytest.mark.parametrize("what", probes.PROCESS_CHANGES)
def test_an_audit_that_changes_the_process_leaves_no_trace(what):
    subjects = {"baseline": subject()}
    before = state_of_process()
    assert only(probes.Tampering(what=what), subjects=subjects).status == "measured"
    assert state_of_process() == before


# --- keys and going on -----------------------------------------------------------------------------


def key(audit=None, **more):
    return only(audit or probes.MeanScore(), **more).key


def test_the_same_content_has_the_same_key():
    assert key() == key()
    assert key() == key(batch_size=64)


@pytest.mark.parametrize(
    "other",
    [
        lambda: key(seed=1),
        lambda: key(probes.MeanScore(scale=2.0)),
        lambda: key(probes.Draw()),
        lambda: key(data=rows(41)),
        lambda: key(data=rows(40, seed=1)),
        lambda: key(subjects={"baseline": subject(seed=1)}),
    ],
    ids=["seed", "parameters", "audit", "one row more", "other rows", "other weights"],
)
def test_whatever_decides_a_figure_changes_the_key(other):
    assert other() != key()


def test_a_comparison_has_a_key_of_its_own():
    subjects = {"baseline": subject(0), "dp-3": subject(0, "dp-3")}
    results = run(probes.PairedMean(), subjects=subjects)
    assert len({result.key for result in results.values()}) == 3


def test_an_interrupted_run_goes_on_without_repeating_what_was_measured(tmp_path):
    calls, folder = tmp_path / "calls", RunFolder(tmp_path / "run")
    shelf = ResultShelf(find=folder.find_result, keep=folder.keep_result)
    counted, events = probes.Counted(file=str(calls)), []
    first = run(counted, shelf=shelf)
    second = run(counted, probes.MeanScore(), shelf=shelf, events=events)
    assert calls.read_text().splitlines() == ["baseline"]
    assert [event for event, _ in events] == ["reused", "measured"]
    assert second["counted", "baseline", None] == first["counted", "baseline", None]


def test_a_new_variant_is_measured_while_the_baseline_is_reused(tmp_path):
    calls, folder = tmp_path / "calls", RunFolder(tmp_path / "run")
    shelf = ResultShelf(find=folder.find_result, keep=folder.keep_result)
    run(probes.Counted(file=str(calls)), shelf=shelf)
    subjects = {"baseline": subject(), "dp-3": subject(1, "dp-3")}
    run(probes.Counted(file=str(calls)), subjects=subjects, shelf=shelf)
    assert calls.read_text().splitlines() == ["baseline", "dp-3"]


def test_a_failure_is_tried_again(tmp_path):
    folder = RunFolder(tmp_path / "run")
    shelf = ResultShelf(find=folder.find_result, keep=folder.keep_result)
    events = []
    run(probes.Raising(), shelf=shelf)
    run(probes.Raising(), shelf=shelf, events=events)
    assert [event for event, _ in events] == ["traceback", "failed"]


# --- shards and workers ----------------------------------------------------------------------------


def test_shards_merged_are_one_pass(monkeypatch):
    data = rows(100)
    whole = values(only(probes.SumOfScores(), data=data))
    monkeypatch.setattr(runner_module, "ROWS_PER_SHARD", 7)
    parts = values(only(probes.SumOfScores(), data=data))
    expected = subject().predict(data, batch_size=100).probabilities[:, 1].sum()
    assert parts["rows"] == whole["rows"] == 100
    assert parts["sum"] == pytest.approx(whole["sum"], **SAME_RUN)
    assert whole["sum"] == pytest.approx(expected, **SAME_RUN)


def test_an_audit_run_directly_is_one_shard():
    audit, data = probes.SumOfScores(), rows(30)
    context = bench(audit).context_for(audit)
    output = audit.measure(subject(), data, context)
    assert next(iter(output.measurements)).value == 30


def test_one_failed_shard_fails_the_audit_with_its_reason(monkeypatch):
    monkeypatch.setattr(runner_module, "ROWS_PER_SHARD", 7)
    data = rows(30)
    data.inputs[29, 0] = 1.0
    result = only(probes.FailingShard(), data=data)
    assert (result.status, str(result.reason)) == ("failed", "the last shard is unreadable")


def figures(results) -> dict:
    return {where: (result.status, values(result)) for where, result in results.items()}


@pytest.mark.slow
def test_two_workers_give_what_one_gives(monkeypatch, tmp_path):
    monkeypatch.setattr(runner_module, "ROWS_PER_SHARD", 7)
    audits = (probes.PairedMean(), probes.SumOfScores(), probes.Draw(), probes.Raising(), probes.MeanScore())
    subjects = {"baseline": subject(0), "dp-3": subject(1, "dp-3")}
    one = figures(run(*audits, subjects=subjects))
    two = figures(run(*audits, subjects=subjects, executor=ProcessExecutor(2)))
    assert list(one) == list(two)
    for where, (status, expected) in one.items():
        assert two[where][0] == status
        assert two[where][1] == pytest.approx(expected, **SAME_RUN)


@pytest.mark.slow
def test_an_audit_that_kills_its_worker_is_failed_and_the_others_are_measured():
    audits = (probes.MeanScore(), probes.Dying(), probes.Draw(), probes.PairedMean())
    results = run(*audits, executor=ProcessExecutor(2))
    assert {where[0]: result.status for where, result in results.items()} == {
        "mean-score": "measured",
        "dying": "failed",
        "draw": "measured",
        "paired-mean": "measured",
    }
    assert "worker process died" in str(results["dying", "baseline", None].reason)


@pytest.mark.parametrize("batch_size", [1, 3, 40])
def test_the_batch_size_changes_no_figure_beyond_rounding(batch_size):
    expected = values(only(probes.MeanScore(), batch_size=256))["value"]
    assert values(only(probes.MeanScore(), batch_size=batch_size))["value"] == pytest.approx(
        expected, **SAME_RUN
    )


def test_the_bench_can_be_sent_to_a_worker():
    import pickle

    sent = pickle.loads(pickle.dumps(bench(probes.MeanScore())))
    assert np.array_equal(sent.data.y_true, rows().y_true)

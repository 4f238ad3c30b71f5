"""The account of a set of rows: what counts as spent, what a budget refuses, what several runs come to."""

import multiprocessing
from dataclasses import replace

import pytest

from auditkit.errors import LedgerError, PrivacyRefusedError
from auditkit.privacy.accounting import epsilon_prv, noise_for_epsilon
from auditkit.privacy.certificate import Mechanism, beyond_this_run
from auditkit.privacy.composition import composed
from auditkit.privacy.ledger import ledger_folder
from auditkit.privacy.ledger_file import locked, read_chain
from auditkit.privacy.partial import Saved
from auditkit.privacy.recorded import blocks
from auditkit.records import LedgerPointer, LedgerReference, Spending
from auditkit.records.bounds import rounded_up
from tests.privacy.ledgers import DELTA, MECHANISM, account

ONE_RUN = epsilon_prv(MECHANISM.noise_multiplier, MECHANISM.sample_rate, MECHANISM.steps, DELTA)


def begin(one, mechanism=MECHANISM):
    return one.begin(mechanism, DELTA, purpose="test", certified=True)


def run_through(one, mechanism=MECHANISM) -> None:
    with begin(one, mechanism) as run:
        for first, many in blocks(0, mechanism.steps):
            run.reserve(first, many)
        run.end(mechanism.steps)


def test_a_whole_run_counts_every_step_once(tmp_path):
    one = account(tmp_path)
    run_through(one)
    assert one.state().spent() == (Spending(noise_multiplier=2.0, sample_rate=0.1, steps=120),)
    reference = one.reference(DELTA)
    assert reference.epsilon == pytest.approx(ONE_RUN, abs=1e-12)
    assert (reference.n_runs, reference.budget_epsilon, reference.same_name) == (1, None, 0)
    assert read_chain(one.path).holds(reference.line)


def test_beginning_spends_nothing(tmp_path):
    one = account(tmp_path)
    with begin(one):
        assert one.reference(DELTA).epsilon == 0.0


def test_a_reserved_block_counts_whether_or_not_it_is_taken(tmp_path):
    one = account(tmp_path)
    with begin(one) as run:
        run.reserve(0, 50)
    assert one.state().spent()[0].steps == 50


def test_two_runs_come_to_less_than_their_sum_and_more_than_one(tmp_path):
    one = account(tmp_path)
    run_through(one)
    run_through(one)
    together = one.reference(DELTA).epsilon
    assert ONE_RUN < together < 2 * ONE_RUN
    assert together == pytest.approx(epsilon_prv(2.0, 0.1, 240, DELTA), abs=1e-12)


def test_runs_with_other_noise_are_composed_jointly(tmp_path):
    one = account(tmp_path)
    other = replace(MECHANISM, noise_multiplier=3.0, sample_rate=0.05)
    run_through(one)
    run_through(one, other)
    alone = epsilon_prv(3.0, 0.05, 120, DELTA)
    assert max(ONE_RUN, alone) < one.reference(DELTA).epsilon < ONE_RUN + alone


def test_a_run_that_does_not_fit_is_refused_before_its_first_step(tmp_path):
    one = account(tmp_path)
    one.set_budget(0.9 * ONE_RUN, DELTA)
    lines = len(read_chain(one.path).lines)
    with pytest.raises(PrivacyRefusedError, match=f"would reach {ONE_RUN:.4g}.*budget"), begin(one):
        raise AssertionError("it began")
    assert len(read_chain(one.path).lines) == lines
    assert one.state().spent() == ()


def test_noise_that_was_chosen_for_the_budget_fits_it(tmp_path):
    one = account(tmp_path)
    one.set_budget(2.0, DELTA)
    run_through(one, replace(MECHANISM, noise_multiplier=noise_for_epsilon(2.0, DELTA, 0.1, 120)))
    assert 1.95 < one.reference(DELTA).epsilon <= 2.0


FAILING = 1e-3 * DELTA


def counting_levels() -> Mechanism:
    noise = noise_for_epsilon(2.0, DELTA - FAILING, 0.1, 120)
    return replace(MECHANISM, noise_multiplier=noise, level_steps=5, failure_probability=FAILING)


def test_counting_levels_is_charged_once_and_fits_the_budget_it_was_planned_for(tmp_path):
    one = account(tmp_path)
    one.set_budget(2.0, DELTA)
    run_through(one, counting_levels())
    (spent,) = one.state().spent()
    assert (spent.steps, spent.failure_probability) == (120, FAILING)
    assert 1.95 < one.reference(DELTA).epsilon <= 2.0


def test_levels_that_are_counted_again_after_an_interruption_are_charged_again(tmp_path):
    one, mechanism = account(tmp_path), counting_levels()
    with begin(one, mechanism) as run:
        run.reserve(0, 50)
        line = run.account.head()
    saved = Saved(step=0, run=run.run, stream=0, line=line, file="none", digest="none")
    with one.take_up(saved, mechanism, DELTA, mode="fresh", certified=True) as run:
        run.reserve(0, 50)
        run.reserve(50, 50)
        assert run.state().failure_probability == pytest.approx(2 * FAILING)


def test_the_budget_is_for_all_runs_together(tmp_path):
    one = account(tmp_path)
    one.set_budget(1.2 * ONE_RUN, DELTA)
    run_through(one)
    with pytest.raises(PrivacyRefusedError, match="spent or promised"), begin(one):
        pass


def test_what_a_running_process_means_to_spend_is_promised_to_it(tmp_path):
    one = account(tmp_path)
    one.set_budget(1.2 * ONE_RUN, DELTA)
    with begin(one) as run:
        run.reserve(0, 50)
        with pytest.raises(PrivacyRefusedError, match="promised"), begin(one):
            pass
        run.reserve(50, 70)
    assert one.reference(DELTA).epsilon == pytest.approx(ONE_RUN, abs=1e-12)


def test_what_a_dead_process_meant_to_spend_is_free_again(tmp_path):
    one = account(tmp_path)
    one.set_budget(1.2 * ONE_RUN, DELTA)
    with begin(one):
        pass
    run_through(one)


def test_a_budget_is_lowered_at_will_and_raised_on_purpose_only(tmp_path):
    one = account(tmp_path)
    one.set_budget(3.0, DELTA)
    one.set_budget(2.0, DELTA)
    with pytest.raises(PrivacyRefusedError, match="--set-budget 4"):
        one.set_budget(4.0, DELTA)
    with pytest.raises(PrivacyRefusedError, match="raise"):
        one.set_budget(2.0, 1e-3)
    one.set_budget(4.0, DELTA, may_rise=True)
    lines = len(read_chain(one.path).lines)
    one.set_budget(4.0, DELTA)
    assert len(read_chain(one.path).lines) == lines
    assert one.state().budget.epsilon == 4.0


def test_a_budget_lowered_meanwhile_stops_the_next_block(tmp_path):
    one = account(tmp_path)
    with begin(one) as run:
        run.reserve(0, 50)
        one.set_budget(0.01, DELTA)
        with pytest.raises(PrivacyRefusedError, match=r"0\.01"):
            run.reserve(50, 50)
    assert one.state().spent()[0].steps == 50


def test_without_a_record_nothing_is_reserved(tmp_path, monkeypatch):
    one = account(tmp_path)
    with begin(one) as run:
        monkeypatch.setattr("os.fsync", _no_space)
        with pytest.raises(LedgerError, match="No space"):
            run.reserve(0, 50)


def _no_space(_descriptor: int) -> None:
    raise OSError(28, "No space left on device")


def test_a_tampered_ledger_refuses_every_further_run(tmp_path):
    one = account(tmp_path)
    run_through(one)
    one.path.write_text(one.path.read_text().replace('"steps":50', '"steps":5', 1))
    with pytest.raises(LedgerError, match="line 3 was changed"), begin(one):
        pass


def test_other_rows_of_the_same_name_are_counted_and_not_added(tmp_path):
    one, other = account(tmp_path), account(tmp_path, fingerprint="cd" * 32)
    elsewhere = account(tmp_path, fingerprint="ef" * 32, name="animals")
    for each in (one, other, elsewhere):
        run_through(each)
    assert one.reference(DELTA).same_name == 1
    assert one.reference(DELTA).epsilon == pytest.approx(ONE_RUN, abs=1e-12)


def test_imported_privacy_is_charged_with_the_rest(tmp_path):
    one = account(tmp_path)
    foreign = Spending(noise_multiplier=2.0, sample_rate=0.1, steps=120)
    one.add_import((foreign,), purpose="another program", unverified=())
    run_through(one)
    assert one.reference(DELTA).epsilon == pytest.approx(epsilon_prv(2.0, 0.1, 240, DELTA), abs=1e-12)
    assert one.reference(DELTA).n_runs == 2


def test_unverified_and_seeded_runs_behind_the_joint_epsilon_are_counted_and_named(tmp_path):
    one = account(tmp_path)
    foreign = Spending(noise_multiplier=2.0, sample_rate=0.1, steps=120)
    for purpose in ("one program", "another program"):
        one.add_import((foreign,), purpose=purpose, unverified=())
    with one.begin(MECHANISM, DELTA, purpose="trial", certified=False) as run:
        run.reserve(0, MECHANISM.steps)
    run_through(one)
    reference = one.reference(DELTA)
    assert (reference.n_runs, reference.n_imported, reference.n_seeded) == (4, 2, 1)
    _, imported, seeded = beyond_this_run(reference)
    assert "imported: 2. Nobody verified" in str(imported)
    assert "seed: 1. Against whoever knows such a seed nothing is guaranteed" in str(seeded)


def test_of_one_training_alone_no_sum_is_told(tmp_path):
    one = account(tmp_path)
    with one.begin(MECHANISM, DELTA, purpose="trial", certified=False) as run:
        run.reserve(0, MECHANISM.steps)
    (told,) = beyond_this_run(one.reference(DELTA))
    assert str(told).startswith("No other training on these rows is recorded.")
    run_through(one)
    assert str(beyond_this_run(one.reference(DELTA))[0]).startswith("All 2 recorded trainings on these rows")


def test_one_bound_of_all_trainings_is_told_once_and_two_are_told_apart(tmp_path):
    one = account(tmp_path)
    run_through(one)
    run_through(one)
    reference = one.reference(DELTA)
    both = str(beyond_this_run(reference)[0])
    assert "if none was set up by looking at the results of another" in both
    alike = reference.model_copy(update={"rdp": reference.epsilon})
    once = str(beyond_this_run(alike)[0])
    assert once.count(str(rounded_up(reference.epsilon))) == 1
    assert "whether or not one was set up by looking at the results of another" in once


def test_a_seeded_run_that_spent_nothing_is_not_behind_the_joint_epsilon(tmp_path):
    one = account(tmp_path)
    with one.begin(MECHANISM, DELTA, purpose="trial", certified=False):
        pass
    run_through(one)
    assert len(beyond_this_run(one.reference(DELTA))) == 1


def test_a_reference_that_counts_none_is_written_as_before_there_were_counts(tmp_path):
    one = account(tmp_path)
    run_through(one)
    written = one.reference(DELTA).model_dump(mode="json")
    assert not {"n_lost", "n_imported", "n_seeded"} & set(written)
    assert LedgerReference.model_validate(written) == one.reference(DELTA)


def test_lines_that_are_lost_are_told_of_once_each_and_for_good(tmp_path):
    one = account(tmp_path)
    lost = [LedgerPointer(number=number, hash="cd" * 32) for number in (3, 5)]
    one.waive(lost[:1], checkpoint="first")
    one.waive(lost, checkpoint="second")
    one.waive(lost, checkpoint="second")
    run_through(one)
    assert one.reference(DELTA).n_lost == 2
    assert [line.entry.kind for line in read_chain(one.path).lines][:4] == [
        "opened",
        "waiver",
        "waiver",
        "start",
    ]


def test_the_ledger_lies_where_the_variable_says_before_the_config(tmp_path):
    named = ledger_folder(tmp_path / "config", {"AUDITKIT_LEDGER": str(tmp_path / "variable")})
    assert named == tmp_path / "variable"
    assert ledger_folder(tmp_path / "config", {}) == tmp_path / "config"
    assert ledger_folder(None, {}).name == "ledger"


def _try_many(folder, barrier, times: int) -> None:
    one = account(folder)
    barrier.wait()
    for _ in range(times):
        try:
            run_through(one)
        except PrivacyRefusedError:
            continue


def test_processes_that_race_for_one_budget_never_exceed_it(tmp_path):
    one = account(tmp_path)
    budget = epsilon_prv(2.0, 0.1, 3 * MECHANISM.steps, DELTA)
    one.set_budget(budget, DELTA)
    fork = multiprocessing.get_context("fork")
    barrier = fork.Barrier(3)
    processes = [fork.Process(target=_try_many, args=(tmp_path, barrier, 3)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    spent = one.state().spent()
    assert composed(spent, DELTA).epsilon <= budget
    assert spent[0].steps == 3 * MECHANISM.steps


def test_a_lock_that_is_not_given_back_is_an_error_and_not_a_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("auditkit.privacy.ledger_file.PATIENCE_S", 0.05)
    path = account(tmp_path).path
    with locked(path), pytest.raises(LedgerError, match="another process"), locked(path):
        pass


def test_a_damaged_ledger_of_other_rows_does_not_end_a_training(tmp_path):
    one = account(tmp_path)
    run_through(one)
    (tmp_path / f"{'b' * 64}.jsonl").write_text("not a ledger\n", encoding="utf-8")
    found = one.reference(1e-5)
    assert (found.same_name, found.n_unreadable) == (0, 1)

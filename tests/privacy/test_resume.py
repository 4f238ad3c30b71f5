"""An interrupted private training goes on: what is repeated is charged, or gives the same bits."""

import shutil
from dataclasses import replace
from functools import cache

import pytest
import torch

from auditkit.errors import LedgerError, PrivacyRefusedError
from auditkit.privacy.accounting import epsilon_prv
from auditkit.privacy.dp_fit import dp_fit
from auditkit.privacy.ledger_file import read_chain
from auditkit.privacy.partial import NOISE, STATE, Identity, Partial
from auditkit.privacy.recorded import blocks, take_all, take_recorded
from auditkit.privacy.replay_key import ReplayKey
from auditkit.records import Reserved
from tests.privacy.ledgers import (
    DELTA,
    FINGERPRINT,
    MECHANISM,
    QUICK,
    Killed,
    dies_after,
    key_file,
    network,
    recording,
    rows,
)

CERTIFIED = replace(QUICK, certified=True)


@pytest.fixture(autouse=True)
def saved_after_every_block(monkeypatch):
    monkeypatch.setattr("auditkit.privacy.recorded.SAVING_SHARE", 1e9)


def fit(folder, settings=QUICK, *, data=None, seed=0, after=None, told=None, **changes):
    return dp_fit(
        network(),
        data or rows(),
        settings,
        seed=seed,
        recording=recording(folder, **changes),
        tell=None if told is None else told.append,
        **({} if after is None else {"report_progress": dies_after(after)}),
    )


def killed(folder, settings=QUICK, *, after: int, **changes) -> None:
    with pytest.raises(Killed):
        fit(folder, settings, after=after, **changes)


def spent(folder) -> int:
    return sum(one.steps for one in recording(folder).account.state().spent())


@cache
def undisturbed():
    """The training that nothing interrupts; recording changes nothing about it."""
    return dp_fit(network(), rows(), QUICK, seed=0)


def same(one, other) -> bool:
    return all(
        torch.equal(a, b) for a, b in zip(one.module.parameters(), other.module.parameters(), strict=True)
    )


def test_recording_changes_nothing_about_the_training(tmp_path):
    assert same(fit(tmp_path), undisturbed())
    assert spent(tmp_path) == 120


@pytest.mark.parametrize("after", [60, 110])
def test_a_killed_training_with_a_seed_gives_the_same_bits_and_is_charged_once(tmp_path, after):
    killed(tmp_path, after=after)
    found = fit(tmp_path)
    assert same(found, undisturbed())
    assert spent(tmp_path) == 120
    certificate = found.certificate
    assert (certificate.steps, certificate.planned_steps, certificate.resumes) == (120, 120, 1)
    assert certificate.replays == 1
    assert certificate.epsilon == undisturbed().certificate.epsilon


def test_five_kills_still_give_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr("auditkit.privacy.recorded.BLOCK_STEPS", 20)
    for after in (30, 50, 70, 90, 110):
        killed(tmp_path, after=after)
    found = fit(tmp_path)
    assert same(found, undisturbed())
    assert (spent(tmp_path), found.certificate.resumes) == (120, 5)


def test_one_that_died_in_its_first_block_begins_anew_and_both_are_charged(tmp_path):
    killed(tmp_path, after=20)
    found = fit(tmp_path)
    assert same(found, undisturbed())
    assert spent(tmp_path) == 50 + 120
    assert found.certificate.ledger.n_runs == 2
    assert found.certificate.ledger.epsilon > found.certificate.epsilon


def test_certified_noise_is_drawn_anew_and_repeated_steps_are_charged_again(tmp_path):
    killed(tmp_path, CERTIFIED, after=110)
    found = fit(tmp_path, CERTIFIED)
    certificate = found.certificate
    assert spent(tmp_path) == certificate.steps == 120 + 20
    assert certificate.epsilon > undisturbed().certificate.epsilon
    assert (certificate.planned_steps, certificate.resumes, certificate.replays) == (120, 1, 0)


def test_going_on_with_fresh_noise_tells_from_where_and_what_it_costs(tmp_path):
    killed(tmp_path, CERTIFIED, after=110)
    told: list[str] = []
    certificate = fit(tmp_path, CERTIFIED, told=told).certificate
    (sentence,) = [text for text in told if "goes on" in text]
    assert "after step 100 of 120" in sentence
    assert "steps charged twice: 20;" in sentence
    assert float(sentence.split()[-1]) >= certificate.epsilon


def test_an_older_copy_of_the_unfinished_training_never_lowers_epsilon(tmp_path):
    folder = tmp_path / "unfinished"
    killed(tmp_path, CERTIFIED, after=60)
    shutil.copytree(folder, tmp_path / "copy")
    killed(tmp_path, CERTIFIED, after=110)
    before = spent(tmp_path)
    shutil.rmtree(folder)
    shutil.copytree(tmp_path / "copy", folder)
    certificate = fit(tmp_path, CERTIFIED).certificate
    assert spent(tmp_path) == certificate.steps == before + 70


def test_an_older_copy_cannot_replay_noise_that_a_fresh_resume_left_behind(tmp_path):
    """The steps after the copy were charged under other noise: under the old one they are new."""
    folder = tmp_path / "unfinished"
    killed(tmp_path, after=60)
    account = recording(tmp_path).account
    saved = Partial(folder, keeps_noise=True).read().latest
    plan = undisturbed().certificate
    mechanism = replace(MECHANISM, noise_multiplier=plan.noise_multiplier, sample_rate=plan.sample_rate)
    with account.take_up(saved, mechanism, 1e-4, mode="fresh", certified=False) as run:
        for first, many in blocks(saved.step, 120):
            run.reserve(first, many)
    before = spent(tmp_path)
    fit(tmp_path)
    assert spent(tmp_path) == before + 20  # block 50 to 100 was reserved under this noise, 100 to 120 not


def test_another_training_in_the_same_folder_begins_anew_and_says_so(tmp_path):
    for change in ({"learning_rate": 0.02}, {"momentum": 0.5}):
        killed(tmp_path, after=60)
        told: list[str] = []
        settings = replace(QUICK, **change)
        assert same(fit(tmp_path, settings, told=told), fit(tmp_path / str(change), settings))
        assert any("another one" in text and "settings" in text for text in told)
        shutil.rmtree(tmp_path / "unfinished")


def test_other_rows_begin_anew(tmp_path):
    killed(tmp_path, CERTIFIED, after=60)
    told: list[str] = []
    found = fit(tmp_path, CERTIFIED, data=rows(seed=5), told=told)
    assert found.certificate.resumes == 0
    assert any("rows" in text for text in told)


def test_a_seeded_one_that_cannot_be_repeated_here_begins_anew(tmp_path):
    killed(tmp_path, after=60)
    other_machine(tmp_path)
    told: list[str] = []
    found = fit(tmp_path, told=told)
    assert same(found, undisturbed())
    assert spent(tmp_path) == 100 + 120
    assert any("bit by bit" in text for text in told)


def other_machine(folder) -> None:
    path = folder / "unfinished" / STATE
    path.write_text(path.read_text().replace('"device":"cpu"', '"device":"H200"'))


def test_a_ledger_that_was_rolled_back_is_refused(tmp_path):
    killed(tmp_path, after=60)
    path = recording(tmp_path).account.path
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:2]))
    with pytest.raises(LedgerError, match="rolled back"):
        fit(tmp_path)


def test_a_finished_training_that_was_not_yet_kept_is_not_repeated(tmp_path):
    first = fit(tmp_path, CERTIFIED)
    again = fit(tmp_path, CERTIFIED)
    assert same(first, again)
    assert spent(tmp_path) == again.certificate.steps == 120


def test_nothing_of_the_noise_is_left_when_a_run_has_ended(tmp_path):
    killed(tmp_path, after=60)
    assert (tmp_path / "unfinished" / NOISE).stat().st_mode & 0o077 == 0
    fit(tmp_path)
    assert not (tmp_path / "unfinished" / NOISE).exists()
    killed(tmp_path, CERTIFIED, after=60)
    assert not (tmp_path / "unfinished" / NOISE).exists()


def test_saved_tensors_that_changed_are_refused(tmp_path):
    killed(tmp_path, CERTIFIED, after=60)
    path = tmp_path / "unfinished" / "step-50.safetensors"
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(bytes(content))
    with pytest.raises(Exception, match="remove"):
        fit(tmp_path, CERTIFIED)


def test_a_replay_that_comes_out_otherwise_is_refused_before_a_step_is_taken(tmp_path, monkeypatch):
    killed(tmp_path, after=110)
    before = spent(tmp_path)
    real = torch.optim.Adam.step

    def drifting(self, *arguments):
        real(self, *arguments)
        with torch.no_grad():
            self.param_groups[0]["params"][0].mul_(1 + 1e-6)

    monkeypatch.setattr(torch.optim.Adam, "step", drifting)
    with pytest.raises(PrivacyRefusedError, match="steps 50 to 100 came out otherwise"):
        fit(tmp_path)
    assert spent(tmp_path) == before


def test_over_budget_is_refused_before_the_first_step(tmp_path):
    account = recording(tmp_path).account
    account.set_budget(7.0, 1e-4)
    seen = []
    with pytest.raises(PrivacyRefusedError, match="budget"):
        dp_fit(
            network(),
            rows(),
            QUICK,
            seed=0,
            recording=recording(tmp_path),
            report_progress=lambda done, _total, _text: seen.append(done),
        )
    assert set(seen) == {0}
    assert spent(tmp_path) == 0


class CountedSteps:
    """Stands for the steps of a training: remembers which were taken."""

    def __init__(self) -> None:
        self.taken: list[int] = []

    def take(self, step: int) -> None:
        self.taken.append(step)

    def before_smaller(self, do) -> None:
        pass


def test_every_length_takes_exactly_its_steps():
    for length in range(1, 2001):
        steps = CountedSteps()
        mechanism = replace(MECHANISM, steps=length)
        execution = take_all(steps, mechanism, DELTA, report_progress=None)
        assert steps.taken == list(range(length))
        assert execution.planned_steps == execution.charged_steps == length


@pytest.mark.parametrize("length", [1, 49, 50, 51, 100, 137])
def test_steps_that_ran_are_steps_that_were_planned_and_reserved(tmp_path, length):
    steps = CountedSteps()
    execution = take_recorded(
        steps,
        replace(MECHANISM, steps=length),
        DELTA,
        Identity(content={}, machine={}),
        replace(recording(tmp_path), partial=None),
        certified=True,
        report_progress=lambda *_: None,
        tell=lambda _text: None,
    )
    assert steps.taken == list(range(length))
    lines = [line.entry for line in read_chain(recording(tmp_path).account.path).lines]
    reserved = [entry.spending.steps for entry in lines if isinstance(entry, Reserved)]
    assert sum(reserved) == length == execution.charged_steps
    assert max(reserved) <= 50


def test_the_budget_that_is_gone_is_shown_as_an_upper_bound_that_rises():
    seen = []
    take_all(CountedSteps(), MECHANISM, DELTA, report_progress=lambda *report: seen.append(report))
    shown = [shown_epsilon(text) for _, _, text in seen]
    for (done, _, _), epsilon in zip(seen, shown, strict=True):
        assert epsilon >= epsilon_prv(MECHANISM.noise_multiplier, MECHANISM.sample_rate, done, DELTA)
    assert shown == sorted(shown)
    assert shown[0] < shown[-1]
    assert seen[-1][:2] == (120, 120)


def test_a_short_training_shows_what_is_spent_first_and_last():
    seen: list[str] = []
    take_all(CountedSteps(), MECHANISM, DELTA, report_progress=lambda *report: seen.append(report[2]))
    assert "spent by step 50" in seen[0]
    whole = epsilon_prv(MECHANISM.noise_multiplier, MECHANISM.sample_rate, 120, DELTA)
    assert "spent by step 120" in seen[-1]
    assert whole <= shown_epsilon(seen[-1]) <= whole + 0.001


def test_steps_that_are_charged_again_are_in_the_epsilon_that_is_shown(tmp_path):
    killed(tmp_path, CERTIFIED, after=110)
    seen: list[str] = []
    certificate = dp_fit(
        network(),
        rows(),
        CERTIFIED,
        seed=0,
        recording=recording(tmp_path),
        report_progress=lambda *report: seen.append(report[2]),
    ).certificate
    assert certificate.epsilon <= shown_epsilon(seen[-1]) <= certificate.epsilon + 0.001


def shown_epsilon(text: str) -> float:
    return float(text.split("epsilon ")[1].split(maxsplit=1)[0])


def test_blocks_from_anywhere_take_what_is_left():
    for start in range(0, 130):
        found = [step for first, many in blocks(start, 130) for step in range(first, first + many)]
        assert found == list(range(start, 130))


# --- replaying certified noise ----------------------------------------------------------------------


def with_key(folder) -> Partial:
    key = ReplayKey(key_file(folder), FINGERPRINT)
    return Partial(folder / "unfinished", keeps_noise=True, key=key)


def test_a_certified_training_that_kept_its_noise_is_replayed_and_charged_once(tmp_path):
    killed(tmp_path, CERTIFIED, after=110, replay=True)
    partial = Partial(
        tmp_path / "unfinished", keeps_noise=True, key=ReplayKey(key_file(tmp_path), FINGERPRINT)
    )
    saved = partial.read().latest
    assert (saved.step, partial.noise(saved) is not None) == (100, True)
    shutil.copytree(tmp_path, tmp_path.with_name(tmp_path.name + "-twin"))
    told: list[str] = []
    found = fit(tmp_path, CERTIFIED, replay=True, told=told)
    (sentence,) = [text for text in told if "goes on" in text]
    assert "after step 100 of 120 with the same noise" in sentence
    assert "steps that are repeated are charged once" in sentence
    twin = fit(tmp_path.with_name(tmp_path.name + "-twin"), CERTIFIED, replay=True)
    assert same(found, twin)
    assert spent(tmp_path) == found.certificate.steps == 120
    assert not (tmp_path / "unfinished" / NOISE).exists()
    assert "lay on disk" in str(found.certificate.assumptions[0])


def test_a_replay_on_other_rows_or_another_device_is_refused(tmp_path):
    killed(tmp_path, CERTIFIED, after=60, replay=True)
    before = spent(tmp_path)
    with pytest.raises(PrivacyRefusedError, match="rows"):
        fit(tmp_path, CERTIFIED, data=rows(seed=5), replay=True)
    other_machine(tmp_path)
    with pytest.raises(PrivacyRefusedError, match="device H200 there, cpu here"):
        fit(tmp_path, CERTIFIED, replay=True)
    assert spent(tmp_path) == before
    assert fit(tmp_path, CERTIFIED).certificate.steps == 120 + 50


def test_a_replay_of_noise_that_was_not_kept_is_refused(tmp_path):
    killed(tmp_path, CERTIFIED, after=60)
    with pytest.raises(PrivacyRefusedError, match="noise was not kept"):
        fit(tmp_path, CERTIFIED, replay=True)


def test_the_noise_that_lies_on_disk_is_of_no_use_without_the_key_file(tmp_path):
    killed(tmp_path, CERTIFIED, after=60, replay=True)
    kept = (tmp_path / "unfinished" / NOISE).read_text()
    partial = Partial(
        tmp_path / "unfinished", keeps_noise=True, key=ReplayKey(key_file(tmp_path), FINGERPRINT)
    )
    position = partial.noise(partial.read().latest)
    assert position["noise"]["key"] not in kept
    assert "calls" not in kept
    assert Partial(tmp_path / "unfinished", keeps_noise=True).noise(partial.read().latest) is None


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda key: key.unlink(), "No such file"),
        (lambda key: key.write_bytes(bytes(32)), "it is another key"),
        (lambda key: key.write_bytes(b"secret"), "expected a key of 32 bytes, got 6"),
        (lambda key: key.chmod(0o644), "chmod 600"),
    ],
    ids=["absent", "another", "no key", "open to others"],
)
def test_without_its_key_a_replay_is_refused_and_fresh_noise_goes_on(tmp_path, spoil, said):
    killed(tmp_path, CERTIFIED, after=60, replay=True)
    before, key = spent(tmp_path), key_file(tmp_path)
    kept = key.read_bytes()
    try:
        spoil(key)
        with pytest.raises(PrivacyRefusedError, match=said):
            fit(tmp_path, CERTIFIED, replay=True)
        assert spent(tmp_path) == before
        assert fit(tmp_path, CERTIFIED).certificate.steps == 120 + 50
    finally:
        key.write_bytes(kept)
        key.chmod(0o600)

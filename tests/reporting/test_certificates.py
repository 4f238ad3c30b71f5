"""What a certificate shows in a report: bounds are rounded up, and older ones still render."""

import pytest

from auditkit.privacy.accounting import ACCOUNTANT
from auditkit.privacy.tuned_certificate import TUNING_ACCOUNTANT
from auditkit.records import (
    Certificate,
    CertifiedTuning,
    LedgerPointer,
    LedgerReference,
    Message,
    Spending,
    TrainedWeights,
    Tuned,
)
from auditkit.reporting.html import render_html
from auditkit.reporting.language import texts_for
from auditkit.reporting.view.certificates import certificate_views, unbroken
from tests.reporting.sample_run import CERTIFICATE, sample_run

LEDGER = LedgerReference(
    fingerprint="ab" * 32,
    line=LedgerPointer(number=17, hash="cd" * 32),
    n_runs=2,
    epsilon=3.65471,
    delta=1e-5,
    accountant="prv",
    rdp=3.97,
    budget_epsilon=4.0,
    budget_delta=1e-5,
)

TUNING = CertifiedTuning(
    tuned=Tuned(
        law="poisson",
        mean=4.0,
        alternatives=((Spending(noise_multiplier=9.0, sample_rate=0.2, steps=500),),),
    ),
    candidates=("learning_rate 0.01", "learning_rate 0.03"),
    chosen="learning_rate 0.03",
    score=Message(
        text="the number of training rows answered right, with Gaussian noise of deviation {noise} in each "
        "run",
        values={"noise": 8.5},
    ),
    score_noise=8.5,
    untuned_epsilon=1.2341,
)


def details(certificate: Certificate, language: str = "en") -> list[tuple[str, str]]:
    (card,) = [card for card in sample_run().subjects if card.certificate is not None]
    (view,) = certificate_views([card.model_copy(update={"certificate": certificate})], texts_for(language))
    return list(view.details)


@pytest.mark.parametrize(
    ("language", "expected"),
    [
        (
            "en",
            {
                "tuning": "the best of a random number of runs, Poisson law, 4 expected",
                "candidates": "learning_rate 0.01; learning_rate 0.03",
                "settings released": "learning_rate 0.03",
                "runs compared by": "the number of training rows answered right, with Gaussian noise of "
                "deviation 8.5 in each run",
                "without tuning": "ε\N{NO-BREAK SPACE}≤\N{NO-BREAK SPACE}1.24",
            },
        ),
        (
            "zh",
            {
                "调参": "随机轮数中最好的一轮，泊松分布，期望 4 轮",
                "候选设置": "learning_rate 0.01; learning_rate 0.03",
                "各轮比较依据": "答对的训练记录数，每轮加上标准差为 8.5 的高斯噪声",
                "不调参时": "ε\N{NO-BREAK SPACE}≤\N{NO-BREAK SPACE}1.24",
            },
        ),
    ],
)
def test_how_settings_were_chosen_is_shown_with_what_it_cost(language, expected):
    shown = dict(details(CERTIFICATE.model_copy(update={"tuning": TUNING}), language))
    assert {label: shown[label] for label in expected} == expected


def test_a_certificate_without_tuning_is_written_as_before():
    assert "tuning" not in CERTIFICATE.model_dump(mode="json")
    tuned = CERTIFICATE.model_copy(update={"tuning": TUNING})
    assert Certificate.model_validate_json(tuned.model_dump_json()) == tuned


def test_what_all_trainings_come_to_is_shown_with_the_line_that_says_so():
    shown = dict(details(CERTIFICATE.model_copy(update={"ledger": LEDGER})))
    joint = "ε ≤ 3.66 at δ = 10⁻⁵, 2 trainings"
    assert shown["all recorded trainings on these rows"] == unbroken(joint)
    assert shown["privacy ledger"] == "abababababab, line 18, cdcdcdcdcdcd"
    assert shown["privacy budget of these rows"].startswith(unbroken("ε ≤ 4.0,"))


def test_repeated_steps_are_told_from_planned_ones():
    resumed = CERTIFICATE.model_copy(update={"planned_steps": 1200, "resumes": 1})
    assert dict(details(resumed))["steps"] == "1,220 charged, 1,200 planned; interruptions: 1"
    straight = CERTIFICATE.model_copy(update={"planned_steps": 1220})
    assert dict(details(straight))["steps"] == "1,220"


def test_a_replay_is_told_in_the_execution():
    replayed = CERTIFICATE.model_copy(update={"planned_steps": 1220, "resumes": 1, "replays": 1})
    shown = dict(details(replayed))
    assert shown["steps"] == "1,220"
    assert shown["steps repeated"] == "bit by bit with the same noise, charged once; interruptions: 1"
    assert dict(details(replayed, "zh"))["重复的步"].startswith("以相同噪声逐位重复")
    assert "steps repeated" not in dict(details(CERTIFICATE))


def test_one_training_is_not_called_several():
    alone = CERTIFICATE.model_copy(update={"ledger": LEDGER.model_copy(update={"n_runs": 1})})
    assert dict(details(alone))["all recorded trainings on these rows"].endswith(", 1 training")


@pytest.mark.parametrize(
    ("accountant", "chinese"),
    [(ACCOUNTANT, "PRV，上界（Opacus）"), (TUNING_ACCOUNTANT, "随机轮数中最好一轮的 RDP，上界")],
)
def test_how_epsilon_was_accounted_is_told_in_the_language_of_the_reader(accountant, chinese):
    certificate = CERTIFICATE.model_copy(update={"accountant": accountant})
    assert dict(details(certificate))["accountant"] == accountant
    assert dict(details(certificate, "zh"))["隐私核算方法"] == chinese


def test_mechanism_and_checks_are_named():
    full = CERTIFICATE.model_copy(
        update={
            "released": Message(text="the weights"),
            "trained": TrainedWeights(n=9858, dtype="float32"),
            "sampler": Message(text="Poisson"),
            "randomness": Message(text="a seed"),
            "preflight": (Message(text="one"), Message(text="two")),
        }
    )
    shown = details(full)
    assert ("released", "the weights") in shown
    assert ("trained weights", "9,858 of type float32") in shown
    assert ("sampling", "Poisson") in shown
    assert ("randomness", "a seed") in shown
    assert [text for label, text in shown if label == "checked beforehand"] == ["one", "two"]
    assert ("versions", "opacus 1.6.0") in shown


def test_a_certificate_of_an_earlier_version_still_renders():
    document = CERTIFICATE.model_dump(mode="json")
    earlier = Certificate.model_validate({key: document[key] for key in document if key != "trained"})
    labels = [label for label, _ in details(earlier)]
    assert "trained weights" not in labels
    assert "privacy ledger" not in labels
    assert "released" not in labels


@pytest.mark.parametrize("language", ["en", "zh"])
def test_epsilon_and_its_bound_never_part_at_the_end_of_a_line(language):
    html = render_html(sample_run(), language)
    section = html[html.index('id="guarantees"') :]
    assert "ε ≤" not in section
    assert "δ =" not in section
    assert "ε\N{NO-BREAK SPACE}≤\N{NO-BREAK SPACE}3.00" in section
    assert "<sup>ε</sup>" in section

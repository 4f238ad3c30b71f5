"""The self-test finds what it plants, is quiet without it, and says so when an instrument is wrong."""

import contextlib
import io
import json
import tomllib
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from auditkit.__main__ import main
from auditkit.records import Interval, Measurement, Message
from auditkit.selftest import Selftest, proof_line, selftest_document, selftest_lines
from auditkit.selftest.certificate import prove_certificate
from auditkit.selftest.mechanism import compared
from auditkit.selftest.neighbour_faults import StaleFlags
from auditkit.selftest.plant import Plant, Proof, prove
from auditkit.selftest.plants import plants
from auditkit.selftest.run import unproved_audits
from auditkit.selftest.subjects import Remembering, dense_stack
from tests.tolerances import FLOAT32

PYPROJECT = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def document() -> dict:
    """One run of the whole command."""
    with contextlib.redirect_stdout(io.StringIO()) as out:
        assert main(["selftest", "--json"]) == 0
    return json.loads(out.getvalue())


@pytest.fixture(scope="module")
def accuracy() -> tuple[Plant, Proof]:
    plant = next(plant for plant in plants() if plant.audit == "performance")
    return plant, prove(plant)


def test_every_fault_is_found_and_nothing_is_seen_without_it(document):
    wrong = [proof for proof in document["proofs"] if not (proof["found"] and proof["quiet"])]
    assert wrong == []
    assert document["passed"] is True


def test_every_audit_of_ours_has_a_plant(document):
    ours = set(PYPROJECT["project"]["entry-points"]["auditkit.audits"])
    assert ours <= {proof["name"] for proof in document["proofs"]}
    assert ours & set(document["no_plant_known"]) == set()


def test_figures_with_a_closed_form_are_that_form(document):
    known = {
        proof["figure"]: (proof["with_fault"]["value"], proof["expected"])
        for proof in document["proofs"]
        if proof["expected"] is not None
    }
    assert set(known) >= {"performance/accuracy", "footprint/n_parameters", "footprint/flops"}
    for found, expected in known.values():
        assert found == pytest.approx(expected, **FLOAT32)


def test_the_closed_forms_of_a_stack_are_those_that_torch_counts():
    module = dense_stack(16, 4).module
    counted = sum(parameter.numel() for parameter in module.parameters())
    products = sum(2 * layer.weight.numel() for layer in module if isinstance(layer, torch.nn.Linear))
    expected = {plant.figure: plant.expected for plant in plants()}
    assert expected["footprint/n_parameters"] == counted
    assert expected["footprint/flops"] == products


def test_the_remembering_subject_knows_its_rows_and_no_others():
    rows = torch.tensor([[1.0, 2.0], [3.0, 4.0]])
    module = Remembering(rows, torch.tensor([1, 0]))
    chances = torch.softmax(module(torch.tensor([[1.0, 2.0], [3.0, 4.0], [1.0, 4.0]])), dim=1)
    torch.testing.assert_close(chances, torch.tensor([[0.1, 0.9], [0.9, 0.1], [0.5, 0.5]]))


def test_a_certificate_with_too_little_noise_is_noticed(document):
    proof = next(proof for proof in document["proofs"] if proof["name"] == "dp-retrain")
    assert proof["without_fault"]["value"] <= 3.0
    assert proof["with_fault"]["value"] > 2 * proof["without_fault"]["value"]
    assert prove_certificate().holds


KNOWN_BREAKS = {
    "a stale skip flag": ("a batch that was broken off is merged into the next step",),
    "a row that is not finite": ("a row that is not finite makes the whole step so",),
    "rows that are coupled": (
        "rows standardised over their batch by hand",
        "a frozen BatchNorm in training mode",
    ),
    "rows folded away": (
        "positions folded into the batch",
        "an embedding that shortens its rows when they are used",
    ),
    "no Poisson sampling": ("batches of one size, with epsilon as for rows drawn independently",),
    "a mechanism of the neighbours": (
        "a sampling rate that follows the number of rows",
        "a number of steps that follows the number of rows",
        "a divisor that follows the number of rows",
    ),
    "a resume that forgets": ("a history of steps that an older checkpoint overwrites",),
    "clipping to a quantile": (
        "clipped rows counted as 0 and 1, with noise as for plus and minus a half",
        "a sum of no rows divided by their number",
    ),
    "steps cut off": ("a number of steps that is cut off after a division",),
    "an empty batch of one process": ("a process without rows in a step leaves the step out",),
    "noise from a seed": ("certified noise that comes from a seed",),
}


@pytest.mark.parametrize("kind", KNOWN_BREAKS)
def test_every_known_break_of_private_training_is_planted_found_and_not_seen_in_ours(document, kind):
    proofs = {proof["fault"]: proof for proof in document["proofs"] if proof["name"] == "dp-retrain"}
    for fault in KNOWN_BREAKS[kind]:
        assert (proofs[fault]["found"], proofs[fault]["quiet"]) == (True, True)


def test_a_merged_batch_contributes_a_row_twice():
    found = compared(StaleFlags())
    assert found.moved == pytest.approx(2.0, **FLOAT32)


def test_a_cut_off_number_of_steps_is_wrong_for_the_lengths_that_are_known(document):
    figure = "dp-retrain/lengths_with_other_steps"
    proof = next(proof for proof in document["proofs"] if proof["figure"] == figure)
    assert proof["with_fault"]["value"] == 141


# --- an instrument that is wrong -------------------------------------------------------------------


def test_an_audit_that_misses_its_fault_is_wrong(accuracy):
    plant, _ = accuracy
    proof = prove(replace(plant, faulty=plant.sound))
    assert (proof.found, proof.quiet, proof.holds) == (False, True, False)
    assert proof_line(proof).startswith("WRONG  performance/accuracy")
    assert "MISSED" in proof_line(proof)


def test_an_audit_that_sees_what_is_not_there_is_wrong(accuracy):
    plant, _ = accuracy
    proof = prove(replace(plant, sound=plant.faulty))
    assert (proof.found, proof.quiet) == (True, False)
    assert "LOUD" in proof_line(proof)


def test_a_figure_beyond_its_bound_but_not_at_its_closed_form_is_wrong(accuracy):
    _, proof = accuracy
    assert proof.found
    assert not replace(proof, expected=0.71).found


def test_an_audit_that_gives_no_figure_is_wrong_with_the_reason(accuracy):
    plant, _ = accuracy
    proof = prove(replace(plant, figure="performance/acuracy"))
    assert (proof.found, proof.quiet) == (False, False)
    assert "performance measured no performance/acuracy" in proof.reason
    assert "no figure" in proof_line(proof)


def test_an_audit_that_cannot_run_is_wrong_with_the_reason(accuracy):
    plant, _ = accuracy
    proof = prove(replace(plant, audit="group-fairness", figure="group-fairness/selection_rate"))
    assert not proof.holds
    assert "group-fairness skipped: It needs data.sensitive_features" in proof.reason


@pytest.mark.parametrize(
    ("low", "high", "found"), [(0.7, 0.79, True), (0.7, 0.8, False), (0.75, 0.85, False), (0.9, 0.95, False)]
)
def test_a_fault_is_found_only_when_the_whole_interval_is_beyond(low, high, found):
    measured = Measurement(
        metric="accuracy",
        value=(low + high) / 2,
        n=10,
        better="higher",
        interval=Interval(low=low, high=high, confidence=0.95, method="wilson"),
    )
    assert (
        Proof(name="p", figure="p/a", fault=Message(text="f"), below=0.8, with_fault=measured).found is found
    )


def test_a_wrong_instrument_exits_with_three(accuracy):
    _, proof = accuracy
    wrong = replace(proof, with_fault=proof.without_fault)
    assert Selftest((proof,), ()).exit_code == 0
    assert Selftest((proof, wrong), ()).exit_code == 3
    assert selftest_lines(Selftest((proof, wrong), ()))[-1].startswith("1 of 2 instruments")
    assert selftest_document(Selftest((wrong,), ()))["passed"] is False


def test_an_audit_of_somebody_else_is_listed_as_unproved(tmp_path, monkeypatch):
    info = tmp_path / "others-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: others\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[auditkit.audits]\nmystery = others:Mystery\n")
    monkeypatch.syspath_prepend(tmp_path)
    assert unproved_audits() == ("mystery",)
    lines = selftest_lines(Selftest((), unproved_audits()))
    assert lines[0].split() == ["-", "mystery", "no", "plant", "known"]

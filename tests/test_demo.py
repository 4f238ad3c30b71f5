"""The demo tells the whole story: trained, audited, retrained, audited again, compared, reported."""

from pathlib import Path

import pytest

from auditkit.__main__ import main
from auditkit.records import figure_address
from auditkit.store import RunFolder

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lending(tmp_path_factory) -> Path:
    """One run of the demo."""
    folder = tmp_path_factory.mktemp("demo")
    assert main(["demo", "lending", "--out", str(folder)]) == 0
    return folder


def test_it_leaves_a_sealed_run_with_a_report_per_language(lending):
    assert RunFolder(lending / "run").verify() == []
    for language in ("en", "zh"):
        assert (lending / "run" / f"report.{language}.html").stat().st_size <= 300_000


def test_every_audit_measures_every_subject(lending):
    run = RunFolder(lending / "run").load_run()
    assert [card.name for card in run.subjects] == ["baseline", "dp-3", "int8"]
    assert {result.status for result in run.results} == {"measured"}


def test_every_planted_fault_is_found(lending):
    run = RunFolder(lending / "run").load_run()
    figures = {
        figure_address(result, measurement): measurement
        for result in run.results
        for measurement in result.measurements
    }
    for planted in run.data.planted:
        interval = figures[planted.figure].interval
        above = planted.above is not None and interval.low > planted.above
        below = planted.below is not None and interval.high < planted.below
        assert above or below, planted.figure


def test_the_private_variant_carries_its_certificate(lending):
    run = RunFolder(lending / "run").load_run()
    certificate = run.subjects[1].certificate
    assert certificate is not None
    assert certificate.epsilon <= 3
    page = (lending / "run" / "report.en.html").read_text(encoding="utf-8")
    assert f"{certificate.epsilon:.2f}" in page


def test_the_config_of_the_demo_can_be_run_again(lending):
    again = main(["run", str(lending / "lending.yaml"), "--out", str(lending / "run")])
    assert again in {1, 4}

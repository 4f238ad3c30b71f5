"""``auditkit run`` from the outside: what it writes, prints and returns."""

import json
import shutil
from dataclasses import replace

import pytest

from auditkit.audits.performance.performance import Performance
from auditkit.jobs.audit import prepare_audit
from auditkit.records import Run, figure_address
from tests.tolerances import SAME_RUN


def only_run_folder(project):
    folders = sorted((project.folder / "runs").iterdir())
    assert len(folders) == 1
    return folders[0]


def figures(run: Run) -> dict[str, float | None]:
    return {
        figure_address(result, measurement): measurement.value
        for result in run.results
        for measurement in result.measurements
    }


def run_json(project, capsys, *words) -> Run:
    project.auditkit("run", "loans.yaml", "--json", *words)
    return Run.model_validate_json(capsys.readouterr().out)


def test_a_run_leaves_a_sealed_folder_with_report_and_truth(project):
    assert project.auditkit("run", "loans.yaml") == 0
    names = {path.name for path in only_run_folder(project).iterdir()}
    assert {"run.json", "report.en.html", "manifest.json", "events.jsonl", "results"} <= names


def test_json_output_is_the_run_and_nothing_else(project, capsys):
    run = run_json(project, capsys)
    assert [card.name for card in run.subjects] == ["baseline", "int8"]
    assert {result.status for result in run.results} == {"measured"}


def test_missing_sensitive_values_are_a_group_of_their_own(project, capsys):
    run = run_json(project, capsys, "--only", "group-fairness")
    assert set(run.data.groups["sex"]) == {"female", "male", "unknown"}
    assert sum(run.data.groups["sex"].values()) == run.data.n_rows


def test_paired_differences_stand_beside_the_figures_of_a_variant(project, capsys):
    run = run_json(project, capsys, "--only", "performance")
    assert "performance/accuracy.change@int8~baseline" in figures(run)


@pytest.mark.parametrize(
    ("rule", "code"),
    [
        ("{figure: performance/accuracy, at_least: 0.6}", 0),
        ("{figure: performance/accuracy, at_least: 0.99}", 1),
        ("{figure: performance/no_such_figure, at_least: 0.5}", 4),
        ("{figure: footprint/n_parameters, at_most: 5}", 4),
    ],
)
def test_the_exit_code_tells_the_verdict(project, rule, code):
    project.rewrite("{figure: performance/accuracy, at_least: 0.6}", rule)
    assert project.auditkit("run", "loans.yaml", "--only", "performance") == code


def test_a_run_without_policy_exits_with_zero(project):
    project.rewrite("policy:\n  - {figure: performance/accuracy, at_least: 0.6}\n", "")
    assert project.auditkit("run", "loans.yaml", "--only", "performance") == 0


def test_a_repeated_run_is_recognised_and_gives_the_same_figures(project, capsys):
    first = run_json(project, capsys)
    second = run_json(project, capsys)
    assert figures(first) == figures(second)
    assert first.created_at == second.created_at


def test_a_fresh_run_gives_the_same_figures_and_findings(project, capsys):
    first = run_json(project, capsys)
    second = run_json(project, capsys, "--fresh")
    assert figures(second) == figures(first)
    assert second.findings == first.findings


def test_the_batch_size_changes_no_figure(project, capsys):
    small = run_json(project, capsys, "--set", "execution.batch_size=64", "--out", "small")
    large = run_json(project, capsys, "--set", "execution.batch_size=512", "--out", "large")
    assert figures(small).keys() == figures(large).keys()
    for name, value in figures(small).items():
        assert figures(large)[name] == (None if value is None else pytest.approx(value, **SAME_RUN)), name
    assert [f.verdict for f in small.findings] == [f.verdict for f in large.findings]


@pytest.mark.slow
def test_the_number_of_workers_changes_no_figure(project, capsys):
    one = run_json(project, capsys, "--out", "one")
    two = run_json(
        project,
        capsys,
        "--set",
        "execution.executor=process",
        "--set",
        "execution.workers=2",
        "--out",
        "two",
    )
    assert figures(one).keys() == figures(two).keys()
    for name, value in figures(one).items():
        assert figures(two)[name] == (None if value is None else pytest.approx(value, **SAME_RUN)), name
    assert [f.verdict for f in one.findings] == [f.verdict for f in two.findings]


def test_another_version_of_an_audit_is_another_run(project, monkeypatch):
    before = prepare_audit(project.config, only=["performance"]).run_id
    monkeypatch.setattr(Performance, "info", replace(Performance.info, version=99))
    assert prepare_audit(project.config, only=["performance"]).run_id != before


def test_another_seed_is_another_run(project, capsys):
    first = run_json(project, capsys, "--only", "performance")
    second = run_json(project, capsys, "--only", "performance", "--set", "seed=4")
    assert first.run_id != second.run_id


def test_another_file_behind_the_same_config_is_another_run(project):
    project.rewrite("  performance: {}", "  concepts: {concepts: {rich: {examples: rich.csv}}}")
    run_ids = []
    for income in (5, 5, 6):
        (project.folder / "rich.csv").write_text("income,job\n" + f"{income},office\n" * 20, encoding="utf-8")
        run_ids.append(prepare_audit(project.config).run_id)
    assert run_ids[0] == run_ids[1]
    assert run_ids[1] != run_ids[2]


def test_a_dry_run_measures_nothing(project, capsys):
    assert project.auditkit("run", "loans.yaml", "--dry-run") == 0
    assert "group-fairness" in capsys.readouterr().out
    assert not (project.folder / "runs").exists()


def test_a_dry_run_of_a_model_that_is_not_there_yet_does_not_train_it(project, capsys):
    shutil.rmtree(project.folder / "checkpoints")
    assert project.auditkit("run", "loans.yaml", "--dry-run") == 0
    assert "4 epochs first" in capsys.readouterr().out
    assert not (project.folder / "checkpoints").exists()
    assert not (project.folder / "runs").exists()


def test_only_with_an_unknown_audit_names_those_of_the_config(project, capsys):
    assert project.auditkit("run", "loans.yaml", "--only", "fairness") == 2
    assert "group-fairness" in capsys.readouterr().err


def test_a_skipped_audit_says_what_it_needs(project, capsys):
    project.rewrite("  members: train\n", "")
    run = run_json(project, capsys)
    skipped = [result for result in run.results if result.status == "skipped"]
    assert {result.audit for result in skipped} == {"membership-inference"}
    assert all("data.members" in str(result.reason) for result in skipped)


def test_nothing_measured_exits_with_three(project, capsys):
    project.rewrite("  members: train\n", "")
    assert project.auditkit("run", "loans.yaml", "--only", "membership-inference") == 3
    assert "data.members" in capsys.readouterr().err


def test_verify_names_the_file_that_was_changed(project, capsys):
    project.auditkit("run", "loans.yaml", "--only", "performance")
    folder = only_run_folder(project)
    assert project.auditkit("verify", folder) == 0
    text = (folder / "run.json").read_text(encoding="utf-8")
    (folder / "run.json").write_text(text.replace("0", "1", 1), encoding="utf-8")
    capsys.readouterr()
    assert project.auditkit("verify", folder) == 2
    assert "run.json" in capsys.readouterr().out


def test_report_writes_other_languages_and_formats_of_a_stored_run(project):
    project.auditkit("run", "loans.yaml", "--only", "performance")
    folder = only_run_folder(project)
    assert project.auditkit("report", folder, "--lang", "zh,en", "--format", "html,md,junit,json") == 0
    assert (folder / "report.zh.html").exists()
    assert project.auditkit("verify", folder) == 0


def test_report_of_an_unknown_language_names_the_known_ones(project, capsys):
    project.auditkit("run", "loans.yaml", "--only", "performance")
    assert project.auditkit("report", only_run_folder(project), "--lang", "fr") == 2
    assert "zh" in capsys.readouterr().err


def test_compare_shows_the_figures_that_two_runs_share(project, capsys):
    project.auditkit("run", "loans.yaml", "--only", "performance", "--out", "a")
    project.auditkit("run", "loans.yaml", "--only", "performance", "--out", "b", "--set", "data.limit=150")
    capsys.readouterr()
    assert project.auditkit("compare", "a", "b", "--json", "--html", "compare.html") == 0
    rows = json.loads(capsys.readouterr().out)
    assert any("performance/accuracy@baseline" in json.dumps(row) for row in rows)
    assert (project.folder / "compare.html").exists()

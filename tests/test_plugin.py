"""A distribution of somebody else adds an audit: it is found, checked and run like ours."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from auditkit.__main__ import main
from auditkit.store import RunFolder
from tests.cli.conftest import write_loans

PACKAGE = Path(__file__).parent / "plugin_package"

pytestmark = pytest.mark.slow

CONFIG = """\
version: 1
seed: 3
subject:
  checkpoint: checkpoints/loans
  architecture: {name: tabular-mlp, hidden: [8]}
  training: {optimizer: adam, learning_rate: 0.01, batch_size: 64, epochs: 2}
data: {source: loans.csv, target: granted, positive: "yes", sensitive_features: [sex]}
audits:
  small-changes: {step: 0.05}
policy:
  - {figure: small-changes/flip_rate, at_most: 0.5}
"""


SCRIPT = """\
from auditkit.__main__ import main
from auditkit.registry import AUDITS
from auditkit.testing import audit_checks

for name, check in audit_checks(AUDITS.make("small-changes", {})):
    check()
    print(name)
assert main(["run", "loans.yaml", "--out", "run"]) == 0
assert main(["verify", "run"]) == 0
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> Path:
    """A folder with the distribution installed from source, without network."""
    source, target = tmp_path_factory.mktemp("source") / "plugin", tmp_path_factory.mktemp("site")
    shutil.copytree(PACKAGE, source, ignore=shutil.ignore_patterns("__pycache__"))
    words = ["install", "--quiet", "--no-deps", "--no-build-isolation", "--no-index", "--target", str(target)]
    subprocess.run([sys.executable, "-m", "pip", *words, str(source)], check=True, capture_output=True)
    return target


@pytest.fixture
def auditkit(site, monkeypatch, capsys):
    """Runs a command where the distribution is installed: (exit code, stdout, stderr)."""
    return commands_with(site, monkeypatch, capsys)


def commands_with(folder: Path, monkeypatch, capsys):
    monkeypatch.syspath_prepend(folder)

    def command(*words: str) -> tuple[int, str, str]:
        code = main(list(words))
        return code, *capsys.readouterr()

    return command


def copy_with(site: Path, folder: Path, *, name: str, entry_point: str) -> Path:
    """The same folder with a second distribution in it."""
    shutil.copytree(site, folder)
    info = folder / f"{name}-2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text(f"[auditkit.audits]\n{entry_point}\n")
    return folder


def test_an_installed_audit_is_listed_with_its_distribution(auditkit):
    code, out, _ = auditkit("audits", "--json")
    found = {entry["name"]: entry["from"] for entry in json.loads(out)}
    assert code == 0
    assert found["small-changes"] == "auditkit-small-changes 1.0"
    assert found["performance"].startswith("auditkit ")


def test_an_installed_audit_is_described(auditkit):
    code, out, _ = auditkit("audits", "small-changes")
    assert code == 0
    assert "step = 0.01  (Size of a move, in standard deviations of the input)" in out
    assert "from: auditkit-small-changes 1.0" in out


def test_an_installed_audit_keeps_the_promises_and_runs_in_a_process_of_its_own(site, tmp_path):
    """From a fresh interpreter: found, checked, run from a config, judged, reported, verified."""
    write_loans(tmp_path / "loans.csv", n=300)
    (tmp_path / "loans.yaml").write_text(CONFIG)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(site), "NO_COLOR": "1"}
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "survives hostile names" in done.stdout
    run = RunFolder(tmp_path / "run").load_run()
    result = run.results[0]
    assert (result.audit, result.plugin) == ("small-changes", "auditkit-small-changes 1.0")
    assert [finding.verdict for finding in run.findings] == ["pass"]
    assert "small-changes" in (tmp_path / "run" / "report.en.html").read_text(encoding="utf-8")


def test_without_the_distribution_the_config_is_refused_at_the_line(tmp_path, capsys):
    (tmp_path / "loans.yaml").write_text(CONFIG)
    assert main(["run", str(tmp_path / "loans.yaml")]) == 2
    error = capsys.readouterr().err
    assert "loans.yaml:9:3: audits.small-changes: no audit is called 'small-changes'" in error


def test_two_distributions_with_one_audit_are_refused_by_name(site, tmp_path, monkeypatch, capsys):
    clash = copy_with(
        site, tmp_path / "site", name="other-changes", entry_point="small-changes = other:Audit"
    )
    code, _, error = commands_with(clash, monkeypatch, capsys)("audits")
    assert code == 2
    assert "two distributions provide audit 'small-changes'" in error
    assert "other-changes (other:Audit)" in error
    assert "auditkit-small-changes (auditkit_small_changes:SmallChanges)" in error


@pytest.fixture
def half_done(site, tmp_path, monkeypatch, capsys):
    """Commands where a second distribution names a module that it does not bring."""
    folder = copy_with(site, tmp_path / "site", name="half-done", entry_point="half = half_done:Audit")
    return commands_with(folder, monkeypatch, capsys)


def test_a_broken_distribution_is_named_and_the_others_stay_usable(half_done):
    code, out, _ = half_done("audits", "--json")
    entries = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert entries["half"]["area"] == "broken"
    assert "audit 'half' of half-done 2.0 (half_done:Audit) cannot be loaded" in entries["half"]["question"]
    assert entries["small-changes"]["area"] == "robustness"
    code, _, error = half_done("audits", "half")
    assert code == 2
    assert "No module named 'half_done'" in error


def test_a_config_that_names_a_broken_audit_is_refused_at_the_line(half_done, tmp_path):
    (tmp_path / "loans.yaml").write_text(CONFIG.replace("small-changes: {step: 0.05}", "half: {}"))
    code, _, error = half_done("run", str(tmp_path / "loans.yaml"))
    assert code == 2
    assert "loans.yaml:9:3: audits.half: audit 'half' of half-done 2.0 (half_done:Audit) cannot" in error

"""The doctor says whether this installation can be relied on, and never changes it."""

import json
import os
import sys
from collections import Counter

import pytest

from auditkit.__main__ import main
from auditkit.jobs.doctor import Check, examine, is_usable
from auditkit.jobs.packages import Package, required_packages, required_python, within


def by_name(checks) -> dict[str, list[Check]]:
    found: dict[str, list[Check]] = {}
    for check in checks:
        found.setdefault(check.name, []).append(check)
    return found


@pytest.fixture
def quiet_machine(tmp_path, monkeypatch):
    """No own data folder, an empty cache, no browser."""
    monkeypatch.delenv("AUDITKIT_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def test_this_installation_is_usable(quiet_machine):
    checks = examine(quiet_machine)
    assert [check for check in checks if check.status == "problem"] == []
    assert is_usable(checks)


def test_everything_a_user_may_ask_about_is_looked_at(quiet_machine):
    names = set(by_name(examine(quiet_machine)))
    assert names >= {
        *("python", "auditkit", "packages", "torch", "threads", "audits", "variants", "templates"),
        *("language en", "language zh", "folder", "cache", "data adult", "data compas", "data mnist"),
        *("energy", "memory", "browser"),
    }


def test_nothing_is_downloaded_and_nothing_is_left_behind(quiet_machine):
    examine(quiet_machine)
    assert os.listdir(quiet_machine) == []


def test_what_is_absent_but_not_needed_is_no_problem(quiet_machine):
    found = by_name(examine(quiet_machine))
    assert found["data adult"][0].status == "absent"
    assert found["browser"][0].status == "absent"
    assert found["cache"][0].status == "absent"


def test_data_and_browser_are_found_where_they_are(quiet_machine, monkeypatch):
    folder = quiet_machine / "own"
    (folder / "adult").mkdir(parents=True)
    for name in ("adult.data", "adult.test"):
        (folder / "adult" / name).write_text("")
    monkeypatch.setenv("AUDITKIT_DATA", str(folder))
    browser = quiet_machine / "chromium"
    browser.write_text("#!/bin/sh\n")
    browser.chmod(0o755)
    found = by_name(examine(quiet_machine))
    assert found["data adult"][0] == Check("data adult", "ok", str(folder / "adult"))
    assert found["browser"][0].text.startswith(str(browser))


def test_a_folder_that_cannot_be_written_is_a_problem(quiet_machine):
    checks = examine(quiet_machine / "absent")
    assert by_name(checks)["folder"][0].status == "problem"
    assert not is_usable(checks)


def test_a_broken_audit_of_somebody_else_is_a_warning(quiet_machine, monkeypatch):
    site = quiet_machine / "site"
    info = site / "half_done-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: half-done\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[auditkit.audits]\nhalf = half_done:Audit\n")
    monkeypatch.syspath_prepend(site)
    checks = examine(quiet_machine)
    audits = by_name(checks)["audits"]
    assert Counter(check.status for check in audits) == {"warning": 1, "ok": 1}
    assert "half-done 1.0 (half_done:Audit) cannot be loaded" in audits[0].text
    assert is_usable(checks)


def test_two_distributions_with_one_audit_are_a_problem(quiet_machine, monkeypatch):
    for name in ("one", "two"):
        info = quiet_machine / "site" / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[auditkit.audits]\nsame = {name}:Audit\n")
    monkeypatch.syspath_prepend(quiet_machine / "site")
    checks = examine(quiet_machine)
    assert "two distributions provide audit 'same'" in by_name(checks)["audits"][0].text
    assert not is_usable(checks)


def test_the_command_prints_one_line_per_check_and_tells_the_verdict(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["doctor", "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["usable"] is True
    assert main(["doctor"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == [check["status"] for check in document["checks"]]


# --- versions --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("found", "bounds", "fits"),
    [
        ("2.10.0", ">=2.10", True),
        ("2.10", ">=2.10.0", True),
        ("2.9.1+cpu", ">=2.10", False),
        ("2.13.0+cu126", ">=2.10", True),
        ("3.0.0", ">=1.4,<3", False),
        ("2.9", "<3,>=1.4", True),
        ("1.0rc1", ">=1.0", True),
        ("10", ">=9", True),
        ("1.0", "", True),
        ("1.0", "~=1.0", True),
    ],
)
def test_versions_are_compared_as_numbers(found, bounds, fits):
    assert within(found, bounds) is fits


def test_an_absent_package_does_not_fit():
    assert not Package("nothing", ">=1", None).fits


def test_the_floor_of_torch_is_the_one_that_refuses_hidden_code():
    needs = {package.name: package.needs for package in required_packages()}
    assert needs["torch"] == ">=2.10"
    assert "pytest" not in needs


def test_a_distribution_that_is_not_there_requires_nothing():
    assert list(required_packages("no-such-distribution")) == []
    assert required_python("no-such-distribution") == ""


def test_the_python_that_runs_is_supported():
    assert within(sys.version.split()[0], required_python())

"""The wheel carries everything that a run and a report need, and works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Built once, without network."""
    folder = tmp_path_factory.mktemp("wheel")
    words = ["-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT)]
    subprocess.run([sys.executable, *words], check=True, capture_output=True)
    return next(folder.glob("*.whl"))


def test_templates_translations_and_data_are_in_the_wheel(wheel):
    inside = set(zipfile.ZipFile(wheel).namelist())
    templates = {f"auditkit/_templates/{p.name}" for p in (ROOT / "reports" / "templates").iterdir()}
    others = {
        path.relative_to(ROOT).as_posix()
        for pattern in ("*.yaml", "*.csv", "*.mo", "*.txt", "py.typed")
        for path in (ROOT / "auditkit").rglob(pattern)
    }
    assert templates
    assert (templates | others) - inside == set()


def test_an_installed_wheel_renders_a_report_from_another_folder(wheel, tmp_path):
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    script = (
        "import auditkit, sys; from auditkit.__main__ import main; "
        "assert auditkit.__file__.startswith(sys.argv[1]), auditkit.__file__; "
        "from auditkit.reporting.templates import templates_folder; "
        "assert '_templates' in str(templates_folder()); sys.exit(main(['audits']))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(site)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "group-fairness" in done.stdout

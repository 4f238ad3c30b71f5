"""The wheel carries everything that a run and a report need, and works away from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from auditkit.store import as_json
from tests.reporting.sample_run import sample_run

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
    (tmp_path / "run.json").write_text(as_json(sample_run()), encoding="utf-8")
    script = (
        "import sys, auditkit; from pathlib import Path; from auditkit.records import Run; "
        "from auditkit.reporting.html import render_html; "
        "assert auditkit.__file__.startswith(sys.argv[1]), auditkit.__file__; "
        "run = Run.model_validate_json(Path('run.json').read_text(encoding='utf-8')); "
        "[print(render_html(run, language)) for language in ('en', 'zh')]"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(site)],
        cwd=tmp_path,
        env={"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "PYTHONUTF8": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("<!doctype html>") == 2

"""A run folder is complete or recognised as unfinished, whatever moment it was killed at."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from auditkit.errors import RunFolderError
from auditkit.records import Run, figure_address
from auditkit.store import MANIFEST, RUN_FILE, RunFolder, as_json, write_atomically
from tests.core.test_records import _run_values, measurement, result

FIGURE = result(measurement(), key="abc")


def a_run(**more) -> Run:
    return Run.model_validate({**_run_values(), **more})


@pytest.fixture
def sealed(tmp_path) -> RunFolder:
    """A complete run with a report and one kept result."""
    folder = RunFolder(tmp_path / "run")
    folder.start()
    folder.keep_result(FIGURE)
    folder.write_run(a_run())
    write_atomically(folder.path / "report.en.html", "<p>report</p>")
    folder.log("run_finished", run_id="r")
    folder.seal()
    return folder


# --- writing ---------------------------------------------------------------------------------------


def test_a_file_is_replaced_as_a_whole_and_leaves_no_temporary(tmp_path):
    path = tmp_path / "deep" / "file.txt"
    write_atomically(path, "old")
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert os.listdir(path.parent) == ["file.txt"]


def test_a_failed_write_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.txt"
    write_atomically(path, "old")
    path.with_name(f".file.txt.{os.getpid()}.tmp").mkdir()
    with pytest.raises(OSError, match="directory"):
        write_atomically(path, "new")
    assert path.read_text() == "old"


def test_json_keeps_text_and_order_as_they_are():
    crossed = measurement(group={"sex": "F", "race": "é 中文"})
    run = a_run(config={"b": 1, "a": {"z": 1, "y": 2}}, results=[result(crossed)])
    text = as_json(run)
    again = Run.model_validate(json.loads(text))
    assert "é 中文" in text
    assert text.endswith("}\n")
    assert text == as_json(again)
    assert repr(again) == repr(run)
    assert figure_address(again.results[0], again.results[0].measurements[0]) == (
        "a/accuracy[sex=F,race=é 中文]@baseline"
    )


# --- complete and unfinished -----------------------------------------------------------------------


def test_a_sealed_run_is_read_back_as_it_was(sealed):
    assert sealed.is_complete
    assert sealed.load_run() == a_run()
    assert sealed.verify() == []


@pytest.mark.parametrize("lost", [[MANIFEST], [MANIFEST, RUN_FILE], [MANIFEST, RUN_FILE, "report.en.html"]])
def test_a_run_killed_before_the_seal_is_unfinished(sealed, lost):
    for name in lost:
        (sealed.path / name).unlink()
    assert not sealed.is_complete
    with pytest.raises(RunFolderError, match=r"unfinished.*Repeat its `auditkit run` command"):
        sealed.load_run()
    with pytest.raises(RunFolderError, match="unfinished"):
        sealed.verify()


def test_starting_again_breaks_the_seal_first(sealed):
    sealed.start()
    assert not sealed.is_complete
    assert sealed.find_result("abc") == FIGURE


def test_an_absent_folder_is_named(tmp_path):
    with pytest.raises(RunFolderError, match="nowhere: no such run folder"):
        RunFolder(tmp_path / "nowhere").load_run()


@pytest.mark.parametrize("size", [0, 1, 100])
def test_a_truncated_run_is_refused(sealed, size):
    path = sealed.path / RUN_FILE
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(RunFolderError, match="cannot be read"):
        sealed.load_run()
    assert sealed.verify() == [f"{RUN_FILE}: changed since the run was sealed"]


@pytest.mark.parametrize("content", ["[]", "3", '{"schema_version": 1}', "[" * 100_000])
def test_a_run_of_another_shape_is_refused(sealed, content):
    (sealed.path / RUN_FILE).write_text(content)
    with pytest.raises(RunFolderError, match=RUN_FILE):
        sealed.load_run()


def test_a_newer_schema_is_refused_with_both_versions(sealed):
    values = json.loads((sealed.path / RUN_FILE).read_bytes())
    (sealed.path / RUN_FILE).write_text(json.dumps({**values, "schema_version": 99, "news": 1}))
    with pytest.raises(RunFolderError, match=r"has schema 99, this auditkit reads up to 1. Update auditkit"):
        sealed.load_run()


def test_a_field_that_is_wrong_is_named_by_its_place(sealed):
    values = json.loads((sealed.path / RUN_FILE).read_bytes())
    values["data"]["n_rows"] = "many"
    (sealed.path / RUN_FILE).write_text(json.dumps(values))
    with pytest.raises(RunFolderError, match=r"data.n_rows: Input should be a valid integer"):
        sealed.load_run()


# --- kept results ----------------------------------------------------------------------------------


def test_a_kept_result_is_found_by_its_key(sealed):
    assert sealed.find_result("abc") == FIGURE
    assert sealed.find_result("other") is None


@pytest.mark.parametrize("status", ["failed", "skipped"])
def test_only_measured_results_are_kept(sealed, status):
    sealed.keep_result(result(key="later", status=status, reason="why"))
    assert sealed.find_result("later") is None


@pytest.mark.parametrize("damage", [b"", b"{", b"[]", b"\xff\xfe"])
def test_a_damaged_result_counts_as_absent(sealed, damage):
    (sealed.path / "results" / "abc.json").write_bytes(damage)
    assert sealed.find_result("abc") is None


def test_a_result_under_the_key_of_another_counts_as_absent(sealed):
    os.rename(sealed.path / "results" / "abc.json", sealed.path / "results" / "def.json")
    assert sealed.find_result("def") is None


# --- verify ----------------------------------------------------------------------------------------


def test_one_flipped_bit_is_named(sealed):
    path = sealed.path / "report.en.html"
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    assert sealed.verify() == ["report.en.html: changed since the run was sealed"]


def test_missing_and_added_files_are_named(sealed):
    (sealed.path / "results" / "abc.json").unlink()
    (sealed.path / "results" / "new.json").write_text("{}")
    (sealed.path / "extra.tmp").write_text("")
    (sealed.path / "results" / MANIFEST).write_text("{}")
    assert sealed.verify() == [
        "results/abc.json: missing",
        "extra.tmp: added later",
        f"results/{MANIFEST}: added later",
        "results/new.json: added later",
    ]


def test_what_a_killed_write_left_is_no_change(sealed):
    (sealed.path / f".{RUN_FILE}.123.tmp").write_text("half a ru")
    assert sealed.verify() == []


@pytest.mark.parametrize(
    "content", ["", "{", "[]", "{}", '{"sha256": 3}', '{"sha256": [["a", "b"]]}', '{"sha256": ""}']
)
def test_a_damaged_manifest_is_named(sealed, content):
    (sealed.path / MANIFEST).write_text(content)
    assert sealed.verify() == [f"{MANIFEST}: damaged"]


def test_events_are_lines_of_json(sealed):
    lines = (sealed.path / "events.jsonl").read_text().splitlines()
    assert [json.loads(line)["event"] for line in lines] == ["run_finished"]


# --- a real death ----------------------------------------------------------------------------------

WRITER = """
import sys
from auditkit.store import RunFolder
from tests.core.test_store import a_run
folder = RunFolder(__import__("pathlib").Path(sys.argv[1]))
print("ready", flush=True)
for number in range(100_000):
    folder.start()
    folder.write_run(a_run(title="x" * (number % 7) * 100_000))
    folder.seal()
"""


@pytest.mark.slow
@pytest.mark.parametrize("delay_s", [0.0, 0.011, 0.05])
def test_a_killed_process_leaves_a_whole_run_or_an_unfinished_one(tmp_path, delay_s):
    folder = RunFolder(tmp_path / "run")
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(folder.path)],
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
    )
    with process:
        process.stdout.readline()
        while not folder.path.exists():
            time.sleep(0.001)
        time.sleep(delay_s)
        os.kill(process.pid, signal.SIGKILL)
    if folder.is_complete:
        assert folder.verify() == []
        assert folder.load_run().run_id == "r"
    else:
        with pytest.raises(RunFolderError, match="unfinished"):
            folder.load_run()

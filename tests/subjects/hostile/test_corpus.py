"""Every file of the corpus, as an adapter and as a user meets it: nothing executed, nothing hanging."""

import os
import pickle
import shutil
from importlib.util import find_spec

import pytest

from auditkit.__main__ import main
from tests.subjects.bombs import Bomb
from tests.subjects.hostile import sound
from tests.subjects.hostile.corpus import CORPUS, NEEDS
from tests.subjects.hostile.scene import faults_of, no_hang, take, write_table

NAMES = sorted(CORPUS)


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module", autouse=True)
def programs_are_exported_once(tmp_path_factory):
    """Exporting takes a second; the corpus changes copies."""
    place = tmp_path_factory.mktemp("programs")
    made = sound.program(place)
    before = sound.program
    sound.program = lambda folder: shutil.copy(made, folder / made.name)
    yield
    sound.program = before


def build(name, place):
    key, builder, config, code = CORPUS[name]
    if key in NEEDS and find_spec(NEEDS[key]) is None:
        pytest.skip(f"{NEEDS[key]} is not installed")
    marker = place / "executed"
    return key, builder(place, marker), config, code, marker


def test_the_bomb_is_a_bomb(tmp_path):
    pickle.loads(pickle.dumps(Bomb(tmp_path / "executed")))
    assert (tmp_path / "executed").exists()


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_is_refused_with_its_name_and_a_remedy(name, tmp_path, table):
    key, path, config, code, marker = build(name, tmp_path)
    before = set(os.listdir(tmp_path))
    outcome = take(key, path, table, **config)
    assert outcome.subject is None
    assert faults_of(str(outcome.error), path) == []
    assert not marker.exists()
    assert outcome.error.exit_code == code, str(outcome.error)
    assert set(os.listdir(tmp_path)) == before


def yaml_of(config):
    return "".join(f", {key}: {value}".replace("'", "") for key, value in config.items())


@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_shows_the_user_a_message_and_no_traceback(name, tmp_path, table, capsys):
    key, path, config, code, marker = build(name, tmp_path)
    shutil.copy(table, tmp_path / "rows.csv")
    (tmp_path / "texts.csv").write_text("text,label\n" + "a fine film,good\na dull film,bad\n" * 20)
    rows = "texts.csv, text: text, positive: good" if key == "hf" else "rows.csv, positive: 'yes'"
    (tmp_path / "audit.yaml").write_text(
        f"version: 1\nsubject: {{{key}: '{path}'{yaml_of(config)}}}\n"
        f"data: {{source: {rows}, split: all, target: label}}\naudits: {{performance: {{}}}}\n"
    )
    with no_hang():
        assert main(["run", str(tmp_path / "audit.yaml"), "--out", str(tmp_path / "run")]) == code
    said = capsys.readouterr()
    assert "Traceback" not in said.err + said.out
    assert path.name in "".join(said.err.split())
    assert not marker.exists()
    assert not (tmp_path / "run" / "run.json").exists()

"""Single bits flipped in sound files of every format: refused with a message, or read as a model."""

import os
from pathlib import Path

import numpy as np
import pytest

from auditkit.errors import AuditkitError
from auditkit.subjects.program_archive import check_program
from tests.subjects.hostile.scene import Outcome, faults_of, no_hang, take, write_table
from tests.subjects.hostile.sound import EXTRAS, SOUND, fresh

KERAS = (
    pytest.mark.slow,
    # Keras 3.15 writes and predicts by np.array(tensor), which NumPy 2 warns about.
    pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept a copy:DeprecationWarning"),
)
FORMATS = [pytest.param(name, marks=KERAS if name == "Keras" else ()) for name in sorted(SOUND)]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return write_table(tmp_path_factory.mktemp("rows"))


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    """Each written once, when it is asked for."""
    written: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name in EXTRAS:
            if name == "Keras":
                os.environ.setdefault("KERAS_BACKEND", "torch")
            pytest.importorskip(EXTRAS[name])
        if name not in written:
            written[name] = SOUND[name][1](tmp_path_factory.mktemp("sound"))
        return written[name]

    return get


@pytest.mark.parametrize("name", FORMATS)
def test_the_sound_file_is_read(name, sound, table):
    key, _, config, _ = SOUND[name]
    trust = {"trust": True} if name == "TorchScript" else {}
    outcome = take(key, sound(name), table, **config, **trust)
    assert outcome.error is None


def flipped(content: bytes, rng: np.random.Generator) -> bytes:
    damaged = bytearray(content)
    damaged[int(rng.integers(len(content)))] ^= 1 << int(rng.integers(8))
    return bytes(damaged)


def program_outcome(path: Path, table: Path, sound_content: bytes) -> Outcome:
    """As the adapter does it; no process is started for an archive that the check makes the same again."""
    try:
        with no_hang():
            checked = check_program(path)
    except AuditkitError as error:
        return Outcome(None, error)
    return Outcome(None, None) if checked.content == sound_content else take("checkpoint", path, table)


def flip_all(name: str, n: int, sound, table: Path, place: Path) -> list[str]:
    """Faults found in ``n`` flips, spread over the files of the format."""
    key, _, config, members = SOUND[name]
    source, rng = sound(name), np.random.default_rng(len(name))
    same = check_program(source).content if name == "exported program" else b""
    faults = []
    for index in range(n):
        path = fresh(source, place)
        file = path / members[index % len(members)] if members else path
        file.write_bytes(flipped(file.read_bytes(), rng))
        outcome = program_outcome(path, table, same) if same else take(key, path, table, **config)
        if outcome.error is not None:
            faults += faults_of(str(outcome.error), path if members else file)
        elif outcome.subject is None and not same:
            faults.append("neither a subject nor an error")
    return faults


@pytest.mark.parametrize("name", FORMATS)
def test_twenty_five_flipped_bits_are_refused_with_a_remedy_or_give_a_model(name, sound, table, tmp_path):
    assert flip_all(name, 25, sound, table, tmp_path) == []


@pytest.mark.proof
@pytest.mark.parametrize("name", FORMATS)
def test_two_hundred_flipped_bits_are_refused_with_a_remedy_or_give_a_model(name, sound, table, tmp_path):
    assert flip_all(name, 200, sound, table, tmp_path) == []


@pytest.mark.parametrize("name", FORMATS)
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.98])
def test_truncated_files_are_refused_with_a_remedy(name, share, sound, table, tmp_path):
    key, _, config, members = SOUND[name]
    path = fresh(sound(name), tmp_path)
    file = path / members[0] if members else path
    content = file.read_bytes()
    file.write_bytes(content[: int(len(content) * share)])
    outcome = take(key, path, table, **config)
    assert outcome.error is not None
    assert faults_of(str(outcome.error), path if members else file) == []

"""The key of a replay: made once, for its owner alone, and bound to one training."""

import pytest

from auditkit.errors import PrivacyRefusedError
from auditkit.jobs.ledger import replay_key_file
from auditkit.privacy.replay_key import ReplayKey


@pytest.fixture
def key(tmp_path) -> ReplayKey:
    found = ReplayKey(tmp_path / "state" / "replay.key", "rows")
    found.make_if_absent(tmp_path / "checkpoints" / "unfinished")
    return found


def test_it_is_made_once_for_its_owner_alone(key, tmp_path):
    secret = key.file.read_bytes()
    assert (len(secret), key.file.stat().st_mode & 0o777) == (32, 0o600)
    key.make_if_absent(tmp_path / "checkpoints" / "unfinished")
    assert key.file.read_bytes() == secret


def test_what_it_locks_it_unlocks_and_twice_the_same_looks_otherwise(key):
    one, other = (key.lock(b"noise", about="run") for _ in range(2))
    assert one != other
    assert key.unlock(one, about="run") == key.unlock(other, about="run") == b"noise"


@pytest.mark.parametrize(("fingerprint", "about"), [("rows", "another run"), ("other rows", "run")])
def test_what_was_locked_for_one_training_is_no_good_for_another(key, fingerprint, about):
    locked = key.lock(b"noise", about="run")
    with pytest.raises(PrivacyRefusedError, match="of another training"):
        ReplayKey(key.file, fingerprint).unlock(locked, about=about)


@pytest.mark.parametrize("text", ["", "?", "AAAA"])
def test_what_was_damaged_is_refused(key, text):
    with pytest.raises(PrivacyRefusedError, match="damaged"):
        key.unlock(text, about="run")


def test_a_key_beside_what_it_locks_is_refused(tmp_path):
    with pytest.raises(PrivacyRefusedError, match="whoever copies one has both"):
        ReplayKey(tmp_path / "replay.key", "rows").make_if_absent(tmp_path / "unfinished")
    assert not (tmp_path / "replay.key").exists()


def test_it_lies_where_the_user_says_or_beside_the_ledgers(tmp_path):
    named = {"AUDITKIT_LEDGER": str(tmp_path), "AUDITKIT_REPLAY_KEY_FILE": str(tmp_path / "mine")}
    assert replay_key_file(named) == tmp_path / "mine"
    assert replay_key_file({"AUDITKIT_LEDGER": str(tmp_path)}) == tmp_path / "replay.key"

"""The chained file: what was changed is named, what was torn is kept, what is not on disk is not spent."""

import json
import multiprocessing
import os
import re

import pytest

from auditkit.errors import LedgerError
from auditkit.privacy.ledger_file import START, append, locked, read_chain
from auditkit.records import Budgeted, Ended, LedgerPointer


def entry(epsilon: float = 3.0) -> Budgeted:
    return Budgeted(epsilon=epsilon, delta=1e-5)


def filled(path, n: int = 4):
    for index in range(n):
        append(path, read_chain(path), [entry(1.0 + index)])
    return path


def epsilons(path) -> list[float]:
    return [line.entry.epsilon for line in read_chain(path).lines]


def test_lines_come_back_in_order_and_name_the_one_before(tmp_path):
    chain = read_chain(filled(tmp_path / "x.jsonl"))
    assert [line.entry.epsilon for line in chain.lines] == [1, 2, 3, 4]
    assert [line.previous for line in chain.lines] == [START, *(line.hash for line in chain.lines[:-1])]
    assert chain.head == LedgerPointer(number=3, hash=chain.lines[-1].hash)
    assert read_chain(tmp_path / "absent.jsonl").lines == ()


def test_the_file_is_for_its_owner_alone(tmp_path):
    assert filled(tmp_path / "x.jsonl").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_changed_line_is_named(tmp_path, number):
    path = filled(tmp_path / "x.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    lines[number] = lines[number].replace('"epsilon":', '"epsilon":9', 1)
    path.write_text("".join(lines))
    with pytest.raises(LedgerError, match=rf"line {number + 1} was changed"):
        read_chain(path)


def test_a_line_replaced_by_one_whose_hash_fits_breaks_the_one_after_it(tmp_path):
    path, forged = filled(tmp_path / "x.jsonl"), tmp_path / "forged.jsonl"
    append(forged, read_chain(forged), [entry(0.001)])
    path.write_text(forged.read_text() + "".join(path.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(LedgerError, match="line 2 does not follow"):
        read_chain(path)


@pytest.mark.parametrize("number", [0, 2])
def test_a_removed_line_is_noticed(tmp_path, number):
    path = filled(tmp_path / "x.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    del lines[number]
    path.write_text("".join(lines))
    with pytest.raises(LedgerError, match=f"line {number + 1} does not follow"):
        read_chain(path)


def test_garbage_between_lines_is_named(tmp_path):
    path = filled(tmp_path / "x.jsonl")
    lines = path.read_text().splitlines(keepends=True)
    lines[1] = "garbage\n"
    path.write_text("".join(lines))
    with pytest.raises(LedgerError, match="line 2 is damaged"):
        read_chain(path)
    path.write_text("".join([lines[0], "garbage\n"]))
    with pytest.raises(LedgerError, match="line 2 is damaged"):
        read_chain(path)


def test_a_line_of_a_newer_version_is_not_taken_for_damage(tmp_path):
    from auditkit.privacy import ledger_file

    path = filled(tmp_path / "x.jsonl", 1)
    values = json.loads(path.read_text().splitlines()[-1])
    values |= {"number": 1, "previous": values["hash"], "entry": {"kind": "quantum"}}
    del values["hash"]
    values["hash"] = ledger_file._hash(values)
    with path.open("ab") as file:
        file.write(ledger_file._encoded(values) + b"\n")
    with pytest.raises(LedgerError, match="newer auditkit"):
        read_chain(path)


def test_a_line_cut_anywhere_loses_nothing_before_it_and_stays_in_the_file(tmp_path):
    path = filled(tmp_path / "x.jsonl", 3)
    content = path.read_bytes()
    start = content.rindex(b"\n", 0, -1) + 1
    for cut in range(start, len(content)):
        path.write_bytes(content[:cut])
        assert epsilons(path)[:2] == [1, 2]
        append(path, read_chain(path), [entry(7.0)])
        append(path, read_chain(path), [entry(8.0)])
        assert path.read_bytes().startswith(content[:cut])
        kept = [3.0] if cut == len(content) - 1 else []  # the whole line, but for its end
        assert epsilons(path) == [1, 2, *kept, 7, 8]


def test_a_fragment_left_while_writing_past_a_fragment_is_kept_too(tmp_path):
    path = filled(tmp_path / "x.jsonl", 2)
    before = path.read_bytes() + b'{"entry":{"kind":"res' + b'\n{"ent'
    path.write_bytes(before)
    append(path, read_chain(path), [entry(5.0)])
    assert path.read_bytes().startswith(before)
    assert epsilons(path) == [1, 2, 5]


def test_a_torn_fragment_that_is_edited_later_is_noticed(tmp_path):
    path = filled(tmp_path / "x.jsonl", 2)
    path.write_bytes(path.read_bytes() + b'{"torn')
    append(path, read_chain(path), [entry(5.0)])
    path.write_bytes(path.read_bytes().replace(b'{"torn', b'{"TORN'))
    with pytest.raises(LedgerError, match="line 3 is damaged"):
        read_chain(path)


def test_a_line_cut_off_is_known_to_whoever_holds_a_later_pointer(tmp_path):
    path = filled(tmp_path / "x.jsonl")
    pointer = read_chain(path).head
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    assert not read_chain(path).holds(pointer)


def test_a_full_disk_is_an_error_and_not_a_record(tmp_path, monkeypatch):
    path = filled(tmp_path / "x.jsonl", 1)
    real = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, content: real(descriptor, content[:20]))
    with pytest.raises(LedgerError, match="only 20 of"):
        append(path, read_chain(path), [entry(2.0)])
    monkeypatch.undo()
    append(path, read_chain(path), [entry(3.0)])
    assert epsilons(path) == [1, 3]


def test_what_cannot_be_written_is_an_error_with_the_remedy(tmp_path):
    path = tmp_path / "x.jsonl"
    path.mkdir()
    with pytest.raises(LedgerError, match="AUDITKIT_LEDGER"):
        append(path, read_chain(tmp_path / "absent"), [entry()])
    (tmp_path / "file").write_text("")
    with pytest.raises(LedgerError, match="AUDITKIT_LEDGER"), locked(tmp_path / "file" / "x.jsonl"):
        pass


def _count(path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            append(path, read_chain(path), [Ended(run="x", executed_steps=1)])


def test_many_processes_append_without_losing_a_line(tmp_path):
    path = tmp_path / "x.jsonl"
    processes = [
        multiprocessing.get_context("fork").Process(target=_count, args=(path, 20)) for _ in range(4)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert len(read_chain(path).lines) == 80
    assert re.fullmatch(r"[0-9a-f]{64}", read_chain(path).head.hash)

"""Is a second look at many runs quick, and does it still see whatever has changed since the first?"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import known_rows, watch
from ablation_suite.core.scheduling.known_rows import KnownRows
from ablation_suite.core.scheduling.watch import grid_rows, note_rows
from tests.core.tracked_run import BARE_RECORD

HISTORY = [{"kind": "epoch", "time": 1.0, "epoch": 1, "val/accuracy": 0.5, "seconds": 1.0}]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six runs of which four are finished, old enough for their stamps to count; so few are kept here."""
    monkeypatch.setattr(known_rows, "_LEAST", 1)
    monkeypatch.setattr(known_rows, "RACY_NS", -(10**9))
    for seed in range(6):
        folder = RunFolder(tmp_path / "runs" / f"run{seed}")
        folder.create({"run_id": folder.run_id, "config": {"epochs": 1}, "labels": {"arm": "wide", "seed": seed}})
        if seed < 4:
            with folder.claim():
                pass
            folder.commit({**BARE_RECORD, "history": HISTORY})
    return tmp_path / "runs"


def look(store: Path) -> list[dict]:
    """What a new process would find."""
    return grid_rows(store, known=kept(store))


def kept(store: Path) -> KnownRows:
    """The rows that a new process would read no more."""
    known = KnownRows(store.parent / "cache", store)
    known.read()
    return known


def test_a_second_look_reads_no_run_again_and_says_the_same(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither of the finished ones nor of those never begun."""
    first = look(store)
    assert [row["state"] for row in first] == 4 * ["finished"] + 2 * ["missing"]
    assert [row["best"] for row in first] == 4 * [0.5] + 2 * [None]
    monkeypatch.setattr(watch, "_row", lambda folder: pytest.fail(f"read {folder.run_id} again"))
    assert look(store) == first


def test_what_changed_between_two_looks_is_seen(store: Path) -> None:
    """A digit of a record, with its size and time as before; a run that begins; labels; a run that is gone; a new one.

    And a record that is put in the place of another with the same size and time.
    """
    look(store)
    record = store / "run0/record.json"
    stat = record.stat()
    record.write_bytes(record.read_bytes().replace(b"0.5", b"0.6"))
    os.utime(record, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    job = RunFolder(store / "run1").job()
    write_json(store / "run1/run.json", {**job, "labels": {"arm": "deep", "seed": 1}})
    shutil.rmtree(store / "run2")
    other = store / "run3/other"
    other.write_bytes((store / "run3/record.json").read_bytes().replace(b"0.5", b"0.7"))
    stat = (store / "run3/record.json").stat()
    os.replace(other, store / "run3/record.json")
    os.utime(store / "run3/record.json", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    RunFolder(store / "run6").create({"run_id": "run6", "config": {"epochs": 1}, "labels": {}})
    with RunFolder(store / "run4").claim():
        rows = {row["run_id"]: row for row in look(store)}
    states = ["damaged", "finished", "damaged", "running", "missing", "missing"]
    assert [row["state"] for row in rows.values()] == states
    assert rows["run1"]["arm"] == "deep"
    assert look(store)[3]["state"] == "interrupted"


def test_a_file_that_changed_just_now_is_read_again(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may change once more within one tick of the file system's clock, which no stamp would show."""
    monkeypatch.setattr(known_rows, "RACY_NS", 10**12)
    look(store)
    assert not kept(store).rows


def line(value: object) -> bytes:
    """A line of the file."""
    return known_rows._text([value])


SPOILED: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda data: b"",
    "torn": lambda data: data[:-9],
    "torn and added to": lambda data: data[:-9] + data[data.index(b"\n") + 1 :],
    "of another form": lambda data: line({**known_rows._HEAD, "form": 1}) + data[data.index(b"\n") + 1 :],
    "without its head": lambda data: data[data.index(b"\n") + 1 :],
    "no text": lambda data: b"\xff",
}


@pytest.mark.parametrize("spoil", SPOILED.values(), ids=SPOILED)
def test_what_is_kept_may_be_damaged_or_lost(store: Path, spoil: Callable[[bytes], bytes]) -> None:
    """Everything is read again, and the next look is quick again."""
    first = look(store)
    (path,) = (store.parent / "cache/status").iterdir()
    for happens in (lambda: path.write_bytes(spoil(path.read_bytes())), path.unlink):
        happens()
        assert not kept(store).rows
        assert look(store) == first
        assert len(kept(store).rows) == 6


@pytest.mark.fault(
    "a flipped bit in what `status` remembers",
    injected="every 37th bit of a small memory, one at a time",
    promised="nothing of it is believed; every state is that of the files",
)
def test_a_flipped_bit_of_what_is_kept_never_shows_another_state(store: Path) -> None:
    """Another letter of a state, another digit of an accuracy or of an id: any one would still be JSON."""
    look(store)
    (path,) = (store.parent / "cache/status").iterdir()
    data = path.read_bytes()
    for place in range(0, 8 * len(data), 37):
        spoiled = bytearray(data)
        spoiled[place // 8] ^= 1 << place % 8
        path.write_bytes(spoiled)
        assert not kept(store).rows, f"bit {place} of {spoiled[max(0, place // 8 - 20) : place // 8 + 20]!r}"


@pytest.mark.fault(
    "what `status` remembers is no file",
    injected="a pipe and a folder in its place",
    promised="every run is read, and nothing waits",
)
@pytest.mark.parametrize("place", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_what_is_kept_may_be_no_file(store: Path, place: Callable[[Path], None]) -> None:
    """Nobody writes into the pipe, and nothing may wait for them."""
    first = look(store)
    (path,) = (store.parent / "cache/status").iterdir()
    path.unlink()
    place(path)
    note_rows([RunFolder(store / "run0")], KnownRows(store.parent / "cache", store))
    assert look(store) == first


def test_rows_of_others_stay_and_new_ones_are_added(store: Path) -> None:
    """A look at some runs forgets none of the rest; a new run is written behind them, a run that is gone is no more."""
    first = look(store)
    (path,) = (store.parent / "cache/status").iterdir()
    before = path.read_bytes()
    assert grid_rows(store, ["run3"], None, kept(store)) == first[3:4]
    RunFolder(store / "run6").create({"run_id": "run6", "recipe": 1, "config": {"epochs": 1}, "labels": {}})
    look(store)
    assert path.read_bytes().startswith(before)
    assert len(path.read_bytes()) > len(before)
    shutil.rmtree(store / "run2")
    assert [row["run_id"] for row in look(store)] == ["run0", "run1", "run3", "run4", "run5", "run6"]


def test_a_driver_reads_what_finished_for_the_first_look(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In any number of calls, also into a file that is there."""
    folders = [RunFolder(store / f"run{seed}") for seed in range(4)]
    note_rows(folders[:1], KnownRows(store.parent / "cache", store))
    note_rows(folders[1:], KnownRows(store.parent / "cache", store))
    assert kept(store).rows.keys() == {"run0", "run1", "run2", "run3"}
    read, row = [], watch._row
    monkeypatch.setattr(watch, "cores", lambda: 1)
    monkeypatch.setattr(watch, "_row", lambda folder: read.append(folder.run_id) or row(folder))
    assert [row["best"] for row in look(store)] == 4 * [0.5] + 2 * [None]
    assert read == ["run4", "run5"]


def test_a_cache_that_cannot_be_written_costs_time_alone(store: Path) -> None:
    """A file stands in its place; and what belongs to somebody else is not believed."""
    (store.parent / "cache").write_text("")
    assert [row["state"] for row in look(store)] == 4 * ["finished"] + 2 * ["missing"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_what_somebody_else_kept_is_not_believed(store: Path) -> None:
    """Rows of another user are read by nobody but them."""
    look(store)
    (path,) = (store.parent / "cache/status").iterdir()
    os.chown(path, 65534, -1)
    assert not kept(store).rows


def test_few_runs_leave_nothing_behind(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are read as quickly as they are looked up."""
    monkeypatch.undo()
    look(store)
    assert not (store.parent / "cache").exists()


def test_many_runs_are_read_by_processes_of_our_own(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They say the same, in the order of the folders, and leave no process behind."""
    here = grid_rows(store)
    began: list[subprocess.Popen] = []
    popen = subprocess.Popen
    monkeypatch.setattr(
        watch.subprocess, "Popen", lambda *words, **more: began.append(popen(*words, **more)) or began[-1]
    )
    monkeypatch.setattr(watch, "_MANY", 2)
    monkeypatch.setattr(watch, "cores", lambda: 4)
    assert grid_rows(store) == here
    assert [each.poll() for each in began] == [0, 0, 0]
    assert [look(store), len(began), look(store), len(began)] == [here, 6, here, 6]  # and what they read is kept


def test_a_reader_that_fails_ends_the_others(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As Ctrl-C does: none reads on for nobody."""
    began: list[subprocess.Popen] = []
    for command in (["false"], ["sleep", "600"]):
        began_now = subprocess.Popen(command, stdin=subprocess.DEVNULL)
        began.append(began_now)
    waiting = iter(began)
    monkeypatch.setattr(watch.subprocess, "Popen", lambda *words, **more: next(waiting))
    monkeypatch.setattr(watch, "_MANY", 2)
    monkeypatch.setattr(watch, "cores", lambda: 2)
    with pytest.raises(RuntimeError, match="exit status 1"):
        grid_rows(store)
    assert began[1].wait(10) == -9

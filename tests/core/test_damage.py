"""Does damage to one file cost one run, and is it told?"""

from __future__ import annotations

import json
import math
import os
import shutil

import pytest
from click.testing import CliRunner

from ablation_suite.commands.look import show, status
from ablation_suite.core.runs.store import Damaged, RunFolder
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.scheduling.console import Progress
from ablation_suite.core.scheduling.inline import Inline
from ablation_suite.core.scheduling.scheduler import drive

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def damaged(finished, runtime):
    """Two finished runs in a store of their own, the first of which is to be damaged."""
    shutil.copytree(finished[0].store, runtime.store)
    return [RunFolder(runtime.store / folder.run_id) for folder in finished[1]]


def change_a_digit(path):
    """Another accuracy, in a file that still reads."""
    text = path.read_text()
    at = text.index('"val/accuracy": 0.') + len('"val/accuracy": 0.')
    path.write_text(text[:at] + str((int(text[at]) + 1) % 10) + text[at + 1 :])


DAMAGES = {
    "torn": lambda path: os.truncate(path, 1000),
    "empty": lambda path: os.truncate(path, 0),
    "zeros": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "no object": lambda path: path.write_text("[]"),
    "not UTF-8": lambda path: path.write_bytes(b'{"a": "\xff"}'),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "a digit": change_a_digit,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_counts_as_no_record(damage, damaged):
    """It is told by its path, the run is not finished, and the other run still is."""
    damage(damaged[0].record_path)
    with pytest.raises(Damaged, match=r"record\.json: is "):
        damaged[0].record()
    assert [folder.is_finished() for folder in damaged] == [False, True]
    assert [folder.status() for folder in damaged] == ["damaged", "finished"]


def test_a_record_of_an_older_version_is_read_without_a_digest(damaged):
    """Last year's runs carry none."""
    record = damaged[0].record()
    damaged[0].record_path.write_text(json.dumps(record))
    assert damaged[0].record() == record
    assert damaged[0].is_finished()


def test_any_record_verifies_as_it_was_written(tmp_path):
    """Also with numbers that are none, keys that are numbers, and tuples, which JSON writes in its own way."""
    folder = RunFolder(tmp_path)
    folder.commit({"loss": math.nan, "norm": math.inf, 10: "ten", 9: "nine", "sizes": (1, 2), "class": "é"})
    record = folder.record()
    assert math.isnan(record.pop("loss"))
    assert record == {"norm": math.inf, "10": "ten", "9": "nine", "sizes": [1, 2], "class": "é"}


def test_a_record_is_verified_once_unless_its_file_changes(damaged, monkeypatch):
    """A driver asks often; damage that comes later is still noticed."""
    assert damaged[0].is_finished()
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "record", lambda self: pytest.fail("read again"))
        assert damaged[0].is_finished()
    os.truncate(damaged[0].record_path, 1000)
    assert not damaged[0].is_finished()


def test_a_driver_sets_a_damaged_record_aside_and_trains_the_run_again(damaged, runtime, capsys):
    """One line on the error stream, the damaged file is kept, the numbers are as before, and the other run stays."""
    before = damaged[0].record()
    other = damaged[1].record_path.stat().st_mtime_ns
    change_a_digit(damaged[0].record_path)
    torn = damaged[0].record_path.read_bytes()
    jobs = {folder.run_id: folder.job() for folder in damaged}
    outcome = drive(jobs, runtime, Inline(runtime), Progress())
    assert outcome.finished == [damaged[0].run_id]
    assert outcome.reused == 1
    told = [line for line in capsys.readouterr().err.splitlines() if "set aside" in line]
    assert len(told) == 1
    assert str(damaged[0].record_path) in told[0]
    assert (damaged[0].path / "record.damaged-1.json").read_bytes() == torn
    assert damaged[0].record()["metrics"] == before["metrics"]
    assert damaged[1].record_path.stat().st_mtime_ns == other
    os.truncate(damaged[0].record_path, 0)
    assert work(damaged[0], runtime, Datasets()) == DONE  # a worker by itself does the same
    assert (damaged[0].path / "record.damaged-2.json").read_bytes() == b""


def test_a_driver_writes_a_damaged_job_of_a_finished_run_again(damaged, runtime):
    """Its record is sound, so that nothing is trained."""
    jobs = {folder.run_id: folder.job() for folder in damaged}
    os.truncate(damaged[0].path / "run.json", 50)
    assert damaged[0].status() == "damaged"
    assert drive(jobs, runtime, Inline(runtime), Progress()).reused == 2
    assert damaged[0].job() == jobs[damaged[0].run_id]
    assert damaged[0].status() == "finished"


@pytest.mark.parametrize("name", ["run.json", "record.json"])
def test_looking_shows_the_damaged_run_and_the_others(name, damaged, runtime):
    """`status` has a row for each, and `show` says which file is damaged."""
    os.truncate(damaged[0].path / name, 50)
    ask = [*("--results", runtime.results)]
    rows = json.loads(CliRunner().invoke(status, [*ask, "--json"], catch_exceptions=False).stdout)
    assert {row["run_id"]: row["state"] for row in rows} == {
        damaged[0].run_id: "damaged",
        damaged[1].run_id: "finished",
    }
    assert "1 damaged, 1 finished" in CliRunner().invoke(status, ask, catch_exceptions=False).stdout
    shown = CliRunner().invoke(show, [damaged[0].run_id, *ask], catch_exceptions=False).stdout
    assert f"{damaged[0].path / name}: is damaged" in shown


def test_whatever_else_lies_in_a_run_folder_is_passed_over(damaged, runtime):
    """A desktop's files among the attempts, and attempts whose own files are damaged."""
    attempts = damaged[0].path / "attempts"
    (attempts / ".DS_Store").touch()
    (attempts / "1 copy").mkdir()
    os.truncate(attempts / "1" / "claim.json", 5)
    damaged[0].record_path.unlink()
    (attempts / "1" / "failure.json").write_text("{")
    assert damaged[0].attempts() == [1]
    assert damaged[0].claimant() == {}
    assert damaged[0].status() == "failed"
    assert "failure.json: is damaged" in damaged[0].failure()["message"]
    (row,) = json.loads(CliRunner().invoke(status, ["--results", runtime.results, "--json"]).stdout)[:1]
    assert row["run_id"] in {folder.run_id for folder in damaged}


def test_what_a_kill_after_the_record_left_goes_at_the_next_look_of_a_driver(damaged, runtime):
    """Checkpoints, other weights and temporary files; the kept weights, the record and the outputs stay."""
    folder = damaged[0]
    before = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    (folder.path / "checkpoints").mkdir()
    for name in ("checkpoints/000000000068.pt", "checkpoints/.000000000068.pt.7", ".record.7", ".best-0003.pt.7"):
        (folder.path / name).touch()
    assert not (folder.path / "best-9999.pt").exists()
    for suffix in ("pt", "sha256"):
        (folder.path / f"best-9999.{suffix}").touch()
    jobs = {folder.run_id: folder.job()}
    with folder.claim():
        drive(jobs, runtime, Inline(runtime), Progress())
        assert (folder.path / "checkpoints").exists()  # whoever holds the run is at it
    drive(jobs, runtime, Inline(runtime), Progress())
    after = {path.name: path.read_bytes() for path in folder.path.iterdir() if path.is_file()}
    assert {**after, "ledger.jsonl": b""} == {**before, "ledger.jsonl": b""}
    assert not (folder.path / "checkpoints").exists()

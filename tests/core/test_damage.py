"""Does damage to one file cost one run, and is it told?"""

from __future__ import annotations

import json
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ablation_suite.commands.predict import PredictError, load_members
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.files import file_sha256
from ablation_suite.core.runs.identity import RECIPE
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE, FAILED, Datasets, work
from ablation_suite.core.scheduling.console import Progress
from ablation_suite.core.scheduling.grid import drive
from ablation_suite.core.scheduling.inline import Inline
from ablation_suite.reading_verbs import show, status, sync
from ablation_suite.reports.outputs import read_outputs

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
    "no record": lambda path: path.write_text('{"metrics": {}}'),
    "not UTF-8": lambda path: path.write_bytes(b'{"a": "\xff"}'),
    "nested without end": lambda path: path.write_text("[" * 100_000),
    "a digit": change_a_digit,
}


@pytest.mark.fault(
    "a record that is torn, empty, zeros or no object",
    injected="cut, overwritten or replaced file",
    promised="the run counts as damaged, its path is told, the other runs stay",
)
@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_record_counts_as_no_record(damage, damaged):
    """It is told by its path, the run is not finished, and the other run still is."""
    damage(damaged[0].record_path)
    with pytest.raises(Damaged, match=r"record\.json: is "):
        damaged[0].record()
    assert [folder.is_finished() for folder in damaged] == [False, True]
    assert [folder.status() for folder in damaged] == ["damaged", "finished"]


@pytest.mark.fault(
    "a record of an older version",
    injected="a record without its own SHA-256",
    promised="it is read, and counts as finished",
)
def test_a_record_of_an_older_version_is_read_without_a_digest(damaged):
    """Last year's runs carry none."""
    record = damaged[0].record()
    damaged[0].record_path.write_text(json.dumps(record))
    assert damaged[0].record() == record
    assert damaged[0].is_finished()


def test_any_record_verifies_as_it_was_written(tmp_path):
    """Also with numbers that are none, keys that are numbers, and tuples, which JSON writes in its own way."""
    folder = RunFolder(tmp_path)
    parts = {"metrics": {}, "history": [], "cost": {}, "classes": ["é"]}
    config = {"loss": math.nan, "norm": math.inf, 10: "ten", 9: "nine", "sizes": (1, 2)}
    folder.commit({**parts, "config": config})
    record = folder.record()
    assert math.isnan(record["config"].pop("loss"))
    assert record == {**parts, "config": {"norm": math.inf, "10": "ten", "9": "nine", "sizes": [1, 2]}}


def test_a_record_is_verified_once_unless_its_file_changes(damaged, monkeypatch):
    """A driver asks often; damage that comes later is still noticed."""
    assert damaged[0].is_finished()
    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "record", lambda self: pytest.fail("read again"))
        assert damaged[0].is_finished()
    os.truncate(damaged[0].record_path, 1000)
    assert not damaged[0].is_finished()


@pytest.mark.fault(
    "one digit of a record changed",
    injected="another accuracy in a file that still reads",
    promised="the digest tells, the file is set aside, the run is trained again to the same numbers",
)
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


@pytest.mark.fault(
    "a record, a run.json or a whole run folder under the name of another run",
    injected="a copy of another run's file or folder, whose own digest is right",
    promised="damage of that run, told with the name of the other; a driver trains it to its own numbers",
)
@pytest.mark.parametrize("copied", ["record.json", "run.json", ""])
def test_what_another_run_wrote_is_no_result_of_this_one(copied, damaged, runtime):
    """Else one arm of a table would have the numbers of another."""
    first, second = damaged
    before = first.record()
    jobs = {folder.run_id: folder.job() for folder in damaged}
    if copied:
        shutil.copy(second.path / copied, first.path / copied)
    else:
        shutil.rmtree(first.path)
        shutil.copytree(second.path, first.path)
    assert first.status() == "damaged"
    with pytest.raises(Damaged, match=rf"it is that of run {second.run_id}"):
        (first.job if copied == "run.json" else first.record)()
    outcome = drive(jobs, runtime, Inline(runtime), Progress())
    assert (outcome.finished, outcome.reused) == (([], 2) if copied == "run.json" else ([first.run_id], 1))
    assert first.record()["metrics"] == before["metrics"]
    assert first.job()["config"] == jobs[first.run_id]["config"]


@pytest.mark.fault(
    "outputs or kept weights under the name of another run",
    injected="a copy of another run's outputs.npz, or of its weights with their own sum",
    promised="damage of that run, told by the file; no table and no prediction has them",
)
def test_what_another_run_said_or_kept_is_no_part_of_this_one(damaged):
    """Both are whole and of the right shapes; the record names the SHA-256 of its own."""
    first, second = damaged
    assert first.record()["files"] == {
        name: file_sha256(first.path / name) for name in ("outputs.npz", first.record()["weights"])
    }
    shutil.copy(second.path / "outputs.npz", first.path)
    with pytest.raises(Damaged, match=r"outputs\.npz: is damaged \(it is not what was written"):
        first.outputs()
    with pytest.raises(ValueError, match="it is not what was written"):
        read_outputs(first.path / "outputs.npz", first.record(), "val")
    kept, other = (folder.path / folder.record()["weights"] for folder in damaged)
    for suffix in (".pt", ".sha256"):
        shutil.copy(other.with_suffix(suffix), kept.with_suffix(suffix))
    with pytest.raises(PredictError, match=r"best-\d+\.pt is not what was written"):
        load_members([first], Runtime(device="cpu", results=str(first.path.parent.parent)))


def test_a_run_folder_that_was_copied_elsewhere_may_have_any_name(damaged, tmp_path):
    """`ablate predict my-model photos` is asked of such a folder."""
    shutil.copytree(damaged[0].path, tmp_path / "my-model")
    assert RunFolder(tmp_path / "my-model").record() == damaged[0].record()


@pytest.mark.fault(
    "a torn run.json of a finished run",
    injected="file cut to 50 bytes",
    promised="the next driver writes it again and trains nothing",
)
def test_a_driver_writes_a_damaged_job_of_a_finished_run_again(damaged, runtime):
    """Its record is sound, so that nothing is trained."""
    jobs = {folder.run_id: folder.job() for folder in damaged}
    os.truncate(damaged[0].path / "run.json", 50)
    assert damaged[0].status() == "damaged"
    assert drive(jobs, runtime, Inline(runtime), Progress()).reused == 2
    assert damaged[0].job() == jobs[damaged[0].run_id]
    assert damaged[0].status() == "finished"


def put_a_pipe(path):
    """In the place of a file, which would keep a reader waiting for ever."""
    path.unlink()
    os.mkfifo(path)


@pytest.mark.fault(
    "looking at a store with a torn run.json or record",
    injected="a file cut to 50 bytes, a pipe in its place, a run.json that says nothing",
    promised="`status` has a row for each run, `show` and `sync` name the damaged file and say why",
)
@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        ("run.json", lambda path: os.truncate(path, 50), ""),
        ("run.json", put_a_pipe, "(it is a pipe, a device or a folder, no file)"),
        ("run.json", lambda path: path.write_text("{}"), "(it has no config)"),
        ("record.json", lambda path: os.truncate(path, 50), ""),
        ("record.json", put_a_pipe, "(it is a pipe, a device or a folder, no file)"),
    ],
)
def test_looking_shows_the_damaged_run_and_the_others(name, damage, why, damaged, runtime):
    """`status` has a row for each, `show` says which file is damaged, and `sync` publishes the others."""
    damage(damaged[0].path / name)
    ask = [*("--results", runtime.results)]
    rows = json.loads(CliRunner().invoke(status, [*ask, "--json"], catch_exceptions=False).stdout)
    assert {row["run_id"]: row["state"] for row in rows} == {
        damaged[0].run_id: "damaged",
        damaged[1].run_id: "finished",
    }
    assert "1 damaged, 1 finished" in CliRunner().invoke(status, ask, catch_exceptions=False).stdout
    shown = CliRunner().invoke(show, [damaged[0].run_id, *ask], catch_exceptions=False).stdout
    assert f"{damaged[0].path / name}: is damaged {why}" in shown
    if name == "run.json":
        synced = CliRunner().invoke(sync, ["--tracker", "tensorboard", *ask], standalone_mode=False)
        lines = dict(line.split("  ", 1) for line in synced.stdout.splitlines())
        assert synced.return_value == 1
        assert str(damaged[0].path / name) in lines[damaged[0].run_id]
        assert why.strip("()") in lines[damaged[0].run_id]
        assert "epochs at" in lines[damaged[1].run_id]


@pytest.mark.fault(
    "a desktop's files among the attempts",
    injected="`.DS_Store`, a copied folder, torn claim and failure",
    promised="passed over; the run's status is that of its own files",
)
def test_whatever_else_lies_in_a_run_folder_is_passed_over(damaged, runtime):
    """A desktop's files among the attempts, and attempts whose own files are damaged."""
    attempts, made = damaged[0].path / "attempts", damaged[0].attempts()
    (attempts / ".DS_Store").touch()
    (attempts / "1 copy").mkdir()
    os.truncate(attempts / str(made[-1]) / "claim.json", 5)
    damaged[0].record_path.unlink()
    (attempts / str(made[-1]) / "failure.json").write_text("{")
    assert damaged[0].attempts() == made
    assert damaged[0].claimant() == {}
    assert damaged[0].status() == "failed"
    assert "failure.json: is damaged" in damaged[0].failure()["message"]
    (row,) = json.loads(CliRunner().invoke(status, ["--results", runtime.results, "--json"]).stdout)[:1]
    assert row["run_id"] in {folder.run_id for folder in damaged}


@pytest.mark.fault(
    "a kill between the record's link and the clean-up",
    injected="checkpoints, weights and temporary files left behind",
    promised="swept at the next look of a driver; record, kept weights and outputs stay",
)
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
    os.mkfifo(folder.path / "checkpoints")  # which is passed over, as all that is not ours
    drive(jobs, runtime, Inline(runtime), Progress())


@pytest.mark.fault(
    "any byte of outputs.npz changed",
    injected="each byte of a small one, three ways",
    promised="the arrays as they were written, or damage of that file; no other error",
)
def test_outputs_with_a_changed_byte_are_damaged_or_whole(tmp_path):
    """Among them are bytes that make a file encrypted, of unknown compression, or of an array without end."""
    folder = RunFolder(tmp_path)
    whole = {"val_labels": np.arange(3), "val_names": np.array(["a", "b", "ä"]), "test_labels": np.arange(2)}
    np.savez(tmp_path / "outputs.npz", **whole)
    data = (tmp_path / "outputs.npz").read_bytes()
    num_damaged = 0
    for place in range(len(data)):
        for change in (1, 8, 255):
            (tmp_path / "outputs.npz").write_bytes(data[:place] + bytes([data[place] ^ change]) + data[place + 1 :])
            try:
                found = folder.outputs()
            except Damaged:
                num_damaged += 1
                continue
            assert found.keys() <= whole.keys()
            assert all(np.array_equal(found[name], whole[name]) for name in found)
    assert num_damaged > len(data)
    (tmp_path / "outputs.npz").unlink()
    with pytest.raises(Damaged, match=r"outputs\.npz"):
        folder.outputs()


BASE = "{data: digits, model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}, epochs: 1}"
SPEC = """ablation: tiny
question: q
base: base.yaml
seeds: 1
arms: {some: {model.head.dropout: 0.3}}
"""


@pytest.fixture
def small_disk(tmp_path):
    """Mounts a file system of a given size and number of files; skips where that is not allowed."""
    mounted = []

    def mount(options):
        place = tmp_path / "disk"
        place.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", options, "none", place], capture_output=True).returncode:
            pytest.skip("file systems may not be mounted here")
        mounted.append(place)
        return place

    yield mount
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.fixture
def open_folder():
    """A folder that everybody may write, which pytest's own are not."""
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o777)
        yield Path(name)


def ask(*words, folder, prefix=(), without=(), **environment):
    """A verb in a process of its own, begun by another command or without some variables."""
    env = {**os.environ, "ABLATE_CACHE": str(folder / "cache"), **environment}
    command = [*prefix, sys.executable, "-m", "ablation_suite.cli", *map(str, words)]
    env = {name: value for name, value in env.items() if name not in without}
    env["PYTHONPATH"] = str(Path(__file__).parents[2])
    (folder / "base.yaml").write_text(BASE)
    (folder / "tiny.yaml").write_text(SPEC)
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=120)


def is_one_line(result, *parts):
    """Exit status 2, and one line that holds all parts, beside what progress says."""
    lines = [line for line in result.stderr.splitlines() if "runs to train" not in line]
    assert result.returncode == 2, result.stderr
    assert len(lines) == 1, result.stderr
    assert all(part in lines[0] for part in parts), lines[0]


@pytest.mark.fault(
    "a disk full inside torch.save",
    injected="tmpfs of 100 kB",
    promised="the message names the folder and the free space; no rubbish is left",
)
def test_a_disk_that_fills_up_under_a_checkpoint_is_told_with_the_room_that_is_left(
    small_disk, make_config, digits, runtime
):
    """torch says "unexpected pos" of it; the message names the folder and the free space, and no rubbish is left."""
    disk = small_disk("size=100k")
    folder = RunFolder(disk / "run")
    config = make_config({"model.backbone": {"name": "bottleneck", "planes": (16,), "blocks": (2,)}})
    folder.create({"config": config.model_dump(mode="json"), "data_fingerprint": digits.fingerprint, "labels": {}})
    assert work(folder, runtime, Datasets()) == FAILED
    assert re.fullmatch(rf"the disk is full under {disk}/run\S* \(0\.\d MB free\)", folder.failure()["message"])
    assert not [path for path in folder.path.rglob(".*")]


@pytest.mark.fault(
    "a failure that cannot be written down",
    injected="tmpfs filled to the last byte in mid-run; a run folder that is gone",
    promised="the driver still hears the cause, and the other runs go on",
)
@pytest.mark.parametrize("kind", ["full", "gone"])
def test_a_failure_that_finds_no_room_is_told_all_the_same(kind, small_disk, make_config, digits, runtime):
    """Neither failure.json nor a row of the ledger fits, and no error of theirs hides the first."""
    disk = small_disk("size=1m")
    folder = RunFolder(disk / "runs" / "a")
    job = {"run_id": "a", "recipe": RECIPE, "labels": {}, "data_fingerprint": digits.fingerprint}
    folder.create({**job, "config": make_config().model_dump(mode="json")})

    def break_down(step):
        if kind == "gone":
            shutil.rmtree(folder.path)
        else:
            with suppress(OSError), open(disk / "fill", "wb", buffering=0) as file:
                while file.write(bytes(512)):
                    pass
        raise RuntimeError("the cause")

    heard = []
    assert work(folder, runtime, Datasets(), on_step=break_down, on_failure=heard.append) == FAILED
    assert heard == ["the cause"]
    assert folder.failure() is None
    assert work(folder, runtime, Datasets(), on_failure=heard.append) == FAILED  # now it cannot even be claimed
    assert "disk is full" in heard[1] if kind == "full" else "No such file" in heard[1]


@pytest.mark.fault(
    "a run.json without what is to be trained",
    injected="an object without config, or without the data's fingerprint",
    promised="the worker names the file and what it lacks",
)
@pytest.mark.parametrize("lacks", ["config", "data_fingerprint"])
def test_a_job_that_lacks_what_is_to_be_trained_is_told(lacks, damaged, runtime):
    """It reads, and says nothing that can be trained."""
    job = damaged[0].job()
    del job[lacks]
    (damaged[0].path / "run.json").write_text(json.dumps(job))
    damaged[0].record_path.unlink()
    heard = []
    assert work(damaged[0], runtime, Datasets(), on_failure=heard.append) == FAILED
    assert heard == [f"{damaged[0].path / 'run.json'}: is damaged (it has no {lacks})"]


@pytest.mark.fault(
    "memory that runs out beside a torn run.json",
    injected="the file cut to nothing while a step asks for too much",
    promised="the one line of memory, without the settings that are lost",
)
def test_memory_that_runs_out_beside_a_torn_job_is_told(make_config, make_folder, runtime):
    """What explains the failure reads the file again."""
    folder, heard = make_folder(make_config()), []

    def ask_for_too_much(step):
        os.truncate(folder.path / "run.json", 0)
        raise MemoryError("too much")

    work(folder, runtime, Datasets(), on_step=ask_for_too_much, on_failure=heard.append)
    assert len(heard) == 1
    assert re.fullmatch(r"out of memory on cpu with \d+\.\d GiB \(too much\); set a smaller batch_size.*", heard[0])


@pytest.mark.fault(
    "links that lead nowhere in a run folder",
    injected="run.json and record.json as a link to itself and to a file that is not there",
    promised="damage of that run, told; a driver sets the record aside, writes the job again and trains",
)
@pytest.mark.parametrize("target", ["itself", "nothing"])
@pytest.mark.parametrize("name", ["run.json", "record.json"])
def test_a_link_that_leads_nowhere_is_damage(name, target, damaged, runtime):
    """The run is neither left out of the view nor taken for one that has no such file."""
    jobs = {folder.run_id: folder.job() for folder in damaged}
    path = damaged[0].path / name
    path.unlink()
    path.symlink_to(name if target == "itself" else "gone")
    assert [folder.status() for folder in damaged] == ["damaged", "finished"]
    for words in ([status], [show, damaged[0].run_id]):
        result = CliRunner().invoke(words[0], [*words[1:], "--results", runtime.results], catch_exceptions=False)
        assert result.exit_code == 0
        assert "damaged" in result.output
    outcome = drive(jobs, runtime, Inline(runtime), Progress())
    assert (len(outcome.finished), outcome.reused, outcome.failed) == (
        name == "record.json",
        2 - len(outcome.finished),
        {},
    )
    assert [folder.status() for folder in damaged] == ["finished", "finished"]


@pytest.mark.fault(
    "a file in the place of the results folder",
    injected="--results of a file",
    promised="one line; it is never taken for a store without runs",
)
def test_results_that_are_no_folder_are_one_line(tmp_path):
    """Nor for an empty one."""
    (tmp_path / "file").touch()
    is_one_line(ask("status", "--results", "file", folder=tmp_path), "file: is a file, and all output goes to a folder")


@pytest.mark.fault(
    "inodes used up", injected="tmpfs with four inodes", promised="one line before training that says so"
)
def test_a_disk_without_room_for_one_more_file_is_told_as_that(small_disk, tmp_path):
    """There are megabytes left, and no inode."""
    is_one_line(
        ask("run", "tiny.yaml", "--results", small_disk("size=9m,nr_inodes=4") / "r", folder=tmp_path),
        "the disk is full under",
        "inodes",
    )


@pytest.mark.fault(
    "results on a read-only file system",
    injected="tmpfs remounted read-only",
    promised="looking works; training, and a table that cannot be written, are one line",
)
def test_results_that_may_only_be_read_are_looked_at_and_refused_for_training(small_disk, tmp_path):
    """`status`, and a `run` that has nothing to train, work; what would write is refused in one line."""
    disk = small_disk("size=9m")
    ask("run", "tiny.yaml", "--results", disk, "--tracker", "off", folder=tmp_path)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
    for words in (["status"], ["run", "tiny.yaml"]):
        assert ask(*words, "--results", disk, folder=tmp_path).returncode == 0
    is_one_line(ask("run", "tiny.yaml", "epochs=2", "--results", disk, folder=tmp_path), "Read-only file system")
    runs = [path.name for path in (disk / "runs").iterdir()]
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    words = ("predict", runs[0], "a.png", "--results", disk, "-o")
    is_one_line(ask(*words, disk / "p.csv", folder=tmp_path), "p.csv", "cannot be written", "-o")
    is_one_line(ask(*words, tmp_path, folder=tmp_path), "is a folder")


@pytest.mark.fault(
    "results that become read-only in mid-run",
    injected="a read-only mount over the results after 20 steps",
    promised="one line that names the file; once they can be written again the run ends to the same numbers",
)
def test_results_that_become_read_only_in_mid_run_are_one_line(small_disk, digits, make_config, runtime, make_folder):
    """As when a disk has an error and the kernel stops writing to it: what is open stays so, nothing new is taken."""
    disk = small_disk("size=9m")
    config = make_config(epochs=3)
    folder = RunFolder(disk / "runs" / "a")
    job = {"run_id": "a", "recipe": RECIPE, "labels": {}, "data_fingerprint": digits.fingerprint}
    folder.create({**job, "config": config.model_dump(mode="json")})
    steps, heard = iter(range(1, 10**9)), []

    def stop_writing(step):
        if next(steps) == 20:
            subprocess.run(["mount", "--bind", disk, disk], check=True)
            subprocess.run(["mount", "-o", "remount,bind,ro", disk], check=True)

    try:
        assert work(folder, runtime, Datasets(), on_step=stop_writing, on_failure=heard.append) == FAILED
        assert folder.status() in ("interrupted", "failed")
        assert work(folder, runtime, Datasets(), on_failure=heard.append) == FAILED
    finally:
        subprocess.run(["umount", disk], check=True)
    assert len(heard) == 2
    assert all(re.fullmatch(rf"{folder.path}/\S+: Read-only file system", line) for line in heard), heard
    assert work(folder, runtime, Datasets()) == DONE
    undisturbed = make_folder(config)
    assert work(undisturbed, runtime, Datasets()) == DONE
    assert folder.record()["metrics"] == undisturbed.record()["metrics"]


@pytest.mark.fault(
    "/dev/shm full, or without room for one more file",
    injected="a tmpfs of one page over it, filled, in a mount namespace",
    promised="a grid trains, and a look at many runs needs none of it",
)
def test_a_full_dev_shm_stops_nothing(tmp_path):
    """Shared memory of containers is small: 64 MB by default."""
    full = "mount -t tmpfs -o size=4k,nr_inodes=2 none /dev/shm && head -c 9k /dev/zero 2>/dev/null >/dev/shm/fill; "
    prefix = ["unshare", "-m", "sh", "-c", full + 'exec "$@"', "sh"]
    if subprocess.run([*prefix[:4], "mount -t tmpfs none /dev/shm"], capture_output=True).returncode:
        pytest.skip("file systems may not be mounted here")
    done = ask("run", "tiny.yaml", "--tracker", "off", "--jobs", "2", folder=tmp_path, prefix=prefix)
    assert done.returncode == 0, done.stderr
    code = (
        "from pathlib import Path;"
        "from ablation_suite.core.scheduling import watch; watch._MANY = 1;"
        "print([row['state'] for row in watch.grid_rows(Path('results/runs'))])"
    )
    command = [*prefix, sys.executable, "-c", code]
    looked = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert looked.stdout == "['finished', 'finished']\n", looked.stderr


@pytest.mark.fault(
    "flock not supported",
    injected="strace: EOPNOTSUPP for each flock",
    promised="one line before training; `status` still looks",
)
@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_file_system_without_locks_is_told_before_training(tmp_path):
    """Network file systems may know none; `status` still looks."""
    strace = ["strace", "-f", "-o", "/dev/null", "-e", "inject=flock:error=EOPNOTSUPP"]
    is_one_line(ask("run", "tiny.yaml", folder=tmp_path, prefix=strace), "results", "no file locks", "--results")
    assert ask("status", folder=tmp_path, prefix=strace).stdout == "no runs\n"


@pytest.mark.fault(
    "no HOME and an unknown uid",
    injected="setpriv to a user of no name",
    promised="one line says what to set; with ABLATE_CACHE it trains",
)
def test_a_user_without_a_home_is_told_what_to_set_and_then_trains(open_folder, another_user):
    """As in a container that was started with `--user`."""
    away = ("HOME", "XDG_CACHE_HOME", "TORCHINDUCTOR_CACHE_DIR")  # which a test before may have set
    asked = ask("run", "tiny.yaml", folder=open_folder, prefix=another_user, without=(*away, "ABLATE_CACHE"))
    is_one_line(asked, "HOME", "ABLATE_CACHE")
    assert not (open_folder / "results").exists()
    done = ask("run", "tiny.yaml", "--tracker", "off", folder=open_folder, prefix=another_user, without=away)
    assert done.returncode == 0, done.stderr
    synced = ask("sync", folder=open_folder, prefix=another_user, without=away)
    assert synced.returncode == 2  # no login, which is a line

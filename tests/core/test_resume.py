"""Does a run that was stopped, killed or damaged end as one that never was?"""

from __future__ import annotations

import dataclasses
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from ablation_suite.core.runs.ledger import Ledger
from ablation_suite.core.scheduling.attempt import DONE, FAILED, PREEMPTED, Datasets, work
from ablation_suite.core.scheduling.watch import grid_rows
from ablation_suite.core.training import finish, loop

pytestmark = pytest.mark.usefixtures("one_thread")

EVERY_STEP = {"checkpoint_minutes": 1e-9}
SHORT = {"data": {"name": "digits", "share": 0.25}, "batch_size": 16}
"""An epoch has as many steps, 17, as one of all images in batches of 64."""
EVERYTHING = {
    **SHORT,
    "augment": {"name": "photo", "horizontal_flip": 0.5, "rotation": 10.0, "brightness": 0.2},
    "model.head": {"name": "linear", "dropout": 0.5},
    "loss": "contrastive",
    "schedule": {"name": "cosine", "warmup_epochs": 0.5},
    "accumulate": 2,
    "ema_decay": 0.9,
    "epochs": 3,
}
"""Every stream, the schedule, the moving average: whatever a resume could lose."""
PARTS = {
    **SHORT,
    "data.sampler": "balanced",
    "augment": {
        "name": "photo",
        "random_crop": {"padding": 1},
        "trivial_augment_wide": True,
        "gaussian_blur": {"kernel_size": 3},
        "random_erasing": True,
    },
    "loss": {"name": "supervised_contrastive", "projection": "mlp", "projection_dim": 8},
    "epochs": 3,
}
"""Images drawn twice, draws on the host, weights beside the network."""
LATE = {
    **SHORT,
    "mix": {"name": "either", "probability": 0.7},
    "loss": "binary_cross_entropy",
    "optimizer": {"name": "sam", "lr": 0.5, "decay_norms_and_biases": False, "weight_decay": 1e-4},
    "schedule": {"name": "plateau", "patience": 0, "factor": 0.5, "threshold": 0.2},
    "swa": {"start_epoch": 2},
    "model.head": {"name": "linear", "dropout": 0.5},
    "epochs": 4,
}
"""A schedule that follows the validation, an average that begins late, two passes a step."""
SCALED = {**SHORT, "mix": "mixup", "precision": "fp16", "optimizer": {"name": "sgd", "lr": 0.05}, "epochs": 2}


def events(folder):
    return [row["event"] for row in folder.ledger.rows() if row["kind"] == "event"]


def starts(folder):
    return [row for row in folder.ledger.rows() if row["kind"] == "start"]


def newest(folder):
    """The name of the newest checkpoint."""
    return max((path.name for path in (folder.path / "checkpoints").glob("*.sha256")), default="")


def numbers(record):
    """What a record says, without times, memory and provenance."""
    rows = [
        {k: v for k, v in row.items() if "second" not in k and k not in ("time", "sys/memory_bytes")}
        for row in record["history"]
    ]
    return record["metrics"], rows, record["cost"]["images_seen"], record["cost"]["optimizer_steps"]


@pytest.fixture
def whole(make_folder, runtime, weights_digest):
    """What a run comes to that nobody interrupts: its digest and its numbers."""

    def run(config, datasets=None):
        folder = make_folder(config, "whole")
        assert work(folder, runtime, datasets or Datasets()) == DONE
        return weights_digest(folder), numbers(folder.record())

    return run


@pytest.fixture
def same(weights_digest):
    """Whether a folder came to the same as an uninterrupted run, and nothing of the way there is left."""

    def check(folder, expected):
        assert (weights_digest(folder), numbers(folder.record())) == expected
        kept = folder.record()["weights"]
        assert {path.name for path in folder.path.glob("best-*.pt")} == {kept}
        assert not (folder.path / "checkpoints").exists()
        assert not list(folder.path.glob(".*"))

    return check


def stopping_after(num_steps):
    """A `stop` that is true from the given step of this attempt on."""
    calls = iter(range(1, 10**9))
    return lambda: next(calls) >= num_steps


@pytest.mark.slow
def test_another_process_comes_to_the_same_weights_to_the_bit(make_config, make_folder, runtime, whole, same):
    """This process, after other runs, and a new worker, which has seen nothing else."""
    config = make_config(EVERYTHING, epochs=2)
    work(make_folder(make_config(SCALED, epochs=1), "before"), runtime, Datasets())
    expected = whole(config)
    folder = make_folder(config)
    environment = {**os.environ, "ABLATE_RUNTIME": runtime.model_dump_json(), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "ablation_suite.core.scheduling.worker", str(folder.path)]
    assert subprocess.run(command, env=environment, cwd=Path(__file__).parents[2]).returncode == DONE
    same(folder, expected)


@pytest.mark.parametrize("changes", [EVERYTHING, PARTS, LATE, SCALED], ids=["everything", "parts", "late", "fp16"])
def test_a_run_stopped_inside_epochs_ends_to_the_bit_as_a_whole_one(
    changes, make_config, make_folder, runtime, whole, same
):
    """Stopped after 1, 17 (the last step of an epoch) and 5 more steps, once per attempt."""
    config = make_config(changes)
    folder = make_folder(config)
    for num_steps in (1, 17, 5):
        assert work(folder, runtime, Datasets(), stop=stopping_after(num_steps)) == PREEMPTED
    assert work(folder, runtime, Datasets()) == DONE
    assert events(folder).count("resumed") == 3
    same(folder, whole(config))


@pytest.mark.fault(
    "SIGKILL at random moments",
    injected="six kills of a worker, soon after a start or a checkpoint",
    promised="the run ends to the bit as one that was never killed",
)
@pytest.mark.slow
@pytest.mark.parametrize("changes", [EVERYTHING, PARTS, LATE, SCALED], ids=["everything", "parts", "late", "fp16"])
def test_a_run_killed_at_random_moments_ends_to_the_bit_as_a_whole_one(
    changes, make_config, make_folder, runtime, whole, same, worker, kill_when
):
    """SIGKILL at six random moments, with a checkpoint after every step; then left alone.

    Three are soon after the attempt began, three soon after it saved its first state.
    """
    config = make_config(changes)
    folder = make_folder(config)
    settings = runtime.model_copy(update=EVERY_STEP)
    delays, kills = random.Random(0), 0
    for number in range(1, 7):
        saved = newest(folder)
        process = worker.start(folder, settings)
        awaited = newest if number % 2 else (lambda folder: len(starts(folder)))
        kill_when(process, lambda a=awaited, was=saved if number % 2 else number - 1: a(folder) > was, signal.SIGCONT)
        time.sleep(delays.uniform(0.0, 0.2))
        os.kill(process, signal.SIGKILL)
        kills += worker.wait() == -signal.SIGKILL
    assert worker.run(folder, settings) == DONE
    assert kills == 6
    assert "resumed" in events(folder)
    same(folder, whole(config))


@pytest.mark.fault(
    "a kill at any rename, link or removal",
    injected="the k-th operation never happens, for every k",
    promised="the run ends to the bit as one that was never killed",
)
def test_a_run_killed_at_any_file_operation_ends_to_the_bit_as_a_whole_one(
    digits, make_config, make_folder, runtime, whole, same, monkeypatch
):
    """The k-th rename, link or removal never happens, for every k there is; each is followed by a run to the end."""

    class Killed(BaseException):
        pass

    class Few(Datasets):
        def get(self, *args):
            return dataclasses.replace(digits, splits={name: few(split) for name, split in digits.splits.items()})

    def counted(operation):
        def call(*args, **kwargs):
            left[0] -= 1
            if left[0] == 0:
                raise Killed
            return operation(*args, **kwargs)

        return call

    left = [0]
    config = make_config(ema_decay=0.9, batch_size=16)
    expected = whole(config, Few())
    for name in ("replace", "link", "unlink"):
        monkeypatch.setattr(os, name, counted(getattr(os, name)))
    for number in range(1, 200):
        folder = make_folder(config, f"killed-{number}")
        left[0] = number
        try:
            assert work(folder, runtime, Few()) == DONE
        except Killed:
            left[0] = 0
            assert work(folder, runtime, Few()) == DONE
            same(folder, expected)
        else:
            break
    assert 15 < number < 199


def few(split):
    """The first 32 images of a split."""
    return dataclasses.replace(split, images=split.images[:32], labels=split.labels[:32], names=split.names[:32])


@pytest.mark.fault(
    "SIGTERM in mid-epoch",
    injected="a signal to the worker",
    promised="it saves at that step, ends with 75, and goes on from there",
)
def test_sigterm_saves_and_ends_with_75(make_config, make_folder, runtime, worker, kill_when, whole, same):
    """The checkpoint is of the very step, and the next attempt goes on from it to the same end."""
    config = make_config(EVERYTHING, epochs=5)
    folder = make_folder(config)
    process = worker.start(folder, runtime)
    kill_when(process, lambda: len(folder.ledger.history()) >= 2, signal.SIGTERM)
    assert worker.wait() == PREEMPTED
    assert events(folder) == ["preempted"]
    assert folder.status() == "interrupted"
    assert worker.run(folder, runtime) == DONE
    assert "resumed" in events(folder)
    same(folder, whole(config))


@pytest.mark.fault(
    "another time zone, and a clock that was put back, between two attempts",
    injected="TZ changed and three years taken off before the run goes on",
    promised="the run ends to the bit as a whole one, with the seconds that it took",
)
def test_a_run_goes_on_in_another_time_zone_and_year(make_config, make_folder, runtime, whole, same, monkeypatch):
    """Neither its order, nor its cost, nor who may train it hangs on the time of day."""
    config = make_config(epochs=3)
    folder = make_folder(config)
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "Asia/Tokyo")
        time.tzset()
        preempted(folder, runtime, 20)
        patch.setenv("TZ", "America/Los_Angeles")
        time.tzset()
        begun = time.time()
        patch.setattr(time, "time", lambda: begun - 3 * 365 * 86400)
        (row,) = grid_rows(folder.path.parent, [folder.run_id])
        assert (row["state"], row["epoch"]) == ("interrupted", 1)
        assert work(folder, runtime, Datasets()) == DONE
    time.tzset()
    same(folder, whole(config))
    assert 0 < folder.record()["cost"]["seconds"] < 60


def preempted(folder, runtime, *stops):
    for num_steps in stops:
        assert work(folder, runtime, Datasets(), stop=stopping_after(num_steps)) == PREEMPTED


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)


@pytest.mark.fault(
    "a flipped byte in a run's newest checkpoint",
    injected="one byte changed between two attempts",
    promised="the run goes on from the checkpoint before, to the same bits",
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(make_config, make_folder, runtime, whole, same):
    """Stopped in epoch 3, newest checkpoint damaged: it goes on from the beginning of epoch 3, to the same end."""
    config = make_config(EVERYTHING)
    folder = make_folder(config)
    preempted(folder, runtime, 40)
    newest = max((folder.path / "checkpoints").glob("*.pt"))
    flip_a_byte(newest)
    assert work(folder, runtime, Datasets()) == DONE
    resumed = next(row for row in folder.ledger.rows() if row.get("event") == "resumed")
    assert (resumed["epoch"], resumed["step"]) == (3, 0)
    same(folder, whole(config))


def test_the_checkpoint_before_finds_the_best_weights_that_it_relies_on(
    make_config, make_folder, runtime, whole, same, monkeypatch
):
    """Killed after an epoch with new best weights, newest checkpoint damaged: the best before are still there."""

    class Killed(BaseException):
        pass

    def kill_after_epoch_4(folder, epochs, drop=loop._drop_best_but):
        drop(folder, epochs)
        if len(folder.ledger.history()) == 4:
            raise Killed

    config = make_config(epochs=5)
    folder = make_folder(config)
    with monkeypatch.context() as patch:
        patch.setattr(loop, "_drop_best_but", kill_after_epoch_4)
        with pytest.raises(Killed):
            work(folder, runtime, Datasets())
    accuracies = [row["val/accuracy"] for row in folder.ledger.history()]
    assert accuracies[3] > max(accuracies[:3])
    assert len(list(folder.path.glob("best-*.pt"))) == 2
    flip_a_byte(max((folder.path / "checkpoints").glob("*.pt")))
    assert work(folder, runtime, Datasets()) == DONE
    resumed = next(row for row in folder.ledger.rows() if row.get("event") == "resumed")
    assert (resumed["epoch"], resumed["step"]) == (4, 0)
    same(folder, whole(config))


@pytest.mark.fault(
    "a flipped byte in the ledger of an unfinished run",
    injected="one bit in the first, a middle and the last row, between two attempts",
    promised="no row behind it is believed; the run begins anew or goes on where the ledger is whole, to the same bits",
)
@pytest.mark.parametrize("place", [0.02, 0.5, 0.97])
def test_a_flipped_byte_in_an_unfinished_ledger_costs_time_alone(place, make_config, make_folder, runtime, whole, same):
    """The history has every epoch once, and the damage is told in the ledger."""
    config = make_config(epochs=3)
    folder = make_folder(config)
    preempted(folder, runtime, 40)
    data = bytearray(folder.ledger.path.read_bytes())
    data[int(place * len(data))] ^= 1
    folder.ledger.path.write_bytes(data)
    assert grid_rows(folder.path.parent, [folder.run_id])[0]["state"] == "interrupted"
    assert work(folder, runtime, Datasets()) == DONE
    assert "torn_tail_closed" in events(folder)
    assert [row["epoch"] for row in folder.record()["history"]] == [1, 2, 3]
    same(folder, whole(config))


@pytest.mark.fault(
    "all checkpoints, the best weights or the ledger lost",
    injected="flipped bytes, a ledger cut to its first row",
    promised="the run begins anew, says so, and comes to the same bits",
)
@pytest.mark.parametrize("damage", ["all checkpoints", "the best weights", "the ledger"])
def test_a_run_that_lost_what_it_relies_on_begins_anew(damage, make_config, make_folder, runtime, whole, same):
    """It is told in the ledger, costs time alone, and the history has every epoch."""
    config = make_config(epochs=3)
    folder = make_folder(config)
    preempted(folder, runtime, 40)
    if damage == "all checkpoints":
        list(map(flip_a_byte, (folder.path / "checkpoints").glob("*.pt")))
    elif damage == "the best weights":
        list(map(flip_a_byte, folder.path.glob("best-*.pt")))
    else:
        lines = folder.ledger.path.read_bytes().splitlines(keepends=True)
        folder.ledger.path.write_bytes(lines[0])
    assert work(folder, runtime, Datasets()) == DONE
    assert "resumed" not in events(folder)
    assert ("begun_anew" in events(folder)) == (damage != "all checkpoints")
    same(folder, whole(config))


@pytest.mark.fault(
    "an unfinished run's folder under the name of another run",
    injected="a copy of all its files but run.json, after two epochs more than the other has",
    promised="the run begins anew and comes to the same bits, with no epoch of the other in its history",
)
def test_a_run_never_goes_on_from_the_checkpoint_of_another(make_config, make_folder, runtime, whole, same):
    """As a copy among run folders leaves it."""
    other = make_folder(make_config(epochs=7, seed=1))
    preempted(other, runtime, 95)
    config = make_config(epochs=3)
    folder = make_folder(config)
    shutil.copytree(other.path, folder.path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("run.json"))
    assert len(folder.ledger.history()) > 3
    assert work(folder, runtime, Datasets()) == DONE
    assert "begun_anew" in events(folder)
    assert [row["epoch"] for row in folder.record()["history"]] == [1, 2, 3]
    same(folder, whole(config))


@pytest.mark.fault(
    "best weights that rot before the last evaluation",
    injected="a byte flipped before the end",
    promised="never evaluated; the next attempt begins anew",
)
def test_best_weights_that_rot_before_the_end_fail_the_attempt_and_the_next_begins_anew(
    make_config, make_folder, runtime, whole, same, monkeypatch
):
    """A flipped byte is never evaluated, let alone recorded."""
    from ablation_suite.core.training import finish as record

    config = make_config()
    folder = make_folder(config)

    def rotten(*args, finish=record.finish):
        list(map(flip_a_byte, folder.path.glob("best-*.pt")))
        return finish(*args)

    with monkeypatch.context() as patch:
        patch.setattr(record, "finish", rotten)
        assert work(folder, runtime, Datasets()) not in (DONE, PREEMPTED)
    assert "lost or damaged" in folder.failure()["message"]
    assert work(folder, runtime, Datasets()) == DONE
    same(folder, whole(config))


@pytest.mark.fault(
    "a torn last row of a ledger", injected="half a row appended", promised="cut off and told; the history is whole"
)
def test_a_torn_tail_of_the_ledger_is_cut_off_and_told(make_config, make_folder, runtime, whole, same):
    """Half a row, as a kill in mid-write leaves it, disappears; the history is whole."""
    config = make_config(epochs=3)
    folder = make_folder(config)
    preempted(folder, runtime, 40)
    with open(folder.ledger.path, "ab") as file:
        file.write(b'0badc0de {"kind": "epoch", "epo')
    assert work(folder, runtime, Datasets()) == DONE
    assert "torn_tail_closed" in events(folder)
    assert b"0badc0de" not in folder.ledger.path.read_bytes()
    same(folder, whole(config))


@pytest.mark.fault(
    "a torn tail of 300 kB", injected="rubbish appended to a ledger", promised="no whole row goes, no torn byte stays"
)
@pytest.mark.parametrize("size", [1, 70_000, 300_000])
def test_a_torn_tail_of_any_length_is_cut_back_to_the_last_whole_row(size, tmp_path):
    """Also one that is longer than any block that a reader may take: no whole row goes, and no torn byte stays."""
    ledger = Ledger(tmp_path / "ledger.jsonl")
    for epoch in (1, 2):
        ledger.append("epoch", epoch=epoch)
    whole = ledger.path.read_bytes()
    ledger.path.write_bytes(whole + b"x" * size)
    ledger.close_torn_tail()
    assert [row["epoch"] for row in ledger.history()] == [1, 2]
    assert ledger.path.read_bytes().startswith(whole)
    assert ledger.rows()[-1]["rows_kept"] == 2


def test_the_seconds_of_an_interrupted_epoch_are_counted_once(make_config, make_folder, runtime):
    """A resumed epoch is charged for the time before the stop as well: each of 17 steps takes at least 20 ms."""

    def slowly(step):
        time.sleep(0.02)

    folder = make_folder(make_config(epochs=1))
    assert work(folder, runtime, Datasets(), stop=stopping_after(10), on_step=slowly) == PREEMPTED
    assert work(folder, runtime, Datasets(), on_step=slowly) == DONE
    cost = folder.record()["cost"]
    assert cost["train_seconds"] > 17 * 0.02
    assert cost["images_per_second"] < cost["images_seen"] / (17 * 0.02)


def test_what_only_an_earlier_attempt_did_is_recorded_as_such(make_config, make_folder, runtime, monkeypatch):
    """Stopped between the last step and the record, the next process augments nothing, and does not say how."""
    folder = make_folder(make_config(epochs=1, augment="photo"))
    with monkeypatch.context() as patch:
        patch.setattr(finish, "network_cost", lambda *args: 1 / 0)
        assert work(folder, runtime, Datasets()) == FAILED
    assert work(folder, runtime, Datasets()) == DONE
    assert folder.record()["provenance"]["augmentation"] == "by an earlier attempt"


def test_a_finished_run_is_not_trained_again(finished):
    """Asked again, the worker returns at once and changes neither record nor weights."""
    runtime, folders = finished
    before = {path: path.read_bytes() for path in folders[0].path.iterdir() if path.is_file() and path.name != "lock"}
    assert work(folders[0], runtime, Datasets()) == DONE
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("changes", [EVERYTHING, PARTS, LATE, SCALED], ids=["everything", "parts", "late", "fp16"])
def test_a_cuda_device_gives_the_same_bits_again_and_after_a_resume(
    changes, make_config, make_folder, runtime, whole, same
):
    """Twice the same run, the second stopped twice on the way."""
    runtime = runtime.model_copy(update={"device": "cuda"})
    config = make_config(changes)
    first, second = make_folder(config, "first"), make_folder(config, "second")
    assert work(first, runtime, Datasets()) == DONE
    preempted(second, runtime, 5, 20)
    assert work(second, runtime, Datasets()) == DONE
    with_digest = [torch.load(each.path / each.record()["weights"], map_location="cpu") for each in (first, second)]
    for name, value in with_digest[0].items():
        assert torch.equal(value, with_digest[1][name]), name

"""What does a worker make of a run that cannot be trained? A status, and one message that says what to do."""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import subprocess
import sys
import time
import weakref
from types import SimpleNamespace

import pytest
import torch

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.data import parallel
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs import lease
from ablation_suite.core.runs.files import read_json
from ablation_suite.core.scheduling import process, worker
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, BAD_DATA, PREEMPTED, Datasets, work
from ablation_suite.core.scheduling.console import Progress
from ablation_suite.core.scheduling.grid import drive
from ablation_suite.core.scheduling.inline import Inline
from ablation_suite.core.training import device
from ablation_suite.core.training.session import Session
from tests.core.tracked_run import BARE_RECORD

pytestmark = pytest.mark.usefixtures("one_thread")


def failing(error):
    """What raises at the third step."""

    def on_step(step):
        if step.number == 3:
            error()

    return on_step


def raising(error):
    def throw():
        raise error

    return throw


@pytest.mark.fault(
    "a batch that does not fit into memory",
    injected="an allocation that fails",
    promised="batch size, memory and two settings that need less; never tried again unchanged",
)
@pytest.mark.parametrize(
    ("error", "words"),
    [
        (lambda: torch.empty(2**60), "can't allocate memory"),  # torch itself, on a CPU
        (
            raising(torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB.\nmore")),
            "Tried to allocate 2 GiB.",
        ),
        (raising(MemoryError()), "MemoryError"),
        (
            raising(RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `c`")),
            "CUBLAS_STATUS_ALLOC_FAILED",
        ),
        (raising(RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED")), "CUDNN_STATUS_ALLOC_FAILED"),
        (raising(RuntimeError("CUDA error: out of memory\nCUDA kernel errors might")), "CUDA error: out of memory"),
    ],
    ids=["torch's own", "cuda", "bare", "cublas", "cudnn 8", "beside the allocator"],
)
def test_out_of_memory_tells_the_batch_size_the_memory_and_two_settings(
    error, words, make_config, make_folder, runtime
):
    """One line: what was asked for, the machine's memory, and values of accumulate and batch_size that need less."""
    folder = make_folder(make_config(accumulate=2))
    assert work(folder, runtime, Datasets(), on_step=failing(error)) == BAD_CONFIG
    failure = folder.failure()
    total = device.total_memory_bytes(torch.device("cpu")) / 2**30
    assert failure["kind"] == "out of memory"
    assert "\n" not in failure["message"]
    for part in ("batch_size 64", "accumulate 2", f"{total:.1f} GiB", words, "set accumulate=4, or batch_size=32"):
        assert part in failure["message"]
    assert folder.status() == "failed"


def test_out_of_memory_on_a_cuda_device_tells_that_devices_memory(make_config, make_folder, runtime, monkeypatch):
    """The total is the device's own, not the machine's."""
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(total_memory=80 * 2**30))
    plain = device.pick_device
    folder = make_folder(make_config())

    def on_step(step):
        monkeypatch.setattr(device, "pick_device", lambda runtime: torch.device("cuda"))
        raise torch.OutOfMemoryError("CUDA out of memory.")

    assert work(folder, runtime, Datasets(), on_step=on_step) == BAD_CONFIG
    monkeypatch.setattr(device, "pick_device", plain)
    assert "on cuda with 80.0 GiB" in folder.failure()["message"]


def test_the_grid_goes_on_after_a_run_without_memory_and_holds_none_of_its(
    make_config, make_folder, runtime, monkeypatch
):
    """The next run of the same worker is trained, and the failed one's network is gone."""
    networks = []

    def remembering(session, *args):
        networks.append(weakref.ref(session.parts.network))
        torch.empty(2**60)

    executor = Inline(runtime)
    with monkeypatch.context() as patch:
        patch.setattr(Session, "step", remembering)
        first = make_folder(make_config())
        executor.submit(first.path)
        assert [event.retry for event in executor.poll(0)] == ["never"]
    gc.collect()
    assert networks[0]() is None
    second = make_folder(make_config(seed=1))
    executor.submit(second.path)
    assert [event.retry for event in executor.poll(0)] == ["never"]
    assert second.is_finished()


def test_an_inline_executor_whose_device_is_lost_asks_for_a_new_process(make_config, make_folder, runtime, monkeypatch):
    """This one can train nothing any more, and what raised first stands in the message."""
    monkeypatch.setattr(device, "is_lost", lambda runtime: True)
    monkeypatch.setattr(Session, "step", lambda *args: torch.empty(3) @ torch.empty(4))
    executor = Inline(runtime)
    executor.submit(make_folder(make_config()).path)
    with pytest.raises(UserError, match=r"errors any more: .*; run the same command again, in a new process"):
        executor.poll(0)


@pytest.mark.fault(
    "a loss that leaves the numbers",
    injected="a learning rate beyond all reason",
    promised="the step, the rate and the norm; never tried again",
)
def test_a_loss_that_is_not_finite_is_a_bad_configuration(make_config, make_folder, runtime):
    """Status 78, never tried again, and the step, the learning rate and the gradient norm in failure.json."""
    folder = make_folder(make_config(optimizer={"name": "sgd", "lr": 1e30}, clip_norm=None))
    assert work(folder, runtime, Datasets()) == BAD_CONFIG == 78
    failure = read_json(folder.path / "attempts" / "1" / "failure.json")
    assert failure["kind"] == "loss not finite"
    assert failure["status"] == 78
    for part in ("epoch 1", "step ", "learning rate 1e+30", "gradient norm"):
        assert part in failure["message"]
    assert work(folder, runtime, Datasets()) == BAD_CONFIG  # also from a checkpoint
    assert folder.record() is None


def test_weights_that_are_not_there_are_a_bad_configuration(make_config, make_folder, runtime, tmp_path):
    """Status 78 before a single step."""
    folder = make_folder(make_config({"model.weights": str(tmp_path / "none.pth")}))
    assert work(folder, runtime, Datasets()) == BAD_CONFIG
    assert "no such file" in folder.failure()["message"]
    assert folder.ledger.history() == []


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_a_device_that_is_not_there_is_a_bad_configuration(make_config, make_folder, runtime):
    """Status 78, and the way out in one line."""
    folder = make_folder(make_config())
    assert work(folder, runtime.model_copy(update={"device": "cuda"}), Datasets()) == BAD_CONFIG
    assert "use --device cpu or auto" in folder.failure()["message"]


@pytest.mark.fault(
    "data that change between plan and training", injected="another fingerprint", promised="refused: plan it again"
)
def test_data_that_changed_since_the_plan_are_bad_data(make_config, make_folder, runtime, digits):
    """Status 65: the run id would lie about what was trained on."""
    folder = make_folder(make_config())
    folder.create({**folder.job(), "data_fingerprint": "another"})
    assert work(folder, runtime, Datasets()) == BAD_DATA == 65
    assert "the images changed" in folder.failure()["message"]

    class Unreadable(Datasets):
        def get(self, *args):
            raise DataError(["a.jpg: unreadable", "b.jpg: unreadable"])

    assert work(folder, runtime, Unreadable()) == BAD_DATA
    assert folder.failure()["message"] == "a.jpg: unreadable\nb.jpg: unreadable"


def test_a_run_that_someone_else_trains_is_left_to_them(make_config, make_folder, runtime):
    """While the lock is held, status 75, no attempt, and the run counts as running."""
    folder = make_folder(make_config())
    with folder.claim():
        assert folder.status() == "running"
        assert work(folder, runtime, Datasets()) == PREEMPTED
    assert folder.attempts() == [1]
    assert folder.status() == "interrupted"


@pytest.mark.fault(
    "a run held by a hung process", injected="a lock that is not given back", promised="told by host, process and time"
)
def test_a_run_that_a_hung_process_holds_is_told_by_host_process_and_time(
    make_config, make_folder, runtime, worker, kill_when, capsys
):
    """Once, on the error stream, so that somebody can end the process; then the run goes on."""
    folder = make_folder(make_config(epochs=3))
    process = worker.start(folder, runtime)
    kill_when(process, lambda: folder.ledger.rows(), signal.SIGSTOP)
    executor = Inline(runtime)
    looks = iter(range(99))

    def room():
        if next(looks) == 9:
            os.kill(process, signal.SIGKILL)
            worker.wait()
        return 1

    executor.room = room
    assert drive({folder.run_id: folder.job()}, runtime, executor, Progress()).finished == [folder.run_id]
    since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(read_json(folder.path / "attempts/1/claim.json")["time"]))
    told = [line for line in capsys.readouterr().err.splitlines() if "waits" in line]
    assert len(told) == 1
    assert f"process {process} on {socket.gethostname()} since {since}" in told[0]


@pytest.mark.fault("two attempts that both finish", injected="a second commit", promised="the first record stays")
def test_the_first_record_wins(make_config, make_folder):
    """A late attempt finds the run finished, and its record is refused."""
    folder = make_folder(make_config())
    assert folder.commit({**BARE_RECORD, "classes": ["the first"]})
    assert not folder.commit({**BARE_RECORD, "classes": ["the late one"]})
    assert folder.record() == {**BARE_RECORD, "classes": ["the first"]}
    assert not list(folder.path.glob(".record*"))


def trained_by(pool, folder, on_progress=lambda: None, told=None):
    """Submit a run and give the event of its end; `on_progress` is called at the first news of a step."""
    pool.submit(folder.path)
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for event in pool.poll(0.2):
            if event.retry is not None:
                return event
            if event.message:
                told.append(event.message)
            on_progress()
            on_progress = lambda: None  # noqa: E731
    raise AssertionError("the run did not end")


@pytest.fixture
def pool(runtime):
    """A pool of one worker process."""
    pool = process.ProcessPool(runtime.model_copy(update={"jobs": 1}))
    yield pool
    pool.close(detach=False)


@pytest.mark.fault("a worker that hangs", injected="SIGSTOP", promised="told, killed, and its run finished by the next")
@pytest.mark.slow
def test_a_worker_that_hangs_is_told_and_killed_and_the_next_one_finishes_its_run(
    pool, make_config, make_folder, monkeypatch
):
    """A stopped process gives no sign of life; its end counts as a failure, and the run goes on in another process."""
    monkeypatch.setattr(process, "SILENCE_SECONDS", 5.0)
    monkeypatch.setattr(process, "SILENCE_RATIO", 1.0)
    folder = make_folder(make_config(epochs=40))
    first = []

    def stop():
        first.append(pool.workers[0].process.pid)
        os.kill(first[0], signal.SIGSTOP)

    told = []
    event = trained_by(pool, folder, on_progress=stop, told=told)
    assert event.retry == "counted"
    assert "gave no sign of life for" in event.message
    assert len(told) == 1
    assert f"its worker (process {first[0]}) gave no sign of life" in told[0]
    assert trained_by(pool, folder).retry == "never"
    assert pool.workers[0].process.pid != first[0]


def test_a_silence_is_too_long_by_a_workers_own_pace_once_it_has_said_anything():
    """600 s before the first news; then 30 s, or 20 times the usual time between news."""
    silence = process._Silence()
    silence.last(599.0)
    assert not silence.is_too_long()
    silence.last(2.0)
    assert silence.is_too_long()
    silence.end()
    silence.last(29.0)
    assert not silence.is_too_long()
    silence.last(2.0)
    assert silence.is_too_long()
    for seconds in (4.0, 4.0, 4.0, 0.0):
        silence.end()
        silence.last(seconds)
    silence.last(79.0)
    assert not silence.is_too_long()
    silence.last(2.0)
    assert silence.is_too_long()


def test_while_the_driver_did_not_look_no_worker_was_silent(pool, make_config, make_folder, monkeypatch):
    """A machine that slept, or a driver that was stopped, is no reason to kill."""
    pool.submit(make_folder(make_config()).path)
    pool.workers[0].silence.end()
    pool.looked_at -= 3600.0
    pool.poll(0.0)
    assert not pool.workers[0].is_hung


def test_a_long_step_gives_signs_of_life_until_nothing_was_done_for_long(monkeypatch):
    """Work, or the time before the first step, is told from a thread; a run that stands still is not."""
    monkeypatch.setattr(worker, "BEAT_SECONDS", 0.01)
    told = io.StringIO()
    writer = worker._NewsWriter(told, "a")
    with writer.alive():
        while told.getvalue().count("\n") < 3:
            sum(range(1000))
    assert {line for line in told.getvalue().splitlines()} == {'{"run_id": "a"}'}
    monkeypatch.setattr(lease, "STILL_SECONDS", 0.0)
    writer = worker._NewsWriter(told, "b")
    writer.on_step(SimpleNamespace(epoch=1, number=1, num_steps=2))
    with writer.alive():
        time.sleep(0.2)
    assert told.getvalue().count('"b"') == 2  # the step, and that the thread has begun


ORPHAN = """
import sys, time
from ablation_suite.core.scheduling import worker
worker.ORPHAN_SECONDS = 0.2
worker._read_input(worker.stop_flag(), set())
print("reads", flush=True)
time.sleep(600)
"""


@pytest.mark.fault(
    "an orphan that hangs",
    injected="the end of a worker's input, in a step that does not end",
    promised="the worker ends by itself in a minute, and its run goes on from the checkpoint, free of charge",
)
def test_a_worker_whose_driver_is_gone_ends_though_its_step_does_not():
    """Not before: it has that long to save itself."""
    command = [sys.executable, "-c", ORPHAN]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as orphan:
        assert orphan.stdout.readline() == b"reads\n"
        time.sleep(0.5)
        assert orphan.poll() is None
        orphan.stdin.close()
        assert orphan.wait(30) == PREEMPTED


def test_a_worker_that_waits_for_its_data_stops_free_of_charge(make_config, make_folder, runtime):
    """The run is as it was, and no failure is written."""

    class Hanging(Datasets):
        def get(self, *_):
            parallel.each(lambda _: time.sleep(1.0), 1)

    folder = make_folder(make_config())
    assert work(folder, runtime, Hanging(), stop=lambda: True) == PREEMPTED
    assert folder.status() == "interrupted"
    assert folder.failure() is None

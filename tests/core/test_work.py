"""What does a worker make of a run that cannot be trained? A status, and one message that says what to do."""

from __future__ import annotations

import gc
import weakref
from types import SimpleNamespace

import pytest
import torch

from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs.store import read_json
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, BAD_DATA, DONE, PREEMPTED, Datasets, work
from ablation_suite.core.scheduling.inline import Inline
from ablation_suite.core.training import device
from ablation_suite.core.training.session import Session

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
    ],
    ids=["torch's own", "cuda", "bare", "cublas", "cudnn"],
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
        assert [event.exit_status for event in executor.poll(0)] == [BAD_CONFIG]
    gc.collect()
    assert networks[0]() is None
    second = make_folder(make_config(seed=1))
    executor.submit(second.path)
    assert [event.exit_status for event in executor.poll(0)] == [DONE]


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


def test_the_first_record_wins(make_config, make_folder):
    """A late attempt finds the run finished, and its record is refused."""
    folder = make_folder(make_config())
    assert folder.commit({"from": "the first"})
    assert not folder.commit({"from": "the late one"})
    assert folder.record() == {"from": "the first"}
    assert not list(folder.path.glob(".record*"))

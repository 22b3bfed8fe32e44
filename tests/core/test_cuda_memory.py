"""Is the memory of a CUDA device counted as its allocator sees it, and told where it ends? On the null device."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, Datasets, retry_after, work
from ablation_suite.core.training.device import free_memory_bytes
from ablation_suite.core.training.feed import Feeds

MIB = 2**20


def feed_after_a_run() -> dict:
    """What is free of 1 GiB before, with and after 600 MiB of tensors that the allocator keeps, and how 300 are fed."""
    device, free = torch.device("cuda"), []
    free.append(free_memory_bytes(device))
    used = torch.empty(600 * MIB, dtype=torch.uint8, device=device)
    free.append(free_memory_bytes(device))
    del used
    free.append(free_memory_bytes(device))
    images = np.zeros((300, MIB // 3, 1, 3), np.uint8)
    return {
        "free": free,
        "told by CUDA": torch.cuda.mem_get_info()[0],
        "feed": type(Feeds().of(images, device)).__name__,
    }


def test_what_the_allocator_holds_unused_is_free_so_that_a_warm_worker_goes_on_as_it_began(null_cuda):
    """By hand: 1024, 424 and again 1024 MiB, where CUDA counts 424; two fifths of that would not hold the images."""
    seen = null_cuda.call(feed_after_a_run, gib=1)
    assert seen["free"] == [1024 * MIB, 424 * MIB, 1024 * MIB]
    assert seen["told by CUDA"] == 424 * MIB
    assert seen["feed"] == "Resident"


def train_beside(folder: str, runtime: str, room: int) -> dict:
    """How a run ends on a device that others have left so many MiB of, and whether it is tried again."""
    others = torch.empty((1024 - room) * MIB, dtype=torch.uint8, device="cuda")
    run = RunFolder(Path(folder))
    status = work(run, Runtime.model_validate_json(runtime), Datasets())
    del others
    failure = run.failure() or {}
    return {"status": status, "again": retry_after(status), **{name: failure.get(name) for name in ("kind", "message")}}


@pytest.mark.fault(
    "no memory for cuBLAS or cuDNN on a CUDA device",
    injected="a null device that is full but for so much that the library itself finds no room",
    promised="out of memory, with the batch size and two settings that need less; never tried again unchanged",
)
@pytest.mark.parametrize(
    ("room", "words"),
    [
        (56, "CUBLAS_STATUS_ALLOC_FAILED"),
        (24, "CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
        (1, "CUDA out of memory"),
    ],
    ids=["cublas", "cudnn", "torch"],
)
def test_a_library_without_memory_is_told_as_such_and_not_tried_again(
    room, words, null_cuda, make_config, make_folder, runtime
):
    """As torch words what each library answers; all three say what to set."""
    folder, settings = make_folder(make_config(epochs=1)), runtime.model_copy(update={"device": "cuda"})
    seen = null_cuda.call(train_beside, str(folder.path), settings.model_dump_json(), room, gib=1, zeros=True)
    assert (seen["status"], seen["again"], seen["kind"]) == (BAD_CONFIG, "never", "out of memory"), seen
    assert words in seen["message"]
    assert "set accumulate=2, or batch_size=32" in seen["message"]

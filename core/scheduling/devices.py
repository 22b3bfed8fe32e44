"""Which devices do the workers of this machine take, and how many runs go on one of them side by side?

torch is not imported here: the driver of a grid asks, and torch would take it seconds.
"""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.parallel import cores
from ablation_suite.core.runs.memory import available_bytes

BYTES_PER_WORKER = 2 * 1024**3
"""Host memory that a worker needs for itself (torch's libraries) and a small network."""
CONTEXT_BYTES = 1024**3
"""Memory of a CUDA device that a process takes beside its tensors: context, kernels, workspaces."""
HOST_SECONDS = 2e-3
"""What the host takes to launch the kernels of a small network's step, whatever the size of the batch."""
EAGER_FLOPS = 30e12
"""FLOP/s of a step on a CUDA device: an assumption that only says whether a step is long beside its launches."""
MOST_RUNS, MOST_RUNS_IN_TURNS = 4, 2
"""Runs of one device at the most: with MPS, which lets their kernels run at once, and without, taking turns."""


@functools.cache
def cuda_memory() -> list[int]:
    """The memory in bytes of each CUDA device, in torch's order; none without a driver, or a torch for them."""
    if metadata.version("torch").endswith("+cpu"):
        return []
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return []
    count, device, size = ctypes.c_int(), ctypes.c_int(), ctypes.c_size_t()
    if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(count)):
        return []
    found = []
    for number in range(count.value):
        driver.cuDeviceGet(ctypes.byref(device), number)
        driver.cuDeviceTotalMem_v2(ctypes.byref(size), device)
        found.append(size.value)
    return found


def cuda_devices(runtime: Runtime) -> tuple[int, ...]:
    """The numbers of the CUDA devices that workers are spread over: those asked for, or all; none on a CPU.

    Raises UserError where one that was asked for does not exist.
    """
    if runtime.device not in ("auto", "cuda"):
        if runtime.devices:
            raise UserError(f"devices: names CUDA devices, but device is {runtime.device}; leave one of them out")
        return ()
    there = range(len(cuda_memory()))
    if lost := [number for number in runtime.devices if number not in there]:
        have = f"there are {', '.join(map(str, there))}" if there else "there is none"
        raise UserError(f"devices: no CUDA device {', '.join(map(str, lost))} here, {have}")
    return runtime.devices or tuple(there)


def num_jobs(runtime: Runtime, runs_per_device: int = 1) -> int:
    """Runs side by side: as asked for, else some on each CUDA device, else as many as cores and memory allow."""
    if runtime.jobs != "auto":
        return runtime.jobs
    num_cores = cores() // runtime.threads
    if devices := cuda_devices(runtime):
        # Each worker launches kernels from a core of its own.
        return max(len(devices), min(num_cores, len(devices) * runs_per_device))
    if runtime.device.startswith("cuda"):
        return max(1, min(num_cores, runs_per_device))
    return max(1, min(num_cores, available_bytes() // BYTES_PER_WORKER))


def placed(runtime: Runtime, devices: Sequence[int], taken: Sequence[int | None] = ()) -> Runtime:
    """The runtime of one more worker, on the device that has the fewest; `taken` are the devices of the others."""
    if not devices:
        return runtime
    least = min(devices, key=lambda number: (taken.count(number), devices.index(number)))
    return runtime.model_copy(update={"devices": (least,)})


def runs_per_device(step_flops: float, run_bytes: float, device_bytes: int) -> int:
    """How many runs such as this one a CUDA device takes side by side, by the size of a step and by memory.

    A device whose step is short waits for the host's launches, and other runs fill the time; a long one keeps it busy.
    """
    most = MOST_RUNS if has_mps() else MOST_RUNS_IN_TURNS
    by_size = int(HOST_SECONDS * EAGER_FLOPS / max(step_flops, 1.0))
    by_memory = int(0.9 * device_bytes / (1.2 * run_bytes + CONTEXT_BYTES))
    return max(1, min(most, by_size, by_memory))


def has_mps() -> bool:
    """Whether NVIDIA's Multi-Process Service runs, which CUDA processes join by themselves."""
    folder = os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps")
    return (Path(folder) / "control").exists()

"""What machine part computes, and in which arithmetic? Device, memory format, determinism, autocast."""

from __future__ import annotations

import ctypes
import gc
import os
from contextlib import AbstractContextManager, nullcontext, suppress
from pathlib import Path

import torch

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.memory import memory

AUTOCAST = {"bf16": torch.bfloat16, "fp16": torch.float16}


class DeviceError(UserError):
    """The device does not exist here; the text says which to take."""


def pick_device(runtime: Runtime) -> torch.device:
    """The device of a runtime; DeviceError where it does not exist on this machine.

    A CUDA device is made the current one, so that pinned memory and streams open no context on the first.
    """
    name = _name(runtime)
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
        if device.index is not None and device.type == "cuda":
            torch.cuda.set_device(device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0]
        raise DeviceError(f"device {name}: not usable here ({reason}); use --device cpu or auto") from None
    return device


def is_lost(runtime: Runtime) -> bool:
    """Whether the runtime's CUDA device answers only errors to this process, as it does for ever after a bad access."""
    name = _name(runtime)
    if not name.startswith("cuda") or not torch.cuda.is_initialized():
        return False
    try:
        torch.cuda.synchronize(name)
    except RuntimeError:
        return True
    return False


def prepare(runtime: Runtime, precision: str) -> None:
    """Set torch's process-wide switches: threads, deterministic kernels, and the arithmetic of 32-bit products."""
    _keep_freed_memory()
    torch.set_num_threads(runtime.threads)
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    os.environ.setdefault("TRITON_CACHE_DIR", str(Path(runtime.cache).absolute() / "triton"))
    torch.use_deterministic_algorithms(runtime.deterministic, warn_only=True)
    # Else every new tensor is filled with NaN first, in case it were read before it is written: 4 % of a step.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cudnn.deterministic = runtime.deterministic
    torch.backends.cudnn.benchmark = not runtime.deterministic
    torch.backends.fp32_precision = "tf32" if precision == "tf32" else "ieee"  # type: ignore[attr-defined]
    # The same in the older words, in which torch's compiler asks; it would raise where the two disagree.
    torch.set_float32_matmul_precision("high" if precision == "tf32" else "highest")


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """The context of a forward pass in the given precision."""
    if precision not in AUTOCAST:
        return nullcontext()
    return torch.autocast(device.type, dtype=AUTOCAST[precision])


def memory_format(runtime: Runtime) -> torch.memory_format:
    """channels_last unless it is switched off; convolutions gain from it on the CPU as on CUDA devices."""
    return torch.contiguous_format if runtime.channels_last == "off" else torch.channels_last


def reset_peak_memory(device: torch.device) -> None:
    """Begin to measure anew, so that a run of a warm worker is not charged for the runs before it."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)  # what `_keep_freed_memory` kept for the run before
    with suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")  # Linux: forget the high-water mark (man 5 proc)


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory used since `reset_peak_memory`: of the device on CUDA, of the process elsewhere."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) * 1024
    except (OSError, KeyError):
        import resource

        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def free_memory_bytes(device: torch.device) -> int:
    """What a CUDA device can still give to this process: free memory, and what the allocator holds but does not use."""
    free, _ = torch.cuda.mem_get_info(device)
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def give_back_memory() -> None:
    """Give what no tensor uses any more back to the CUDA devices, for the processes beside this one."""
    if torch.cuda.is_initialized():
        gc.collect()  # networks whose parts refer to each other
        with suppress(RuntimeError):  # of a lost context, which gives back nothing
            torch.cuda.empty_cache()


def total_memory_bytes(device: torch.device) -> int:
    """All the memory that there is: of the device on CUDA, elsewhere of the machine, or what a container has of it."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    return memory().total_bytes


def _name(runtime: Runtime) -> str:
    name = runtime.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return f"cuda:{runtime.devices[0]}" if name == "cuda" and runtime.devices else name


def _keep_freed_memory() -> None:
    """Have the C library reuse the memory of large tensors instead of giving it back to the kernel at every free.

    By default each activation is mapped anew and its pages fault one by one: that took a third of a training step of
    resnet50 on two cores, and a fifth of one of a small network.
    """
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3  # malloc.h of glibc; others lack `mallopt` or ignore it
    with suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        for option, num_bytes in ((trim_threshold, 2**31 - 1), (top_pad, 2**26), (mmap_threshold, 2**30)):
            library.mallopt(option, num_bytes)

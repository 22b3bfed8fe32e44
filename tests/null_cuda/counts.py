"""What did this process do to the null device? Numbers of calls by name, since the last `reset`."""

from __future__ import annotations

import ctypes
from collections import Counter

LAUNCH, COPY, WAIT = range(3)


def reset() -> None:
    """Begin to count anew."""
    _library().null_reset()


def launches() -> Counter[str]:
    """Kernels, products and convolutions, by their (mangled) names."""
    return _counts(LAUNCH)


def copies() -> Counter[str]:
    """Copies, by direction and kind of host memory, and memsets."""
    return _counts(COPY)


def waits() -> Counter[str]:
    """Calls that would wait for a device."""
    return _counts(WAIT)


def bytes_asked_for(device: int) -> int:
    """All the memory that was ever taken on a device."""
    library = _library()
    library.null_memory_reserved.restype = ctypes.c_size_t
    return library.null_memory_reserved(device)


def has_context(device: int) -> bool:
    """Whether this process has opened a context on a device, which costs half a gigabyte there."""
    return bool(_library().null_has_context(device))


def _counts(kind: int) -> Counter[str]:
    library, found = _library(), Counter()
    for index in range(library.null_num_counters()):
        if library.null_counter_kind(index) == kind and (times := library.null_counter_times(index)):
            found[library.null_counter_name(index).decode()] += times
    return found


def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None)
    library.null_counter_name.restype = ctypes.c_char_p
    library.null_counter_times.restype = ctypes.c_long
    return library

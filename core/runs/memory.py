"""How much memory is there for our processes? The machine's, or less where a container or a batch job has a limit."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

GIB = 2**30


class Memory(NamedTuple):
    """What there is in all, what is still free (page cache counts as free), and whose limit it is."""

    total_bytes: int
    available_bytes: int
    place: str

    def __str__(self) -> str:
        total, available = (f"{number / GIB:.1f} GiB" for number in (self.total_bytes, self.available_bytes))
        return f"{self.place} has {total}, {available} of them free"


def memory(root: Path = Path("/")) -> Memory:
    """The tightest of all limits that this process lives under; `root` is where /proc and /sys are looked up."""
    return min(_limits(root), key=lambda each: each.total_bytes)


def available_bytes(root: Path = Path("/")) -> int:
    """What our processes may still take."""
    return min(each.available_bytes for each in _limits(root))


def num_oom_kills(root: Path = Path("/")) -> int:
    """How many processes of our cgroup the kernel has ended because memory ran out; 0 if unknown.

    Where the cgroup does not count them it is the number of the whole machine.
    """
    folders = [folder for folder, _ in _groups(root)]
    counters = [folder / name for folder in folders for name in ("memory.events", "memory.oom_control")]
    for path in [*counters, root / "proc/vmstat"]:
        with suppress(OSError, KeyError, ValueError):
            return _numbers(path)["oom_kill"]
    return 0


def _limits(root: Path) -> Iterator[Memory]:
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    available = total
    with suppress(OSError, KeyError, ValueError):
        lines = _numbers(root / "proc/meminfo")
        total, available = lines["MemTotal:"] * 1024, lines["MemAvailable:"] * 1024
    yield Memory(total, available, "this machine")
    for folder, names in _groups(root):
        with suppress(OSError, KeyError, ValueError):  # no limit is spelled "max", or as a number beyond any memory
            limit, used = (int((folder / name).read_text()) for name in names[:2])
            unused = _numbers(folder / "memory.stat").get(names[2], 0)  # cache that goes when memory is asked for
            if limit < total:
                yield Memory(limit, max(0, min(available, limit - used + unused)), "this container or job (cgroup)")


def _groups(root: Path) -> Iterator[tuple[Path, tuple[str, str, str]]]:
    """The folders of our cgroup and those around it, with their names of limit, usage and idle cache."""
    with suppress(OSError):
        for line in (root / "proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if not controllers:  # version 2
                top, names = root / "sys/fs/cgroup", ("memory.max", "memory.current", "inactive_file")
            elif controllers == "memory":
                top, names = (
                    root / "sys/fs/cgroup/memory",
                    ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
                )
            else:
                continue
            # In a container the path may be that of the machine outside, and our own group lies at the top.
            below = Path(path.lstrip("/"))
            yield from ((top / each, names) for each in dict.fromkeys([below, *below.parents]))


def _numbers(path: Path) -> dict[str, int]:
    """Lines of a name and a number."""
    words = (line.split() for line in path.read_text().splitlines())
    return {each[0]: int(each[1]) for each in words if len(each) > 1 and each[1].isdigit()}

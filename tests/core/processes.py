"""Which processes are those of a cluster that the tests started? The ones that were given its mark; all are to end."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress
from pathlib import Path


def carrying(mark: str) -> list[int]:
    """The processes that have `mark`, NAME=VALUE, in their environment, as all have that such a one starts."""
    found = []
    for path in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):  # gone by now, or somebody else's
            if mark.encode() in path.read_bytes().split(b"\0"):
                found.append(int(path.parent.name))
    return [process for process in found if process != os.getpid()]


def command(process: int) -> str:
    """The command line of a process; nothing where it is gone."""
    try:
        return Path(f"/proc/{process}/cmdline").read_text()
    except OSError:
        return ""


def end(mark: str, seconds: float = 30.0) -> None:
    """Kill all that carry the mark and wait until the last is gone; TimeoutError names those that stay."""
    deadline = time.monotonic() + seconds
    while left := carrying(mark):
        if time.monotonic() > deadline:
            raise TimeoutError(f"processes {left} do not end")
        for process in left:
            with suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)
        time.sleep(0.1)

"""Does somebody train this run, and still do something? A lease with a heartbeat, beside the lock of the file system.

A lock tells at once when its holder is gone, but on some shared file systems (NFS with `local_lock`, Lustre with
`localflock`) it is not seen from other machines. A lease is seen wherever the folder is.
"""

from __future__ import annotations

import os
import socket
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from ablation_suite.core.data.parallel import start_whole
from ablation_suite.core.runs.files import read_json, write_json

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
"""A lease of another machine that is older counts no more; shared file systems show a change up to 60 s late."""
STILL_SECONDS = 600.0
"""A run that has begun its steps and does nothing at all for so long is stuck, in a file system or on a device."""
LEAST_CPU_SHARE = 0.001
"""Of one core: a process that uses less does nothing."""


def is_held_elsewhere(path: Path) -> bool:
    """Whether another machine, whose locks may not be seen here, holds the lease and has beaten not long ago."""
    if _machine_of(path) in (None, _machine()):
        return False
    age = age_seconds(path)
    if age is not None and age < -STALE_SECONDS:  # of a clock that is ahead: from our time on, it beats or it ages
        with suppress(OSError):
            os.utime(path)
    return age is not None and age < STALE_SECONDS


def age_seconds(path: Path) -> float | None:
    """Seconds since the last beat of a lease, by the clock of its file system; None where there is no lease."""
    with suppress(FileNotFoundError):
        return _now(path.parent) - path.stat().st_mtime
    return None


def _now(folder: Path) -> float:
    """The time that a file server gives what changes now; ours where nothing may be written."""
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            return os.fstat(file.fileno()).st_mtime
    except OSError:
        return time.time()


@contextmanager
def held(path: Path, is_alive: Callable[[], bool], is_cancelled: Callable[[], bool]) -> Iterator[threading.Event]:
    """Hold a lease and beat while `is_alive`; the event is set when it was lost to another, or the run is cancelled.

    It is for whoever holds the lock of the run; of two machines that take the lease at once, since neither saw the
    lock of the other, the first one learns of the second at its next beat.
    """
    token, unwanted, over = uuid.uuid4().hex, threading.Event(), threading.Event()
    lease = {"host": socket.gethostname(), "machine": _machine(), "pid": os.getpid(), "token": token}
    write_json(path, lease)

    def beat() -> None:
        while not over.wait(BEAT_SECONDS):
            with suppress(OSError, ValueError):  # a file server that is away for a while
                if is_cancelled() or not path.exists() or read_json(path)["token"] != token:
                    unwanted.set()
                elif is_alive():
                    os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    start_whole(thread)
    try:
        yield unwanted
    finally:
        over.set()
        thread.join()
        with suppress(OSError, ValueError):
            if read_json(path)["token"] == token:
                path.unlink()


class Stillness:
    """For how long this process has done nothing at all, as one of its threads sees that asks again and again."""

    def __init__(self) -> None:
        self.begun = False
        """Whether the run has made a step: before, it may wait long for another process that decodes its images."""
        self.asked_at = self.worked_at = time.monotonic()
        self.before = 0.0

    def is_too_long(self) -> bool:
        """Whether the process is stuck. The thread that asks does not count, so it must be the same every time."""
        now, used = time.monotonic(), time.process_time() - time.thread_time()
        if used - self.before > LEAST_CPU_SHARE * (now - self.asked_at):
            self.worked_at = now
        self.asked_at, self.before = now, used
        return self.begun and now - self.worked_at >= STILL_SECONDS


def _machine_of(path: Path) -> Any:
    try:
        return read_json(path)["machine"]
    except (OSError, ValueError, TypeError, KeyError):
        return None


def _machine() -> str:
    """Which kernel keeps our locks: containers of one machine share it, and their names may be alike."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return socket.gethostname()

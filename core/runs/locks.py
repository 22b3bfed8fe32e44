"""Who holds this file? Locks of the kernel, freed however their process ends, and passed on with an open file.

They are flock's: several may look at one without taking it, and a child that inherits the file keeps it. Not to be had
by the package filelock, which knows no shared lock and falls back to a mere file where the file system has no locks.
"""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

_LOOKED_AT_SECONDS = 0.2
"""Whoever only looks at a lock holds it for an instant."""


class NoLocks(OSError):
    """The file system of a file knows no locks."""


def try_take(file: IO[Any]) -> bool:
    """Take the lock of an open file, which holds until that is closed; False where another process has it.

    NoLocks where the file system has none.
    """
    return _flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def take(file: IO[Any], *, heed: Callable[[], object] | None = None, look_seconds: float = 0.05) -> None:
    """Wait for the lock of an open file and take it; between two looks `heed` is called, which may raise."""
    if heed is None:
        _flock(file, fcntl.LOCK_EX)
        return
    while not try_take(file):
        heed()
        time.sleep(look_seconds)


def take_soon(file: IO[Any]) -> bool:
    """Take the lock of an open file, or say that another process holds it, and not only looks at it."""
    deadline = time.monotonic() + _LOOKED_AT_SECONDS
    while not try_take(file):
        if time.monotonic() >= deadline:
            return False
        time.sleep(0.01)
    return True


def is_taken(path: Path) -> bool:
    """Whether a process holds the lock of a file; False where there is no file, or where no locks are known."""
    try:
        with open(path, opener=open_at_once) as file:
            return not _flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except (FileNotFoundError, NoLocks):
        return False


def open_at_once(path: str, flags: int) -> int:
    """Open without waiting, as a pipe in the place of the file would have it: the opener of `open`."""
    return os.open(path, flags | os.O_NONBLOCK, 0o666)


def _flock(file: IO[Any], operation: int) -> bool:
    try:
        fcntl.flock(file, operation)
        return True
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.EOPNOTSUPP, errno.ENOSYS, errno.ENOLCK):
            raise
        raise NoLocks(error.errno, f"this file system has no file locks ({error.strerror})", file.name) from None

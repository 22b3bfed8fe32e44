"""Who may use a study's storage? Locks that die with their process, and what is raised where somebody may not."""

from __future__ import annotations

import os
import socket
import time
from pathlib import Path
from typing import IO

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.runs import locks


class StorageError(UserError):
    """The storage of a study cannot be used; the text never holds a password."""


class SweepBusy(UserError):
    """Another driver owns the study."""


class TrialLost(Exception):
    """Another driver has freed a trial of this one, which had been silent for too long."""


class FileLock:
    """The lock of a journal or a database file, held by the kernel: a killed holder leaves nothing to wait for."""

    def __init__(self, path: Path):
        self.path = path.with_name(path.name + ".flock")
        self.file: IO[str] | None = None

    def acquire(self) -> bool:
        self.file = open(self.path, "a")  # noqa: SIM115 (held until release)
        locks.take(self.file)
        return True

    def release(self) -> None:
        assert self.file is not None
        self.file.close()
        self.file = None


def repair_journal(journal: Path) -> int:
    """Cut a torn last line off, which would make the journal unreadable for ever; the number of bytes cut."""
    lock = FileLock(journal)
    lock.acquire()
    try:
        if not journal.exists():
            return 0
        with open(journal, "r+b") as file:
            size = file.seek(0, os.SEEK_END)
            whole = _end_of_last_line(file, size)
            if whole < size:
                file.truncate(whole)
                os.fsync(file.fileno())
            return size - whole
    finally:
        lock.release()


class Owner:
    """A driver's name in the study, with a lock file that tells others on the same folder whether it still lives."""

    def __init__(self, folder: Path, *, alone: bool):
        """Take part in the sweep of a folder; SweepBusy where `alone` and another driver is there."""
        self.folder = folder / "drivers"
        self.locks: dict[str, IO[str]] = {}
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            if alone and not self._take("alone"):
                raise SweepBusy(
                    f"another driver works on this study (in {folder}); wait for it, or share a database: --storage URL"
                )
            self.name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}"
            self._take(self.name)
        except OSError as error:
            raise StorageError(f"{folder}: {error.strerror}") from None

    def inherits(self, name: str) -> bool:
        """Whether the driver of this name worked on this folder and is gone; its trials are then ours alone."""
        return name == self.name or name in self.locks or ((self.folder / name).exists() and self._take(name))

    def leave(self) -> None:
        """Give up the locks; their files stay where trials may still wait for an heir."""
        for lock in self.locks.values():
            lock.close()
        self.locks.clear()

    def forget(self) -> None:
        """Remove the files of drivers that left nothing behind, this one included."""
        for name in self.locks:
            if name != "alone":
                (self.folder / name).unlink(missing_ok=True)

    def _take(self, name: str) -> bool:
        file = open(self.folder / name, "a")  # noqa: SIM115 (held until `leave`)
        if not locks.try_take(file):
            file.close()
            return False
        self.locks[name] = file
        return True


def _end_of_last_line(file: IO[bytes], size: int) -> int:
    """Bytes up to and with the last newline, read backwards in blocks."""
    end = size
    while end > 0:
        begin = max(0, end - 65536)
        file.seek(begin)
        at = file.read(end - begin).rfind(b"\n")
        if at >= 0:
            return begin + at + 1
        end = begin
    return 0

"""Which runs exist, and how far is each? Read from files alone: a run is finished exactly when its record exists."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.runs.ledger import Ledger

Status = Literal["finished", "running", "failed", "interrupted", "missing"]


class Busy(RuntimeError):
    """Another process is training this run now."""


class Damaged(UserError):
    """A file of a run folder does not read or does not verify."""


class NoSuchRun(UserError):
    """A name that stands for no run, or for several."""


@dataclass(frozen=True)
class RunFolder:
    """One run: `run.json` (what to train), `ledger`, `checkpoints/`, `attempts/<k>/`, `outputs.npz`, `record.json`."""

    path: Path

    @property
    def run_id(self) -> str:
        return self.path.name

    @property
    def ledger(self) -> Ledger:
        return Ledger(self.path / "ledger.jsonl")

    @property
    def record_path(self) -> Path:
        return self.path / "record.json"

    def create(self, job: dict[str, Any]) -> None:
        """Write `run.json`: config, data fingerprint, recipe, and labels for people (never hashed)."""
        self.path.mkdir(parents=True, exist_ok=True)
        write_json(self.path / "run.json", job)

    def job(self) -> dict[str, Any]:
        """The contents of `run.json`."""
        return read_json(self.path / "run.json")

    def record(self) -> dict[str, Any] | None:
        """The finished record as plain data, or None; Damaged where it does not read."""
        try:
            return read_json(self.record_path)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise Damaged(f"{self.record_path}: is damaged ({error})") from error

    def status(self) -> Status:
        """Finished, running (its lock is held), failed, interrupted, or missing (never begun)."""
        if self.record_path.exists():
            return "finished"
        if self._is_locked():
            return "running"
        last = max(self.attempts(), default=None)
        if last is None:
            return "missing"
        return "failed" if (self._attempt(last) / "failure.json").exists() else "interrupted"

    def attempts(self) -> list[int]:
        """The numbers of the attempts made so far."""
        folder = self.path / "attempts"
        return sorted(int(each.name) for each in folder.iterdir()) if folder.is_dir() else []

    def failure(self) -> dict[str, Any] | None:
        """What the last attempt said when it failed, or None."""
        last = max(self.attempts(), default=None)
        path = self._attempt(last) / "failure.json" if last is not None else None
        return read_json(path) if path and path.exists() else None

    @contextmanager
    def claim(self) -> Iterator[Path]:
        """Hold the run for one attempt and give the attempt's folder; Busy where another process holds it.

        The lock belongs to the process, so that the kernel frees it however the process ends.
        """
        with open(self.path / "lock", "a") as lock:
            if not _lock(lock):
                raise Busy(f"run {self.run_id} is being trained by another process")
            attempt = self._attempt(max(self.attempts(), default=0) + 1)
            attempt.mkdir(parents=True)
            write_json(attempt / "claim.json", {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()})
            self.ledger.close_torn_tail()
            yield attempt

    def commit(self, record: dict[str, Any]) -> bool:
        """Make the run finished; False where an earlier attempt already did, whose record stays."""
        temporary = self.record_path.with_name(f".record.{os.getpid()}")
        _write_synced(temporary, _json_bytes(record))
        try:
            os.link(temporary, self.record_path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        _sync_folder(self.path)
        return True

    def _attempt(self, number: int) -> Path:
        return self.path / "attempts" / str(number)

    def _is_locked(self) -> bool:
        try:
            with open(self.path / "lock") as lock:
                fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            return False
        return False


def _lock(file: IO[str]) -> bool:
    """Take a lock; tried for a moment, since whoever reads the status holds it for an instant."""
    for _ in range(20):
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            time.sleep(0.01)
    return False


def run_folders(store: Path) -> list[RunFolder]:
    """Every run folder of a store, in the order of their ids."""
    return [RunFolder(path.parent) for path in sorted(store.glob("*/run.json"))]


def find_run(store: Path, prefix: str) -> RunFolder:
    """The one run whose id starts with `prefix`; NoSuchRun where there is none or several."""
    found = [folder for folder in run_folders(store) if folder.run_id.startswith(prefix)]
    if len(found) != 1:
        several = "several runs begin so: " + ", ".join(folder.run_id for folder in found)
        raise NoSuchRun(f"run {prefix}: {several if found else f'no such run in {store}'}")
    return found[0]


def write_atomic(path: Path, data: bytes) -> None:
    """Replace a file so that a reader, or a kill, finds the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    _write_synced(temporary, data)
    os.replace(temporary, path)
    _sync_folder(path.parent)


def write_json(path: Path, value: Any) -> None:
    """Replace a JSON file atomically."""
    write_atomic(path, _json_bytes(value))


def read_json(path: Path) -> Any:
    """The value of a JSON file."""
    return json.loads(path.read_bytes())


def _json_bytes(value: Any) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


def _write_synced(path: Path, data: bytes) -> None:
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

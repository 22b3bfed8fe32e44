"""How far is one run, and who trains it? Read from files alone: it is finished when its record verifies."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from ablation_suite.core.config.errors import UserError, words_of
from ablation_suite.core.own.kept import keep
from ablation_suite.core.runs import lease, locks
from ablation_suite.core.runs.damage import OUTPUT_ERRORS, Damaged, open_outputs, read_object
from ablation_suite.core.runs.files import (
    json_bytes,
    sync_folder,
    write_json,
    write_synced,
)
from ablation_suite.core.runs.identity import digest, is_run_id
from ablation_suite.core.runs.labels import merged
from ablation_suite.core.runs.ledger import Ledger
from ablation_suite.core.runs.shape import Job, Record, job_fault, record_fault

if TYPE_CHECKING:
    from numpy.typing import NDArray

Status = Literal["finished", "running", "failed", "interrupted", "missing", "damaged"]
DIGEST = "sha256"
"""The key of a record that holds the SHA-256 of the canonical JSON of the rest; older records have none."""


class Busy(RuntimeError):
    """Another process is training this run now."""


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

    def create(self, job: Job) -> None:
        """Write `run.json`: config, data fingerprint, recipe, and labels for people (never hashed).

        The labels of its earlier uses stay, and so does all else of a finished run. Nothing new is nothing written.
        The code of own parts is put into `code/` before.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        known: Job = self.job() if self.has_job() else {}
        labels = merged(known.get("labels") or {}, job.get("labels") or {})
        wanted: Job = {**job, **(known if self.is_finished() else {}), "labels": labels}
        keep(self.path, wanted.get("config"))
        if json.loads(json.dumps(wanted)) != known:
            write_json(self.path / "run.json", wanted)

    def job(self) -> Job:
        """The contents of `run.json`; Damaged where it does not read or does not say what to train."""
        job = self._read_own(self.path / "run.json")
        if fault := job_fault(job):
            raise Damaged(f"{self.path / 'run.json'}: is damaged ({fault})")
        return cast(Job, job)

    def has_job(self) -> bool:
        """Whether there is a `run.json` that reads."""
        try:
            return bool(self.job())
        except (FileNotFoundError, Damaged):
            return False

    def record(self) -> Record | None:
        """The finished record as plain data, or None; Damaged where it does not read or is not what was written."""
        try:
            record = self._read_own(self.record_path)
        except FileNotFoundError:
            return None
        if DIGEST in record and record.pop(DIGEST) != digest(record, 64, allow_nan=True):
            raise Damaged(f"{self.record_path}: is not what was written, its SHA-256 is another")
        if fault := record_fault(record):
            raise Damaged(f"{self.record_path}: is no record of a run ({fault})")
        return cast(Record, record)

    def outputs(self, split: str = "") -> dict[str, NDArray[Any]]:
        """The arrays of `outputs.npz`, of one split or of all; Damaged where they are lost or do not read."""
        path = self.path / "outputs.npz"
        try:
            with open_outputs(path, self.record() or {}) as arrays:
                return {name: arrays[name] for name in arrays.files if name.startswith(split)}
        except OUTPUT_ERRORS as error:
            raise Damaged(f"{path}: is damaged ({words_of(error)})") from error

    def damage(self) -> str | None:
        """What is wrong with `run.json` or the record, in one line, or None."""
        for read in (self.job, self.record):
            try:
                read()
            except FileNotFoundError:
                continue
            except Damaged as error:
                return str(error)
        return None

    def is_finished(self) -> bool:
        """Whether there is a record that reads and verifies; one that has not changed is not verified again."""
        try:
            stat = self.record_path.stat()
        except PermissionError:
            raise
        except OSError:  # none, or a link that leads nowhere
            return False
        return _verifies(self, stat.st_mtime_ns, stat.st_ctime_ns, stat.st_size)

    def status(self) -> Status:
        """Finished, running (its lock is held), failed, interrupted, damaged, or missing (never begun)."""
        if os.path.lexists(self.path / "run.json") and not self.has_job():
            return "damaged"
        if os.path.lexists(self.record_path):
            return "finished" if self.is_finished() else "damaged"
        return self.status_unfinished()

    def status_unfinished(self) -> Status:
        """The status of a run that is known to have no record, and whose `run.json` is sound."""
        if self.is_locked():
            return "running"
        last = max(self.attempts(), default=None)
        if last is None:
            return "missing"
        return "failed" if (self._attempt(last) / "failure.json").exists() else "interrupted"

    @property
    def lease_path(self) -> Path:
        """The file whose time says when the process that trains the run last gave a sign of life."""
        return self.path / "lease.json"

    def is_locked(self) -> bool:
        """Whether an attempt holds the run now, here or on a machine whose locks are not seen here."""
        return lease.is_held_elsewhere(self.lease_path) or locks.is_taken(self.path / "lock")

    def attempts(self) -> list[int]:
        """The numbers of the attempts made so far; what else lies beside them (.DS_Store, say) is none."""
        try:
            return sorted(int(name) for name in os.listdir(self.path / "attempts") if name.isdecimal())
        except (FileNotFoundError, NotADirectoryError):
            return []

    def progress(self) -> tuple[int, str]:
        """How far it is: the number of epochs in the ledger, and the newest checkpoint."""
        num_epochs = sum(row["kind"] == "epoch" for row in self.ledger.rows())
        return num_epochs, max((path.name for path in (self.path / "checkpoints").glob("*.pt")), default="")

    def failure(self) -> dict[str, Any] | None:
        """What the last attempt said when it failed, or None."""
        last = max(self.attempts(), default=None)
        path = self._attempt(last) / "failure.json" if last is not None else None
        try:
            return read_object(path) if path and path.exists() else None
        except Damaged as error:
            return {"kind": "unknown", "message": f"failed for a reason that is lost: {error}"}

    def claimant(self) -> dict[str, Any]:
        """The host, process (pid) and time of the last attempt, as far as its `claim.json` tells."""
        last = max(self.attempts(), default=None)
        try:
            return read_object(self._attempt(last) / "claim.json") if last is not None else {}
        except (FileNotFoundError, Damaged):
            return {}

    def held_by(self) -> str:
        """Who trains a run whose lock is taken, since when, and what helps where that process hangs."""
        claim = self.claimant()
        try:
            since = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(claim["time"]))
            return f"being trained by process {claim['pid']} on {claim['host']} since {since}; if that hangs, end it"
        except (KeyError, TypeError):
            return "being trained by another process"

    def cancel(self) -> None:
        """Ask whoever trains the run, or would, to leave it; `uncancel` takes that back."""
        self.path.mkdir(parents=True, exist_ok=True)
        (self.path / "cancelled").touch()

    def uncancel(self) -> None:
        """Let the run be trained again."""
        (self.path / "cancelled").unlink(missing_ok=True)

    def is_cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return (self.path / "cancelled").exists()

    @contextmanager
    def claim(self) -> Iterator[Path]:
        """Hold the run for one attempt and give the attempt's folder; Busy where another process holds it.

        The lock belongs to the process, so that the kernel frees it however the process ends.
        """
        with open(self.path / "lock", "a", opener=locks.open_at_once) as lock:
            if lease.is_held_elsewhere(self.lease_path) or not take_lock(lock):
                raise Busy(f"run {self.run_id} is {self.held_by()}")
            attempt = self._attempt(max(self.attempts(), default=0) + 1)
            attempt.mkdir(parents=True)
            write_json(attempt / "claim.json", {"host": socket.gethostname(), "pid": os.getpid(), "time": time.time()})
            self.ledger.close_torn_tail()
            self._set_aside_damage()
            yield attempt

    @contextmanager
    def beating(self, is_alive: Callable[[], bool]) -> Iterator[threading.Event]:
        """Show other machines that a claimed run is trained; the event says that it shall be no more."""
        with lease.held(self.lease_path, is_alive, self.is_cancelled) as unwanted:
            yield unwanted

    def commit(self, record: Record) -> bool:
        """Make the run finished; False where an earlier attempt already did, whose record stays."""
        plain = json.loads(json.dumps(record))  # what a reader will see: its keys are texts, its tuples lists
        temporary = self.record_path.with_name(f".record.{os.getpid()}")
        write_synced(temporary, json_bytes({**plain, DIGEST: digest(plain, 64, allow_nan=True)}))
        try:
            os.link(temporary, self.record_path)
        except FileExistsError:
            return False
        finally:
            temporary.unlink()
        sync_folder(self.path)
        return True

    def clean(self) -> None:
        """Remove what only an unfinished run needs: checkpoints, all weights but the kept ones, temporary files.

        The process that finishes a run does so; where it was killed before, the next driver that looks at the run.
        """
        paths = list(self.path.iterdir())
        left_over = (".best-", ".record.", ".run.json.", ".outputs.npz.", ".lease.", "cancelled")
        spare = [path for path in paths if path.name.startswith(left_over)]
        weights = [path for path in paths if path.match("best-*")]
        if len(weights) > 2:  # the kept ones and their sum
            kept = (self.record() or {}).get("weights")
            spare += [path for path in weights if kept and path.stem != Path(kept).stem]
        for path in spare:
            path.unlink(missing_ok=True)
        if (self.path / "checkpoints").is_dir():  # of a pipe rmtree waits for a writer
            shutil.rmtree(self.path / "checkpoints")

    def _set_aside_damage(self) -> None:
        """Rename a record that does not verify, so that the run can be trained again and nothing is lost."""
        if not os.path.lexists(self.record_path) or self.is_finished():
            return
        number = 1
        while (aside := self.path / f"record.damaged-{number}.json").exists():
            number += 1
        os.rename(self.record_path, aside)
        self.ledger.append("event", event="damaged_record", set_aside=aside.name)

    def _read_own(self, path: Path) -> dict[str, Any]:
        """The object of a JSON file; Damaged where it is that of another run, as a copy among run folders leaves it."""
        found = read_object(path)
        named = found.get("run_id", self.run_id)
        if named != self.run_id and is_run_id(self.run_id):
            raise Damaged(f"{path}: is damaged (it is that of run {named})")
        return found

    def _attempt(self, number: int) -> Path:
        return self.path / "attempts" / str(number)


def take_lock(file: IO[str]) -> bool:
    """Take the lock of a store's file, or say that another process holds it; UserError where locks are not known."""
    try:
        return locks.take_soon(file)
    except locks.NoLocks as error:
        raise UserError(f"{Path(file.name).parent}: {error.strerror}; put --results on one that has them") from None


@functools.cache
def _verifies(folder: RunFolder, mtime_ns: int, ctime_ns: int, size: int) -> bool:
    try:
        return folder.record() is not None
    except Damaged:
        return False

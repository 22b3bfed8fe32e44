"""How do all missing runs get done? A stateless driver: it reads the store, submits, retries, and can be killed."""

from __future__ import annotations

import fcntl
import os
import sys
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.store import Damaged, RunFolder
from ablation_suite.core.scheduling.attempt import BAD_CONFIG, BAD_DATA, DONE, PREEMPTED
from ablation_suite.core.scheduling.executors import Event, Executor

MAX_TRIES = 3
BACK_OFF_SECONDS = 1.0
POLL_SECONDS = 0.5
Jobs = dict[str, dict[str, Any]]


class Reporter(Protocol):
    """Is told how the grid goes."""

    def begin(self, jobs: Jobs, num_finished: int, num_workers: int) -> None: ...

    def news(self, event: Event) -> None: ...

    def ended(self, folder: RunFolder, failure: str | None) -> None: ...


class DriverBusy(UserError):
    """Another driver works in this results folder."""


@dataclass(kw_only=True)
class Outcome:
    """What a drive came to: run ids, and for failed ones the reason."""

    finished: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)
    reused: int = 0

    def add(self, later: Outcome) -> None:
        """Take in a later drive of the same runs and more; what it found finished this one trained or found so."""
        self.reused += later.reused - self.reused - len(self.finished)
        self.finished += later.finished
        self.failed |= later.failed


def drive(jobs: Jobs, runtime: Runtime, executor: Executor, reporter: Reporter, *, join: bool = False) -> Outcome:
    """Train every job that has no record, through the executor; failures are tried again, and the others go on.

    Raises DriverBusy where another driver holds the results folder and `join` is false.
    """
    for name, job in jobs.items():
        _mend(RunFolder(runtime.store / name), job)
    todo = {name: job for name, job in jobs.items() if not RunFolder(runtime.store / name).is_finished()}
    outcome = Outcome(reused=len(jobs) - len(todo))
    if not todo:
        return outcome
    with _sole_driver(Path(runtime.results), join):
        reporter.begin(todo, outcome.reused, min(len(todo), executor.capacity()))
        _Grid(todo, runtime, reporter, executor, outcome).run()
    return outcome


def _mend(folder: RunFolder, job: dict[str, Any]) -> None:
    """Tell of a damaged record, which the next attempt sets aside, and do what a killed process left undone."""
    if folder.is_finished():
        if not folder.has_job():
            folder.create(job)
        with suppress(OSError):  # somebody else's results
            if not folder.is_locked():
                folder.clean()
        return
    try:
        folder.record()
    except Damaged as error:
        print(f"run {folder.run_id}: {error}; it is set aside and the run is trained again", file=sys.stderr)


class _Grid:
    """The runs that wait, the runs under way, and how often each was tried."""

    def __init__(self, jobs: Jobs, runtime: Runtime, reporter: Reporter, executor: Executor, outcome: Outcome):
        self.jobs, self.runtime, self.reporter, self.executor, self.outcome = jobs, runtime, reporter, executor, outcome
        self.waiting = deque((0.0, name) for name in jobs)
        self.running: set[str] = set()
        self.tries = dict.fromkeys(jobs, 0)

    def run(self) -> None:
        while self.waiting or self.running:
            self._submit()
            if self.running:
                for event in self.executor.poll(POLL_SECONDS):
                    self._hear(event)
            else:
                time.sleep(POLL_SECONDS)

    def _submit(self) -> None:
        for _ in range(len(self.waiting)):
            if len(self.running) >= self.executor.capacity():
                return
            not_before, name = self.waiting.popleft()
            if time.monotonic() < not_before:
                self.waiting.append((not_before, name))
                continue
            folder = RunFolder(self.runtime.store / name)
            folder.create(self.jobs[name])
            self.running.add(name)
            self.executor.submit(folder.path)

    def _hear(self, event: Event) -> None:
        if event.exit_status is None:
            self.reporter.news(event)
            return
        self.running.discard(event.run_id)
        folder = RunFolder(self.runtime.store / event.run_id)
        if folder.is_finished():
            self.outcome.finished.append(event.run_id)
            self.reporter.ended(folder, None)
        elif event.exit_status == PREEMPTED:
            self.waiting.append((time.monotonic() + BACK_OFF_SECONDS, event.run_id))
        else:
            self._failed(folder, event)

    def _failed(self, folder: RunFolder, event: Event) -> None:
        self.tries[event.run_id] += 1
        tries = self.tries[event.run_id]
        if event.exit_status not in (DONE, BAD_DATA, BAD_CONFIG) and tries < MAX_TRIES:
            self.waiting.append((time.monotonic() + BACK_OFF_SECONDS * 4 ** (tries - 1), event.run_id))
            return
        failure = folder.failure() or {}
        reason = event.message or failure.get("message") or "the worker ended without a result"
        self.outcome.failed[event.run_id] = reason
        self.reporter.ended(folder, reason)


@contextmanager
def _sole_driver(results: Path, join: bool) -> Iterator[None]:
    results.mkdir(parents=True, exist_ok=True)
    with open(results / "driver.lock", "a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
        except BlockingIOError:
            if not join:
                lock.seek(0)
                message = f"another driver (process {lock.read().strip()}) works in {results}; --join helps it"
                raise DriverBusy(message) from None
        yield

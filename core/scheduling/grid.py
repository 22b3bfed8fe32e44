"""How is a fixed list of runs done? By one driver, each run once, the longest first so that all end together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder, take_lock
from ablation_suite.core.runs.shape import Job
from ablation_suite.core.scheduling.executors import Event, Executor
from ablation_suite.core.scheduling.pace import kind_of
from ablation_suite.core.scheduling.scheduler import Jobs, Scheduler, mend


class Reporter(Protocol):
    """Is told how the grid goes."""

    def begin(self, jobs: Jobs, num_finished: int, num_workers: int) -> None: ...

    def news(self, event: Event) -> None: ...

    def ended(self, folder: RunFolder, failure: str | None, *, here: bool = True) -> None: ...

    def line(self, text: str) -> None: ...


class DriverBusy(UserError):
    """Another driver works in this results folder."""


@dataclass(kw_only=True)
class Outcome:
    """What a drive came to: run ids, and for failed ones the reason."""

    finished: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)
    """Missing at first, and finished by another driver."""
    failed: dict[str, str] = field(default_factory=dict)
    reused: int = 0

    def add(self, later: Outcome) -> None:
        """Take in a later drive of the same runs and more; what it found finished this one trained or found so."""
        self.reused += later.reused - self.reused - len(self.finished) - len(self.elsewhere)
        self.finished += later.finished
        self.elsewhere += later.elsewhere
        self.failed |= later.failed


def drive(jobs: Jobs, runtime: Runtime, executor: Executor, reporter: Reporter, *, join: bool = False) -> Outcome:
    """Train every job that has no record, through the executor; failures are tried again, and the others go on.

    Raises DriverBusy where another driver holds the results folder and `join` is false.
    """
    todo = {name: job for name, job in jobs.items() if not RunFolder(runtime.store / name).is_finished()}
    for name in jobs.keys() - todo.keys():
        mend(RunFolder(runtime.store / name), jobs[name], reporter.line)
    for name in todo:
        RunFolder(runtime.store / name).uncancel()  # it is asked for again
    outcome = Outcome(reused=len(jobs) - len(todo))
    if not todo:
        return outcome
    with _sole_driver(Path(runtime.results), join):
        reporter.begin(todo, outcome.reused, min(len(todo), executor.capacity()))
        grid = _Grid(todo, reporter, outcome, as_planned=runtime.executor == "slurm")  # which packs neighbours
        Scheduler(runtime, executor, grid).run()
    return outcome


class _Grid:
    """The strategy of a fixed list: every run of it, whatever becomes of the others."""

    def __init__(self, todo: Jobs, reporter: Reporter, outcome: Outcome, *, as_planned: bool):
        self.todo, self.reporter, self.outcome = dict(todo), reporter, outcome
        self.as_planned = as_planned
        self.kinds = {name: kind_of(job) for name, job in todo.items()}
        self.seconds: dict[str, float] = {}
        """Kind of run -> how long the first one of it took that has ended."""
        self.turns = self._turns()

    def wanted(self, capacity: int) -> list[Job] | None:
        names = self.todo if self.as_planned or capacity == 1 else self.turns
        return [self.todo[name] for name in names] or None

    def _turns(self) -> list[str]:
        """One run of each kind first, so that it is soon known how long each takes; then the longest first.

        So no worker is left alone with a long one at the end, while the others have nothing to do.
        """
        unknown = {self.kinds[name]: name for name in reversed(self.todo) if self.kinds[name] not in self.seconds}
        first = set(unknown.values())
        return sorted(self.todo, key=lambda name: (name not in first, -self.seconds.get(self.kinds[name], 0.0)))

    def progress(self, event: Event) -> None:
        self.reporter.news(event)

    def finished(self, folder: RunFolder, *, here: bool) -> None:
        self._drop(folder.run_id)
        if (kind := self.kinds[folder.run_id]) not in self.seconds:
            self.seconds[kind] = (folder.record() or {}).get("cost", {}).get("seconds", 0.0)
            self.turns = self._turns()
        (self.outcome.finished if here else self.outcome.elsewhere).append(folder.run_id)
        self.reporter.ended(folder, None, here=here)

    def failed(self, folder: RunFolder, reason: str) -> None:
        self._drop(folder.run_id)
        self.outcome.failed[folder.run_id] = reason
        self.reporter.ended(folder, reason)

    def told(self, line: str) -> None:
        self.reporter.line(line)

    def _drop(self, name: str) -> None:
        del self.todo[name]
        self.turns.remove(name)


@contextmanager
def _sole_driver(results: Path, join: bool) -> Iterator[None]:
    results.mkdir(parents=True, exist_ok=True)
    with open(results / "driver.lock", "a+") as lock:
        if take_lock(lock):
            lock.truncate(0)
            lock.write(str(os.getpid()))
            lock.flush()
        elif not join:
            lock.seek(0)
            raise DriverBusy(f"another driver (process {lock.read().strip()}) works in {results}; --join helps it")
        yield

"""How do runs get done? One stateless scheduler: it submits, polls, tries again and cancels, and can be killed."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Job
from ablation_suite.core.scheduling.executors import Event, Executor, Retry
from ablation_suite.core.scheduling.known_rows import KnownRows
from ablation_suite.core.scheduling.watch import note_rows

MAX_TRIES = 3
BACK_OFF_SECONDS = 1.0
POLL_SECONDS = 0.25
NOTED_AT_ONCE = 50
"""So many runs that finished are read in a row, so that the first `status` of many need not."""
CANCELLED = "cancelled; it goes on where it stopped when it is asked for again"
Jobs = dict[str, Job]


class Strategy(Protocol):
    """Says which runs should be done, and is told what became of them."""

    def wanted(self, capacity: int) -> list[Job] | None:
        """The runs to be done now, the most urgent first; None where none will come any more.

        Asked before every look at the executor, which has this capacity. It lists a run until it was told its end; a
        run that is under way and no longer listed is cancelled.
        """
        ...

    def progress(self, event: Event) -> None:
        """A run is under way."""
        ...

    def finished(self, folder: RunFolder, *, here: bool) -> None:
        """A run has its record; not `here` where another scheduler had it trained."""
        ...

    def failed(self, folder: RunFolder, reason: str) -> None:
        """A run failed, and trying again would not help."""
        ...

    def told(self, line: str) -> None:
        """Something that people should know."""
        ...


class Scheduler:
    """Brings the runs that a strategy wants to their records, through an executor."""

    def __init__(self, runtime: Runtime, executor: Executor, strategy: Strategy):
        self.runtime, self.executor, self.strategy = runtime, executor, strategy
        self.running: set[str] = set()
        self.cancelled: set[str] = set()
        """Those under way that were asked to stop."""
        self.tries: dict[str, _Tries] = {}
        self.adopted: set[str] = set()
        """Those that an earlier driver left under way in the executor."""
        self.unnoted: list[RunFolder] = []
        """Finished in this drive, and not read yet for the looks that follow."""

    def run(self) -> None:
        """Work until nothing is wanted any more and the last run under way has ended."""
        try:
            self._work()
        finally:
            self._note(len(self.unnoted))

    def _work(self) -> None:
        self.adopted = self.executor.adopt()
        while (wanted := self.strategy.wanted(self.executor.capacity())) is not None or self.running:
            jobs = {job["run_id"]: job for job in wanted or ()}
            self._cancel_all_but(jobs)
            has_news = self._submit(jobs)
            if self.running:
                for event in self.executor.poll(0.0 if has_news else POLL_SECONDS):
                    self._hear(event)
            elif not has_news:
                time.sleep(POLL_SECONDS)

    def _cancel_all_but(self, jobs: Jobs) -> None:
        for name in self.running - jobs.keys() - self.cancelled:
            self.cancelled.add(name)
            self.executor.cancel(name)
        for name in self.tries.keys() - jobs.keys() - self.running:
            del self.tries[name]  # wanted again, it begins anew

    def _submit(self, jobs: Jobs) -> bool:
        """Begin runs while there is room for them, and say whether some turned out to be finished or cancelled."""
        has_news, room = False, self.executor.room()
        for name, job in jobs.items():
            if len(self.running) >= room:
                break
            if name in self.running or (name in self.tries and time.monotonic() < self.tries[name].not_before):
                continue
            folder = RunFolder(self.runtime.store / name)
            if name not in self.tries:
                mend(folder, job, self.strategy.told)
            if folder.is_finished():
                self._finished(folder, here=False)
                has_news = True
                continue
            if folder.is_cancelled():
                self.strategy.failed(folder, CANCELLED)
                has_news = True
                continue
            folder.create(job)
            if name not in self.tries:
                self.tries[name] = _Tries(folder)
            if name not in self.adopted and self._is_held(folder):
                continue
            self.adopted.discard(name)
            self.running.add(name)
            self.executor.submit(folder.path)
        return has_news

    def _is_held(self, folder: RunFolder) -> bool:
        """Whether a process that is not ours has the run, which is told once; it is looked at again in a while."""
        if not folder.is_locked():
            return False
        tries = self.tries[folder.run_id]
        tries.not_before = time.monotonic() + BACK_OFF_SECONDS
        if not tries.told_busy:
            tries.told_busy = True
            self.strategy.told(f"run {folder.run_id} waits: it is {folder.held_by()}")
        return True

    def _hear(self, event: Event) -> None:
        if event.retry is None:
            if event.message:
                self.strategy.told(f"run {event.run_id}: {event.message}" if event.run_id else event.message)
            else:
                self.strategy.progress(event)
            return
        self.running.discard(event.run_id)
        tries = self.tries.pop(event.run_id)
        folder = RunFolder(self.runtime.store / event.run_id)
        if event.run_id in self.cancelled:
            self.cancelled.discard(event.run_id)  # it ended because we asked, which is no try
        elif folder.is_finished():
            self._finished(folder, here=event.retry != "free" and _has_trained(folder))
        elif folder.is_cancelled():
            self.strategy.failed(folder, CANCELLED)
        elif tries.has_another(event.retry):
            self.tries[event.run_id] = tries
        else:
            failure = folder.failure() or {}
            idle = f"preempted {MAX_TRIES} times in a row, without an epoch or a checkpoint between"
            unexplained = idle if event.retry == "free" else "the worker ended without a result"
            self.strategy.failed(folder, event.message or failure.get("message") or unexplained)

    def _finished(self, folder: RunFolder, *, here: bool) -> None:
        self.unnoted.append(folder)
        if len(self.unnoted) == 2 * NOTED_AT_ONCE:
            self._note(NOTED_AT_ONCE)
        self.strategy.finished(folder, here=here)

    def _note(self, number: int) -> None:
        """Read the first so many of those that finished; what finished just now may still change unseen."""
        note_rows(self.unnoted[:number], KnownRows(Path(self.runtime.cache), self.runtime.store))
        del self.unnoted[:number]


class _Tries:
    """How often a run was tried, and the one policy of when it is tried again."""

    def __init__(self, folder: RunFolder):
        self.folder = folder
        self.progress = folder.progress()
        self.num_failed = self.num_idle = 0
        self.told_busy = False
        self.not_before = 0.0

    def has_another(self, retry: Retry) -> bool:
        """Whether a run that ended so, without a record, is tried again, which is not before `not_before`."""
        if retry == "never":
            return False
        now = time.monotonic()
        if retry == "counted":
            self.num_failed += 1
            self.not_before = now + BACK_OFF_SECONDS * 4 ** (self.num_failed - 1)
            return self.num_failed < MAX_TRIES
        # Free of charge, but not for ever: a run that only ever stops is stuck. One that others train is not ours.
        before, self.progress = self.progress, self.folder.progress()
        is_idle = self.progress == before and not self.folder.is_locked()
        self.num_idle = self.num_idle + 1 if is_idle else 0
        self.not_before = now + BACK_OFF_SECONDS
        return self.num_idle < MAX_TRIES


def mend(folder: RunFolder, job: Job, tell: Callable[[str], None]) -> None:
    """Tell of a damaged record, which the next attempt sets aside, and do what a killed process left undone.

    A finished run learns who uses it now.
    """
    if folder.is_finished():
        with suppress(OSError):  # somebody else's results
            folder.create(job)
            if not folder.is_locked():
                folder.clean()
        return
    try:
        folder.record()
    except Damaged as error:
        tell(f"run {folder.run_id}: {error}; it is set aside and the run is trained again")


def _has_trained(folder: RunFolder) -> bool:
    """Whether the last attempt made the record; one that found it made no row of its start."""
    starts = [row["attempt"] for row in folder.ledger.rows() if row["kind"] == "start"]
    return max(folder.attempts(), default=0) == max(starts, default=0)

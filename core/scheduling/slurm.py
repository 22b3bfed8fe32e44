"""How are runs trained by Slurm? As tasks of job arrays, which go on without us; a new driver finds them by name."""

from __future__ import annotations

import os
import shlex
import shutil
import socket
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs import locks
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import isolation, slurm_queue
from ablation_suite.core.scheduling.attempt import PREEMPTED
from ablation_suite.core.scheduling.elsewhere import FarRun, abroad
from ablation_suite.core.scheduling.executors import Event, Retry
from ablation_suite.core.scheduling.slurm_packs import packed
from ablation_suite.core.scheduling.slurm_places import Place
from ablation_suite.core.scheduling.slurm_queue import PREFIX, Queue, Submission

LONGEST_ARRAY = 1000
"""Tasks of one submission: Slurm's own default limit is 1001."""
LOOK_SECONDS = 1.0
"""Between two looks at the folders of a few runs."""
SIGNAL = "TERM@60"
"""Slurm asks a run to save itself a minute before its time is over."""
OURS = (
    *("--array", "--job-name", "--output", "--error", "--input", "--open-mode", "--signal", "--requeue"),
    *("--no-requeue", "--wrap", "--parsable", "--test-only", "--wait", "-a", "-J", "-o", "-e", "-i", "-W"),
)
"""Options of sbatch that are set here."""


class Slurm:
    """Runs wait here until the next look, go into the queue as one array, and are over when their folders say so."""

    def __init__(self, runtime: Runtime):
        self.runtime = abroad(runtime)
        self.options = shlex.split(runtime.slurm)
        self.queue = Queue(Path(self.runtime.results))
        self.waiting: list[str] = []
        self.left: dict[str, tuple[Submission, int]] = {}
        """The place in the queue of each run that an earlier driver submitted."""
        self.under_way: dict[str, Place] = {}
        self.suspects: set[str] = set()
        """Runs that have failed, and may have killed their worker."""
        self.unsure: Submission | None = None
        """What sbatch failed to submit, or failed to say that it did."""
        self.most_tasks, self.refusal = LONGEST_ARRAY, ""
        self.not_before = self.looked_at = 0.0

    def check(self) -> None:
        """Ask Slurm, without a job, whether it would take one."""
        for word in self.options:
            ours = word if word.startswith("--") else word[:2]
            if ours.partition("=")[0] in OURS:
                raise UserError(f"--slurm '{self.runtime.slurm}': {word} is set by the suite itself; leave it out")
        for command in ("squeue", "scancel", "scontrol", "srun"):
            if shutil.which(command) is None:
                raise UserError(f"slurm: no {command} on the PATH; this machine is no node of a Slurm cluster")
        answer = slurm_queue.run("sbatch", "--test-only", *self.options, "--array=0-0", "--wrap=true")
        if answer.failed:
            raise UserError(f"slurm refuses --slurm '{self.runtime.slurm}': {answer.words}")

    def capacity(self) -> int:
        return LONGEST_ARRAY if self.runtime.jobs == "auto" else self.runtime.jobs

    def room(self) -> int:
        return max(LONGEST_ARRAY, self.capacity())

    def adopt(self) -> set[str]:
        with self._sole_submitter():
            pass  # what a killed driver's sbatch was doing is done, and seen below
        self.queue.asked_at = -slurm_queue.ASK_SECONDS
        tasks = self.queue.tasks()
        if tasks is None:
            raise UserError("slurm: squeue does not answer, so it is not known what is in the queue; try again later")
        for submission in self.queue.submissions():
            for index, names in enumerate(submission.runs()):
                task = tasks.get((submission.name, index))
                if task is not None and not task.is_over:
                    self.left |= {name: (submission, index) for name in _open_runs(submission, index, names)}
        return set(self.left)

    def submit(self, folder: Path) -> None:
        if folder.name in self.left:
            self._begin(folder.name, *self.left.pop(folder.name))
        else:
            self.waiting.append(folder.name)

    def poll(self, seconds: float) -> list[Event]:
        events = self._flush()
        interval = LOOK_SECONDS * (1.0 + len(self.under_way) / 250.0)  # a shared file system is everybody's
        if time.monotonic() - self.looked_at >= interval:
            self.looked_at = time.monotonic()
            events += self._look()
        if not events:
            time.sleep(seconds)
        return events

    def cancel(self, run_id: str) -> None:
        if run_id in self.waiting:
            self.under_way[run_id] = Place(far=self._far(run_id), submission=Submission(Path()), index=-1)
            self.waiting.remove(run_id)
        place = self.under_way.get(run_id)
        if place is None:
            return
        place.is_cancelled = True
        place.far.folder.cancel()
        task = self.queue.known.get(place.key)
        others = [each for each in self.under_way.values() if each.is_with(place) and not each.is_cancelled]
        if task is not None and task.state == "PENDING" and not others:
            slurm_queue.end([task.job])

    def close(self, detach: bool) -> None:
        self.waiting.clear()
        if not detach and self.under_way:
            keys = {each.key for each in self.under_way.values()}
            slurm_queue.end([task.job for key in keys if (task := self.queue.known.get(key)) is not None])
        self.under_way.clear()

    # Into the queue.

    def _flush(self) -> list[Event]:
        """Submit what waits, in one array; where Slurm takes no more for now, the rest goes on waiting."""
        if not self.waiting or time.monotonic() < self.not_before:
            return []
        if self.unsure is not None and not self._has_learned():
            return []
        packs = packed(self.waiting, self.suspects, self.runtime)[: self.most_tasks]
        name = f"{PREFIX}{time.strftime('%m%d-%H%M%S')}-{uuid.uuid4().hex[:6]}"
        submission = Submission(self.queue.home / name)
        submission.create(packs, {"runtime": self.runtime.model_dump(mode="json"), "command": shlex.join(sys.argv)})
        with self._sole_submitter() as lock:
            answer = slurm_queue.run("sbatch", *self._words(submission, len(packs)), pass_fds=[lock.fileno()])
        if answer.failed:
            self.unsure = submission
            self.not_before = time.monotonic() + slurm_queue.ASK_SECONDS
            # A limit on how much one may submit is met by less; any other cause may pass.
            self.most_tasks = max(1, len(packs) // 2)
            before, self.refusal = self.refusal, answer.words
            told = f"slurm takes no job now: {answer.words}; it is asked again"
            return [Event(run_id="", message=told)] if self.refusal != before else []
        self.most_tasks = min(LONGEST_ARRAY, 2 * self.most_tasks)
        self._begin_all(submission)
        return []

    def _has_learned(self) -> bool:
        """Whether it is known what became of a submission that failed; where Slurm has it, it is under way."""
        assert self.unsure is not None
        tasks = self.queue.tasks()
        if tasks is None:
            return False
        if any(name == self.unsure.name for name, _ in tasks):
            self._begin_all(self.unsure)
        else:
            shutil.rmtree(self.unsure.path)
        self.unsure = None
        return bool(self.waiting)

    def _words(self, submission: Submission, num_tasks: int) -> list[str]:
        """The command line of sbatch; the user's options come after those that they may replace."""
        side_by_side = "" if self.runtime.jobs == "auto" else f"%{self.runtime.jobs}"
        code = isolation.command("ablation_suite.core.scheduling.slurm_task", f"main({str(submission.path)!r})")
        script = submission.path / "task.sh"
        script.write_text(f"#!/bin/bash\nexec {shlex.join(code)}\n")
        return [
            f"--cpus-per-task={self.runtime.threads}",
            *self.options,
            *("--parsable", "--requeue", f"--signal={SIGNAL}", "--open-mode=append"),
            f"--job-name={submission.name}",
            f"--output={submission.path}/%a.txt",
            f"--array=0-{num_tasks - 1}{side_by_side}",
            str(script),
        ]

    @contextmanager
    def _sole_submitter(self) -> Iterator[IO[str]]:
        """A lock that sbatch inherits, so that it is held as long as it may still submit, whatever becomes of us.

        UserError names a holder that keeps it for longer than an sbatch is waited for: it hangs.
        """
        self.queue.home.mkdir(parents=True, exist_ok=True)
        deadline = time.monotonic() + 1.5 * slurm_queue.COMMAND_SECONDS
        with open(self.queue.home / "sbatch.lock", "a+") as lock:

            def heed() -> None:
                if time.monotonic() > deadline:
                    lock.seek(0)
                    raise UserError(f"slurm: {lock.read() or 'another driver'} has not come back from sbatch; end it")

            locks.take(lock, heed=heed)
            lock.truncate(0)
            lock.write(f"process {os.getpid()} on {socket.gethostname()}")
            lock.flush()
            yield lock

    def _begin_all(self, submission: Submission) -> None:
        for index, names in enumerate(submission.runs()):
            for name in names:
                if name in self.waiting:  # and was not cancelled meanwhile
                    self.waiting.remove(name)
                    self._begin(name, submission, index)

    def _begin(self, name: str, submission: Submission, index: int) -> None:
        self.under_way[name] = Place(far=self._far(name), submission=submission, index=index)

    def _far(self, name: str) -> FarRun:
        return FarRun(RunFolder(self.runtime.store / name))

    # What became of it.

    def _look(self) -> list[Event]:
        """Look at the folders of all runs, and now and then at the queue."""
        tasks = self.queue.tasks()
        said: dict[tuple[str, int], dict[str, dict[str, Any]]] = {}
        events: list[Event] = []
        for name, place in list(self.under_way.items()):
            if place.key not in said:
                said[place.key] = place.rows()
            ending = place.ending(said[place.key].get(name, {}))
            if ending is None and tasks is not None:
                ending = place.ending_in_queue(said[place.key], tasks.get(place.key))
            if ending is not None:
                events.append(self._end(name, place, *ending))
                continue
            events += place.far.news()
            words = place.far.hung_words()
            task = self.queue.known.get(place.key)
            if words and task is not None:
                slurm_queue.end([task.job], "--signal=KILL")  # its steps; the task then ends by itself
                events.append(Event(run_id=name, message=words))
        return events

    def _end(self, name: str, place: Place, retry: Retry, message: str) -> Event:
        del self.under_way[name]
        if retry == "counted":
            self.suspects.add(name)
        if place.is_cancelled:
            place.far.folder.uncancel()
        return Event(run_id=name, retry=retry, message=message)


def _open_runs(submission: Submission, index: int, names: list[str]) -> list[str]:
    """The runs of a task that it has still to train."""
    rows = submission.last_rows(index)
    return [name for name in names if rows.get(name, {}).get("status") in (None, PREEMPTED)]

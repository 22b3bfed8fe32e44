"""What of ours is in Slurm's queue? Submissions lie in folders whose names are those of their jobs; so any process can
find them again."""

from __future__ import annotations

import getpass
import json
import shutil
import subprocess
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.runs.files import write_synced
from ablation_suite.core.runs.run_folder import RunFolder

PREFIX = "ablate-"
ASK_SECONDS = 15.0
"""Between two questions to the controller, which serves the whole cluster."""
COMMAND_SECONDS = 60.0
"""A command of Slurm that takes longer is not waited for."""
OVER = (
    *("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY"),
    *("PREEMPTED", "REVOKED", "TIMEOUT"),
)
"""States in which a task is no more. In all others, known to us or not, it may still train."""
FORMAT = "%j|%K|%T|%i|%S|%r"
"""What squeue tells of a task: name, index, state, job, expected start, reason."""
MAY_COME_BACK = ("NODE_FAIL", "PREEMPTED")
"""States that a task may show for a moment before Slurm puts it into the queue again."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """One task of an array in the queue."""

    job: str
    """What Slurm calls it: 123_4."""
    name: str
    """The job's name, which is that of its submission's folder."""
    index: int
    state: str
    reason: str = ""
    start: str = ""

    @property
    def is_over(self) -> bool:
        return self.state in OVER

    @property
    def words(self) -> str:
        """Its state for people: why it waits, and until when."""
        if self.state != "PENDING":
            return f"queued: {self.state.lower()}"
        why = [] if self.reason in ("", "None") else [self.reason]
        until = [f"starts {self.start.replace('T', ' ')}"] if self.start[:1].isdigit() else []
        return f"queued: {', '.join([*why, *until])}" if why or until else "queued"


@dataclass(frozen=True)
class Submission:
    """The folder of one array: `folders.txt` (the runs of each task, a line), `job.json`, `<task>.jsonl`, logs."""

    path: Path

    @property
    def name(self) -> str:
        return self.path.name

    def create(self, runs: Iterable[Collection[str]], job: dict[str, Any]) -> None:
        """Write which runs each task has, before anything is asked of Slurm."""
        self.path.mkdir(parents=True)
        write_synced(self.path / "job.json", json.dumps(job).encode())
        write_synced(self.path / "folders.txt", "".join(f"{' '.join(each)}\n" for each in runs).encode())

    def job(self) -> dict[str, Any]:
        """The runtime and the command line that it was made with."""
        return json.loads((self.path / "job.json").read_bytes())

    def runs(self) -> list[list[str]]:
        """The ids of the runs of each task; none where a driver was killed while it wrote them."""
        try:
            return [line.split() for line in (self.path / "folders.txt").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def rows_path(self, index: int) -> Path:
        """Where a task says which run it begins, and how it ended."""
        return self.path / f"{index}.jsonl"

    def last_rows(self, index: int) -> dict[str, dict[str, Any]]:
        """What a task said last of each run; `status` is that of a worker, and None where it has begun only."""
        try:
            lines = self.rows_path(index).read_bytes().split(b"\n")[:-1]
        except FileNotFoundError:
            return {}
        rows: dict[str, dict[str, Any]] = {}
        for line in lines:
            with suppress(ValueError):  # torn where the machine went down
                row = json.loads(line)
                rows[row["run"]] = row
        return rows

    def log_path(self, index: int) -> Path:
        """What a task printed."""
        return self.path / f"{index}.txt"

    def last_words(self, index: int) -> str:
        """The last line that a task printed."""
        try:
            lines = [line for line in self.log_path(index).read_text(errors="replace").splitlines() if line.strip()]
        except FileNotFoundError:
            lines = []
        return f"it last said: {lines[-1].strip()}" if lines else "it said nothing"


class Queue:
    """Our tasks in the queue, asked for not more often than every few seconds, however many they are."""

    def __init__(self, results: Path):
        self.home = results.absolute() / "slurm"
        self.asked_at = -ASK_SECONDS
        self.known: dict[tuple[str, int], Task] = {}

    def submissions(self) -> list[Submission]:
        """All that were ever made here."""
        return [Submission(path) for path in sorted(self.home.glob(f"{PREFIX}*")) if path.is_dir()]

    def tasks(self) -> dict[tuple[str, int], Task] | None:
        """The tasks by name and index, as they were at the last answer; None where there is no new one."""
        if time.monotonic() - self.asked_at < ASK_SECONDS:
            return None
        self.asked_at = time.monotonic()
        whose = f"--user={getpass.getuser()}"
        answer = run("squeue", "--noheader", "--array", whose, "--states=all", f"--format={FORMAT}")
        if answer.failed:
            return None  # a controller that is away has not forgotten anything
        tasks = [task for line in answer.output.splitlines() if (task := _task(line))]
        self.known = {(task.name, task.index): task for task in tasks}
        return self.known

    def states(self) -> dict[str, Task]:
        """The task of each run that is in the queue, to look at."""
        if not self.home.is_dir() or shutil.which("squeue") is None:
            return {}
        self.tasks()
        found: dict[str, Task] = {}
        for submission in self.submissions():
            for index, names in enumerate(submission.runs()):
                task = self.known.get((submission.name, index))
                if task is not None and not task.is_over:
                    found |= dict.fromkeys(names, task)
        return found


def cancel(runs: Collection[str], results: Path) -> list[str]:
    """Take the tasks of these runs out of the queue that have no others to train, and give what Slurm calls them."""
    queue = Queue(results)
    ours: dict[str, list[str]] = {}
    for name, task in queue.states().items():
        ours.setdefault(task.job, []).append(name)
    store = results / "runs"
    jobs = [
        job
        for job, names in ours.items()
        if any(name in runs for name in names)
        and all(name in runs or RunFolder(store / name).is_finished() for name in names)
    ]
    end(jobs)
    return jobs


def end(jobs: Collection[str], *words: str) -> None:
    """`scancel` tasks, with options; those that are gone by then are left alone."""
    if jobs:
        run("scancel", "--quiet", *words, *jobs)


@dataclass(frozen=True, kw_only=True)
class CommandResult:
    """What a command of Slurm came to."""

    status: int
    output: str
    errors: str

    @property
    def failed(self) -> bool:
        return self.status != 0

    @property
    def words(self) -> str:
        """Its last error in one line, without the name of the command."""
        lines = [line.strip() for line in self.errors.splitlines() if line.strip()]
        told = [line.partition("error: ")[2] or line for line in lines]
        return told[-1] if told else f"exit status {self.status}"


def run(command: str, *words: str, **options: Any) -> CommandResult:
    """Run one of Slurm's commands; a controller that does not answer in time is a failure like another."""
    try:
        done = subprocess.run(
            [command, *words], capture_output=True, text=True, errors="replace", timeout=COMMAND_SECONDS, **options
        )
    except subprocess.TimeoutExpired:
        return CommandResult(status=124, output="", errors=f"{command} has not answered for {COMMAND_SECONDS:.0f} s")
    except FileNotFoundError:
        raise UserError(f"slurm: no {command} on the PATH; this machine is no node of a Slurm cluster") from None
    return CommandResult(status=done.returncode, output=done.stdout, errors=done.stderr)


def _task(line: str) -> Task | None:
    name, index, state, job, start, reason = [*line.strip().split("|", 5), *[""] * 6][:6]
    if not name.startswith(PREFIX) or not index.isdecimal():
        return None
    return Task(job=job, name=name, index=int(index), state=state, reason=reason, start=start)

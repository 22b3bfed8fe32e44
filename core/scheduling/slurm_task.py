"""What happens inside a task of Slurm? The batch script runs its worker as a step, and asks for more time only near
the limit; the worker trains the runs of the task, one after the other, and says how each ended."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.lease import STALE_SECONDS
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import isolation, slurm_queue
from ablation_suite.core.scheduling.attempt import PREEMPTED, Datasets, work
from ablation_suite.core.scheduling.slurm_queue import Submission
from ablation_suite.core.scheduling.worker import printing_to, stop_flag

LONGEST_GRACE_SECONDS, PREEMPTION_LOOK_SECONDS = 900.0, 2.0
"""How long a task waits for Slurm to preempt it, and how often it looks whether that is still meant."""
NEAR_THE_LIMIT_SECONDS = 120.0
"""A worker that stops with less than this left was stopped by the time limit."""
TAKEOVER_SECONDS = 1.5 * STALE_SECONDS
"""How long a run that another node seems to hold is waited for: that node may be dead."""


def main(home: str) -> int:
    """The batch script: one worker, under srun, which is what Slurm's signals reach."""
    signal.signal(signal.SIGTERM, lambda *_: None)  # the worker saves the run; this process waits for it
    submission, index = Submission(Path(home)), int(os.environ["SLURM_ARRAY_TASK_ID"])
    job = submission.job()
    threads = str(job["runtime"]["threads"])
    environment = isolation.environment(
        ABLATE_COMMAND=job["command"],
        OMP_NUM_THREADS=threads,
        MKL_NUM_THREADS=threads,
        # From Slurm 22.05 on a step takes no more over from its job how many cores it has.
        SRUN_CPUS_PER_TASK=os.environ.get("SLURM_CPUS_PER_TASK", threads),
    )
    worker = isolation.command("ablation_suite.core.scheduling.slurm_task", f"train({home!r}, {index})")
    status = subprocess.run(["srun", "--ntasks=1", *worker], env=environment, check=False).returncode
    if status == PREEMPTED:
        _come_back(os.environ["SLURM_JOB_ID"], has_got_on=_has_got_on(submission, index))
    return status


def _come_back(job: str, *, has_got_on: bool) -> None:
    """Let a task whose worker has saved itself be put into the queue again, unless somebody cancelled it.

    A job in the grace time of a preemption is requeued by Slurm, but only where it has not ended by itself.
    """
    facts = _facts(job)
    if facts.get("JobState") != "RUNNING":
        return
    deadline = time.monotonic() + LONGEST_GRACE_SECONDS
    while facts.get("PreemptTime", "None") != "None" and time.monotonic() < deadline:
        time.sleep(PREEMPTION_LOOK_SECONDS)
        facts = _facts(job)
    if has_got_on and facts.get("JobState") == "RUNNING" and _seconds_left(facts) < NEAR_THE_LIMIT_SECONDS:
        slurm_queue.run("scontrol", "requeue", job)


def train(home: str, index: int) -> int:
    """The worker: bring each run of the task to its record; status 75 where it was stopped before the last."""
    submission = Submission(Path(home))
    runtime = Runtime.model_validate_json(json.dumps(submission.job()["runtime"]))
    runtime = runtime.model_copy(update={"jobs": 1})  # it has its device for itself, whatever else is queued
    stopping, datasets = stop_flag(), Datasets()
    ended = {run for run, row in submission.last_rows(index).items() if row["status"] not in (None, PREEMPTED)}
    with open(submission.rows_path(index), "a") as rows:

        def say(run: str, status: int | None, **more: Any) -> None:
            rows.write(json.dumps({"run": run, "status": status, **more}) + "\n")
            rows.flush()
            os.fsync(rows.fileno())

        for run in submission.runs()[index]:
            folder = RunFolder(runtime.store / run)
            if run in ended or folder.is_finished():
                continue
            if folder.is_cancelled():
                say(run, PREEMPTED)
                continue
            _wait_for(folder, stopping)
            if stopping.is_set():
                break
            before = folder.progress()
            say(run, None)
            with printing_to(folder.path / "log.txt"):
                status = work(folder, runtime, datasets, stop=stopping.is_set)
            say(run, status, has_got_on=folder.progress() != before)
            if stopping.is_set():
                break
    return PREEMPTED if stopping.is_set() else 0


def _wait_for(folder: RunFolder, stopping: threading.Event) -> None:
    """Give the process of another node, which a dead node's lease looks like, the time to show that it lives."""
    deadline = time.monotonic() + TAKEOVER_SECONDS
    while folder.is_locked() and time.monotonic() < deadline and not stopping.wait(1.0):
        pass


def _has_got_on(submission: Submission, index: int) -> bool:
    """Whether a run was nearer to its end when the task stopped than when it began; else more time would not help."""
    return any(row.get("has_got_on") for row in submission.last_rows(index).values())


def _facts(job: str) -> dict[str, str]:
    """What the controller knows of a job; nothing where it does not answer."""
    answer = slurm_queue.run("scontrol", "--oneliner", "show", "job", job)
    return {} if answer.failed else dict(word.partition("=")[::2] for word in answer.output.split())


def _seconds_left(facts: dict[str, str]) -> float:
    """Until the time limit; endless where there is none."""
    try:
        return time.mktime(time.strptime(facts["EndTime"], "%Y-%m-%dT%H:%M:%S")) - time.time()
    except (KeyError, ValueError):
        return math.inf

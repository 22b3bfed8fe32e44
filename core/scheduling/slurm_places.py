"""Where in Slurm's queue is a run, and how did it end? Its folder says so first, then what became of its task."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ablation_suite.core.scheduling.attempt import DONE, PREEMPTED, retry_after
from ablation_suite.core.scheduling.elsewhere import FarRun
from ablation_suite.core.scheduling.executors import Retry
from ablation_suite.core.scheduling.slurm_queue import MAY_COME_BACK, Submission, Task

LATE_SECONDS = 120.0
"""How long a record may take to be seen here, after its task said that it is written."""
Ending = tuple[Retry, str]
"""Whether the run is tried again, and what is told of it."""


@dataclass(kw_only=True)
class Place:
    """The task of one run; an index below zero is that of a run that was cancelled before it had any."""

    far: FarRun
    submission: Submission
    index: int
    is_cancelled: bool = False
    num_looks_over: int = 0
    """Answers of the queue in a row by which its task was no more."""
    heard_at: float | None = None

    @property
    def key(self) -> tuple[str, int]:
        """By which the queue knows the task."""
        return self.submission.name, self.index

    def is_with(self, other: Place) -> bool:
        """Whether both runs share a task."""
        return self.submission == other.submission and self.index == other.index

    def rows(self) -> dict[str, dict[str, Any]]:
        """What the task said last of each of its runs."""
        return self.submission.last_rows(self.index) if self.index >= 0 else {}

    def ending(self, row: Mapping[str, Any]) -> Ending | None:
        """How the run ended by its folder and by what its task said last of it, `row`.

        None where it goes on, preempted ones included: Slurm may bring them back.
        """
        status = row.get("status")
        if self.far.folder.record_path.exists():
            return "never", ""
        if self.index < 0:
            return "free", ""
        if status == PREEMPTED:
            return ("free", "") if self.is_cancelled else None
        if status == DONE and time.monotonic() - self._first_heard() < LATE_SECONDS:
            return None
        return None if status is None else (retry_after(status), "")

    def ending_in_queue(self, rows: Mapping[str, Mapping[str, Any]], task: Task | None) -> Ending | None:
        """How a run without an end ended with its task; None where the task goes on, or may come back."""
        if task is not None and not task.is_over:
            self.num_looks_over = 0
            return None
        self.num_looks_over += 1
        if (task is None or task.state in MAY_COME_BACK) and self.num_looks_over < 2:
            return None
        row = rows.get(self.far.folder.run_id, {})
        state = task.state if task is not None else "gone"
        where = f"its Slurm job {task.job if task else self.submission.name}"
        if state == "CANCELLED":
            return ("free", "") if self.is_cancelled else ("never", f"{where} was cancelled")
        if state == "DEADLINE":
            return "never", f"{where} could not end before its deadline"
        if row.get("status") == DONE:
            return None
        if row.get("status") == PREEMPTED or state in ("TIMEOUT", "BOOT_FAIL", *MAY_COME_BACK) or (rows and not row):
            return "free", ""
        if state == "OUT_OF_MEMORY":
            return "counted", f"{where} ran out of memory; ask for more with --slurm '... --mem=SIZE'"
        said = self.submission.last_words(self.index)
        return "counted", f"{where} ended without a result ({state.lower()}); {said}"

    def _first_heard(self) -> float:
        """When its end was first heard of."""
        self.heard_at = time.monotonic() if self.heard_at is None else self.heard_at
        return self.heard_at

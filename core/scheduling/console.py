"""How far is the grid? One line that is redrawn on a terminal, and lines that stay elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.scheduler import Jobs

QUIET_SECONDS = 15.0
"""Time between two lines where the output is no terminal."""


class Progress:
    """Runs done, the runs under way with their epochs and images/s, time left."""

    def __init__(self, out: TextIO = sys.stderr):
        self.out = out
        self.live = out.isatty()
        self.begun = self.shown = time.monotonic()
        self.jobs: Jobs = {}
        self.done = self.failed = self.reused = 0
        self.share: dict[str, float] = {}
        self.current: dict[str, Event] = {}

    def begin(self, jobs: Jobs, num_finished: int, num_workers: int) -> None:
        self.jobs, self.reused = jobs, num_finished
        workers = f"{num_workers} worker{'s' * (num_workers > 1)}"
        self._line(f"{len(jobs)} runs to train on {workers}; {num_finished} are finished already")

    def news(self, event: Event) -> None:
        epochs = self.jobs[event.run_id]["config"]["epochs"]
        self.share[event.run_id] = (event.epoch - 1 + event.step / event.num_steps) / epochs
        self.current[event.run_id] = event
        if self.live or time.monotonic() - self.shown > QUIET_SECONDS:
            self._show()

    def ended(self, folder: RunFolder, failure: str | None, *, here: bool = True) -> None:
        self.share[folder.run_id] = 1.0
        self.current.pop(folder.run_id, None)
        labels = self.jobs[folder.run_id]["labels"]
        name = f"{labels['group']}/{labels['name']}" if labels else folder.run_id
        if failure is not None:
            self.failed += 1
            self._line(f"failed    {name} ({folder.run_id}): {failure}")
            return
        self.done += 1
        if not here:
            self._line(f"{self.done + self.failed:3d}/{len(self.jobs)} {name:32.32s} trained by another driver")
            return
        record = folder.record() or {}
        accuracy, cost = record["metrics"]["val/accuracy"], record["cost"]
        self._line(
            f"{self.done + self.failed:3d}/{len(self.jobs)} {name:32.32s} val {100 * accuracy:6.2f} %  best epoch "
            f"{record['metrics']['best_epoch']}/{record['config']['epochs']}  "
            f"{cost['images_per_second']:.0f} images/s  "
            f"{cost['seconds']:.1f} s  {self._time_left()}"
        )

    def _show(self) -> None:
        self.shown = time.monotonic()
        running = "  ".join(
            f"{self.jobs[name]['labels'].get('name', name)} {event.epoch}/{self.jobs[name]['config']['epochs']}"
            for name, event in self.current.items()
        )
        text = f"{self.done + self.failed}/{len(self.jobs)} runs done  epoch: {running}  {self._time_left()}"
        if self.live:
            self.out.write(f"\r\x1b[2K{text[:150]}")
            self.out.flush()
        else:
            self._line(text)

    def _time_left(self) -> str:
        share = sum(self.share.values()) / max(1, len(self.jobs))
        if share <= 0.0:
            return ""
        left = (time.monotonic() - self.begun) * (1.0 - share) / share
        return f"about {left:.0f} s left" if left < 120 else f"about {left / 60:.0f} min left"

    def _line(self, text: str) -> None:
        self.out.write(("\r\x1b[2K" if self.live else "") + text.rstrip() + "\n")
        self.out.flush()

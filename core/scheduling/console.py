"""How far is it? The one place that draws: on a terminal bars below lines that stay, elsewhere those lines alone."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, Self, TextIO

from ablation_suite.core.config.errors import printable
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.pace import Pace

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

    from ablation_suite.core.scheduling.scheduler import Jobs

QUIET_SECONDS = 15.0
"""Time between two lines where the output is no terminal."""
DRAW_SECONDS = 0.1
"""Drawings that would follow the last one sooner are left out."""


class Bar(NamedTuple):
    """One line of a drawing; a share that is not known (None) has no bar."""

    name: str
    share: float | None
    text: str


class Display:
    """Lines that stay, and below them on a terminal (`is_live`) a drawing that changes; close it, or use `with`."""

    def __init__(self, out: TextIO | None = None, *, keep: bool = False):
        """`keep`: the last drawing stays when the display is closed."""
        self.out = out or sys.stderr
        self.live = _open_live(self.out, keep) if self.out.isatty() else None
        self.is_live = self.live is not None
        self.drawn = -DRAW_SECONDS

    def line(self, text: str) -> None:
        """Print a line that stays."""
        text = printable(text)
        if self.live is not None:
            self.live.console.print(text.rstrip(), soft_wrap=True)
        else:
            self.out.write(text.rstrip() + "\n")
            self.out.flush()

    def draw(self, picture: str | Sequence[Bar]) -> None:
        """Draw lines of text, or bars, in place of the last drawing."""
        if self.live is None or time.monotonic() - self.drawn < DRAW_SECONDS:
            return
        self.drawn = time.monotonic()
        self.live.start()
        if isinstance(picture, str):
            from rich.text import Text

            self.live.update(Text(picture, no_wrap=True, overflow="ellipsis"), refresh=True)
        else:
            self.live.update(_as_table(picture), refresh=True)

    def close(self) -> None:
        """Give the terminal back."""
        if self.live is not None:
            self.live.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class Progress(Display):
    """A grid: runs done, the runs under way with their epochs, time left."""

    def begin(self, jobs: Jobs, num_finished: int, num_workers: int) -> None:
        self.jobs = jobs
        self.told = time.monotonic()
        self.pace = Pace(jobs, num_workers)
        self.done = self.failed = 0
        self.shares: dict[str, float] = {}
        self.current: dict[str, Event] = {}
        workers = f"{num_workers} worker{'s' * (num_workers > 1)}"
        self.line(f"{len(jobs)} runs to train on {workers}; {num_finished} are finished already")

    def news(self, event: Event) -> None:
        self.shares[event.run_id] = share_done(event, self._epochs(event.run_id))
        self.pace.news(event)
        self.current[event.run_id] = event
        if self.is_live:
            self._draw()
        elif time.monotonic() - self.told > QUIET_SECONDS:
            running = (f"{self._short_name(each)} {self._epoch(each)}" for each in self.current)
            self.line(f"{self._num_ended}/{len(self.jobs)} runs done  epoch: {'  '.join(running)}  {self.pace.words()}")

    def ended(self, folder: RunFolder, failure: str | None, *, here: bool = True) -> None:
        self.shares[folder.run_id] = 1.0
        self.current.pop(folder.run_id, None)
        self.pace.ended(folder.run_id, trained=here and failure is None)
        labels = self.jobs[folder.run_id]["labels"]
        name = f"{labels['group']}/{labels['name']}" if labels else folder.run_id
        if failure is not None:
            self.failed += 1
            self.line(f"failed    {name} ({folder.run_id}): {failure}")
        elif not here:
            self.done += 1
            self.line(f"{self._num_ended:3d}/{len(self.jobs)} {name:44s} trained by another driver")
        else:
            self.done += 1
            record = folder.record() or {}
            accuracy, cost = record["metrics"]["val/accuracy"], record["cost"]
            self.line(
                f"{self._num_ended:3d}/{len(self.jobs)} {name:44s} val {100 * accuracy:6.2f} %  best epoch "
                f"{record['metrics']['best_epoch']}/{record['config']['epochs']}  "
                f"{cost['images_per_second']:.0f} images/s  "
                f"{cost['seconds']:.1f} s  {self.pace.words()}"
            )
        self._draw()

    def line(self, text: str) -> None:
        super().line(text)
        self.told = time.monotonic()

    def _draw(self) -> None:
        text = f"{self._num_ended}/{len(self.jobs)} done  {self.pace.words()}"
        whole = Bar("runs", sum(self.shares.values()) / len(self.jobs), text)
        parts = [Bar(self._short_name(each), self.shares[each], f"epoch {self._epoch(each)}") for each in self.current]
        self.draw([whole, *parts])

    @property
    def _num_ended(self) -> int:
        return self.done + self.failed

    def _short_name(self, run_id: str) -> str:
        return self.jobs[run_id]["labels"].get("name", run_id)

    def _epoch(self, run_id: str) -> str:
        return f"{self.current[run_id].epoch}/{self._epochs(run_id)}"

    def _epochs(self, run_id: str) -> int:
        return self.jobs[run_id]["config"]["epochs"]


def share_done(event: Event, num_epochs: int) -> float:
    """The part of a run that is behind it, in [0, 1]; the epoch of an event is the one under way."""
    return (event.epoch - 1 + event.step / event.num_steps) / num_epochs


def _open_live(out: TextIO, keep: bool) -> Live | None:
    """What draws on a terminal, by hand rather than by a thread; None where the terminal cannot."""
    from rich.console import Console
    from rich.live import Live

    console = Console(file=out, markup=False, highlight=False, emoji=False)
    if console.is_dumb_terminal or not console.is_terminal:
        return None
    # What others print to the error stream goes above the drawing; the output proper is left alone.
    return Live(console=console, auto_refresh=False, transient=not keep, redirect_stdout=False)


def _as_table(bars: Sequence[Bar]) -> Table:
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    table = Table.grid(padding=(0, 1))
    for overflow in ("ellipsis", "fold", "ellipsis"):
        table.add_column(no_wrap=True, overflow=overflow)
    for bar in bars:
        drawn = "" if bar.share is None else ProgressBar(total=1.0, completed=bar.share, width=30)
        table.add_row(bar.name, drawn, bar.text)
    return table

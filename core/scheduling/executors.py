"""Who trains the runs? Menu of executors: one small interface, and the run store is the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from ablation_suite.core.config.runtime import Runtime


@dataclass(frozen=True, kw_only=True)
class Event:
    """News of a run: progress (epoch, step, num_steps), or its end with the worker's exit status."""

    run_id: str
    epoch: int = 0
    step: int = 0
    num_steps: int = 0
    exit_status: int | None = None
    """None while the run goes on."""
    message: str = ""


class Executor(Protocol):
    """Trains run folders somewhere."""

    def capacity(self) -> int:
        """How many runs it takes at a time."""
        ...

    def submit(self, folder: Path) -> None:
        """Begin one run; there must be room for it."""
        ...

    def poll(self, seconds: float) -> list[Event]:
        """The news, as soon as there are any, or after this many seconds."""
        ...

    def cancel(self, run_id: str) -> None:
        """Ask one run to save and stop; its end is told like any other. A run that is not under way is left alone."""
        ...

    def close(self) -> None:
        """Ask every run to save and stop, wait a few seconds, then make it."""
        ...


def make_executor(runtime: Runtime) -> Executor:
    """The executor that `runtime.executor` names; it starts nothing before the first run is submitted."""
    if runtime.executor == "inline":
        from ablation_suite.core.scheduling.inline import Inline

        return Inline(runtime)
    from ablation_suite.core.scheduling.process import ProcessPool

    return ProcessPool(runtime)

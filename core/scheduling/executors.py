"""Who trains the runs? Menu of executors: one small interface, and the run store is the truth."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from ablation_suite.core.config.runtime import Runtime

Retry = Literal["free", "counted", "never"]
"""What becomes of a run that ended without a record: tried again free of charge, a few times, or not at all."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """News of a run: progress (epoch, step, num_steps), its end (`retry`), or a line for people (`message` alone)."""

    run_id: str
    """Empty where a message is of no run in particular."""
    epoch: int = 0
    step: int = 0
    num_steps: int = 0
    retry: Retry | None = None
    """None while the run goes on."""
    message: str = ""


class Executor(Protocol):
    """Trains run folders somewhere."""

    def check(self) -> None:
        """Look whether runs can be trained there; UserError says in one line why not."""
        ...

    def capacity(self) -> int:
        """How many runs go on side by side."""
        ...

    def room(self) -> int:
        """How many runs may be submitted and not ended; a queue holds more than go on side by side."""
        ...

    def adopt(self) -> set[str]:
        """The ids of the runs that an earlier driver left here under way; submitting one of them begins nothing."""
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

    def close(self, detach: bool) -> None:
        """Ask every run to save and stop, wait a few seconds, then make it; `detach` leaves those of a queue."""
        ...


@contextmanager
def open_executor(runtime: Runtime) -> Iterator[Executor]:
    """The executor of a command, checked; where the command is broken off, a queue keeps its runs."""
    executor = make_executor(runtime)
    try:
        executor.check()
        yield executor
    except BaseException:
        executor.close(detach=True)
        raise
    executor.close(detach=False)


def make_executor(runtime: Runtime) -> Executor:
    """The executor that `runtime.executor` names; it starts nothing before the first run is submitted."""
    if runtime.executor == "inline":
        from ablation_suite.core.scheduling.inline import Inline

        return Inline(runtime)
    if runtime.executor == "slurm":
        from ablation_suite.core.scheduling.slurm import Slurm

        return Slurm(runtime)
    if runtime.executor == "ray":
        from ablation_suite.core.scheduling.ray import Ray

        return Ray(runtime)
    from ablation_suite.core.scheduling.process import ProcessPool

    return ProcessPool(runtime)

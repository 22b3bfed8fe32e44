"""How does a driver show that it lives while it waits? By a beat from a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from ablation_suite.core.data.parallel import start_whole

HEARTBEAT_SECONDS = 15
GRACE_SECONDS = 90
"""A trial of another machine that was silent for so long is tried again by someone else."""


@contextmanager
def beating(beat: Callable[[], None], seconds: float) -> Iterator[None]:
    """Call `beat` every so many seconds; one that fails is left to the driver, which will meet the same trouble."""
    stop = threading.Event()

    def live() -> None:
        while not stop.wait(seconds):
            with suppress(Exception):
                beat()

    thread = threading.Thread(target=live, daemon=True)
    start_whole(thread)
    try:
        yield
    finally:
        stop.set()
        thread.join(1.0)

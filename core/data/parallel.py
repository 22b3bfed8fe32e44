"""How is one thing done for every image, on all cores and in sight? By threads: PIL and hashing free the GIL."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from queue import Empty, SimpleQueue
from typing import TypeVar

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (done, total) from time to time, and at the end."""

CHUNK = 32
"""The most images per task: few enough for a smooth bar, enough that tasks cost nothing."""
LOOK_SECONDS = 0.25
LEAVE_SECONDS = 2.0
"""How long a thread may take to end its image where all else is broken off; one that hangs is left behind."""

_stop: ContextVar[Callable[[], bool]] = ContextVar("stop", default=lambda: False)


class Stopped(Exception):
    """The process was asked to stop while it waited."""


@contextmanager
def stopping_when(stop: Callable[[], bool]) -> Iterator[None]:
    """Let the waits inside raise Stopped soon after `stop` says so, for a process whose signals only set a flag."""
    token = _stop.set(stop)
    try:
        yield
    finally:
        _stop.reset(token)


def heed() -> None:
    """Raise Stopped where the process was asked to stop; asked every LOOK_SECONDS by whoever waits."""
    if _stop.get()():
        raise Stopped("stopped while the data were made ready")


def each(work: Callable[[int], Result], count: int, progress: Progress | None = None) -> list[Result]:
    """The results of work(0) to work(count - 1), in order; the first exception stops what has not started.

    Threads also work inside daemonic worker processes, which may not have children, and share one page cache. A read
    that hangs, on a file server that is gone, keeps nobody from leaving.
    """
    chunk = max(1, min(CHUNK, count // (4 * cores())))
    starts = SimpleQueue[int]()
    for start in range(0, count, chunk):
        starts.put(start)
    results: dict[int, Result] = {}
    news = SimpleQueue[int | BaseException]()
    over = threading.Event()

    def run() -> None:
        with suppress(Empty):
            while True:
                at = starts.get_nowait()
                for index in range(at, min(at + chunk, count)):
                    if over.is_set():
                        return
                    try:
                        results[index] = work(index)
                    except BaseException as error:
                        news.put(error)
                        return
                news.put(min(chunk, count - at))

    threads = [threading.Thread(target=run, daemon=True) for _ in range(min(starts.qsize(), cores()))]
    try:
        start_whole(*threads)
        _follow(news, count, progress)
    finally:
        over.set()
        deadline = time.monotonic() + LEAVE_SECONDS
        for thread in threads:
            if thread.is_alive():  # a signal may have come while they were started
                thread.join(max(0.0, deadline - time.monotonic()))
    return [results[index] for index in range(count)]


def start_whole(*threads: threading.Thread) -> None:
    """Start threads, and let no SIGTERM and no Ctrl-C, whose handlers may raise, come in the middle of it.

    `Thread.start` waits with a lock, and what is raised there would become an error of that lock.
    """
    seen: list[int] = []
    kinds = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    known = [kind for kind in kinds if signal.getsignal(kind) is not None]  # else it is not Python's
    before = {kind: signal.signal(kind, lambda number, _: seen.append(number)) for kind in known}
    try:
        for thread in threads:
            thread.start()
    finally:
        for kind, handler in before.items():
            signal.signal(kind, handler)
        for number in seen:
            signal.raise_signal(number)


def _follow(news: SimpleQueue[int | BaseException], count: int, progress: Progress | None) -> None:
    """Hear of all that is done; the first exception is raised."""
    done = 0
    while done < count:
        try:
            told = news.get(timeout=LOOK_SECONDS)
        except Empty:
            told = 0
        if isinstance(told, BaseException):
            raise told
        done += told
        if progress and told:
            progress(done, count)
        heed()


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def bar(title: str) -> Progress | None:
    """A progress callback that keeps one line on stderr, or None where stderr is no terminal."""
    if not sys.stderr.isatty():
        return None
    started = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last < 0.1 and done < total:
            return
        last = now
        rate = done / max(now - started, 1e-9)
        left = (total - done) / max(rate, 1e-9)
        line = f"{title}: {done:,} of {total:,} images, {rate:,.0f} images/s, {left:.0f} s left"
        sys.stderr.write(f"\r{line}\033[K" + ("\n" if done == total else ""))
        sys.stderr.flush()

    return show

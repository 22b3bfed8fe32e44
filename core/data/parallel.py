"""How is one thing done for every image, on all cores and in sight? By threads: PIL and hashing free the GIL."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import TypeVar

Result = TypeVar("Result")
Progress = Callable[[int, int], None]
"""Called with (done, total) from time to time, and at the end."""

CHUNK = 32
"""The most images per task: few enough for a smooth bar, enough that tasks cost nothing."""


def each(work: Callable[[int], Result], count: int, progress: Progress | None = None) -> list[Result]:
    """The results of work(0) to work(count - 1), in order; the first exception stops what has not started.

    Threads also work inside daemonic worker processes, which may not have children, and share one page cache.
    """
    chunk = max(1, min(CHUNK, count // (4 * cores())))
    starts = range(0, count, chunk)
    results: dict[int, list[Result]] = {}
    done = 0
    pool = ThreadPoolExecutor(max(1, min(len(starts), cores())))
    try:
        futures = {
            pool.submit(lambda at: [work(i) for i in range(at, min(at + chunk, count))], at): at for at in starts
        }
        for future in as_completed(futures):
            results[futures[future]] = future.result()
            done += len(results[futures[future]])
            if progress:
                progress(done, count)
    finally:
        pool.shutdown(cancel_futures=True)
    return [result for at in starts for result in results[at]]


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

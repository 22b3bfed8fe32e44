"""How are the figures of many reports drawn while their pages are written? By processes beside, which are sent them."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from queue import Queue
from threading import Thread
from types import TracebackType

from ablation_suite.core.data.parallel import cores
from ablation_suite.core.scheduling.isolation import command, environment
from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.blocks import Blocks

_WORTH_IT = 150
"""Runs of a report from which on a process of its own begins soon enough to be faster."""
_MOST = 4

Told = Analysis | Blocks
"""What the figures of a folder are about."""


class Figures:
    """Draws the figures that `add` is given into their folders, all of which are there when the context ends.

    num_runs: of all reports together; few are not worth a process. Errors: RuntimeError where a process fails.
    """

    def __init__(self, num_runs: int, num_reports: int):
        spare = cores() - 1
        wanted = min(spare, num_reports, _MOST) if num_runs >= _WORTH_IT else 0
        self._helpers = [_start() for _ in range(wanted)]
        self._num_added = 0

    def __enter__(self) -> Figures:
        return self

    def add(self, folder: Path, told: Told) -> None:
        """Draw the figures of one into a folder, now or beside."""
        if not self._helpers:
            draw_into(folder, told)
            return
        helper = self._helpers[self._num_added % len(self._helpers)]
        self._num_added += 1
        assert helper.stdin is not None
        try:
            pickle.dump((folder.absolute(), told), helper.stdin)
            helper.stdin.flush()
        except BrokenPipeError:  # told with its reason at the end
            return

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        for helper in self._helpers if kind is not None else ():
            helper.kill()
        faults = [helper.communicate()[1] for helper in self._helpers]
        failed = [fault for fault, helper in zip(faults, self._helpers, strict=True) if helper.returncode]
        if failed and kind is None:
            raise RuntimeError(f"the figures were not drawn:\n{failed[0].decode(errors='replace')}")
        for remark in dict.fromkeys(line for fault in faults for line in fault.decode(errors="replace").splitlines()):
            print(remark, file=sys.stderr)


def draw_into(folder: Path, told: Told) -> None:
    """Write every figure that there is something to draw for, in all formats."""
    from ablation_suite.reports.ablation_figures import drawings  # here: the process that writes pages does without
    from ablation_suite.reports.figures import render

    for name, content in render(drawings(told)).items():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def _start() -> subprocess.Popen[bytes]:
    words = command("ablation_suite.reports.beside", "serve()")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, env=environment(), **pipes)  # type: ignore[call-overload, no-any-return]


def serve() -> None:
    """Draw what comes on standard input until it ends; it is read at once, so that nobody waits to send."""
    tasks: Queue[tuple[Path, Told] | None] = Queue()
    Thread(target=_receive, args=(tasks,), daemon=True).start()
    while (task := tasks.get()) is not None:
        draw_into(*task)


def _receive(tasks: Queue[tuple[Path, Told] | None]) -> None:
    try:
        while True:
            tasks.put(pickle.load(sys.stdin.buffer))
    except EOFError:
        tasks.put(None)

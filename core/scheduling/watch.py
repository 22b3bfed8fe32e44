"""How far is the grid now? Read from run folders and the queue, so that runs of other processes and machines show."""

from __future__ import annotations

import json
import math
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from ablation_suite.core.config.errors import printable
from ablation_suite.core.data.parallel import cores
from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Job, Record
from ablation_suite.core.runs.store import is_run, run_names
from ablation_suite.core.scheduling import isolation
from ablation_suite.core.scheduling.console import Display
from ablation_suite.core.scheduling.known_rows import COLUMNS, KnownRows, Row, Stamp, stamp_of
from ablation_suite.core.scheduling.slurm_queue import Queue, Task

INTERVAL = 2.0
"""Seconds between two drawings."""
SILENCE = 60.0
"""Seconds, or three epochs if that is longer, for which a run of another machine may be silent and still running."""
_MANY = 2000
"""Run folders for which it pays to start processes, half a second each."""
_LONG_LOOK = 10_000
"""Run folders of which people are told that they are read."""
_ORDER = ("running", "queued", "damaged", "unreadable", "failed", "interrupted", "missing", "finished")


def grid_rows(
    store: Path, names: Iterable[str] | None = None, queue: Queue | None = None, known: KnownRows | None = None
) -> list[Row]:
    """One row per run: run_id, ablation, arm, seed, state, epoch, epochs, best, images_per_second, seconds_left, host.

    Of these runs, or of all in the store. `best` is the best validation accuracy in [0, 1]; `queue` says why and until
    when a queued run waits; what is not known yet is None. Of runs that have a row in `known` nothing is read but the
    stamps of their files.
    """
    wanted = run_names(store) if names is None else list(names)
    rows = {name: known.get(name) if known is not None else None for name in wanted}
    unread = [name for name, row in rows.items() if row is None]
    if names is None:
        unread = [name for name in unread if is_run(store, name)]
    found = dict(zip(unread, _read([RunFolder(store / name) for name in unread]), strict=True))
    if known is not None:
        lasting = {name: (stamp, row) for name, (stamp, row) in found.items() if stamp is not None}
        known.keep(lasting, known.rows.keys() - rows.keys() if names is None else set())
    tasks = queue.states() if queue is not None else {}
    read = ((name, row or found[name][1]) for name, row in rows.items() if row or name in found)
    return [_queued(row, tasks.get(name)) for name, row in read]


def note_rows(folders: Iterable[RunFolder], known: KnownRows) -> None:
    """Read finished runs for the looks that follow."""
    found = {folder.run_id: _row(folder) for folder in folders}
    known.note({name: (stamp, row) for name, (stamp, row) in found.items() if stamp is not None})


def format_rows(rows: list[dict[str, Any]], height: int | None = None) -> str:
    """A table for people, what runs first, and a line of counts; cut to `height` lines where one is given."""
    if not rows:
        return "no runs"
    rows = sorted(rows, key=lambda row: _ORDER.index(row["state"]))
    header = ("arm", "seed", "state", "epoch", "best", "images/s", "left", "run")
    cells = [header, *map(_cells, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    layout = "  ".join(f"{{:{width}}}" for width in widths).format
    lines = [layout(*row).rstrip() for row in cells]
    num_fitting = len(lines) if height is None else max(2, height - 2)
    if len(lines) > num_fitting:
        lines = [*lines[: num_fitting - 1], f"... and {len(lines) - num_fitting + 1} more"]
    return printable("\n".join([*lines, _totals(rows)]))


def watch(rows: Callable[[], list[Row]], *, sleep: Callable[[float], None] = time.sleep) -> None:
    """Draw the grid in place every INTERVAL seconds until Ctrl-C; its rows are asked for anew each time."""
    shown = ""
    with Display(sys.stdout, keep=True) as display, suppress(KeyboardInterrupt):
        while True:
            height = shutil.get_terminal_size().lines - 1 if display.is_live else None
            text = format_rows(rows(), height)
            if display.is_live:
                display.draw(text)
            elif text != shown:
                display.line(text)
            shown = text
            sleep(INTERVAL)


def _read(folders: list[RunFolder]) -> Iterable[tuple[Stamp | None, Row]]:
    """A row of each, and its stamp where it holds until the files change; on all cores where there are many."""
    if len(folders) < _MANY or cores() == 1:
        return map(_row, folders)
    if len(folders) >= _LONG_LOOK:
        print(f"reading {len(folders):,} runs for the first time", file=sys.stderr)
    size = math.ceil(len(folders) / cores())
    with ExitStack() as stack:
        readers = []
        for first in range(0, len(folders), size):
            order = stack.enter_context(tempfile.TemporaryFile())
            answer = stack.enter_context(tempfile.TemporaryFile())
            readers.append(_RowProcess(folders[first : first + size], order, answer))
            stack.callback(readers[-1].end)
        return [found for reader in readers for found in reader.rows()]


class _RowProcess:
    """A process of our own that reads some run folders; forks of this one would inherit its threads' locks.

    Its orders and its answers are files, so that nobody waits for a pipe.
    """

    def __init__(self, folders: list[RunFolder], order: IO[bytes], answer: IO[bytes]):
        self.answer = answer
        order.write(json.dumps([str(each.path) for each in folders]).encode())
        order.seek(0)
        command = isolation.command("ablation_suite.core.scheduling.watch", "read_rows()")
        self.process = subprocess.Popen(command, stdin=order, stdout=answer, env=isolation.environment())

    def end(self) -> None:
        """End it, where it still reads for nobody."""
        self.process.kill()
        self.process.wait()

    def rows(self) -> list[tuple[Stamp | None, Row]]:
        """What it found, once it is done."""
        if status := self.process.wait():
            raise RuntimeError(f"the process that reads run folders ended with exit status {status}")
        self.answer.seek(0)
        return [(stamp, row) for stamp, row in json.loads(self.answer.read())]


def read_rows() -> int:
    """Read the run folders of the order on the input, and answer on the output."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    json.dump([_row(RunFolder(Path(path))) for path in json.load(sys.stdin)], sys.stdout)
    return 0


def _row(folder: RunFolder) -> tuple[Stamp | None, Row]:
    try:
        return _row_of(folder)
    except OSError:  # a folder of somebody else, a pipe in the place of the ledger: it costs this run alone
        nothing: Row = {"run_id": folder.run_id, "state": "unreadable", "epoch": 0}
        return None, dict.fromkeys((*COLUMNS, "seconds_left", "queue")) | nothing


def _row_of(folder: RunFolder) -> tuple[Stamp | None, Row]:
    stamp = stamp_of(str(folder.path))  # before the files are read
    state, job, record = _seen(folder)
    rows = record.get("history") or folder.ledger.rows()
    labels = job.get("labels") or {}
    history = [row for row in rows if row.get("kind", "epoch") == "epoch"]
    num_epochs = (job.get("config") or {}).get("epochs")
    num_epochs = num_epochs if isinstance(num_epochs, int) else None
    num_done = max((row["epoch"] for row in history), default=0)
    lately = [row["seconds"] for row in history[-5:] if "seconds" in row]
    seconds_per_epoch = statistics.median(lately) if lately else None
    host = _host(folder)
    seconds_left = None
    if state in ("running", "interrupted"):
        silence = max(0.0, time.time() - rows[-1]["time"]) if rows else None  # a clock that was put back tells nothing
        if state == "interrupted" and host != socket.gethostname() and silence is not None:
            # The lock of a process on another machine is not seen on every shared folder; its ledger is.
            state = "running" if silence < max(SILENCE, 3.0 * (seconds_per_epoch or 0.0)) else state
        if state == "running" and seconds_per_epoch is not None and num_epochs and silence is not None:
            seconds_left = max(0.0, (num_epochs - num_done) * seconds_per_epoch - silence)
    row = {
        "run_id": folder.run_id,
        "ablation": labels.get("group"),
        "arm": labels.get("arm"),
        "seed": labels.get("seed"),
        "state": state,
        "epoch": num_done,
        "epochs": num_epochs,
        "best": max((row["val/accuracy"] for row in history if "val/accuracy" in row), default=None),
        "images_per_second": history[-1].get("sys/images_per_second") if history else None,
        "seconds_left": seconds_left,
        "host": host,
        "queue": None,
    }
    lasts = state == "finished" or (state == "missing" and not (folder.path / "lock").exists())
    return stamp if lasts else None, row


def _seen(folder: RunFolder) -> tuple[str, Job, Record]:
    """The status, the job and the record of a run, each file read once; what is missing or damaged is empty."""
    job: Job = {}
    try:
        with suppress(FileNotFoundError):
            job = folder.job()
        record = folder.record()
    except Damaged:
        return "damaged", job, {}
    return (folder.status_unfinished(), job, {}) if record is None else ("finished", job, record)


def _queued(row: Row, task: Task | None) -> Row:
    """The row of a run as its place in a queue makes it."""
    if task is None or row["state"] not in ("missing", "interrupted", "failed"):
        return row
    return row | {"state": "queued", "queue": task.words}


def _host(folder: RunFolder) -> str | None:
    return folder.claimant().get("host")


def _cells(row: dict[str, Any]) -> tuple[str, ...]:
    elsewhere = row["state"] == "running" and row["host"] not in (None, socket.gethostname())
    return (
        str(row["arm"] or "-"),
        "-" if row["seed"] is None else str(row["seed"]),
        f"{row['state']} on {row['host']}" if elsewhere else row.get("queue") or row["state"],
        f"{row['epoch']}/{row['epochs'] or '?'}",
        "-" if row["best"] is None else f"{100 * row['best']:.2f} %",
        "-" if row["images_per_second"] is None else f"{row['images_per_second']:,.0f}",
        "-" if row["seconds_left"] is None else _duration(row["seconds_left"]),
        row["run_id"],
    )


def _totals(rows: list[dict[str, Any]]) -> str:
    counts = Counter(row["state"] for row in rows)
    text = f"{len(rows)} runs: " + ", ".join(f"{counts[state]} {state}" for state in _ORDER if counts[state])
    speed = sum(row["images_per_second"] or 0.0 for row in rows if row["state"] == "running")
    return f"{text}; {speed:,.0f} images/s" if speed else text


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}h{minutes:02d}" if hours else f"{minutes}:{rest:02d}"

"""What does a tracker cost a run? Fixed seconds per run, and the share of a run of a minute, against no tracker.

    python -m tests.benchmarks tracking         half a minute on one core

Each run is 60 epochs of a fixed amount of work, as a training would do it; three runs follow each other in one warm
process. `online` talks to the stand-in server of the tests in a process of its own. Bars: fixed cost under
0.5 s per run, under 2 % of a run of 60 s.
"""

from __future__ import annotations

import hashlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.tracking.wandb import open_tracker
from tests.benchmarks.lines import Line
from tests.core.tracked_run import append_end, append_epoch, make_folder
from tests.core.wandb_server import wandb_server

TRACKERS = ("off", "offline", "online", "tensorboard", "mlflow")
RUNS, EPOCHS = 3, 60
WORK = bytes(10_000_000)


def measure(tracker: str, results: Path) -> list[dict[str, float]]:
    """Wall and CPU seconds (this process and its children) of RUNS runs in this process, and of one `publish`."""
    import torch  # noqa: F401 (a process that trains has it before its first run)

    measured = []
    for number in range(RUNS):
        folder = make_folder(results, f"{tracker}-{os.getpid()}-{number}", EPOCHS)  # new at each round
        publishing = 0.0
        begin, cpu = time.perf_counter(), _cpu_seconds()
        with open_tracker(Runtime(tracker=tracker, results=str(results)), folder) as shown:
            for epoch in range(1, EPOCHS + 1):
                hashlib.sha256(WORK).digest()  # leaves the interpreter to other threads, as torch does
                append_epoch(folder, epoch)
                before = time.perf_counter()
                shown.publish()
                publishing += time.perf_counter() - before
            append_end(folder)
            shown.publish()
        wall = time.perf_counter() - begin
        measured.append({"wall": wall, "cpu": _cpu_seconds() - cpu, "publish": publishing / EPOCHS})
    return measured


def lines(num_rounds: int) -> list[Line]:
    """Every tracker in fresh processes, in turns, and what it adds to the least disturbed round."""
    measured: dict[str, list[list[dict[str, float]]]] = {tracker: [] for tracker in TRACKERS}
    with wandb_server() as server:
        for _ in range(num_rounds):
            for tracker in TRACKERS:
                measured[tracker].append(_in_a_fresh_process(tracker, server.environment()))
    return [_line(tracker, measured) for tracker in TRACKERS[1:]]


def _line(tracker: str, measured: dict[str, list[list[dict[str, float]]]]) -> Line:
    first, later = [_added(measured, tracker, slice(*runs)) for runs in ((0, 1), (1, RUNS))]
    publish = min(run["publish"] for runs in measured[tracker] for run in runs)
    return Line(
        what=f"tracker {tracker}: what a run costs, the first of its process and later ones",
        ours=f"{first['wall']:.2f} s, then {later['wall']:.2f} s",
        figure=f"{first['wall'] / 60:.1%} of 60 s",
        bar="0.5 s, 2 %",
        met=first["wall"] < min(0.5, 0.02 * 60),
        note=f"CPU {first['cpu']:.2f} s, then {later['cpu']:.2f} s; the training waits {1e6 * publish:.0f} us an epoch",
    )


def _in_a_fresh_process(tracker: str, variables: dict[str, str]) -> list[dict[str, float]]:
    with tempfile.TemporaryDirectory() as results:
        code = f"from tests.benchmarks.tracking import *; print(json.dumps(measure({tracker!r}, Path({results!r}))))"
        environment = os.environ | variables | {"OMP_NUM_THREADS": "1"}
        answer = subprocess.check_output([sys.executable, "-c", code], text=True, env=environment)
    return json.loads(answer.splitlines()[-1])


def _added(measured: dict[str, list[list[dict[str, float]]]], tracker: str, runs: slice) -> dict[str, float]:
    def least(tracker: str, name: str) -> float:
        return min(statistics.mean(run[name] for run in each[runs]) for each in measured[tracker])

    return {name: least(tracker, name) - least("off", name) for name in ("wall", "cpu")}


def _cpu_seconds() -> float:
    return sum(os.times()[:4])

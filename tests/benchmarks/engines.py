"""What do runs lose on each engine where something ends, and what does an engine cost beside training?

    python -m tests.benchmarks.engines [row ...]        all rows by default; about an hour on two cores

Slurm is a real one of one node, Ray a cluster of two nodes on this machine; a row whose engine is not installed is left
out. What is measured replaces its section of ENGINES.md. The runs are tiny, on the digits.
"""

from __future__ import annotations

import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

import pytest

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling.grid import drive
from ablation_suite.core.scheduling.slurm import Slurm
from ablation_suite.core.scheduling.slurm_packs import PACK_SECONDS
from tests.benchmarks.engine_faults import (
    LOST_SECONDS,
    NUM_ROUNDS,
    NUM_RUNS,
    grid,
    kill_lines,
    node_lines,
    preemption_lines,
    said,
    scancel_lines,
    started,
)
from tests.benchmarks.lines import Line, as_markdown, asked_for, seconds_line, spread, write_section
from tests.core import real_ray, real_slurm, test_slurm
from tests.core.fake_slurm import FakeSlurm
from tests.core.killed_driver import start_driver

RESULTS = Path(__file__).with_name("ENGINES.md")
RUN_SECONDS = 60.0
"""How long the runs of the grid are for which a cold start is to be little."""


def thousand_lines() -> list[Line]:
    """A thousand runs through a Slurm that is made up, whose tasks end as soon as they begin."""
    seconds = []
    for _ in range(3):
        with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
            fake = FakeSlurm(Path(scratch) / "commands")
            patch.setenv("PATH", f"{fake.folder}:{os.environ['PATH']}")
            runtime = Runtime(results=f"{scratch}/results", executor="slurm", tracker="off")
            fake.train = test_slurm.trains(runtime.store)
            names = [f"{number:016x}" for number in range(1000)]
            jobs = {name: {"run_id": name, "config": test_slurm.CONFIG} for name in names}
            begun = time.thread_time()
            outcome = drive(jobs, runtime, Slurm(runtime), test_slurm.Quiet())
            seconds.append(time.thread_time() - begun)
            fake.close()
            assert len(outcome.finished) == len(jobs)
    note = "of the driver's thread, without the processes of sbatch and squeue; Slurm is a fake one"
    return [seconds_line("slurm: CPU of the driver for 1,000 tiny runs", seconds, 5.0, note)]


def start_lines() -> list[Line]:
    """From the begin of a task's script to the first step of its first run, and between two runs of it."""
    cold, warm = [], []
    with started("slurm") as engine:
        for _ in range(NUM_ROUNDS):
            runtime = engine.runtime(pack=NUM_RUNS, jobs=1)
            folders = grid(runtime, NUM_RUNS, 2)
            if start_driver(folders, runtime).wait(LOST_SECONDS):
                raise RuntimeError(said(runtime))
            # Nothing is printed to the log of a task, so that its time is that of the script's begin.
            [log] = Path(runtime.results).glob("slurm/ablate-*/0.txt")
            before = log.stat().st_mtime
            for folder in sorted(folders, key=lambda each: each.ledger.rows()[0]["time"]):
                first = folder.ledger.history()[0]
                (warm if before != log.stat().st_mtime else cold).append(first["time"] - first["seconds"] - before)
                before = folder.record_path.stat().st_mtime
    pack = int(PACK_SECONDS / RUN_SECONDS)
    between = statistics.median(warm)
    shares = [(each + (pack - 1) * between) / (pack * RUN_SECONDS) for each in cold]
    note = f"computed for tasks of {pack} runs, which `--pack auto` makes of runs of {RUN_SECONDS:.0f} s"
    return [
        Line(what="slurm: begin of a task to the first step of its first run", ours=spread(cold, "s")),
        Line(what="slurm: end of a run to the first step of the next one in its task", ours=spread(warm, "s")),
        Line(
            what="slurm: starts as a share of the training, in a grid of one-minute runs",
            ours=spread([100 * share for share in shares], "%"),
            bar="10 %",
            met=statistics.median(shares) <= 0.1,
            note=note,
        ),
    ]


ROWS: dict[str, tuple[str, Callable[[], list[Line]]]] = {
    "process": ("process", partial(kill_lines, "process")),
    "slurm": ("slurm", partial(kill_lines, "slurm")),
    "ray": ("ray", partial(kill_lines, "ray")),
    "scancel": ("slurm", scancel_lines),
    "preemption": ("slurm", preemption_lines),
    "node": ("ray", node_lines),
    "thousand": ("process", thousand_lines),
    "start": ("slurm", start_lines),
}
"""Row -> the engine that has to be installed, and what is measured."""
WHY_NOT = {"slurm": real_slurm.why_not, "ray": real_ray.why_not}


def main() -> None:
    """Measure the rows that were asked for, print them, and put them into ENGINES.md."""
    for name in asked_for(ROWS, __doc__):
        needed, measure = ROWS[name]
        if needed in WHY_NOT and (reason := WHY_NOT[needed]()):
            print(f"{name}: left out, {reason}", file=sys.stderr)
            continue
        print(f"{name} ...", file=sys.stderr, flush=True)
        load, begin = os.getloadavg()[0], time.monotonic()
        table = as_markdown(measure())
        head = f"{facts()}, in {time.monotonic() - begin:.0f} s, at a load of {load:.1f} before it began."
        print(table)
        write_section(RESULTS, name, f"{head}\n\n{table}")


def facts() -> str:
    """The day, the machine and the versions."""
    versions = [f"{name} {metadata.version(name)}" for name in ("torch", "ray") if find_spec(name)]
    if shutil.which("slurmd"):
        versions.append(subprocess.check_output(["slurmd", "-V"], text=True).strip())
    cores = len(os.sched_getaffinity(0))
    return f"{time.strftime('%Y-%m-%d')}, {cores} CPU cores, Python {platform.python_version()}, {', '.join(versions)}"


if __name__ == "__main__":
    main()

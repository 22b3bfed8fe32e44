"""What does the suite cost beside the training steps? A whole quickstart grid, its forecast, an added seed, a plan.

python -m tests.benchmarks grid         two to three minutes on two cores
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from ablation_suite.ablations.forecast import measure
from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import read_json
from ablation_suite.core.runs.store import RunFolder, run_folders
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.scheduling.devices import num_jobs
from tests.benchmarks.lines import Line, ratio_line, seconds_line

CORES = len(os.sched_getaffinity(0))
SPEC = """
ablation: wide
question: How long does a plan of six arms and eight seeds take?
base: {base}
seeds: 8
baseline: no dropout
arms: {{a: {{model.head.dropout: 0.1}}, b: {{model.head.dropout: 0.3}}, c: {{model.head.dropout: 0.4}},
  d: {{model.head.dropout: 0.5}}, e: {{model.head.dropout: 0.6}}}}
"""


def lines(num_rounds: int) -> list[Line]:
    """The quickstart grid once, and what is quick a few times."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        before = json.loads(ablate("plan", "quickstart", "--probe", "--json", results=results))["forecast"]["seconds"]
        wall = timed("run", "quickstart", "--tracker", "offline", results=results)
        after = _forecast_again(results)
        store = Runtime(results=str(results)).store
        train = sum(read_json(each.record_path)["cost"]["train_seconds"] for each in run_folders(store))
        num_runs = len(run_folders(store))
        added = _added_seeds(Path(folder) / "added")
        idle = [timed("run", "quickstart", results=results) for _ in range(num_rounds)]
        spec = Path(folder) / "wide.yaml"
        base = Path(__file__).parents[2] / "ablations/bases/quickstart.yaml"
        spec.write_text(SPEC.format(base=base))
        planned = [timed("plan", str(spec), results=results) for _ in range(num_rounds)]
    workers = num_jobs(Runtime())
    ratio = wall / (train / workers)
    error = before / wall - 1.0
    return [
        Line(
            what=f"quickstart grid: wall time over its training steps' time, {num_runs} runs on {workers} workers",
            ours=f"{wall:.1f} s", figure=f"{ratio:.2f}", bar="1.25", met=ratio <= 1.25,
        ),
        Line(
            what="forecast of the quickstart grid beside what it then took",
            ours=f"{before:.1f} s, then {wall:.1f} s", figure=f"{error:+.0%}", bar="25 %", met=abs(error) <= 0.25,
            note=f"forecast again afterwards, which tells how steady the machine was: {after:.1f} s",
        ),
        seconds_line(
            "an added seed of a tiny run, beyond its steps, W&B offline", added, 0.5,
            "quickstart-backbone's baseline in a warm process, from its claim to its record, less its training steps: "
            "twelve validations, twelve checkpoints and the last evaluation are in it",
        ),
        seconds_line("`ablate plan` of 6 arms x 8 seeds", planned, 0.5),
        seconds_line("a grid with nothing to do", idle, 1.0),
        *_threads(num_rounds),
    ]  # fmt: skip


def _threads(num_rounds: int) -> list[Line]:
    """Small networks: one worker with all cores beside one single-threaded worker per core, seconds per batch."""
    config = make_plans(["quickstart/1-backbone"], Runtime())[0].cells[-1].config

    def seconds(jobs: int, threads: int) -> float:
        return measure([config], jobs, Runtime(device="cpu", threads=threads))[1][0]["step"] / jobs

    if CORES == 1:
        return []
    pairs = [(seconds(1, CORES), seconds(CORES, 1)) for _ in range(num_rounds)]
    what = f"small network: {CORES} workers of one thread (ours), beside one worker of {CORES} threads"
    note = "seconds per step over all workers; why `--jobs auto` takes one single-threaded worker per core"
    return [ratio_line(what, [pair[0] for pair in pairs], [pair[1] for pair in pairs], 1.0, note)]


def _forecast_again(results: Path) -> float:
    """The forecast of the whole grid once more, in a folder without runs."""
    text = ablate("plan", "quickstart", "--probe", "--json", results=results.with_name("again"))
    return json.loads(text)["forecast"]["seconds"]


def _added_seeds(results: Path) -> list[float]:
    """Seconds beyond the training steps of seeds that a warm process trains after its first."""
    code = "from tests.benchmarks.grid import *; train_seeds(Path(sys.argv[1]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(results)]
    return json.loads(subprocess.check_output(command, text=True, env=environment).splitlines()[-1])


def train_seeds(results: Path) -> None:
    """Train five seeds of a small run in this process; print the seconds that all but the first took beside steps."""
    runtime = Runtime(device="cpu", tracker="offline", results=str(results))
    plan = make_plans(["quickstart/1-backbone"], runtime, ("seeds=5",))[0]
    datasets, beyond = Datasets(), []
    for name, job in list(jobs([plan]).items())[:5]:
        folder = RunFolder(runtime.store / name)
        folder.create(job)
        begin = time.perf_counter()
        assert work(folder, runtime, datasets) == DONE
        beyond.append(time.perf_counter() - begin - read_json(folder.record_path)["cost"]["train_seconds"])
    print(json.dumps(beyond[1:]))


def timed(*words: str, results: Path) -> float:
    begin = time.perf_counter()
    ablate(*words, results=results)
    return time.perf_counter() - begin


def ablate(*words: str, results: Path) -> str:
    command = [sys.executable, "-m", "ablation_suite.cli", *words, "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ablate {' '.join(words)}: {done.stderr[-500:]}")
    return done.stdout

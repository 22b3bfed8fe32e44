"""What does the suite cost beside the training steps? A quickstart grid, its forecast, an added seed, a plan.

python -m tests.benchmarks grid         two to three minutes on two cores
"""

from __future__ import annotations

import json
import os
import resource
import select
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from ablation_suite.ablations.forecast import measure
from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import read_json
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.scheduling.devices import num_jobs
from ablation_suite.core.scheduling.process import ProcessPool
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

PARTS = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self, channels: int = 8):
        super().__init__()
        self.conv = nn.Conv2d(3, channels, 3)

    def forward(self, images):
        return self.conv(images).relu()


class Poly(nn.Module):
    def __init__(self, epsilon: float = 1.0):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits, labels):
        return functional.cross_entropy(logits, labels) + self.epsilon * (1.0 - logits.softmax(1).max())
"""
OWN_SPEC = """
ablation: own
question: How long does a plan of six own parts and eight seeds take?
base: {base}
seeds: 8
baseline: ours
arms: {{a: {{model.backbone: "parts.py:Net"}}, b: {{model.backbone: {{name: "parts.py:Net", channels: 16}}}},
  c: {{model.backbone: {{name: "parts.py:Net", channels: 24}}}}, d: {{loss: "parts.py:Poly"}},
  e: {{loss: {{name: "parts.py:Poly", epsilon: 2.0}}}}, f: {{loss: {{name: "parts.py:Poly", epsilon: 3.0}}}}}}
"""


def lines(num_rounds: int) -> list[Line]:
    """The quickstart grid once, and what is quick a few times."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        before = json.loads(ablate("plan", "quickstart", "--probe", "--json", results=results))["forecast"]["seconds"]
        wall, cpu = timed("run", "quickstart", "--tracker", "offline", results=results)
        load = os.getloadavg()[0]
        after = _forecast_again(results)
        store = Runtime(results=str(results)).store
        costs = [read_json(each.record_path)["cost"] for each in run_folders(store)]
        train = sum(cost["train_seconds"] for cost in costs)
        validated = sum(cost["seconds"] for cost in costs) - train
        added, share = _added_seeds(Path(folder) / "added")
        replaced = _replaced(Path(folder) / "replaced", num_rounds)
        idle = [timed("run", "quickstart", results=results) for _ in range(num_rounds)]
        base = Path(__file__).parents[2] / "ablations/bases/quickstart.yaml"
        wide, own = Path(folder) / "wide.yaml", Path(folder) / "own.yaml"
        wide.write_text(SPEC.format(base=base))
        own.write_text(OWN_SPEC.format(base=base))
        (Path(folder) / "parts.py").write_text(PARTS)
        planned = [[timed("plan", str(spec), results=results) for spec in (wide, own)] for _ in range(num_rounds)]
    workers = num_jobs(Runtime())
    ratio = wall / (train / workers)
    error = before / wall - 1.0
    return [
        Line(
            what=f"quickstart grid: wall time over its training steps' time, {len(costs)} runs on {workers} workers",
            ours=f"{wall:.1f} s", figure=f"{ratio:.2f}", bar="1.1", met=ratio <= 1.1,
            note=f"validation after each epoch, with the best weights that it keeps, is {validated / train:.2f} of it",
        ),
        Line(
            what="forecast of the quickstart grid beside what it then took",
            ours=f"{before:.1f} s, then {wall:.1f} s", figure=f"{error:+.0%}", bar="25 %", met=abs(error) <= 0.25,
            note=f"forecast again afterwards, which tells how steady the machine was: {after:.1f} s",
        ),
        Line(
            what="quickstart grid: CPU time beside its training steps, imports, validation and the driver included",
            ours=f"{cpu:.0f} s of CPU", figure=f"{1.0 - train / cpu:.0%}", bar="10 %", met=1.0 - train / cpu <= 0.1,
            note=f"at a load of {load:.1f}; where it is above {workers}, steps wait and the share comes out too small",
        ),
        seconds_line(
            "an added seed of a tiny run, beyond its steps, W&B offline", added, 0.25,
            "CPU time; quickstart-backbone's baseline in a warm process, from its claim to its record, less its "
            f"training steps, of whose time it is {share:.0%}: twelve validations, twelve checkpoints and the last "
            "evaluation are in it",
        ),
        seconds_line("a worker that died is replaced: from its death to the next one's first word", replaced, 0.2),
        _cpu_line("`ablate plan` of 6 arms x 8 seeds", [each[0] for each in planned], 0.5),
        _cpu_line("`ablate plan` of 6 arms of own parts x 8 seeds", [each[1] for each in planned], 0.5),
        _cpu_line("a grid with nothing to do", idle, 1.0),
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


def _cpu_line(what: str, pairs: list[tuple[float, float]], bar: float) -> Line:
    """Of a fraction of a second on one core the smaller of wall and CPU time, both of which others lengthen."""
    return seconds_line(what, [min(pair) for pair in pairs], bar)


def _added_seeds(results: Path) -> tuple[list[float], float]:
    """CPU seconds beside the training steps of seeds that a warm process trains after its first, and their share."""
    code = "from tests.benchmarks.grid import *; train_seeds(Path(sys.argv[1]))"
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", code, str(results)]
    pairs = json.loads(subprocess.check_output(command, text=True, env=environment).splitlines()[-1])
    return [beyond for beyond, _ in pairs], statistics.median(beyond / steps for beyond, steps in pairs)


def train_seeds(results: Path) -> None:
    """Train five seeds of a small run in this process; print CPU seconds beside and in steps of the last four."""
    from ablation_suite.core.training.session import Session

    steps, step = [0.0], Session.step

    def clocked(*args: Any) -> Any:
        begin = time.process_time()
        taken = step(*args)
        steps[0] += time.process_time() - begin
        return taken

    Session.step = clocked
    runtime = Runtime(device="cpu", tracker="offline", results=str(results))
    plan = make_plans(["quickstart/1-backbone"], runtime, ("seeds=5",))[0]
    datasets, pairs = Datasets(), []
    for name, job in list(jobs([plan]).items())[:5]:
        folder = RunFolder(runtime.store / name)
        folder.create(job)
        begin, steps[0] = time.process_time(), 0.0
        assert work(folder, runtime, datasets) == DONE
        pairs.append((time.process_time() - begin - steps[0], steps[0]))
    print(json.dumps(pairs[1:]))


def _replaced(results: Path, num_rounds: int) -> list[float]:
    """Seconds from the death of a worker at its work until the one in its place says its first word."""
    runtime = Runtime(device="cpu", tracker="off", results=str(results), jobs=1)
    name, job = next(iter(jobs(make_plans(["quickstart/1-backbone"], runtime)).items()))
    folder = RunFolder(runtime.store / name)
    folder.create(job)
    pool, found = ProcessPool(runtime), []
    pool.submit(folder.path)
    _first_word(pool)
    for _ in range(num_rounds):
        begin = time.perf_counter()
        os.kill(pool.workers[0].process.pid, signal.SIGKILL)
        while not any(event.retry for event in pool.poll(1.0)):
            pass
        pool.submit(folder.path)
        _first_word(pool)
        found.append(time.perf_counter() - begin)
    pool.close(detach=False)
    return found


def _first_word(pool: ProcessPool) -> None:
    select.select([pool.workers[0].output], [], [])


def timed(*words: str, results: Path) -> tuple[float, float]:
    """Wall and CPU seconds of a command and all its processes."""
    begin, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    ablate(*words, results=results)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.perf_counter() - begin, cpu


def ablate(*words: str, results: Path) -> str:
    command = [sys.executable, "-m", "ablation_suite.cli", *words, "--results", str(results)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ablate {' '.join(words)}: {done.stderr[-500:]}")
    return done.stdout

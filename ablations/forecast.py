"""How long will the grid take, and how much memory? From a few steps of every arm, timed side by side as runs are."""

from __future__ import annotations

import heapq
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from ablation_suite.ablations.effect import require_steps
from ablation_suite.ablations.plan import Cell, Plan, distinct, folder
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.own.kept import packed
from ablation_suite.core.scheduling.aside import Aside
from ablation_suite.core.scheduling.devices import cuda_devices, num_jobs, placed

RUN_SECONDS = 0.15
"""What a run of a warm worker takes beside all that is timed: claim, record, tracker, folders."""
SILENT_SECONDS = 30.0
"""A forecast that takes longer tells each arm that was timed: networks that are large for the machine take minutes."""
SAVES_PER_EPOCH = 1.2
"""A checkpoint after every epoch; where the epoch is the best so far, the weights alone too."""


@dataclass(frozen=True, kw_only=True)
class ArmForecast:
    """The missing runs of one network and recipe, and what one of them takes."""

    name: str
    num_runs: int
    run_seconds: float
    step_seconds: float
    memory_bytes: int


def forecast(
    plans: Sequence[Plan],
    runtime: Runtime,
    elsewhere: Sequence[int] = (),
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """Time every distinct arm of the missing runs, and add up: `text` for people, and the numbers behind it.

    As many processes as the grid would have measure at the same time, so that they slow each other as runs do.
    elsewhere: numbers of workers (GPUs of a cluster, say) that are each as fast as one of those, to plan for as well.
    tell: is given a line for each arm that was timed, once that takes longer than people like to wait.
    """
    groups = distinct(_missing(plans, runtime))
    num_runs = sum(len(cells) for cells in groups)
    require_steps(plans, runtime)
    if not num_runs:
        return {
            "text": "nothing to forecast: every run is finished",
            "seconds": 0.0,
            "workers": 0,
            "on": [],
            "arms": [],
        }
    workers = min(num_runs, num_jobs(runtime))
    begun = time.monotonic()

    def timed(number: int, timing: dict[str, float]) -> None:
        if time.monotonic() - begun > SILENT_SECONDS:
            tell(f"timed {number + 1} of {len(groups)}:{_arm_text(_arm(groups[number], timing))}")

    start_up, measured = measure(groups, workers, runtime, timed)
    arms = [_arm(cells, timing) for cells, timing in zip(groups, measured, strict=True)]
    # As the driver does: one run of each kind, then the longest first.
    others = (arm.run_seconds for arm in arms for _ in range(arm.num_runs - 1))
    in_order = [arm.run_seconds for arm in arms] + sorted(others, reverse=True)
    seconds = start_up + makespan(in_order, workers)
    on = [_on(number, in_order, start_up) for number in elsewhere]
    memory = sum(heapq.nlargest(workers, (arm.memory_bytes for arm in arms for _ in range(arm.num_runs))))
    return {
        "text": "\n".join(
            [_text(arms, seconds, start_up, workers, memory), *_cluster_lines(on, arms, start_up, runtime)]
        ),
        "seconds": seconds,
        "start_up_seconds": start_up,
        "workers": workers,
        "memory_bytes": memory,
        "on": on,
        "critical_path_seconds": start_up + max(in_order),
        "arms": [vars(arm) for arm in arms],
    }


def run_seconds(timing: dict[str, float], epochs: int) -> float:
    """A whole run from its parts: steps, a validation and checkpoints per epoch, and the evaluation at its end.

    At the end, the kept weights see both splits, and the last ones the test images.
    """
    epoch = timing["num_steps"] * timing["step"] + timing["evaluate"] + SAVES_PER_EPOCH * timing["save"]
    return RUN_SECONDS + timing["begin"] + epochs * epoch + timing["evaluate"] + 2 * timing["test"]


def makespan(seconds: Iterable[float], workers: int) -> float:
    """When the last run ends, where each in its order goes to the worker that is free first."""
    ends = [0.0] * workers
    for each in seconds:
        heapq.heapreplace(ends, ends[0] + each)
    return max(ends)


def _on(workers: int, seconds: Sequence[float], start_up: float) -> dict[str, float]:
    """A grid on so many workers: its end, and the time of all of them that are taken up by runs and their starts."""
    busy = sum(seconds) + start_up * min(workers, len(seconds))
    return {"workers": workers, "seconds": start_up + makespan(seconds, workers), "worker_seconds": busy}


def measure(
    groups: Sequence[list[Cell]],
    workers: int,
    runtime: Runtime,
    timed: Callable[[int, dict[str, float]], None] = lambda number, timing: None,
) -> tuple[float, list[dict[str, float]]]:
    """Seconds until a worker is ready, and the timing of each group: medians over processes that run side by side.

    timed: is given the number of each group and its timing, as the first process answers. Raises UserError, which names
    the arm, where a process ends or tells a fault.
    """
    data = [cells[0].config.model_dump(mode="json") for cells in groups]
    devices, places = cuda_devices(runtime), list[Runtime]()
    for _ in range(workers):
        places.append(placed(runtime, devices, [each.devices[0] for each in places if each.devices]))
    code = packed(data)
    threads = {"OMP_NUM_THREADS": str(runtime.threads), "MKL_NUM_THREADS": str(runtime.threads)}
    begun = time.time()
    with ExitStack() as running:
        probes = [
            running.enter_context(
                Aside(
                    "ablation_suite.core.training.probe",
                    {"runtime": each.model_dump_json(), "configs": data, "code": code},
                    **threads,
                )
            )
            for each in places
        ]
        told: list[list[dict[str, Any]]] = [[] for _ in probes]
        for probe, answers in zip(probes, told, strict=True):
            for answer in probe.answers():
                answers.append(answer)
                if probe is probes[0] and "timing" in answer:
                    timed(len(answers) - 1, answer["timing"])
    faults: dict[str, None] = {}
    for probe, answers in zip(probes, told, strict=True):
        if fault := next((answer["fault"] for answer in answers if "fault" in answer), ""):
            faults[f"{groups[len(answers) - 1][0].arm} cannot be timed: {fault}"] = None
        elif len(answers) < len(groups):
            arm = groups[len(answers)][0].arm
            faults[f"{arm} cannot be timed: one of {len(probes)} processes {probe.ending}"] = None
    if faults:
        raise UserError("\n".join(faults))
    start_up = statistics.median(answers[0]["ready"] - begun for answers in told)
    timings = zip(*([answer["timing"] for answer in answers] for answers in told), strict=True)
    return start_up, [{key: statistics.median(each[key] for each in group) for key in group[0]} for group in timings]


def duration(seconds: float) -> str:
    """Seconds, minutes or hours, whichever is read most easily."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{hours(seconds)} h"


def hours(seconds: float) -> str:
    """Hours: two digits of a few, whole ones of many."""
    number = seconds / 3600
    return f"{number:.2g}" if number < 1 else f"{number:.1f}" if number < 100 else f"{number:,.0f}"


def step_duration(seconds: float) -> str:
    """Milliseconds, or seconds where it takes so long."""
    return f"{1000 * seconds:.1f} ms" if seconds < 1 else f"{seconds:.1f} s"


def _missing(plans: Sequence[Plan], runtime: Runtime) -> list[Cell]:
    """The cells to train, in the order of the grid, each run once."""
    cells = {cell.run_id: cell for plan in plans for cell in reversed(plan.cells)}
    order = dict.fromkeys(cell.run_id for plan in plans for cell in plan.cells)
    return [cells[name] for name in order if not folder(cells[name], runtime.store).is_finished()]


def _arm(cells: Sequence[Cell], timing: dict[str, float]) -> ArmForecast:
    return ArmForecast(
        name=cells[0].arm,
        num_runs=len(cells),
        run_seconds=run_seconds(timing, cells[0].config.epochs),
        step_seconds=timing["step"],
        memory_bytes=int(timing["memory"]),
    )


def _arm_text(arm: ArmForecast, width: int = 0) -> str:
    return (
        f"  {arm.name:{width}}  {arm.num_runs} runs of {duration(arm.run_seconds)}, "
        f"{step_duration(arm.step_seconds)} a step, {arm.memory_bytes / 2**30:.1f} GiB"
    )


def _text(arms: list[ArmForecast], seconds: float, start_up: float, workers: int, memory: int) -> str:
    width = max(len(arm.name) for arm in arms)
    lines = [_arm_text(arm, width) for arm in arms]
    side = f"{workers} side by side" if workers > 1 else "one after the other"
    total = f"forecast: {duration(seconds)}, {side}, {memory / 2**30:.1f} GiB together (start-up {start_up:.0f} s)"
    return "\n".join([*lines, total])


def _cluster_lines(
    on: Sequence[dict[str, float]], arms: Sequence[ArmForecast], start_up: float, runtime: Runtime
) -> list[str]:
    """The end and the cost on each number of workers, and the run that no number of them makes shorter."""
    if not on:
        return []
    name = "GPU" if cuda_devices(runtime) else "worker"
    lines = [
        f"on {each['workers']} {name}s: {duration(each['seconds'])}, {hours(each['worker_seconds'])} {name}-hours"
        for each in on
    ]
    last = max(arms, key=lambda arm: arm.run_seconds)
    return [*lines, f"critical path: {duration(start_up + last.run_seconds)}, one run of {last.name}"]

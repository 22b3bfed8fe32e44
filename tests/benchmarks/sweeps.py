"""What does a search cost, and what does it find? Overhead per trial, TPE with pruning beside chance, two processes.

    python -m tests.benchmarks.sweeps [row ...]        rows: overhead search averaged share; all of them by default

What is measured replaces its section of SWEEPS.md. About an hour on two quiet cores, most of it in `averaged`.
"""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from importlib import metadata
from pathlib import Path

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.executors import Event, open_executor
from ablation_suite.core.tracking.wandb import open_tracker
from ablation_suite.sweeps.session import existing_study, run_sweep
from ablation_suite.sweeps.spec import find_sweep, read_sweep
from ablation_suite.sweeps.trial import Trial, best
from tests.benchmarks.lines import Line, as_markdown, asked_for, spread, write_section
from tests.sweeps.fake import Fake, Silent, write_spec

RESULTS = Path(__file__).with_name("SWEEPS.md")
NUM_BEFORE, NUM_MEASURED = 1000, 40
SWEEP_SEEDS = range(5)
NUM_RANDOM = 40
SHARED = ("sampler=random", "pruner=none", "trials=12")
"""Two searches of the same work, whoever does which trial."""
CORES = len(os.sched_getaffinity(0))


def overhead_lines() -> list[Line]:
    """Seconds per trial that are no training, late in a long study."""
    with tempfile.TemporaryDirectory() as folder:
        spec = write_spec(Path(folder))
        runtime = Runtime(results=folder, tracker="offline")

        def go_on(num_trials: int, reporter: Silent, executor: Fake) -> None:
            sweep = read_sweep(spec, ["epochs=12", f"trials={num_trials}"])
            run_sweep(sweep, runtime, reporter, executor=executor)

        go_on(NUM_BEFORE, Silent(), Fake(runtime.store))
        clock = Clock()
        go_on(NUM_BEFORE + NUM_MEASURED, clock, Shown(runtime))
    line = Line(
        what=f"overhead of a trial at trial {NUM_BEFORE}: ask, 12 epochs reported, tell, run folder, W&B offline",
        ours=spread(clock.seconds, "s"),
        bar="0.3 s",
        met=statistics.median(clock.seconds) < 0.3,
        note="TPE and halving on a journal file; the runs train nothing, so that all of the time is overhead",
    )
    return [line]


class Shown(Fake):
    """Runs that train nothing and are tracked as real ones are."""

    def __init__(self, runtime: Runtime):
        super().__init__(runtime.store)
        self.runtime, self.shown = runtime, ExitStack()

    def submit(self, folder: Path) -> None:
        super().submit(folder)
        self.tracker = self.shown.enter_context(open_tracker(self.runtime, RunFolder(folder)))

    def poll(self, seconds: float) -> list[Event]:
        events = super().poll(seconds)
        self.tracker.publish()
        if any(event.retry is not None for event in events):
            self.shown.close()
        return events


class Clock(Silent):
    """Notes how long each trial took."""

    def __init__(self) -> None:
        super().__init__()
        self.last: float | None = None
        self.seconds: list[float] = []
        """Of each trial that was not pruned, but the first, in which the study and W&B are opened."""

    def ended(self, trial: Trial) -> None:
        now = time.perf_counter()
        if self.last is not None and trial.outcome == "complete":
            self.seconds.append(now - self.last)
        self.last = now


@dataclass(frozen=True, kw_only=True)
class Found:
    """One sweep seed: what chance found with how many epochs, and after how many epochs TPE had found as much."""

    seed: int
    random_score: float
    random_epochs: int
    tpe_epochs: float
    """Infinite where it had not, with as many epochs as chance."""
    tpe_trials: int

    @property
    def share(self) -> float:
        return self.tpe_epochs / self.random_epochs

    def words(self) -> str:
        reached = f"reached in {self.tpe_epochs} by trial {self.tpe_trials - 1}"
        reached = reached if self.tpe_epochs < float("inf") else f"not reached by {self.tpe_trials} trials"
        return f"seed {self.seed}: {self.random_score:.4f} in {self.random_epochs} epochs, {reached}"


def search_lines(num_seeds: int = 1) -> list[Line]:
    """The epochs that pruned TPE needs for the best of 40 unpruned random trials, on the quickstart's base."""
    with ThreadPoolExecutor(CORES) as pool:
        found = list(pool.map(partial(_search, num_seeds=num_seeds), SWEEP_SEEDS))
    shares = [each.share for each in found]
    scores = "accuracy" if num_seeds == 1 else f"mean accuracy over {num_seeds} seeds"
    line = Line(
        what=f"epochs until pruned TPE reaches the best {scores} of {NUM_RANDOM} unpruned random trials, quickstart",
        reference=spread([each.random_epochs for each in found], "epochs"),
        ours=spread([each.tpe_epochs for each in found], "epochs"),
        figure=f"{statistics.median(shares):.2f} ({min(shares):.2f} to {max(shares):.2f})",
        bar="1/3",
        met=statistics.median(shares) <= 1 / 3,
        note="; ".join(each.words() for each in found),
    )
    return [line]


def _search(seed: int, num_seeds: int) -> Found:
    """One random search to its end, and one with TPE until it has found as much or cost as much."""
    with tempfile.TemporaryDirectory() as folder:
        runtime = Runtime(results=folder, tracker="off", device="cpu", jobs=1)
        with open_executor(runtime) as pool:

            def trials_of(name: str, num_trials: int, *overrides: str) -> list[Trial]:
                words = [f"sweep={name}", *overrides, f"sampler.seed={seed}", f"trials={num_trials}"]
                words.append(f"seeds={num_seeds}")
                sweep = read_sweep(find_sweep("quickstart"), words)
                run_sweep(sweep, runtime, Silent(), executor=pool)
                with existing_study(sweep, runtime) as study:
                    return study.trials()

            chance = trials_of("random", NUM_RANDOM, "sampler={name: random}", "pruner=none")
            goal, budget = _score(chance), _epochs(runtime, chance)
            trials: list[Trial] = []
            while _score(trials) < goal and _epochs(runtime, trials) < budget:
                trials = trials_of("tpe", len(trials) + 1)
        epochs = _epochs(runtime, trials) if _score(trials) >= goal else float("inf")
    return Found(seed=seed, random_score=goal, random_epochs=budget, tpe_epochs=epochs, tpe_trials=len(trials))


def _score(trials: Sequence[Trial]) -> float:
    top = best(trials, maximize=True)
    return top.score or 0.0 if top else 0.0


def _epochs(runtime: Runtime, trials: Sequence[Trial]) -> int:
    """Epochs trained by the runs of trials; one that was begun when its trial was pruned counts in full."""
    total = 0
    for trial in trials:
        total += sum(len(RunFolder(runtime.store / run).ledger.history()) for run in trial.runs)
        total += trial.outcome == "pruned"
    return total


def share_lines(num_rounds: int = 3) -> list[Line]:
    """Two processes on one study beside one, in turns; and two workers of one process."""
    ways: dict[str, Callable[[Path], float]] = {
        "two processes on one SQLite study": lambda folder: _timed(
            folder, 2, "--storage", f"sqlite:///{folder}/study.db"
        ),
        "one process with two workers": lambda folder: _timed(folder, 1, "--jobs", "2"),
    }
    ratios: dict[str, list[float]] = {way: [] for way in ways}
    alone, seconds = [], {way: [] for way in ways}
    for _ in range(num_rounds):
        with tempfile.TemporaryDirectory() as folder:
            alone.append(_timed(Path(folder), 1, "--storage", f"sqlite:///{folder}/study.db"))
        for way, measure in ways.items():
            with tempfile.TemporaryDirectory() as folder:
                seconds[way].append(measure(Path(folder)))
            ratios[way].append(seconds[way][-1] / alone[-1])
    return [
        Line(
            what=f"{way}, beside one process with one worker: 12 random trials of the quickstart search",
            reference=spread(alone, "s"),
            ours=spread(seconds[way], "s"),
            figure=f"{statistics.median(ratios[way]):.2f} ({min(ratios[way]):.2f} to {max(ratios[way]):.2f})",
            bar="0.6",
            met=statistics.median(ratios[way]) <= 0.6,
        )
        for way in ways
    ]


def _timed(folder: Path, num_processes: int, *options: str) -> float:
    """Seconds until all of the processes of a search have ended, from nothing and with the imports."""
    command = [sys.executable, "-m", "ablation_suite.cli", "sweep", "quickstart", *SHARED, "--results", str(folder)]
    command += ["--tracker", "offline", *([] if "--jobs" in options else ["--jobs", "1"]), *options]
    begin = time.perf_counter()
    pipes = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
    processes = [subprocess.Popen(command, **pipes) for _ in range(num_processes)]
    for process in processes:
        _, errors = process.communicate()
        if process.returncode:
            raise RuntimeError(errors.decode()[-500:])
    return time.perf_counter() - begin


ROWS: dict[str, Callable[[], list[Line]]] = {
    "overhead": overhead_lines,
    "search": search_lines,
    "averaged": partial(search_lines, 3),
    "share": share_lines,
}


def main() -> None:
    """Measure the rows that were asked for, print them, and put them into SWEEPS.md."""
    for name in asked_for(ROWS, __doc__):
        print(f"{name} ...", file=sys.stderr, flush=True)
        load, begin = os.getloadavg()[0], time.monotonic()
        table = as_markdown(ROWS[name]())
        seconds = time.monotonic() - begin
        print(table)
        head = f"{facts()}, in {seconds:.0f} s, at a load of {load:.1f} before it began."
        write_section(RESULTS, name, f"{head}\n\n{table}")


def facts() -> str:
    """The day, the machine and the versions."""
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in ("optuna", "torch", "wandb"))
    day = time.strftime("%Y-%m-%d")
    return f"{day}, {CORES} CPU cores, Python {platform.python_version()}, {versions}"


if __name__ == "__main__":
    main()

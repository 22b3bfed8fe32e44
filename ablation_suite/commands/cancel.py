"""What happens on `ablate cancel`? Runs under way save themselves and end, and a queue loses their jobs."""

from __future__ import annotations

from pathlib import Path

from ablation_suite import options
from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.commands.run import only
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.scheduling import slurm_queue
from ablation_suite.output import say


def cancel(
    words: tuple[str, ...], arms: tuple[str, ...], seeds: tuple[int, ...], tuned: bool, runtime: Runtime
) -> None:
    """End the unfinished runs of specs, wherever they are: in a queue, on another machine, under a driver here."""
    specs, overrides = options.split_words(words)
    plans = make_plans(specs, runtime, overrides, tuned=tuned)
    names = jobs(only(plan, arms, seeds) for plan in plans)
    folders = [folder for name in names if not (folder := RunFolder(runtime.store / name)).is_finished()]
    num_running = sum(folder.is_locked() for folder in folders)
    for folder in folders:
        folder.cancel()
    ended = slurm_queue.cancel({folder.run_id for folder in folders}, Path(runtime.results))
    say(
        f"runs cancelled: {len(folders)}; of these under way, saved and ended within seconds: {num_running}; "
        f"jobs taken out of the queue: {len(ended)}; finished runs, which stay: {len(names) - len(folders)}"
    )

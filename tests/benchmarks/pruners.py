"""Which pruner still finds the best trials when scores are noisy? Simulated on the curves of real runs.

    ablate sweep quickstart sweep=random 'sampler={name: random}' pruner=none trials=200 --results DIR
    python -m tests.benchmarks.pruners DIR          some minutes on two cores; its section of SWEEPS.md

A simulated trial takes its curve from one of the 14 runs nearest to its learning rate and dropout, at random. A search
has reached its goal when a trial that ran to its end is as good as the best of 40 such draws; what it may cost at the
most is what those 40 cost.
"""

from __future__ import annotations

import argparse
import math
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
import optuna
from optuna.trial import TrialState
from scipy.stats import spearmanr

from ablation_suite.core.config.menu import Entry, build
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.sweeps.menu import HalvingPruner, HyperbandPruner, MedianPruner, NoPruner
from ablation_suite.sweeps.spec import Sweep, find_sweep, read_sweep
from tests.benchmarks.lines import write_section
from tests.benchmarks.sweeps import NUM_RANDOM, RESULTS, facts

NUM_SEARCHES, NUM_NEIGHBOURS = 100, 14
PRUNERS: tuple[Entry, ...] = (
    NoPruner(),
    HalvingPruner(),
    HalvingPruner(reduction=2),
    HalvingPruner(min_epochs=1),
    HyperbandPruner(),
    MedianPruner(),
    MedianPruner(warmup_epochs=4),
)


class Curves:
    """The validation accuracies of finished runs by learning rate and dropout."""

    def __init__(self, folders: list[RunFolder]):
        records = [folder.record() for folder in folders]
        configs = [record["config"] for record in records if record]
        self.rates = np.array([math.log10(config["optimizer"]["lr"]) for config in configs])
        self.dropouts = np.array([config["model"]["head"]["dropout"] for config in configs])
        self.curves = np.array([[row["val/accuracy"] for row in record["history"]] for record in records if record])

    def draw(self, rate: float, dropout: float, rng: np.random.Generator) -> np.ndarray:
        """The curve of a run near these values; a fifth of a decade counts as much as all of the dropouts."""
        distances = ((math.log10(rate) - self.rates) / 0.2) ** 2 + (dropout - self.dropouts) ** 2
        return self.curves[rng.choice(np.argsort(distances)[:NUM_NEIGHBOURS])]


def search(curves: Curves, sweep: Sweep, entry: Entry, seed: int) -> float:
    """The share of the epochs of 40 unpruned random trials at which TPE has found as much; infinite for never."""
    rng = np.random.default_rng(seed)
    chance = [curves.draw(10 ** rng.uniform(-5, -1), rng.uniform(0.0, 0.9), rng) for _ in range(NUM_RANDOM)]
    goal, budget = max(curve.max() for curve in chance), sum(map(len, chance))
    study = optuna.create_study(direction="maximize", pruner=build(entry, sweep))
    study.enqueue_trial({"rate": 3e-3, "dropout": 0.2})
    num_epochs = 0
    while num_epochs < budget:
        number = len(study.trials)
        startup = sweep.spec.sampler.startup_trials
        study.sampler = optuna.samplers.TPESampler(
            seed=1000 * seed + number, n_startup_trials=startup, multivariate=True
        )
        trial = study.ask()
        curve = curves.draw(
            trial.suggest_float("rate", 1e-5, 1e-1, log=True), trial.suggest_float("dropout", 0, 0.9), rng
        )
        for epoch, value in enumerate(curve, start=1):
            trial.report(value, epoch)
            if epoch < len(curve) and trial.should_prune():
                study.tell(trial, state=TrialState.PRUNED)
                num_epochs += epoch + 1  # the next epoch has begun by then
                break
        else:
            study.tell(trial, curve.max())
            num_epochs += len(curve)
            if curve.max() >= goal:
                return num_epochs / budget
    return math.inf


def simulate(results: Path, entry: Entry) -> str:
    """A row of the table: what 100 searches with one pruner needed."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    curves, sweep = Curves(run_folders(results / "runs")), read_sweep(find_sweep("quickstart"))
    shares = np.array([search(curves, sweep, entry, seed) for seed in range(NUM_SEARCHES)])
    within = np.mean(shares <= 1 / 3)
    changed = ", ".join(f"{key} {value}" for key, value in entry if key != "name")
    name = f"{entry.name}{f' ({changed})' if changed else ''}"  # type: ignore[attr-defined]
    return f"| {name} | {np.median(shares):.2f} | {within:.0%} | {np.mean(np.isinf(shares)):.0%} |"


def luck(curves: Curves) -> str:
    """How many of the runs at good learning rates are as good as the best, and how early that can be told."""
    good = (curves.rates > -2.7) & (curves.rates < -1.6)
    best = curves.curves.max(axis=1)
    early = [spearmanr(curves.curves[good, epoch], best[good]).statistic for epoch in range(6)]
    return (
        f"Of {len(best)} runs {good.sum()} had a learning rate of 2e-3 to 2.5e-2; {np.sum(best[good] == best.max())} "
        f"of these reached the best accuracy, {best.max():.4f}. Rank correlation of the accuracy after epochs 1 to 6 "
        f"with the run's best, among these: {', '.join(f'{each:+.2f}' for each in early)}."
    )


def main() -> None:
    """Simulate every pruner and write the section."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    results, begin = parser.parse_args().results, time.monotonic()
    with ProcessPoolExecutor(2) as pool:
        rows = list(pool.map(simulate, [results] * len(PRUNERS), PRUNERS))
    head = f"{facts()}, in {time.monotonic() - begin:.0f} s, {NUM_SEARCHES} simulated searches a row."
    table = ["| pruner | median share of the epochs | within 1/3 | never |", "| --- | ---: | ---: | ---: |", *rows]
    write_section(RESULTS, "pruners", "\n".join([head, "", *table, "", luck(Curves(run_folders(results / "runs")))]))
    print("\n".join(table))


if __name__ == "__main__":
    main()

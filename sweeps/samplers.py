"""Which point comes next? Optuna's samplers, each trial from a seed of its own, and points that are known before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import optuna

from ablation_suite.core.runs.identity import canonical
from ablation_suite.sweeps.budget import visited
from ablation_suite.sweeps.menu import FEWEST_SOURCES
from ablation_suite.sweeps.space import Space, Values

if TYPE_CHECKING:
    from ablation_suite.sweeps import menu
    from ablation_suite.sweeps.study import Study


def tpe(entry: menu.TPE, study: Study, number: int, fixed: Values) -> Values:
    conditional = any(each.when for each in study.sweep.space.parameters)
    sampler = optuna.samplers.TPESampler(
        seed=study.key(entry.seed, number), n_startup_trials=entry.startup_trials, multivariate=True, group=conditional
    )
    return study.sample(sampler, number, fixed)


def gp(entry: menu.GP, study: Study, number: int, fixed: Values) -> Values:
    sampler = optuna.samplers.GPSampler(
        seed=study.key(entry.seed, number), n_startup_trials=entry.startup_trials, warn_independent_sampling=False
    )
    return study.sample(sampler, number, fixed)


def nsga2(entry: menu.NSGA2, study: Study, number: int, fixed: Values) -> Values:
    sampler = optuna.samplers.NSGAIISampler(seed=study.key(entry.seed, number), population_size=entry.population)
    return study.sample(sampler, number, fixed)


def cmaes(entry: menu.CMAES, study: Study, number: int, fixed: Values) -> Values:
    sources = study.in_space(study.imported())
    sampler = optuna.samplers.CmaEsSampler(
        seed=study.key(entry.seed, number),
        n_startup_trials=entry.startup_trials,
        popsize=entry.population,
        source_trials=sources if len(sources) >= FEWEST_SOURCES else None,
        consider_pruned_trials=study.sweep.spec.pruner.name in ("halving", "hyperband"),
        warn_independent_sampling=False,
    )
    return study.sample(sampler, number, fixed)


def random(entry: menu.Random, study: Study, number: int, fixed: Values) -> Values:
    return study.sample(optuna.samplers.RandomSampler(seed=study.key(entry.seed, number)), number, fixed)


def grid(entry: menu.Grid, study: Study, number: int, fixed: Values) -> Values:
    """The first combination that no other trial has; a failed one comes again with its values fixed."""
    return fixed or _first_free(study.sweep.space.grid(), study, number)


def brute_force(entry: menu.BruteForce, study: Study, number: int, fixed: Values) -> Values:
    """As `grid`, in an order shuffled by the seed."""
    points = study.sweep.space.grid()
    order = np.random.default_rng(study.key(entry.seed)).permutation(len(points))
    return fixed or _first_free([points[index] for index in order], study, number)


def qmc(entry: menu.QMC, study: Study, number: int, fixed: Values) -> Values:
    """Point `number` of a scrambled Sobol sequence with one dimension per parameter, whether it exists or not."""
    shares = sobol(study.sweep.space, study.key(entry.seed), number)
    return study.sweep.space.fill(lambda parameter, _: parameter.at(shares[parameter.path]), fixed)


def sobol(space: Space, key: int, number: int) -> dict[str, float]:
    """Parameter -> its coordinate in [0, 1) of one point of the sequence (scipy.stats.qmc.Sobol)."""
    from scipy.stats import qmc

    sequence = qmc.Sobol(len(space.parameters), scramble=True, rng=np.random.default_rng(key))
    if number:
        sequence.fast_forward(number)
    point = sequence.random(1)[0]
    return {parameter.path: float(share) for parameter, share in zip(space.parameters, point, strict=True)}


def _first_free(points: list[Values], study: Study, number: int) -> Values:
    taken = visited([each for each in study.trials() if each.number != number])
    return next(values for values in points if canonical(values) not in taken)

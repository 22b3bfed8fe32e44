"""Which Optuna sampler does an entry of the menu stand for? Each proposes one trial, from a seed of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import optuna

from ablation_suite.sweeps.space import Values

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
    sampler = optuna.samplers.CmaEsSampler(
        seed=study.key(entry.seed, number),
        n_startup_trials=entry.startup_trials,
        popsize=entry.population,
        source_trials=study.imported() or None,
        consider_pruned_trials=study.sweep.spec.pruner.name in ("halving", "hyperband"),
        warn_independent_sampling=False,
    )
    return study.sample(sampler, number, fixed)


def random(entry: menu.Random, study: Study, number: int, fixed: Values) -> Values:
    return study.sample(optuna.samplers.RandomSampler(seed=study.key(entry.seed, number)), number, fixed)

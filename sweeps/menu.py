"""Which samplers and pruners are there? Menu, free of Optuna."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, tagged


class TPE(Entry):
    """Tree-structured Parzen estimator, multivariate (Bergstra et al. 2011; Falkner et al. 2018; of several objectives,
    Ozaki et al. 2022)."""

    builds = "ablation_suite.sweeps.samplers:tpe"
    name: Literal["tpe"] = "tpe"
    seed: int = Field(0, ge=0)
    """Seed of the proposals."""
    startup_trials: int = Field(10, ge=1)
    """Random trials before the estimator is trusted."""


class GP(Entry):
    """Gaussian process with expected improvement (Optuna's GPSampler)."""

    builds = "ablation_suite.sweeps.samplers:gp"
    name: Literal["gp"] = "gp"
    seed: int = Field(0, ge=0)
    """Seed of the proposals."""
    startup_trials: int = Field(10, ge=1)
    """Random trials before the process is fitted."""


class NSGA2(Entry):
    """A genetic algorithm that keeps a front of several objectives (Deb et al. 2002); with one, an ordinary one."""

    builds = "ablation_suite.sweeps.samplers:nsga2"
    name: Literal["nsga2"] = "nsga2"
    seed: int = Field(0, ge=0)
    """Seed of the proposals."""
    population: int = Field(20, ge=2)
    """Trials of a generation; the first one is random."""


class CMAES(Entry):
    """Covariance matrix adaptation (Hansen 2016): numbers alone, two or more, one metric; needs the package cmaes.

    Trials that successive halving or Hyperband stopped count by what they had reached, those of other pruners not.
    """

    builds = "ablation_suite.sweeps.samplers:cmaes"
    name: Literal["cmaes"] = "cmaes"
    seed: int = Field(0, ge=0)
    """Seed of the proposals."""
    startup_trials: int = Field(1, ge=1)
    """Random trials before the first generation."""
    population: int | None = Field(None, ge=3)
    """Trials of a generation; without one, four and three times the logarithm of the number of settings."""


class Random(Entry):
    """Independent draws (Bergstra and Bengio 2012)."""

    builds = "ablation_suite.sweeps.samplers:random"
    name: Literal["random"] = "random"
    seed: int = Field(0, ge=0)
    """Seed of the proposals."""


class QMC(Entry):
    """A scrambled Sobol sequence, which fills the space more evenly than chance."""

    builds = "ablation_suite.sweeps.samplers:qmc"
    name: Literal["qmc"] = "qmc"
    seed: int = Field(0, ge=0)
    """Seed of the scrambling."""


class Grid(Entry):
    """Every combination once, in the order of the file; ranges are cut into their `points`."""

    builds = "ablation_suite.sweeps.samplers:grid"
    name: Literal["grid"] = "grid"


class BruteForce(Entry):
    """Every combination once, in a random order, so that any part of it is a fair sample."""

    builds = "ablation_suite.sweeps.samplers:brute_force"
    name: Literal["brute_force"] = "brute_force"
    seed: int = Field(0, ge=0)
    """Seed of the order."""


class HalvingPruner(Entry):
    """Asynchronous successive halving: of the trials at a rung, the best go on (Li et al. 2020, ASHA).

    Rungs are at `min_epochs` and its multiples by powers of `reduction`. The default, since it was the one that kept
    finding the best trials of a noisy search (tests/benchmarks/SWEEPS.md).
    """

    builds = "ablation_suite.sweeps.pruners:halving"
    name: Literal["halving"] = "halving"
    min_epochs: int = Field(2, ge=1)
    """Epochs that every trial gets."""
    reduction: int = Field(3, ge=2)
    """One in so many goes on to the next rung."""


class MedianPruner(Entry):
    """Stops a trial whose best epoch so far is below the median of the finished ones at that epoch.

    Only good trials finish, so that late in a long search it stops half of the good ones at every epoch.
    """

    builds = "ablation_suite.sweeps.pruners:median"
    name: Literal["median"] = "median"
    startup_trials: int = Field(5, ge=0)
    """Finished trials before any is stopped."""
    warmup_epochs: int = Field(1, ge=0)
    """Epochs that every trial gets."""


class HyperbandPruner(Entry):
    """Successive halving at several strengths (Li et al. 2018)."""

    builds = "ablation_suite.sweeps.pruners:hyperband"
    name: Literal["hyperband"] = "hyperband"
    min_epochs: int = Field(1, ge=1)
    """Epochs of the first rung."""
    reduction: int = Field(3, ge=2)
    """One in so many goes on to the next rung."""


class WilcoxonPruner(Entry):
    """Stops a trial whose seeds so far are significantly worse than those of the best trial, seed by seed."""

    builds = "ablation_suite.sweeps.pruners:wilcoxon"
    name: Literal["wilcoxon"] = "wilcoxon"
    p_threshold: float = Field(0.1, gt=0.0, lt=1.0)
    """A smaller p-value stops more carefully."""
    startup_seeds: int = Field(2, ge=0)
    """Seeds that every trial gets."""


class NoPruner(Entry):
    """Every trial runs to its last epoch."""

    builds = "ablation_suite.sweeps.pruners:never"
    name: Literal["none"] = "none"


EXHAUSTIVE = ("grid", "brute_force")
"""Samplers that visit a fixed set of combinations, each once."""
FROM_COMPLETE_ALONE = ("gp", "nsga2")
"""Samplers that learn limits from complete trials alone, so that they need infeasible ones trained."""
FEWEST_SOURCES = 10
"""Complete trials of others that CMA-ES begins with, by the best tenth of them (Nomura et al. 2021)."""
Sampler = tagged(TPE, GP, NSGA2, CMAES, Random, QMC, Grid, BruteForce)
Pruner = tagged(HalvingPruner, MedianPruner, HyperbandPruner, WilcoxonPruner, NoPruner)

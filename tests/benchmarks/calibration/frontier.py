"""How short can any interval be that asks other arms how much seeds vary, if one arm may vary more than the others?

An arm has a difference that is normal with variance r, its own estimate of r with d degrees of freedom, and the others'
estimate of 1 with K - 1 times as many. Any rule that does not mind the unit is a half-width f(ratio of the estimates)
in units of the others' root. Coverage is concave and the mean width linear in f, so that the shortest rule which covers
often enough at every r is a convex problem, solved here on a grid of ratios.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr, stdtrit

from ablation_suite.reports.statistics.moderation import spread_of_seeds
from tests.benchmarks.calibration.crossed import Array

DRAWS = 20_000
KNOTS = np.linspace(-8, 6, 24)  # log ratio of the estimates; beyond the last the arm's own t interval is used
WANTED = 0.93


def frontier(repetitions: int) -> Iterator[str]:
    """The shortest mean width at equal variances, in units of the arm's own t interval."""
    yield (
        "Seeds alone, no noise of images. The mean half-width of the shortest rule there can be, where all arms vary "
        f"alike, over that of the arm's own t interval: it has to cover {WANTED} of the time whether the first arm has "
        "the others' variance or up to 8 times it. So a mean that is a fifth shorter at three seeds is out of reach "
        "for any honest rule; what is in use buys a shorter median with some that are as long as before."
    )
    yield ""
    yield "| seeds | arms | shortest mean | in use: mean | in use: median |"
    yield "| --: | --: | --: | --: | --: |"
    for seeds in (2, 3, 4):
        for arms in (2, 3, 9):
            shortest = _shortest(seeds - 1, arms, np.random.default_rng([6, seeds, arms]))
            mean, median = _in_use(seeds, arms, repetitions, np.random.default_rng([7, seeds, arms]))
            yield f"| {seeds} | {arms} | {shortest:.2f} | {mean:.2f} | {median:.2f} |"


def _in_use(seeds: int, arms: int, repetitions: int, rng: np.random.Generator) -> tuple[float, float]:
    own, shared = np.empty(repetitions), np.empty(repetitions)
    for index in range(repetitions):
        means = rng.standard_normal((arms + 1, seeds))
        for kept, others in ((own, []), (shared, list(means[2:]))):
            found = spread_of_seeds(means[1], means[0], others)
            kept[index] = stdtrit(found.degrees_of_freedom, 0.975) * np.sqrt(found.variance)
    return float(shared.mean() / own.mean()), float(np.median(shared) / np.median(own))


def _shortest(df: int, arms: int, rng: np.random.Generator) -> float:
    own = rng.chisquare(df, DRAWS) / df
    others = np.sqrt(rng.chisquare((arms - 1) * df, DRAWS) / ((arms - 1) * df))
    quantile = stdtrit(df, 0.975)
    ratios = np.exp(np.arange(-3, np.log(8) + 0.01, 0.25))
    places = [_place(np.log(ratio * own / others**2)) for ratio in ratios]

    def half(log_f: Array, index: int) -> Array:
        knot, weight, beyond = places[index]
        f = np.exp(log_f)
        inside = ((1 - weight) * f[knot] + weight * f[knot + 1]) * others
        return np.where(beyond, quantile * np.sqrt(ratios[index] * own), inside)

    def slope(log_f: Array, index: int, factor: Array) -> Array:
        knot, weight, beyond = places[index]
        each = np.where(beyond, 0, factor * others) / DRAWS
        size = len(KNOTS)
        return (np.bincount(knot, each * (1 - weight), size) + np.bincount(knot + 1, each * weight, size)) * np.exp(
            log_f
        )

    def excess(log_f: Array) -> Array:
        wide = [half(log_f, index) / np.sqrt(ratio) for index, ratio in enumerate(ratios)]
        return np.array([np.mean(2 * ndtr(each) - 1) - WANTED for each in wide])

    def excess_slope(log_f: Array) -> Array:
        rows = []
        for index, ratio in enumerate(ratios):
            z = half(log_f, index) / np.sqrt(ratio)
            rows.append(slope(log_f, index, 2 * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi * ratio)))
        return np.array(rows)

    alike = int(np.argmin(np.abs(np.log(ratios))))
    solved = minimize(
        lambda log_f: half(log_f, alike).mean(),
        np.log(np.maximum(quantile * np.exp(KNOTS / 2), 1.3 * stdtrit(arms * df, 0.975))),
        jac=lambda log_f: slope(log_f, alike, np.ones(DRAWS)),
        constraints=[{"type": "ineq", "fun": excess, "jac": excess_slope}],
        method="SLSQP",
        options={"maxiter": 300},
    )
    assert solved.success, solved.message
    return float(solved.fun / (quantile * np.sqrt(own)).mean())


def _place(log_ratio: Array) -> tuple[Array, Array, Array]:
    """The knot below each ratio, how far towards the next it lies, and whether it lies beyond the last."""
    knot = np.clip(np.searchsorted(KNOTS, log_ratio) - 1, 0, len(KNOTS) - 2)
    weight = np.clip((log_ratio - KNOTS[knot]) / (KNOTS[1] - KNOTS[0]), 0, 1)
    return knot, weight, log_ratio > KNOTS[-1]

"""How large is a difference that ended its own search, once it is freed from having been caught at its largest?

A rule that stops at the first "higher" stops more often while the estimate is too large than while it is too small: the
winner's curse. The interval allows for it, the mean does not.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import ArrayLike

from ablation_suite.reports.statistics.intervals import Array
from ablation_suite.reports.statistics.sequential import SeedRule, look_level

_PATHS, _STEPS = 4000, 8


def without_the_curse(treated: ArrayLike, baseline: ArrayLike, rule: SeedRule) -> float:
    """The true difference under which estimates that end with this direction are, on average, the one that was seen.

    treated, baseline: (S, N), paired, decided. Never beyond zero, and never further from it than the estimate. Paths of
    the estimate are simulated with the spreads of seeds and images that were seen, and the rule looks at each.
    Source: the estimate adjusted for its conditional bias, Fan, DeMets and Lan 2004, Journal of Biopharmaceutical
    Statistics 14, 505-530.
    """
    difference = np.asarray(treated, dtype=np.float64) - np.asarray(baseline, dtype=np.float64)
    of_seeds, of_images = difference.mean(axis=1), difference.mean(axis=0)
    num_seeds, num_images = difference.shape
    residual = difference - of_seeds[:, None] - of_images + difference.mean()
    rest = float((residual**2).sum()) / max((num_seeds - 1) * (num_images - 1), 1) / num_images  # of one seed's mean
    images = max(float(of_images.var(ddof=1)) / num_images - rest / num_seeds, 0.0)
    return adjusted(float(difference.mean()), float(of_seeds.var(ddof=1)), images, rest, num_images, rule)


def adjusted(estimate: float, seeds: float, images: float, rest: float, num_images: int, rule: SeedRule) -> float:
    """The same from variances: of one seed's mean, of the images' part of it that stays, of that which does not."""
    seen = abs(estimate)
    low, high = 0.0, seen
    for _ in range(_STEPS):
        middle = (low + high) / 2
        mean = _mean_of_the_higher(middle, seeds, images, rest, num_images, rule)
        low, high = (low, middle) if mean > seen else (middle, high)
    return float(np.copysign((low + high) / 2, estimate))


def _mean_of_the_higher(
    truth: float, seeds: float, images: float, rest: float, num_images: int, rule: SeedRule
) -> float:
    """The mean estimate of those paths that end with "higher"; infinite where none does."""
    of_images, means, variances = _paths(rule.min, rule.max)
    ended = np.full(len(of_images), np.nan)
    going = np.ones(len(of_images), dtype=bool)
    for row, num_seeds in enumerate(range(rule.min, rule.max + 1)):
        at = truth + np.sqrt(images) * of_images + np.sqrt(seeds) * means[row]
        half = _half(seeds * variances[row] / num_seeds, images, rest / num_seeds, num_seeds, num_images, rule)
        higher = going & (at > half)
        ended[higher] = at[higher]
        going &= ~(higher | (at < -half))
    return float(np.nanmean(ended)) if np.isfinite(ended).any() else np.inf


def _half(seeds: Array, images: float, rest: float, num_seeds: int, num_images: int, rule: SeedRule) -> Array:
    """Half the width of the crossed interval at a look, of paths with this variance between the seeds' means."""
    degrees, critical = _criticals(num_seeds, num_images, look_level(num_seeds, rule))
    both = np.maximum(seeds + images, images + rest)
    df_rest = (num_seeds - 1) * max(num_images - 1, 1)
    uncertainty = seeds**2 / (num_seeds - 1) + (images + rest) ** 2 / (num_images + 1) + rest**2 / df_rest
    df = np.divide(both**2, uncertainty, out=np.full_like(both, num_seeds - 1.0), where=uncertainty > 0)
    factor = np.interp(df, degrees, critical)
    return np.maximum(factor * np.sqrt(both), critical[0] * np.sqrt(seeds))


@cache
def _criticals(num_seeds: int, num_images: int, level: float) -> tuple[Array, Array]:
    from scipy.special import stdtrit

    degrees = np.geomspace(num_seeds - 1, max(num_images + 1, num_seeds) * 4, 200)
    return degrees, stdtrit(degrees, (1 + level) / 2)


@cache
def _paths(first: int, last: int) -> tuple[Array, Array, Array]:
    """Standard normal: the images' part (R,), and by look the seeds' mean and variance (looks, R)."""
    rng = np.random.default_rng(0)  # a constant of the rule, so that the same runs give the same report
    seeds = rng.standard_normal((last, _PATHS))
    looks = range(first, last + 1)
    means, variances = (np.array([moment(seeds[:look]) for look in looks]) for moment in (_mean, _variance))
    return rng.standard_normal(_PATHS), means, variances


def _mean(seeds: Array) -> Array:
    return np.asarray(seeds.mean(axis=0))


def _variance(seeds: Array) -> Array:
    return np.asarray(seeds.var(axis=0, ddof=1))

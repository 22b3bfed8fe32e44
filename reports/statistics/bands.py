"""Along which epochs do two paired arms differ? A band around their difference that holds at all epochs at once."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ablation_suite.reports.statistics.intervals import Array

FEWEST_SEEDS = 3
"""Two do not tell a lasting difference of their own from one of the arms: bands of theirs cover as little as 0.89."""
_NODES = 40


@dataclass(frozen=True, kw_only=True)
class Band:
    """The mean difference at each epoch (E,), half the width of the band there (E,), and its level.

    `critical` is the half-width in standard errors, `degrees_of_freedom` those of the pooled variances.
    """

    mean: Array
    half: Array
    level: float
    critical: float
    degrees_of_freedom: float

    @property
    def low(self) -> Array:
        return self.mean - self.half

    @property
    def high(self) -> Array:
        return self.mean + self.half

    @property
    def signs(self) -> list[int]:
        """At each epoch 1 where the band lies above zero, -1 where it lies below, else 0."""
        return [int(sign) for sign in (self.low > 0).astype(int) - (self.high < 0)]


def simultaneous_band(differences: ArrayLike, level: float = 0.95) -> Band:
    """A band that holds the true mean difference of seeds at all epochs together with probability `level`.

    differences: (S, E), one row per pair of runs, S at least FEWEST_SEEDS. Only seeds are a sample: the truth is that
    of the images which the differences were measured on.

    The variance at an epoch is pooled with that of its neighbours, a tenth of the curve to each side, because the
    largest of many t values with a variance of its own each is beyond all use at few seeds; where the epoch's own is
    larger, it counts. The pooled degrees of freedom are those of correlated squares (Box 1954, Annals of Mathematical
    Statistics 25, 290-302). The chance to leave the band anywhere is bounded by that of leaving it from one epoch to
    the next (Worsley 1982, Biometrika 69, 297-302). Both use the correlations of epochs so far apart, over all the
    curve.
    Errors: ValueError for another shape, too few seeds, values that are not finite or an impossible level.
    """
    rows = np.asarray(differences, dtype=np.float64)
    if rows.ndim != 2 or rows.shape[0] < FEWEST_SEEDS or rows.shape[1] == 0:
        raise ValueError(f"(seeds, epochs) with {FEWEST_SEEDS} seeds or more are needed, not {rows.shape}")
    if not np.isfinite(rows).all():
        raise ValueError("differences must be finite")
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    num_seeds, num_epochs = rows.shape
    mean = rows.mean(axis=0)
    residual = rows - mean  # S E
    own = (residual**2).sum(axis=0) / (num_seeds - 1)  # E
    width = min(2 * max(1, num_epochs // 10) + 1, num_epochs)
    pooled = _pooled(own, width)
    alike = _correlations(np.divide(residual, np.sqrt(pooled), out=np.zeros_like(rows), where=pooled > 0), width)
    lags = np.arange(1, width)
    freedom = (num_seeds - 1) * width**2 / (width + 2 * ((width - lags) * alike[1:] ** 2).sum())
    critical = _critical(num_epochs, float(alike[1]) if num_epochs > 1 else 0.0, float(freedom), level)
    half = critical * np.sqrt(np.maximum(own, pooled) / num_seeds)
    # Where nothing varies there is no spread to judge by, and no sign.
    half = np.where(half > 0, half, np.abs(mean))
    return Band(mean=mean, half=half, level=level, critical=critical, degrees_of_freedom=float(freedom))


def _pooled(variances: Array, width: int) -> Array:
    """The mean over `width` neighbours of each; at the ends of the curve over the nearest so many."""
    means = np.convolve(variances, np.full(width, 1 / width), mode="valid")
    nearest = np.clip(np.arange(len(variances)) - width // 2, 0, len(means) - 1)
    return np.asarray(means[nearest])


def _correlations(standardised: Array, width: int) -> Array:
    """Of epochs that lie 0, 1, ... width - 1 apart, as means over the curve: (width,)."""
    num_epochs = standardised.shape[1]
    products = [
        (standardised[:, lag:] * standardised[:, : num_epochs - lag]).sum(axis=0).mean() for lag in range(width)
    ]
    return np.array(products) / products[0] if products[0] > 0 else np.ones(width)


def _critical(num_epochs: int, correlation: float, freedom: float, level: float) -> float:
    """How many standard errors no epoch exceeds with probability `level`."""
    from scipy.special import stdtr, stdtrit

    correlation = min(max(correlation, 0.0), 0.99)
    low, high = (float(stdtrit(freedom, 1 - (1 - level) / 2 / tests)) for tests in (1, num_epochs))
    for _ in range(40):
        middle = (low + high) / 2
        beyond = 2 * stdtr(freedom, -middle) + (num_epochs - 1) * _leaves(middle, correlation, freedom)
        low, high = (middle, high) if beyond > 1 - level else (low, middle)
    return high


def _leaves(critical: float, correlation: float, freedom: float) -> float:
    """The chance that the first of two correlated t values lies within, and the second one beyond.

    Given the first, the second is t with one degree of freedom more, moved and stretched.
    """
    from scipy.special import stdtr

    nodes, weights = _QUADRATURE
    first = critical * (nodes + 1) / 2  # 0 to critical; the other half is the same by symmetry
    stretch = np.sqrt((freedom + first**2) / (freedom + 1) * (1 - correlation**2))
    beyond = sum(stdtr(freedom + 1, (-critical - sign * correlation * first) / stretch) for sign in (-1, 1))
    return float(critical * (weights * _density(first, freedom) * beyond).sum())


def _density(t: Array, freedom: float) -> Array:
    from scipy.special import gammaln

    scale = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - np.log(freedom * np.pi) / 2
    return np.asarray(np.exp(scale - (freedom + 1) / 2 * np.log1p(t**2 / freedom)))


_QUADRATURE = np.polynomial.legendre.leggauss(_NODES)

"""What does the crossed interval say of many experiments at once? The reports' formulas, for arrays (R, A, S, N)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtr, stdtrit

from ablation_suite.reports.statistics.intervals import difference_interval
from tests.benchmarks.calibration.draw import Correct, Draw, pieces

Array = NDArray[np.float64]
NONE = 1e-150  # stands for no spread


@dataclass(frozen=True, kw_only=True)
class Found:
    """Per repetition and arm beside the baseline, (R, K): middle of the interval, and its (error, df) parts."""

    estimate: Array
    centre: Array
    errors: Array  # 3 R K
    degrees: Array  # 3 R K
    images: Array  # R K, variance of the mean by the images that were drawn
    rest: Array  # R K, by what is neither the seeds' nor the images'

    def half(self, level: float = 0.95) -> Array:
        """Half of the interval's width at a level."""
        return np.max(stdtrit(self.degrees, (1 + level) / 2) * self.errors, axis=0)

    def p(self) -> Array:
        """The p value that belongs to the interval."""
        return np.max(2 * stdtr(self.degrees, -np.abs(self.centre) / self.errors), axis=0)

    def p_margin(self, margin: float) -> Array:
        """The p value of a difference of the margin or more; a part without spread gives way to the others."""
        p = stdtr(self.degrees, -(margin - np.abs(self.centre)) / self.errors)
        return np.max(np.where(self.errors > NONE, p, 0), axis=0)

    def covers(self, truth: float | Array, level: float = 0.95) -> Array:
        """Whether the interval holds the true difference."""
        return np.abs(self.centre - truth) <= self.half(level)


def crossed(correct: Correct, *, added: bool = True) -> Found:
    """The interval of each arm against the first.

    added: one gained and one lost image more, as the reports have it; False: the plain crossed interval.
    """
    x = correct.astype(np.float32)
    seeds, images = x.shape[2:]
    difference = x[:, 1:] - x[:, :1]  # R K S N
    estimate = difference.mean(axis=(2, 3), dtype=np.float64)
    of_seeds = difference.mean(axis=3, dtype=np.float64)  # R K S
    of_images = difference.mean(axis=2, dtype=np.float64)  # R K N
    total = (difference**2).sum(axis=(2, 3), dtype=np.float64)
    ss_seeds = images * ((of_seeds - estimate[..., None]) ** 2).sum(axis=2)
    ss_images = seeds * ((of_images - estimate[..., None]) ** 2).sum(axis=2)
    ss_rest = np.maximum(total - seeds * images * estimate**2 - ss_seeds - ss_images, 0)

    variance, df_seeds = of_seeds.var(axis=2, ddof=1), np.full(estimate.shape, seeds - 1.0)
    if added:
        of_images = np.concatenate([of_images, np.ones_like(of_images[..., :1]), -np.ones_like(of_images[..., :1])], 2)
    size = of_images.shape[2]
    by_seeds, by_images = variance / seeds, of_images.var(axis=2, ddof=1) / size
    df_images, df_rest = np.full(estimate.shape, size - 1.0), (seeds - 1) * (images - 1)
    rest = ss_rest / df_rest / (seeds * images)
    both = np.maximum.reduce([by_seeds + by_images - rest, by_seeds, by_images])
    uncertainty = by_seeds**2 / df_seeds + by_images**2 / df_images + rest**2 / df_rest
    df_both = np.divide(both**2, uncertainty, out=np.zeros_like(both), where=uncertainty > 0)
    return Found(
        estimate=estimate,
        centre=of_images.mean(axis=2),
        errors=np.sqrt(np.maximum([both, by_seeds, by_images], NONE**2)),
        degrees=np.stack([np.maximum(df_both, np.minimum(df_seeds, df_images)), df_seeds, df_images]),
        images=ss_images / (images - 1) / (seeds * images),
        rest=rest,
    )


def all_found(draw: Draw, repetitions: int, size: int, rng: np.random.Generator, **options: bool) -> Found:
    """`crossed` of all repetitions of a draw."""
    found = [crossed(piece, **options) for piece in pieces(draw, repetitions, size, rng)]
    return Found(
        estimate=np.concatenate([each.estimate for each in found]),
        centre=np.concatenate([each.centre for each in found]),
        errors=np.concatenate([each.errors for each in found], axis=1),
        degrees=np.concatenate([each.degrees for each in found], axis=1),
        images=np.concatenate([each.images for each in found]),
        rest=np.concatenate([each.rest for each in found]),
    )


def check(draw: Draw, rng: np.random.Generator, repetitions: int = 5) -> None:
    """Stop if the arrays' formulas are not those of the reports."""
    correct = draw(repetitions, rng)
    found = crossed(correct)
    half, p, p_margin = found.half(), found.p(), found.p_margin(0.1)
    for row, experiment in enumerate(correct):
        for arm in range(1, len(experiment)):
            one = difference_interval(experiment[arm], experiment[0], margin=0.1)
            told, at = (one.low, one.high, one.p, one.p_margin), (row, arm - 1)
            centre, width = found.centre[at], half[at]
            assert np.allclose(told, (centre - width, centre + width, p[at], p_margin[at]), atol=1e-6), told

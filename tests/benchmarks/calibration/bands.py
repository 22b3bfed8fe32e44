"""How often do the bands along the epochs hold the truth at all epochs at once? Curves that wander, settle and jump."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from scipy.special import stdtrit

from ablation_suite.reports.statistics.bands import simultaneous_band
from tests.benchmarks.calibration.crossed import Array

LOWEST = 0.925  # wanted
Curves = Callable[[np.random.Generator, int, int], Array]
"""(rng, seeds, epochs) -> differences (S, E) whose true mean is zero at every epoch."""


def bands(repetitions: int) -> Iterator[str]:
    """Seeds, epochs and what a run's difference does from one epoch to the next."""
    repetitions = max(repetitions // 2, 1)  # every curve is judged alone
    yield (
        "The difference of two arms along the epochs, of seeds whose curves go their own ways around a known mean. "
        "Restless: every epoch anew. Sticky: each epoch like the one before, a correlation of 0.9. Lasting: half of "
        "the variance is the seed's own for good. Parted: nineteen twentieths. Settling: what moves shrinks to nothing "
        "and leaves what lasts. Annealed: all of it shrinks tenfold. Step: it falls to a fifth at six tenths of the "
        "way. Jumps: one epoch in a hundred is thrown far off. Counted: a standard deviation of 0.6 images, and whole "
        "images only. Coverage: the band holds the truth at all epochs; at least "
        f"{LOWEST} is wanted. One by one: so do paired t intervals, each of 95 %. Width: the median band over the "
        "median of t intervals by Bonferroni, which hold as well. The images are the same for all; none are drawn. "
        f"{repetitions} repetitions, a standard error of {np.sqrt(0.95 * 0.05 / repetitions):.4f} at 0.95."
    )
    yield ""
    yield "| seeds | epochs | curves | coverage | one by one | width | |"
    yield "| --: | --: | --- | --: | --: | --: | --- |"
    settings = product((3, 5, 10), (10, 30, 100), KINDS.items())
    for index, (seeds, epochs, (name, draw)) in enumerate(settings):
        rng = np.random.default_rng([15, index])
        drawn = np.array([draw(rng, seeds, epochs) for _ in range(repetitions)])  # R S E
        mean, error = drawn.mean(axis=1), drawn.std(axis=1, ddof=1) / np.sqrt(seeds)  # R E
        half = np.array([simultaneous_band(each).half for each in drawn])
        alone, together = (stdtrit(seeds - 1, 1 - 0.025 / tests) * error for tests in (1, epochs))
        covers, one_by_one = ((np.abs(mean) <= each).all(axis=1).mean() for each in (half, alone))
        width = np.median(half) / np.median(together)
        yield (
            f"| {seeds} | {epochs} | {name} | {covers:.3f} | {one_by_one:.3f} | {width:.2f} | "
            f"{'outside' if covers < LOWEST else ''} |"
        )


def _restless(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    return rng.standard_normal((seeds, epochs))


def _sticky(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    fresh = rng.standard_normal((seeds, epochs))
    for epoch in range(1, epochs):
        fresh[:, epoch] = 0.9 * fresh[:, epoch - 1] + np.sqrt(1 - 0.9**2) * fresh[:, epoch]
    return fresh


def _lasting(share: float) -> Curves:
    def draw(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
        return np.sqrt(share) * rng.standard_normal((seeds, 1)) + np.sqrt(1 - share) * _restless(rng, seeds, epochs)

    return draw


def _settling(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    moving = np.maximum(1 - _way(epochs), 0.02)
    return 0.5 * rng.standard_normal((seeds, 1)) + moving * _restless(rng, seeds, epochs)


def _annealed(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    return 10 ** -_way(epochs) * _lasting(0.3)(rng, seeds, epochs)


def _step(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    return np.where(_way(epochs) < 0.6, 1.0, 0.2) * _lasting(0.3)(rng, seeds, epochs)


def _jumps(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    thrown = 8 * (rng.random((seeds, epochs)) < 0.01) * rng.standard_normal((seeds, epochs))
    return _lasting(0.3)(rng, seeds, epochs) + thrown


def _counted(rng: np.random.Generator, seeds: int, epochs: int) -> Array:
    return np.round(0.6 * _lasting(0.3)(rng, seeds, epochs))


def _way(epochs: int) -> Array:
    return np.linspace(0, 1, epochs)


KINDS: dict[str, Curves] = {
    "restless": _restless,
    "sticky": _sticky,
    "lasting": _lasting(0.5),
    "parted": _lasting(0.95),
    "settling": _settling,
    "annealed": _annealed,
    "step": _step,
    "jumps": _jumps,
    "counted": _counted,
}

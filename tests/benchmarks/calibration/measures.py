"""How often do the intervals of the metrics beside accuracy hold the truth?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from ablation_suite.core.metrics.measures import Array, Labels, metric_of
from ablation_suite.reports.statistics.intervals import difference_interval

CLASSES = ("a", "b", "c", "d")
MEASURES = ("balanced_accuracy", "macro_f1", "auroc", "kappa", "nll", "brier")
LOWEST, HIGHEST = 0.925, 0.995
SIGNAL, BETTER, ARM_BY_IMAGE, REST, SEED = 2.0, 0.15, 0.3, 0.4, 0.1  # of logits whose sd between images is 1


def measures(repetitions: int) -> Iterator[str]:
    """Each metric at each number of seeds, images, and balance of the classes."""
    repetitions //= 4
    yield (
        f"The difference of two arms in the other metrics, {len(CLASSES)} classes, as frequent as each other or from "
        f"10 to 1. Of a run's logits the true class has {SIGNAL:g} more, in the second arm {SIGNAL + BETTER:g}; images "
        f"vary by 1 in every class, arm by image by {ARM_BY_IMAGE:g}, seed by class by {SEED:g}, the rest by {REST:g}. "
        "The true difference is that of 300 other seeds a side on 20,000 images each, labels and images drawn anew. "
        f"{repetitions:,} experiments a row, so that a share of 0.95 has a standard error of "
        f"{np.sqrt(0.95 * 0.05 / repetitions):.3f}. Wanted: {LOWEST} to {HIGHEST}."
    )
    rows, outside = [], []
    for index, balance in enumerate((1.0, 10.0)):
        shares = np.geomspace(balance, 1, len(CLASSES)) / np.geomspace(balance, 1, len(CLASSES)).sum()
        truth = _truth(shares, np.random.default_rng([14, index]))
        for at, (seeds, images) in enumerate(product((3, 5, 10), (300, 1000, 5000))):
            rng = np.random.default_rng([14, index, at])
            covers = np.mean([_covers(seeds, images, shares, truth, rng) for _ in range(repetitions)], axis=0)
            bad = [name for name, each in zip(MEASURES, covers, strict=True) if not LOWEST <= each <= HIGHEST]
            outside += bad
            told = " | ".join(f"{each:.3f}" for each in covers)
            rows.append(f"| {'1:10' if balance > 1 else 'equal'} | {seeds} | {images} | {told} | {', '.join(bad)} |")
    yield f"Outside: {len(outside)} of {len(rows) * len(MEASURES)}."
    yield ""
    yield f"| classes | seeds | images | {' | '.join(name.replace('_', ' ') for name in MEASURES)} | outside |"
    yield f"| --- | --: | --: |{' --: |' * len(MEASURES)} --- |"
    yield from rows


def _covers(seeds: int, images: int, shares: Array, truth: Array, rng: np.random.Generator) -> list[bool]:
    labels = rng.choice(len(shares), size=images, p=shares)
    baseline, treated = _both_arms(seeds, labels, rng)  # M S N each
    found = [difference_interval(after, before) for after, before in zip(treated, baseline, strict=True)]
    return [each.low <= true <= each.high for each, true in zip(found, truth, strict=True)]


def _truth(shares: Array, rng: np.random.Generator) -> Array:
    """The true difference of each metric (M,)."""
    total = np.zeros(len(MEASURES))
    for _ in range(300):
        baseline, treated = _both_arms(1, rng.choice(len(shares), size=20_000, p=shares), rng)
        total += (treated - baseline).mean(axis=(1, 2))
    return total / 300


def _both_arms(seeds: int, labels: Labels, rng: np.random.Generator) -> NDArray[np.float64]:
    """What the images contribute to each metric: (2, M, S, N), the baseline first."""
    shape = (len(labels), len(CLASSES))
    image, true = rng.standard_normal(shape), np.eye(len(CLASSES))[labels]
    found = np.empty((2, len(MEASURES), seeds, len(labels)))
    for arm in range(2):
        of_arm = image + ARM_BY_IMAGE * rng.standard_normal(shape) + (SIGNAL + arm * BETTER) * true
        for seed in range(seeds):
            of_seed = SEED * rng.standard_normal(len(CLASSES)) + REST * rng.standard_normal(shape)
            p = softmax(of_arm + of_seed, axis=1)
            found[arm, :, seed] = [metric_of(f"val/{name}", CLASSES).contributions(p, labels) for name in MEASURES]
    return found

"""What does looking after every seed cost and save, beside fixed numbers of seeds on the same experiments?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ablation_suite.reports.statistics.sequential import SeedRule, look_level
from tests.benchmarks.calibration.crossed import Array, crossed
from tests.benchmarks.calibration.draw import latent, pieces

RULE = SeedRule(min=3, max=20, until="decided")
IMAGES = 1000


def stopping(repetitions: int) -> Iterator[str]:
    """Direction, equivalence, cost."""
    yield (
        f"A look after every seed from {RULE.min} to {RULE.max}, {IMAGES} images. Direction: how often the rule says "
        "higher or lower, which is a false alarm where the effect is zero. Naive: the same looks, stopping at any "
        "p < 0.05. Fixed: the number of seeds that a single look needs for the same power, or for 0.99 where the "
        "rule's power is above that. Saved counts seeds of one arm; with the baseline's, twice as many runs."
    )
    yield ""
    yield "| seed noise | effect (pp) | margin (pp) | direction | naive | mean seeds | fixed | saved |"
    yield "| --: | --: | --: | --: | --: | --: | --: | --: |"
    noises = (0.0, 0.05, 0.15)
    plans: list[tuple[float, float, float | None]] = [(*each, None) for each in product(noises, (0.0, 0.02, 0.04))]
    plans += [(noise, 0.0, 0.02) for noise in noises]
    for index, plan in enumerate(plans):
        yield _row(*plan, repetitions, np.random.default_rng([5, index]))


def _row(noise: float, effect: float, margin: float | None, repetitions: int, rng: np.random.Generator) -> str:
    looks = np.arange(RULE.min, RULE.max + 1)
    low, high, alone = _at_looks(noise, effect, repetitions, rng)
    decided = (low > 0) | (high < 0)
    equal = (low > -margin) & (high < margin) if margin is not None else np.zeros_like(decided)
    stopped = decided | equal
    last = np.where(stopped.any(axis=0), stopped.argmax(axis=0), len(looks) - 1)  # R
    reached = np.take_along_axis(decided & ~equal, last[None], axis=0)[0]
    power, enough = np.maximum.accumulate(alone.mean(axis=1)), reached.mean()
    fixed = np.interp(min(enough, 0.99), power, looks) if effect > 0 else None
    seeds = looks[last].mean()
    told = ("", "") if fixed is None else (f"{fixed:.1f}", f"{fixed - seeds:.1f}")
    return (
        f"| {noise:g} | {100 * effect:g} | {'' if margin is None else f'{100 * margin:g}'} | {enough:.3f} | "
        f"{alone.any(axis=0).mean():.3f} | {seeds:.1f} | {told[0]} | {told[1]} |"
    )


def _at_looks(noise: float, effect: float, repetitions: int, rng: np.random.Generator) -> tuple[Array, Array, Array]:
    """Ends of the repeated intervals, and whether a single look would have called it: (looks, R) each."""
    draw = latent(RULE.max, IMAGES, [noise] * 2, [0.87, 0.87 + effect])
    looks = range(RULE.min, RULE.max + 1)
    found: list[list[Array]] = []
    for piece in pieces(draw, repetitions, 2 * RULE.max * IMAGES, rng):
        at = [crossed(piece[:, :, :seeds]) for seeds in looks]
        halves = [each.half(look_level(seeds, RULE)) for each, seeds in zip(at, looks, strict=True)]
        ends = [[each.centre - half, each.centre + half] for each, half in zip(at, halves, strict=True)]
        found.append(
            [np.array([[a[:, 0], b[:, 0], each.p()[:, 0] < 0.05] for (a, b), each in zip(ends, at, strict=True)])]
        )
    low, high, alone = np.concatenate([each[0] for each in found], axis=2).transpose(1, 0, 2)
    return low, high, alone.astype(bool)

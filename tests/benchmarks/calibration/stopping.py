"""What does looking after every seed cost and save, beside fixed numbers of seeds on the same experiments?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
from scipy.special import stdtr, stdtrit

from ablation_suite.reports.statistics.curse import adjusted
from ablation_suite.reports.statistics.sequential import HOPELESS, SeedRule, look_level
from tests.benchmarks.calibration.crossed import Array, Found, crossed
from tests.benchmarks.calibration.draw import latent, pieces

RULE = SeedRule(min=3, max=20, until="decided")
IMAGES = 1000
FREED = 100


def stopping(repetitions: int) -> Iterator[str]:
    """Direction, equivalence, cost."""
    yield (
        f"A look after every seed from {RULE.min} to {RULE.max}, {IMAGES} images. Direction: how often the rule says "
        "higher or lower, which is a false alarm where the effect is zero. Naive: the same looks, stopping at any "
        f"p < 0.05. An arm whose chance to be decided at {RULE.max} is below {HOPELESS} gets no more seeds; “to the "
        "end” goes on all the same. Fixed: the number of seeds that a single look needs for the same power, or for "
        "0.99 where the rule's power is above that. Saved counts seeds of one arm; with the baseline's, twice as many "
        "runs. Too large: the mean error of the estimates that ended with “higher”, the winner's curse. Freed: that of "
        f"the estimates that a report tells beside them, and the root mean squared errors of both, of {FREED} such "
        "ends at most. Freeing helps where the rule seldom decides, which is where the curse is; where it nearly "
        "always does, it takes too much off those that lie at the edge, so that both are told. Covered: the true "
        "difference lies in the interval at which the rule stopped."
    )
    yield ""
    yield (
        "| seed noise | effect (pp) | margin (pp) | direction | naive | mean seeds | to the end: direction "
        "| mean seeds | fixed | saved | too large (pp) | freed (pp) | errors: seen, freed | covered |"
    )
    yield "|" + " --: |" * 14
    noises = (0.0, 0.05, 0.15)
    plans: list[tuple[float, float, float | None]] = [(*each, None) for each in product(noises, (0.0, 0.02, 0.04))]
    plans += [(noise, 0.0, 0.02) for noise in noises]
    for index, plan in enumerate(plans):
        yield _row(*plan, repetitions, np.random.default_rng([5, index]))


def _row(noise: float, effect: float, margin: float | None, repetitions: int, rng: np.random.Generator) -> str:
    looks = np.arange(RULE.min, RULE.max + 1)
    low, high, alone, chance, estimate, *variances = _at_looks(noise, effect, margin, repetitions, rng)
    decided = (low > 0) | (high < 0)
    equal = (low > -margin) & (high < margin) if margin is not None else np.zeros_like(decided)
    last = _last(decided | equal | (chance < HOPELESS))
    reached = _at(decided & ~equal, last)
    to_the_end = _last(decided | equal)
    power, enough = np.maximum.accumulate(alone.mean(axis=1)), reached.mean()
    fixed = np.interp(min(enough, 0.99), power, looks) if effect > 0 else None
    seeds = looks[last].mean()
    told = ("", "") if fixed is None else (f"{fixed:.1f}", f"{fixed - seeds:.1f}")
    higher = reached & (_at(low, last) > 0)
    too_large = f"{100 * (_at(estimate, last)[higher].mean() - effect):.1f}" if higher.sum() >= 20 else ""
    seen, freed = _freed(_at(estimate, last), np.array([_at(each, last) for each in variances]), higher)
    errors = " and ".join(f"{100 * np.sqrt(np.mean((each - effect) ** 2)):.1f}" for each in (seen, freed))
    freed_told = (f"{100 * (freed.mean() - effect):.1f}", errors) if higher.sum() >= 20 else ("", "")
    covered = (_at(low, last) <= effect) & (effect <= _at(high, last))
    return (
        f"| {noise:g} | {100 * effect:g} | {'' if margin is None else f'{100 * margin:g}'} | {enough:.3f} | "
        f"{(alone > 0).any(axis=0).mean():.3f} | {seeds:.1f} | {_at(decided & ~equal, to_the_end).mean():.3f} | "
        f"{looks[to_the_end].mean():.1f} | {told[0]} | {told[1]} | {too_large} | "
        f"{' | '.join(freed_told)} | {covered.mean():.3f} |"
    )


def _freed(estimate: Array, variances: Array, higher: Array) -> tuple[Array, Array]:
    """Of the first ends with “higher”: their estimates, and those without the winner's curse."""
    rows = np.flatnonzero(higher)[:FREED]
    freed = [adjusted(estimate[row], *variances[:, row], IMAGES, RULE) for row in rows]
    return estimate[rows], np.array(freed)


def _last(stopped: Array) -> Array:
    """The look at which each repetition ends: (R,)."""
    return np.where(stopped.any(axis=0), stopped.argmax(axis=0), len(stopped) - 1)


def _at(values: Array, last: Array) -> Array:
    return np.take_along_axis(values, last[None], axis=0)[0]


def _at_looks(noise: float, effect: float, margin: float | None, repetitions: int, rng: np.random.Generator) -> Array:
    """What each look says: (8, looks, R).

    Ends of the repeated intervals, whether a single look would have called it, chance, estimate, and the variances that
    `curse.adjusted` takes.
    """
    draw = latent(RULE.max, IMAGES, [noise] * 2, [0.87, 0.87 + effect])
    found = []
    for piece in pieces(draw, repetitions, 2 * RULE.max * IMAGES, rng):
        rows = []
        for seeds in range(RULE.min, RULE.max + 1):
            at = crossed(piece[:, :, :seeds])
            half = at.half(look_level(seeds, RULE))
            ends = (at.centre - half, at.centre + half)
            chance = chances(at, seeds, margin)
            rest = at.rest * seeds  # of one seed's mean
            variances = (at.errors[1] ** 2 * seeds, np.maximum(at.images - at.rest, 0), rest)
            rows.append([each[:, 0] for each in (*ends, at.p() < 0.05, chance, at.estimate, *variances)])
        found.append(np.array(rows, dtype=np.float64))
    return np.concatenate(found, axis=2).transpose(1, 0, 2)


def chances(at: Found, seeds: int, margin: float | None) -> Array:
    """`sequential.chance_to_decide` of all repetitions (R, K)."""
    level = look_level(RULE.max, RULE)
    widest = (stdtrit(at.degrees, (1 + level) / 2) * at.errors).argmax(axis=0)
    error = np.take_along_axis(at.errors, widest[None], axis=0)[0]
    of_seeds = at.errors[1] ** 2 * seeds
    remaining = (1 / seeds - 1 / RULE.max) * of_seeds
    half = stdtrit(RULE.max - 1, (1 + level) / 2) * np.sqrt(np.maximum(error**2 - remaining, of_seeds / RULE.max))
    spread = np.maximum(np.sqrt(remaining), 1e-12)
    chance = stdtr(seeds - 1, (-half - at.centre) / spread) + stdtr(seeds - 1, (at.centre - half) / spread)
    inside = (margin or 0.0) - half
    equal = stdtr(seeds - 1, (inside - at.centre) / spread) - stdtr(seeds - 1, (-inside - at.centre) / spread)
    return chance + np.where(inside > 0, equal, 0)

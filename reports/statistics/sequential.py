"""Which arms need more seeds, and what may be said after having looked so often?

Stopping at the first p < 0.05 raises false alarms to several times their level. Here the look at S seeds spends a
nominal level in proportion to S: less early, when two degrees of freedom know little, than the constant level of Pocock
(1977, Biometrika 64, 191-199), and more late. The factor comes from simulated paired t tests. The intervals at these
levels hold at all looks together, so one may stop for any reason: a direction, equivalence, or precision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from ablation_suite.reports.statistics.comparison import Comparison, SeedScores, compare, pair
from ablation_suite.reports.statistics.intervals import Array, Interval, difference_interval

HOPELESS = 0.05
"""An arm whose chance to be decided at the most seeds is lower gets no more. It costs no validity, and up to
6 points of power (CALIBRATION.md)."""
_NO_SPREAD = 1e-12


@dataclass(frozen=True, kw_only=True)
class SeedRule:
    """Train `min` seeds, then one more at a time up to `max`, until the answer is there.

    until: "decided" stops at a verdict other than undecided, or where the most seeds would hardly reach one; precision:
    stops at this half-width of the interval, in units of the score. Exactly one of the two. margin: as for
    `statistics.verdict`.
    Errors: ValueError for impossible values.
    """

    min: int
    max: int
    until: Literal["decided"] | None = None
    precision: float | None = None
    margin: float | None = None
    level: float = 0.95

    def __post_init__(self) -> None:
        if not 2 <= self.min <= self.max:
            raise ValueError(f"seeds need 2 <= min <= max, not min {self.min} and max {self.max}")
        if (self.until is None) == (self.precision is None):
            raise ValueError("seeds need either until: decided or a precision, not both or neither")
        if self.precision is not None and self.precision <= 0:
            raise ValueError(f"precision must be positive, not {self.precision}")


def next_seeds(scores: Mapping[str, SeedScores], baseline: str, rule: SeedRule) -> dict[str, int]:
    """Say which arms need more seeds, and how many finished seeds each should have at the next look.

    scores: as for `statistics.compare`, only runs that are finished. The baseline is among the answer where an arm's
    next look needs a pair that the baseline lacks. An empty answer: done.
    """
    rows = compare(scores, baseline, margin=rule.margin, interval=partial(repeated_interval, rule=rule))
    targets = {
        row.arm: _next_look(row, rule)
        for row in rows
        if row.arm != baseline and not _settled(row, rule) and not _hopeless(row, scores, baseline, rule)
    }
    needed = {arm: target for arm, target in targets.items() if len(scores[arm]) < target}
    furthest = max(targets.values(), default=0)
    if len(scores[baseline]) < furthest:
        needed[baseline] = furthest
    return needed


def _settled(row: Comparison, rule: SeedRule) -> bool:
    if row.interval is None or row.num_pairs < rule.min:
        return False
    if row.num_pairs >= rule.max:
        return True
    if rule.precision is not None:
        return row.interval.half_width <= rule.precision
    return row.verdict != "undecided"


def _hopeless(row: Comparison, scores: Mapping[str, SeedScores], baseline: str, rule: SeedRule) -> bool:
    if rule.until is None or row.num_pairs < rule.min:
        return False
    return chance_to_decide(*pair(scores[row.arm], scores[baseline]), rule) < HOPELESS


def _next_look(row: Comparison, rule: SeedRule) -> int:
    return max(rule.min, row.num_pairs + 1)


def repeated_interval(
    treated: ArrayLike,
    baseline: ArrayLike,
    rule: SeedRule,
    margin: float | None = None,
) -> Interval:
    """Estimate a difference so that the interval and p hold although every number of seeds was looked at.

    treated, baseline: (S, N), paired. The interval covers at all looks together with probability `rule.level`; p is the
    probability, under no difference, that any look is as extreme as this one, so it may be compared with 1 - level
    whenever one stops, and adjusted by Holm. Fewer seeds than `min` (runs missing) are treated as one more early look.
    Source: Jennison and Turnbull 1989, JRSS B 51, 305-361 (repeated confidence intervals and p values).
    """
    num_seeds = len(np.asarray(treated))
    found = difference_interval(treated, baseline, level=look_level(num_seeds, rule), margin=margin)
    scale = rule.max / min(num_seeds, rule.max)
    p_margin = None
    if found.p_margin is not None:  # one-sided, and a path that crosses both ways is too rare to count
        any_look = _chance_of_any_look(2 * found.p_margin * scale, rule) / 2
        p_margin = max(found.p_margin, any_look)
    return replace(found, level=rule.level, p=_chance_of_any_look(found.p * scale, rule), p_margin=p_margin)


def chance_to_decide(treated: Array, baseline: Array, rule: SeedRule) -> float:
    """The chance that the interval at the most seeds decides, given the seeds so far (S, N), two at least.

    The images' part of the standard error stays as it is, the seeds' shrinks; the mean of all seeds is predicted by a t
    distribution, Var(d) (1 / S - 1 / max) wide. For one arm alone, so that it is rather too hopeful among several.
    Source: predictive power, Spiegelhalter, Freedman and Blackburn 1986, Controlled Clinical Trials 7, 8-17.
    """
    from scipy.special import stdtr, stdtrit

    num_seeds, most = len(treated), rule.max
    found = difference_interval(treated, baseline, level=look_level(most, rule))
    of_seeds = float((treated - baseline).mean(axis=1).var(ddof=1))
    remaining = max(1 / num_seeds - 1 / most, 0.0) * of_seeds
    error = np.sqrt(max(found.standard_error**2 - remaining, of_seeds / most))
    half = float(stdtrit(most - 1, (1 + found.level) / 2)) * error
    centre, spread = (found.low + found.high) / 2, max(np.sqrt(remaining), _NO_SPREAD)

    def below(end: float) -> float:
        return float(stdtr(num_seeds - 1, (end - centre) / spread))

    chance = below(-half) + 1 - below(half)
    inside = (rule.margin or 0.0) - half  # how far from zero an equivalent mean may be
    return min(1.0, chance + below(inside) - below(-inside)) if inside > 0 else chance


def look_level(num_seeds: int, rule: SeedRule) -> float:
    """The level that the interval at this many seeds needs for the intervals at all looks to hold together."""
    at_max = float(np.quantile(_usual_minima(rule.min, rule.max), 1 - rule.level))
    return 1 - at_max * min(num_seeds, rule.max) / rule.max


def _chance_of_any_look(scaled: float, rule: SeedRule) -> float:
    minima = _usual_minima(rule.min, rule.max)
    simulated = (np.searchsorted(minima, scaled, side="right") + 1) / (len(minima) + 1)
    bonferroni = scaled * sum(range(rule.min, rule.max + 1)) / rule.max  # serves the tail that no simulation reaches
    return float(min(1.0, simulated, bonferroni))


@cache
def _usual_minima(first: int, last: int) -> Array:
    # A fixed stream makes this a constant of (first, last), so that the same runs give the same report.
    return smallest_scaled_p(first, last, np.random.default_rng(0))


def smallest_scaled_p(first: int, last: int, rng: np.random.Generator, num_paths: int = 200_000) -> Array:
    """Simulate the smallest p x last / S over the looks S = first..last of a paired t test without any difference.

    Returns (num_paths,), sorted. Pure seed noise is the hardest case: the images are the same at every look, so their
    share of the noise makes looks more alike and false alarms rarer. The unit of the differences does not matter to t.
    """
    from scipy.special import stdtr

    total, squares = np.zeros(num_paths), np.zeros(num_paths)
    smallest = np.full(num_paths, np.inf)
    for num_seeds in range(1, last + 1):
        difference = rng.standard_normal(num_paths)
        total += difference
        squares += difference**2
        if num_seeds >= first:
            variance = (squares - total**2 / num_seeds) / (num_seeds - 1)
            t = total / np.sqrt(variance * num_seeds)
            scaled = 2 * stdtr(num_seeds - 1, -np.abs(t)) * last / num_seeds
            np.minimum(smallest, scaled, out=smallest)
    return np.sort(smallest)

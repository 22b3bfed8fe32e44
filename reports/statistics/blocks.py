"""Does a change help in every block of a comparison? The mean over blocks, and how far the blocks disagree."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ablation_suite.reports.statistics.intervals import Interval, difference_interval

Array = NDArray[np.float64]
Pair = tuple[Array, Array]
"""The arm's and the baseline's scores (S, N) in one block, paired by seed and image."""


@dataclass(frozen=True, kw_only=True)
class OverBlocks:
    """The mean of the blocks' differences, and what each block contributes to it.

    `q` is Cochran's, whose p is that of as large a disagreement if the true differences were all one and the standard
    errors were known; `i_squared` is the share of the disagreement that chance does not explain, in [0, 1] (Higgins and
    Thompson 2002, Statistics in Medicine 21). `p_of_disagreement` allows for standard errors that few seeds estimate:
    of five equal blocks with three seeds each, Q alone finds one case in four to disagree.
    `without`: block -> the mean of the others.
    """

    interval: Interval
    q: float
    p_of_q: float
    p_of_disagreement: float
    i_squared: float
    without: dict[str, float]


def over_blocks(
    pairs: Mapping[str, Pair], intervals: Mapping[str, Interval], same_images: Sequence[Sequence[str]]
) -> OverBlocks:
    """Every block counts alike, as a fixed condition of its own: the interval speaks of these blocks and no others.

    same_images: the blocks by groups that were measured on the same images. Within a group the differences are averaged
    image by image and seed by seed before their interval is made, since they share what makes them vary; groups are
    independent, so that their variances add, with Satterthwaite's degrees of freedom.
    Errors: ValueError for fewer than two blocks.
    """
    from scipy.special import chdtrc, stdtr, stdtrit

    if len(pairs) < 2:
        raise ValueError(f"a mean over blocks needs two blocks, not {len(pairs)}")
    level = next(iter(intervals.values())).level
    found = [(len(group) / len(pairs), _together([pairs[block] for block in group], level)) for group in same_images]
    estimate = sum(weight * each.estimate for weight, each in found)
    variances = [(weight * each.standard_error) ** 2 for weight, each in found]
    freedoms = [each.degrees_of_freedom or math.inf for _, each in found]
    error = math.sqrt(sum(variances))
    spread = sum(variance**2 / freedom for variance, freedom in zip(variances, freedoms, strict=True))
    freedom = error**4 / spread if spread > 0 else min(freedoms)
    critical = float(stdtrit(freedom, (1 + level) / 2))
    p = min(1.0, 2 * float(stdtr(freedom, -abs(estimate) / error))) if error > 0 else float(estimate == 0)
    differences = {block: intervals[block].estimate for block in pairs}
    weights = {block: 1 / max(intervals[block].standard_error, 1e-12) ** 2 for block in pairs}
    pooled = sum(weights[block] * differences[block] for block in pairs) / sum(weights.values())
    q = sum(weights[block] * (differences[block] - pooled) ** 2 for block in pairs)
    return OverBlocks(
        interval=Interval(
            estimate=estimate,
            low=estimate - critical * error,
            high=estimate + critical * error,
            p=p,
            degrees_of_freedom=freedom,
            method="over blocks",
            level=level,
            critical=critical,
        ),
        q=q,
        p_of_q=float(chdtrc(len(pairs) - 1, q)),
        p_of_disagreement=_welch(q, [weights[block] for block in pairs], [intervals[block] for block in pairs]),
        i_squared=max(0.0, 1 - (len(pairs) - 1) / q) if q > 0 else 0.0,
        without={
            block: float(np.mean([value for other, value in differences.items() if other != block])) for block in pairs
        },
    )


def _welch(q: float, weights: Sequence[float], intervals: Sequence[Interval]) -> float:
    """The p of Cochran's Q where standard errors are estimates with degrees of freedom (Welch 1951, Biometrika 38)."""
    from scipy.special import chdtrc, fdtrc

    between = len(weights) - 1
    shares = [weight / sum(weights) for weight in weights]
    freedoms = [each.degrees_of_freedom or math.inf for each in intervals]
    excess = sum((1 - share) ** 2 / freedom for share, freedom in zip(shares, freedoms, strict=True))
    if excess == 0:
        return float(chdtrc(between, q))
    ratio = q / between / (1 + 2 * (between - 1) / (between * (between + 2)) * excess)
    return float(fdtrc(between, between * (between + 2) / (3 * excess), ratio))


def _together(pairs: Sequence[Pair], level: float) -> Interval:
    """The interval of the mean difference of blocks on the same images, over the seeds that all of them have."""
    num_seeds = min(len(treated) for treated, _ in pairs)
    treated, baseline = (np.mean([side[:num_seeds] for side in sides], axis=0) for sides in zip(*pairs, strict=True))
    return difference_interval(treated, baseline, level)

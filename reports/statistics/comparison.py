"""Which arms differ from the baseline, by how much, and what could this many seeds and images have shown?

Pure functions of per-image scores. Scores and margins are in units of the score (accuracy in [0, 1]); reports turn them
into percentage points and images.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from ablation_suite.reports.statistics.intervals import Array, Interval, Method, difference_interval, score_interval

__all__ = [
    "Comparison",
    "Interval",
    "Method",
    "Verdict",
    "compare",
    "difference_interval",
    "holm",
    "pair",
    "score_interval",
    "smallest_detectable",
    "verdict",
]

Verdict = Literal["higher", "lower", "equivalent", "undecided", "one seed"]
SeedScores = Mapping[int, NDArray]  # seed -> N


class IntervalOf(Protocol):
    """What makes an interval of two arms' scores (S, N); `margin` is for `Interval.p_margin`."""

    def __call__(self, treated: Array, baseline: Array, *, margin: float | None) -> Interval: ...


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """One row of an ablation's table: an arm, and how it differs from the baseline.

    `n` counts the arm's finished seeds, which `mean` and `sd` (over the seeds' means) describe; the difference uses the
    `num_pairs` seeds that the baseline finished too, so with missing runs it need not be the difference of the means.
    The baseline's row has no difference; an arm that shares no seed with the baseline has none either and stays
    undecided. An arm that shares one seed has a difference and nothing else: how much another seed would change it is
    unknown, so that it has no interval, no p and the verdict "one seed", and is no member of the family.
    `freed` is the difference without the winner's curse, where a rule stopped at it (`curse.without_the_curse`).
    `smallest_detectable` would have been found four times in five among this family, if the standard error is right;
    `detectable_range` says how well it is known.
    """

    arm: str
    n: int
    num_pairs: int
    num_images: int
    mean: float | None
    sd: float | None
    difference: float | None
    interval: Interval | None
    p: float | None
    p_adjusted: float | None
    smallest_detectable: float | None
    verdict: Verdict | None
    p_margin_adjusted: float | None = None
    detectable_range: tuple[float, float] | None = None
    freed: float | None = None


def compare(
    scores: Mapping[str, SeedScores],
    baseline: str,
    *,
    margin: float | None = None,
    interval: IntervalOf = difference_interval,
) -> tuple[Comparison, ...]:
    """Compare every arm with the baseline, in the order of `scores`, Holm-adjusted over the arms compared.

    Differences are one family and, where there is a margin, equivalences are another: each holds the chance of any
    wrong one at 1 - level.

    scores: arm -> seed -> per-image scores (N,), N the same for all; arms may lack seeds or have none yet.
    interval: what to make of two (S, N) arrays paired by seed and image, e.g. `difference_interval` with another method
    or `sequential.repeated_interval`.
    Errors: ValueError for a baseline that is no arm, and for score arrays of several lengths.
    """
    if baseline not in scores:
        raise ValueError(f"baseline {baseline!r} is not among the arms: {', '.join(scores)}")
    num_images = _common_length(scores)
    intervals: dict[str, Interval] = {}
    for arm, of_arm in scores.items():
        if arm != baseline and len(of_arm.keys() & scores[baseline].keys()) > 1:
            intervals[arm] = interval(*pair(of_arm, scores[baseline]), margin=margin)
    adjusted = dict(zip(intervals, holm([found.p for found in intervals.values()]), strict=True))
    of_margin = {arm: found.p_margin for arm, found in intervals.items() if found.p_margin is not None}
    margins = dict(zip(of_margin, holm(list(of_margin.values())), strict=True))
    return tuple(
        _baseline_row(arm, of_arm, num_images)
        if arm == baseline
        else _row(
            arm,
            of_arm,
            num_images,
            scores[baseline],
            interval=intervals.get(arm),
            p_adjusted=adjusted.get(arm),
            margin=margin,
            p_margin_adjusted=margins.get(arm),
            family=len(intervals),
        )
        for arm, of_arm in scores.items()
    )


def pair(treated: SeedScores, baseline: SeedScores) -> tuple[Array, Array]:
    """Stack the scores of the seeds that both arms finished, in rising order of seed: two arrays (S, N)."""
    seeds = sorted(treated.keys() & baseline.keys())
    return (
        np.stack([np.asarray(treated[seed], dtype=np.float64) for seed in seeds]),
        np.stack([np.asarray(baseline[seed], dtype=np.float64) for seed in seeds]),
    )


def _common_length(scores: Mapping[str, SeedScores]) -> int:
    shapes = {f"{arm} seed {seed}": np.shape(row) for arm, rows in scores.items() for seed, row in rows.items()}
    if len(set(shapes.values())) > 1 or any(len(shape) != 1 for shape in shapes.values()):
        listed = ", ".join(f"{name}: {shape}" for name, shape in shapes.items())
        raise ValueError(f"every run needs one score per image of one split, but the shapes are {listed}")
    return next(iter(shapes.values()))[0] if shapes else 0


def _baseline_row(arm: str, of_arm: SeedScores, num_images: int) -> Comparison:
    mean, sd = _mean_and_sd(of_arm)
    return Comparison(
        arm=arm,
        n=len(of_arm),
        num_pairs=len(of_arm),
        num_images=num_images,
        mean=mean,
        sd=sd,
        difference=None,
        interval=None,
        p=None,
        p_adjusted=None,
        smallest_detectable=None,
        verdict=None,
    )


def _row(
    arm: str,
    of_arm: SeedScores,
    num_images: int,
    of_baseline: SeedScores,
    *,
    interval: Interval | None,
    p_adjusted: float | None,
    margin: float | None,
    p_margin_adjusted: float | None,
    family: int,
) -> Comparison:
    mean, sd = _mean_and_sd(of_arm)
    num_pairs = len(of_arm.keys() & of_baseline.keys())
    detectable = smallest_detectable(interval, family=family) if interval else None
    return Comparison(
        arm=arm,
        n=len(of_arm),
        num_pairs=num_pairs,
        num_images=num_images,
        mean=mean,
        sd=sd,
        difference=float(np.subtract(*pair(of_arm, of_baseline)).mean()) if num_pairs else None,
        interval=interval,
        p=interval.p if interval else None,
        p_adjusted=p_adjusted,
        smallest_detectable=detectable,
        verdict=verdict(interval, p_adjusted, margin, p_margin_adjusted)
        if interval and p_adjusted is not None
        else _silent(num_pairs),
        p_margin_adjusted=p_margin_adjusted,
        detectable_range=detectable_range(interval, detectable) if interval and detectable is not None else None,
    )


def _silent(num_pairs: int) -> Verdict:
    return "one seed" if num_pairs == 1 else "undecided"


def _mean_and_sd(of_arm: SeedScores) -> tuple[float | None, float | None]:
    means = [float(np.mean(row)) for row in of_arm.values()]
    return (float(np.mean(means)) if means else None), (float(np.std(means, ddof=1)) if len(means) > 1 else None)


def holm(p_values: Sequence[float]) -> tuple[float, ...]:
    """Adjust p values for being one family, so that the chance of any false alarm stays at the level.

    Source: Holm 1979, Scandinavian Journal of Statistics 6, 65-70.
    """
    p = np.asarray(p_values, dtype=np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return tuple(adjusted.tolist())


def verdict(
    interval: Interval, p_adjusted: float, margin: float | None = None, p_margin_adjusted: float | None = None
) -> Verdict:
    """Say by rule what an interval shows: equivalent, higher, lower, or nothing yet.

    "equivalent": the interval lies inside +- margin, in units of the score, and the adjusted p value of the margin, if
    there is one, is below 1 - level. This comes first: the margin is the author's own word for what does not matter, so
    a difference that is certain and smaller than it is no news.
    "higher" / "lower": the interval excludes zero and the adjusted p value is below 1 - level. Else "undecided".
    """
    enough = round(1 - interval.level, 12)
    inside = margin is not None and -margin < interval.low and interval.high < margin
    if inside and (p_margin_adjusted is None or p_margin_adjusted < enough):
        return "equivalent"
    if interval.excludes_zero and p_adjusted < enough:
        return "higher" if interval.estimate > 0 else "lower"
    return "undecided"


def smallest_detectable(interval: Interval, power: float = 0.8, family: int = 1) -> float:
    """The true difference that a comparison of this standard error finds with probability `power` among a family.

    In units of the score, for the interval's own level divided by the size of the family, which is what Holm asks of
    the first of so many; from the noncentral t distribution (normal where the interval used no t).
    Source: Cohen 1988, Statistical Power Analysis, chapter 2.
    """
    from scipy.special import nctdtrinc, ndtr, ndtri, stdtr, stdtrit

    df = interval.degrees_of_freedom
    if df is None:
        needed = float(-ndtri(ndtr(-interval.critical) / family) + ndtri(power))
    else:
        critical = float(-stdtrit(df, stdtr(df, -interval.critical) / family))
        needed = float(nctdtrinc(df, 1 - power, critical))
    return needed * interval.standard_error


def detectable_range(interval: Interval, detectable: float, level: float = 0.9) -> tuple[float, float]:
    """Between which differences the smallest detectable one lies: the standard error is itself an estimate.

    The interval of a standard deviation, from the chi-squared distribution of its square.
    """
    from scipy.special import chdtri

    df = interval.degrees_of_freedom
    if df is None:
        return detectable, detectable
    above, below = (float(chdtri(df, (1 + sign * level) / 2)) for sign in (-1, 1))
    return detectable * (df / above) ** 0.5, detectable * (df / below) ** 0.5

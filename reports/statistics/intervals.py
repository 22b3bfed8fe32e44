"""How far apart are two paired arms, and how sure may a reader be of it?

Two things vary in a difference of accuracies: the training (seeds) and the images that happened to be in the split. The
crossed interval counts both; with one seed only the images can speak, and the interval says so.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Method = Literal["crossed", "seeds", "bootstrap"]


@dataclass(frozen=True, kw_only=True)
class Interval:
    """A difference between two arms with its confidence interval, in units of the score.

    The estimate is the plain mean; the middle of the interval may lie a little nearer to zero. `method` says which
    variation was counted: "crossed" (seeds and images), "bootstrap" (the same, resampled), "seeds", or "images only"
    (one seed; the training noise is unknown). `critical` is the half-width in standard errors; `degrees_of_freedom` is
    None where no t distribution was used.
    `p_margin`, where a margin was asked about: the p value of a difference of the margin or more, either way (two
    one-sided tests, Schuirmann 1987, Journal of Pharmacokinetics and Biopharmaceutics 15, 657-680).
    """

    estimate: float
    low: float
    high: float
    p: float
    degrees_of_freedom: float | None
    method: str
    level: float
    critical: float
    p_margin: float | None = None

    @property
    def half_width(self) -> float:
        return (self.high - self.low) / 2

    @property
    def excludes_zero(self) -> bool:
        """Whether no difference at all is outside the interval."""
        return self.low > 0 or self.high < 0

    @property
    def standard_error(self) -> float:
        return self.half_width / self.critical

    def within(self, widest: float) -> Interval:
        """The part of it that is possible where no two arms lie further apart than so much; the rest holds no truth.

        Its standard error stays what it is.
        """
        low, high = max(self.low, -widest), min(self.high, widest)
        share = (high - low) / (self.high - self.low) if self.high > self.low else 1.0
        return replace(self, low=low, high=high, critical=share * self.critical)


def difference_interval(
    treated: ArrayLike,
    baseline: ArrayLike,
    level: float = 0.95,
    method: Method = "crossed",
    rng: np.random.Generator | None = None,
    largest: float | None = None,
    margin: float | None = None,
) -> Interval:
    """Estimate the mean of treated - baseline, both (S, N) and paired by seed and image, with a two-sided interval.

    - "crossed": seeds and images are both samples. The variance of the mean is
      (MS_seeds + MS_images - MS_residual) / (S N), its degrees of freedom are Satterthwaite's (1946, Biometrics
      Bulletin 2), and the interval is never narrower than the two one-way intervals inside it. That bound matters with
      two or three seeds, where Satterthwaite's interval alone covers as little as 0.89 instead of 0.95.
      Its middle and the variation of images are those of two images more: see `_and_one_gained_and_one_lost`.
    - "seeds": paired t over the seeds' means; ignores the sampling of images.
    - "bootstrap": seeds and images resampled independently, percentiles (Owen 2007, Annals of Applied Statistics 1(2));
      needs `rng`, and too narrow for fewer than about five seeds.

    With one seed "crossed" and "bootstrap" become "images only": exact McNemar p and Tango's score interval for scores
    that are 0 or 1, paired t over images for others. With one image "crossed" becomes "seeds".
    largest: the largest difference that one image can show, for contrasts of several runs. By default 1 for scores
    that are 0 or 1, and the largest that was seen for others; where no image differs, the one between two images.
    margin: the difference that does not matter, for `p_margin`, which needs a t interval ("crossed", "seeds").
    Errors: ValueError for shapes that differ, are not (S, N) or are empty, for values that are not finite, for an
    impossible level or method, for "seeds" with one seed, for "bootstrap" without rng.
    """
    treated, baseline = _checked(treated, baseline)
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1, not {level}")
    difference = treated - baseline  # S N
    num_seeds, num_images = difference.shape
    binary = bool(np.isin(treated, (0, 1)).all() and np.isin(baseline, (0, 1)).all())
    if method not in ("crossed", "seeds", "bootstrap"):
        raise ValueError(f"method must be crossed, seeds or bootstrap, not {method!r}")
    if method == "seeds" or (method == "crossed" and num_images == 1 and num_seeds > 1):
        return _seeds_only(difference, level, margin)
    if num_seeds == 1:
        return _one_run_binary(difference, level) if binary else _one_run(difference, level, margin)
    if method == "bootstrap":
        return _bootstrap(difference, level, rng)
    if largest is None:
        largest = 1.0 if binary else _largest_seen(treated, baseline)
    return _crossed(difference, level, margin, largest)


def _largest_seen(treated: Array, baseline: Array) -> float:
    """The largest difference of an image between the arms (S, N), else that between two images of one arm.

    Arms that agree on all of these images need not agree on all others, which look like these.
    """
    return float(np.abs((treated - baseline).mean(axis=0)).max()) or float(np.ptp(treated))


def _checked(treated: ArrayLike, baseline: ArrayLike) -> tuple[Array, Array]:
    first, second = np.asarray(treated, dtype=np.float64), np.asarray(baseline, dtype=np.float64)
    if first.ndim != 2 or first.shape != second.shape or first.size == 0:
        raise ValueError(f"two (seeds, images) arrays of one shape are needed, not {first.shape} and {second.shape}")
    if not (np.isfinite(first).all() and np.isfinite(second).all()):
        raise ValueError("scores must be finite")
    return first, second


def _crossed(difference: Array, level: float, margin: float | None, largest: float) -> Interval:
    num_seeds, num_images = difference.shape
    estimate = float(difference.mean())
    of_seeds, of_images = difference.mean(axis=1), difference.mean(axis=0)  # S, N
    residual = difference - of_seeds[:, None] - of_images + estimate  # S N
    df_residual = (num_seeds - 1) * (num_images - 1)
    of_images = _and_one_gained_and_one_lost(of_images, largest)  # N + 2

    seeds, df_seeds = of_seeds.var(ddof=1) / num_seeds, num_seeds - 1  # variances of the mean
    images, df_images = of_images.var(ddof=1) / len(of_images), len(of_images) - 1
    rest = (residual**2).sum() / df_residual / difference.size
    both = max(seeds + images - rest, seeds, images)
    uncertainty = seeds**2 / df_seeds + images**2 / df_images + rest**2 / df_residual
    df_both = max(both**2 / uncertainty if uncertainty > 0 else 0.0, min(df_seeds, df_images))
    parts = [(math.sqrt(both), df_both), (math.sqrt(seeds), df_seeds), (math.sqrt(images), df_images)]
    return _widest(estimate, float(of_images.mean()), parts, level, margin, "crossed")


def _and_one_gained_and_one_lost(of_images: Array, largest: float) -> Array:
    """The images' differences (N,) and those of two more (N + 2,): one on which each arm alone is right.

    An arm may be always wrong on a few images of its own. Where none or one of them is in the split, the spread of the
    images that were seen says nothing about them, and a t interval covers 0.87 instead of 0.95. So do Bonett and Price
    for one pair of runs (2012, Journal of Educational and Behavioral Statistics 37, 479-488).
    """
    return np.append(of_images, [largest, -largest])


def _widest(
    estimate: float,
    centre: float,
    parts: list[tuple[float, float]],
    level: float,
    margin: float | None,
    method: str,
) -> Interval:
    """The widest of several t intervals around one centre, each part a (standard error, degrees of freedom).

    The widest interval excludes zero exactly if all do, so the p value that belongs to it is the largest. A part
    without any spread gives way to the others.
    """
    from scipy.special import stdtrit

    parts = [(error, df) for error, df in parts if error > 0] or parts[-1:]
    widths = [float(stdtrit(df, (1 + level) / 2)) * error for error, df in parts]
    half = max(widths)
    df = parts[widths.index(half)][1]
    return Interval(
        estimate=estimate,
        low=centre - half,
        high=centre + half,
        p=max(_t_test(centre, *part) for part in parts),
        degrees_of_freedom=float(df),
        method=method,
        level=level,
        critical=float(stdtrit(df, (1 + level) / 2)),
        p_margin=None if margin is None else max(_margin_test(margin - abs(centre), *part) for part in parts),
    )


def _margin_test(inside: float, error: float, df: float) -> float:
    """The one-sided p of a centre that lies so far inside the margin."""
    from scipy.special import stdtr

    if error == 0:
        return 2.0**-df / 2 if inside > 0 else 1.0
    return float(stdtr(df, -inside / error))


def _t_test(estimate: float, error: float, df: float) -> float:
    from scipy.special import stdtr

    if error == 0:  # no spread to judge by: a sign-flip test of df + 1 equal differences cannot go below 2^-df
        return 1.0 if estimate == 0 else 2.0**-df
    return min(1.0, 2 * float(stdtr(df, -abs(estimate) / error)))


def _seeds_only(difference: Array, level: float, margin: float | None) -> Interval:
    num_seeds = len(difference)
    if num_seeds < 2:
        raise ValueError("one seed says nothing about the variation between seeds: use method='crossed'")
    of_seeds = difference.mean(axis=1)  # S
    error = math.sqrt(of_seeds.var(ddof=1) / num_seeds)
    centre = float(of_seeds.mean())
    return _widest(centre, centre, [(error, num_seeds - 1)], level, margin, "seeds")


def _one_run(difference: Array, level: float, margin: float | None) -> Interval:
    num_images = difference.shape[1]
    if num_images < 2:
        raise ValueError("one seed and one image leave nothing to estimate a variance from")
    error = math.sqrt(difference.var(ddof=1) / num_images)
    centre = float(difference.mean())
    return _widest(centre, centre, [(error, num_images - 1)], level, margin, "images only")


def _one_run_binary(difference: Array, level: float) -> Interval:
    from scipy.special import bdtr

    num_gained, num_lost = int((difference > 0).sum()), int((difference < 0).sum())
    num_differ = num_gained + num_lost
    low, high = score_interval(num_gained, num_lost, difference.shape[1], level)
    return Interval(
        estimate=float(difference.mean()),
        low=low,
        high=high,
        p=min(1.0, 2 * float(bdtr(min(num_gained, num_lost), num_differ, 0.5))) if num_differ else 1.0,
        degrees_of_freedom=None,
        method="images only",
        level=level,
        critical=_normal_quantile(level),
    )


def score_interval(num_gained: int, num_lost: int, num_images: int, level: float = 0.95) -> tuple[float, float]:
    """Tango's score interval of a difference of paired proportions: (gained - lost) / images.

    Never of zero width, never outside [-1, 1]; with no differing image it is +- z^2 / (N + z^2).
    Source: Tango 1998, Statistics in Medicine 17, 891-908, as recommended by Fagerland, Lydersen and Laake 2014,
    Statistics in Medicine 33, 2850-2875.
    """
    estimate = (num_gained - num_lost) / num_images
    z = _normal_quantile(level)

    def inside(delta: float) -> bool:
        a, b = 2 * num_images, (2 * num_images - num_gained + num_lost) * delta - num_gained - num_lost
        c = -num_lost * delta * (1 - delta)
        lost = (math.sqrt(max(b * b - 4 * a * c, 0.0)) - b) / (2 * a)  # its probability, most likely under delta
        variance = num_images * (2 * lost + delta * (1 - delta))
        return (num_gained - num_lost - num_images * delta) ** 2 <= z**2 * variance

    def edge(outer: float) -> float:
        inner = estimate
        for _ in range(60):
            middle = (inner + outer) / 2
            inner, outer = (middle, outer) if inside(middle) else (inner, middle)
        return inner

    return edge(-1.0), edge(1.0)


def _bootstrap(difference: Array, level: float, rng: np.random.Generator | None, num_resamples: int = 2000) -> Interval:
    if rng is None:
        raise ValueError("method='bootstrap' needs rng, a numpy.random.Generator")
    num_seeds, num_images = difference.shape
    means = np.empty(num_resamples)
    for start in range(0, num_resamples, 200):  # in pieces: the image counts of all resamples would fill the memory
        seeds = rng.multinomial(num_seeds, np.full(num_seeds, 1 / num_seeds), size=200)  # resamples x S
        images = rng.multinomial(num_images, np.full(num_images, 1 / num_images), size=200)  # resamples x N
        means[start : start + 200] = ((seeds @ difference) * images).sum(axis=1) / difference.size
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    rarer_side = min((means <= 0).sum(), (means >= 0).sum())
    return Interval(
        estimate=float(difference.mean()),
        low=float(low),
        high=float(high),
        p=min(1.0, 2 * (rarer_side + 1) / (num_resamples + 1)),
        degrees_of_freedom=None,
        method="bootstrap",
        level=level,
        critical=_normal_quantile(level),
    )


def _normal_quantile(level: float) -> float:
    from scipy.special import ndtri

    return float(ndtri((1 + level) / 2))

"""How much do the seeds of a comparison vary, if the other arms of the ablation are asked as well?

Two or three seeds know little about their own spread: their t quantiles are 12.7 and 4.3. Arms that are trained alike
mostly vary alike, so that the others may be asked, as limma asks the other genes (Smyth 2004, Statistical Applications
in Genetics and Molecular Biology 3, article 3). Genes are thousands and arms a handful, too few to estimate how alike
they are. So this is decided by a test, and what it cannot see is bounded by simulation (`tests/benchmarks`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NOISIER = {2: 0.3, 3: 0.18, 4: 0.12}
"""Seeds -> the level at which an arm that varies more than the others is left to itself; with more seeds all arms are,
since the others shorten nothing. Loose on purpose: a noisy arm that is not found out gets too short an interval. With
these levels a comparison beside an arm that varies four times as much as the others is covered in 0.922 at the least,
a little below what is wanted (CALIBRATION.md, rows marked outside); chosen on simulations of the same kind."""
QUIETER = 0.05
"""The same for a comparison that varies less: it would be told in vain that others vary."""
MOST_PRIOR = 2
"""The others count for this many times the arm's own degrees of freedom at most, however many they are."""


_ROUNDING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A variance with its degrees of freedom, and how many other arms it was shared with (0: it is the arm's own)."""

    variance: float
    degrees_of_freedom: int
    num_others: int = 0


def spread_of_seeds(treated: Array, baseline: Array, others: Sequence[Array] = ()) -> Spread:
    """The variance of treated - baseline between the seeds, all (S,) means over the images, S >= 2.

    The others' variance is that of all contrasts of the arms that are orthogonal to treated - baseline, in its unit, so
    that it is independent of the arm's own where all vary alike. Smyth's posterior variance has the weights of their
    degrees of freedom. It is never below the arm's own, and it is the arm's own alone where an F test says that one of
    the two varies more than all others (NOISIER), or their difference less (QUIETER).
    """
    num_seeds = len(treated)
    own = Spread(variance=float((treated - baseline).var(ddof=1)), degrees_of_freedom=num_seeds - 1)
    if not others or num_seeds not in NOISIER:
        return own
    means = np.stack([treated, baseline, *others])  # A S
    prior = _of_the_others(means)
    if not _alike(means, own, prior):
        return own
    weight = min(prior.degrees_of_freedom, MOST_PRIOR * own.degrees_of_freedom)
    return Spread(
        variance=max(posterior_variance(own.variance, own.degrees_of_freedom, prior.variance, weight), own.variance),
        degrees_of_freedom=own.degrees_of_freedom + weight,
        num_others=len(others),
    )


def posterior_variance(variance: float, degrees_of_freedom: float, prior: float, prior_degrees: float) -> float:
    """The moderated variance (d0 s0^2 + d s^2) / (d0 + d). Source: Smyth 2004, section 3."""
    return (prior_degrees * prior + degrees_of_freedom * variance) / (prior_degrees + degrees_of_freedom)


def _of_the_others(means: Array) -> Spread:
    """Twice the mean square arm x seed (a difference has two arms' variance), without the contrast of the first two."""
    num_arms, num_seeds = means.shape
    of_the_two = float((means[0] - means[1]).var()) * num_seeds / 2
    degrees = (num_arms - 2) * (num_seeds - 1)
    return Spread(variance=2 * max(_interaction(means) - of_the_two, 0.0) / degrees, degrees_of_freedom=degrees)


def _alike(means: Array, own: Spread, prior: Spread) -> bool:
    from scipy.special import fdtr

    if prior.variance <= _ROUNDING * own.variance:  # others that do not vary at all are not believed
        return False
    quiet = float(fdtr(own.degrees_of_freedom, prior.degrees_of_freedom, own.variance / prior.variance))
    return quiet >= QUIETER and min(_p_of_noise(means, arm) for arm in (0, 1)) >= NOISIER[means.shape[1]]


def _p_of_noise(means: Array, arm: int) -> float:
    """The p value of an F test that an arm varies no more than the others: it against their mean, and all else."""
    from scipy.special import fdtrc

    num_arms, num_seeds = means.shape
    against = means[arm] - np.delete(means, arm, axis=0).mean(axis=0)  # S
    of_arm = float(against.var()) * num_seeds * (num_arms - 1) / num_arms
    rest = max(_interaction(means) - of_arm, 0.0) / (num_arms - 2)
    return (
        float(fdtrc(num_seeds - 1, (num_arms - 2) * (num_seeds - 1), of_arm / rest))
        if rest > _ROUNDING * of_arm
        else 0.0
    )


def _interaction(means: Array) -> float:
    """The sum of squares arm x seed."""
    centred = means - means.mean(axis=1, keepdims=True)
    return float(((centred - centred.mean(axis=0)) ** 2).sum())

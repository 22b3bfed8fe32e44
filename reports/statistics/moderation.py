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

MOST_SEEDS = 4
"""With five seeds or more the others shorten nothing: an arm's own four degrees of freedom do as well."""
MOST_PRIOR = 2
"""The others count for this many times the arm's own degrees of freedom at most, however many they are."""
QUIETER = 0.02
"""The level at which an arm that varies less than the others is left to itself."""


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A variance with its degrees of freedom, and how many other arms it was shared with (0: it is the arm's own)."""

    variance: float
    degrees_of_freedom: int
    num_others: int = 0


def spread_of_seeds(treated: Array, baseline: Array, others: Sequence[Array] = ()) -> Spread:
    """The variance of treated - baseline between the seeds, all (S,) means over the images, S >= 2.

    The others' variance is that of all contrasts of the arms that are orthogonal to treated - baseline, in its unit, so
    that it is independent of the arm's own where all vary alike. Smyth's posterior variance has the weights
    of their degrees of freedom. It is never below the arm's own, and it is the arm's own alone where an F test says
    that the arm varies more (at the level 1 / S) or less (at the level QUIETER) than the others, or where there are no
    others or MOST_SEEDS is passed.

    The level 1 / S is loose on purpose: an arm that varies more and is not found out gets too short an interval. With
    it an arm of 1 to 17 times the others' variance is covered in 0.926 at the least, at two to four seeds.
    """
    num_seeds = len(treated)
    own = Spread(variance=float((treated - baseline).var(ddof=1)), degrees_of_freedom=num_seeds - 1)
    if not others or num_seeds > MOST_SEEDS:
        return own
    prior = _of_the_others(treated, baseline, others)
    if not _alike(own, prior, num_seeds):
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


def _of_the_others(treated: Array, baseline: Array, others: Sequence[Array]) -> Spread:
    """Twice the mean square arm x seed (a difference has two arms' variance), without the contrast of the two."""
    means = np.stack([treated, baseline, *others])  # A S
    centred = means - means.mean(axis=1, keepdims=True)
    interaction = ((centred - centred.mean(axis=0)) ** 2).sum()
    of_the_two = ((centred[0] - centred[1]) ** 2).sum() / 2
    degrees = len(others) * (means.shape[1] - 1)
    return Spread(variance=2 * max(float(interaction - of_the_two), 0.0) / degrees, degrees_of_freedom=degrees)


def _alike(own: Spread, prior: Spread, num_seeds: int) -> bool:
    from scipy.special import fdtr, fdtrc

    if prior.variance <= 0:
        return False
    ratio, degrees = own.variance / prior.variance, (own.degrees_of_freedom, prior.degrees_of_freedom)
    return bool(fdtrc(*degrees, ratio) >= 1 / num_seeds and fdtr(*degrees, ratio) >= QUIETER)

"""What does an experiment look like whose true accuracies are known? Correctness (R, A, S, N), the baseline first.

A run is right on an image where level + seed + difficulty + arm x image + rest is positive. All terms are normal, so
that the true accuracy over all seeds and images is known exactly, by the normal distribution function.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

ARM_BY_IMAGE, REST = 0.3, 0.4  # sd on the latent scale, where the images' difficulty has 1
Correct = NDArray[np.bool_]
Draw = Callable[[int, np.random.Generator], Correct]

LARGEST_PIECE = 6_000_000  # scores at a time


def latent(
    seeds: int,
    images: int,
    noise: Sequence[float],
    accuracy: Sequence[float],
    *,
    shared: float = 0.0,
    tail: float | None = None,
) -> Draw:
    """Arms of these accuracies, and of these sd between seeds on the latent scale.

    shared: the share of the seeds' variance that all arms have in common; tail: degrees of freedom of a t distribution
    for the seeds (then the accuracies are not known unless all arms are alike).
    """
    sd = np.asarray(noise)
    threshold = -np.sqrt(1 + ARM_BY_IMAGE**2 + REST**2 + sd**2) * ndtri(np.asarray(accuracy))

    def draw(repetitions: int, rng: np.random.Generator) -> Correct:
        arms = len(sd)
        x = rng.standard_normal((repetitions, arms, seeds, images), dtype=np.float32)
        x *= np.float32(REST)
        x += rng.standard_normal((repetitions, 1, 1, images), dtype=np.float32)
        x += np.float32(ARM_BY_IMAGE) * rng.standard_normal((repetitions, arms, 1, images), dtype=np.float32)
        of_all, own = (
            rng.standard_normal((repetitions, 1, seeds, 1)),
            rng.standard_normal((repetitions, arms, seeds, 1)),
        )
        of_seed = np.sqrt(shared) * of_all + np.sqrt(1 - shared) * own
        if tail is not None:
            of_seed /= np.sqrt(rng.chisquare(tail, (repetitions, arms, seeds, 1)) / tail)
        x += (sd[:, None, None] * of_seed).astype(np.float32)
        return x > threshold[:, None, None].astype(np.float32)

    return draw


def always_wrong(seeds: int, images: int, share: float, accuracy: float, *, both: bool = False) -> Draw:
    """An arm that is always wrong on this share of the images and else like the baseline; both: the baseline too."""

    def draw(repetitions: int, rng: np.random.Generator) -> Correct:
        if accuracy < 1:
            x = latent(seeds, images, [0.05], [accuracy])(repetitions, rng)
        else:
            x = np.ones((repetitions, 1, seeds, images), dtype=bool)
        wrong = rng.random((repetitions, 2, 1, images)) < share
        return np.concatenate([x & ~(wrong[:, 1:] & both), x & ~wrong[:, :1]], axis=1)

    return draw


def pieces(draw: Draw, repetitions: int, size: int, rng: np.random.Generator) -> Iterator[Correct]:
    """All repetitions of a draw, `size` scores each, in pieces that fit the memory."""
    at_once = max(1, LARGEST_PIECE // size)
    for start in range(0, repetitions, at_once):
        yield draw(min(at_once, repetitions - start), rng)

"""What does an answer on validation images lose where these have chosen the epoch that answers?"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import product

import numpy as np
from scipy.special import ndtr, ndtri

from tests.benchmarks.calibration.crossed import Array, crossed
from tests.benchmarks.calibration.draw import ARM_BY_IMAGE, LARGEST_PIECE, Correct

EPOCHS, ACCURACY, OF_SEEDS = 20, 0.87, 0.05
OF_RUN, OF_EPOCH = 0.3, 0.26  # sd of what a run keeps about an image, and of what every epoch changes; together 0.4
SCALE = np.sqrt(1 + ARM_BY_IMAGE**2 + OF_RUN**2 + OF_EPOCH**2)
RESTLESS = ((0.02, 0.02), (0.02, 0.1), (0.1, 0.1))


def selection(repetitions: int) -> Iterator[str]:
    """Two arms, the second one as restless as the baseline or more so."""
    repetitions = max(repetitions // 4, 1)  # every epoch is drawn
    yield (
        f"Validation images alone, two arms whose curves stay level over {EPOCHS} epochs at {100 * ACCURACY:.0f} %. "
        "Restless: how far a run moves from epoch to epoch, a standard deviation on the latent scale, in the baseline "
        "and in the arm. Kept: the best epoch on the images that answer. The truth of a rule is what the weights that "
        "it takes are right on among all images there are. Bias of the difference, coverage of its interval, and by "
        f"how much the kept epoch's own accuracies are too high. {repetitions} repetitions. Where arms are unlike, "
        "choosing biases the difference. So the last epoch answers, and the kept one stands beside it."
    )
    yield ""
    yield "| seeds | images | restless | last: bias (pp) | coverage | kept: bias (pp) | coverage | too high (pp) |"
    yield "| --: | --: | --- | --: | --: | --: | --: | --- |"
    for index, (seeds, images, restless) in enumerate(product((3, 5, 10), (100, 360, 1000), RESTLESS)):
        last, kept = _judged(repetitions, seeds, images, restless, np.random.default_rng([12, index]))
        told = " | ".join(f"{bias:.2f} | {coverage:.3f}" for bias, coverage, _ in (last, kept))
        moves, gains = f"{restless[0]:g}, {restless[1]:g}", f"{kept[2][0]:.1f} and {kept[2][1]:.1f}"
        yield f"| {seeds} | {images} | {moves} | {told} | {gains} |"


def _judged(
    repetitions: int, seeds: int, images: int, restless: Sequence[float], rng: np.random.Generator
) -> list[tuple[float, float, Array]]:
    """Of the last and of the kept epoch: bias in pp, coverage, and how much too high each arm's accuracy is in pp."""
    at_once = max(1, LARGEST_PIECE // (2 * seeds * images * EPOCHS))
    pieces = [
        _drawn(min(at_once, repetitions - start), seeds, images, restless, rng)
        for start in range(0, repetitions, at_once)
    ]
    found = []
    for rule in (0, 1):
        correct = np.concatenate([piece[rule][0] for piece in pieces])  # R 2 S N
        true = np.concatenate([piece[rule][1] for piece in pieces]).mean(axis=(0, 2))  # 2
        said, truth = crossed(correct), true[1] - true[0]
        bias = 100 * float(said.estimate.mean() - truth)
        found.append((bias, float(said.covers(truth).mean()), 100 * (correct.mean(axis=(0, 2, 3)) - true)))
    return found


def _drawn(
    repetitions: int, seeds: int, images: int, restless: Sequence[float], rng: np.random.Generator
) -> list[tuple[Correct, Array]]:
    """Of the last and of the kept epoch: what it is right on (R, 2, S, N), and its true accuracy (R, 2, S)."""
    shape = (repetitions, 2, seeds)
    level = ndtri(ACCURACY) * SCALE + OF_SEEDS * rng.standard_normal(shape)[..., None]
    level = level + np.array(restless)[:, None, None] * rng.standard_normal((*shape, EPOCHS))  # R 2 S E
    x = np.float32(OF_EPOCH) * rng.standard_normal((*shape, EPOCHS, images), dtype=np.float32)
    x += rng.standard_normal((repetitions, 1, 1, 1, images), dtype=np.float32)
    x += np.float32(ARM_BY_IMAGE) * rng.standard_normal((repetitions, 2, 1, 1, images), dtype=np.float32)
    x += np.float32(OF_RUN) * rng.standard_normal((*shape, 1, images), dtype=np.float32)
    correct, true = x > -level[..., None].astype(np.float32), ndtr(level / SCALE)
    best = correct.sum(axis=4).argmax(axis=3)[..., None]  # the first of the best, as a run keeps it
    kept = np.take_along_axis(correct, best[..., None], axis=3)[:, :, :, 0]
    return [(correct[:, :, :, -1], true[..., -1]), (kept, np.take_along_axis(true, best, axis=3)[..., 0])]

"""What do images lose that are several views of one thing, counted one by one and as groups?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ablation_suite.core.data.groups import summed
from ablation_suite.reports.statistics.intervals import difference_interval
from tests.benchmarks.calibration.draw import ARM_BY_IMAGE, REST, Correct

ACCURACY_AT, OF_SEEDS = 1.25, 0.02  # on the latent scale: 87 % or so
GROUP = 5
ALIKE = (0.0, 0.5, 0.95)


def groups(repetitions: int) -> Iterator[str]:
    """Groups of five, alike in difficulty and in what the arms make of them."""
    repetitions = max(repetitions // 2, 1)
    yield (
        f"Two arms without a difference, images in groups of {GROUP}. Alike: the share of the variance of difficulty "
        "and of arm by image that the images of a group have in common; none, half, near-duplicates. Coverage and "
        "median half-width of the interval over images, and of that over groups, which `groups` in a spec asks for. "
        f"Seed noise {OF_SEEDS}, {repetitions} repetitions. Where images of a group have nothing in common, "
        "groups cost little, so that a doubt is reason enough to name them."
    )
    yield ""
    yield "| seeds | images | alike | images: coverage | half-width (pp) | groups: coverage | half-width (pp) |"
    yield "| --: | --: | --: | --: | --: | --: | --: |"
    for index, (seeds, images, alike) in enumerate(product((3, 5, 10), (100, 500), ALIKE)):
        rng, of_image = np.random.default_rng([13, index]), np.arange(images) // GROUP
        told: list[list[tuple[bool, float]]] = [[], []]
        for _ in range(repetitions):
            arms = _drawn(seeds, images, alike, rng)
            by_group = [np.stack([summed(row, of_image) for row in arm]) for arm in arms]
            for which, (baseline, treated) in enumerate((arms, by_group)):
                found = difference_interval(treated, baseline)
                told[which].append((not found.excludes_zero, 100 * found.half_width))
        cells = [f"{np.mean([c for c, _ in each]):.3f} | {np.median([w for _, w in each]):.2f}" for each in told]
        yield f"| {seeds} | {images} | {alike:g} | {' | '.join(cells)} |"


def _drawn(seeds: int, images: int, alike: float, rng: np.random.Generator) -> Correct:
    """What two arms are right on (2, S, N)."""

    def of_images(*shape: int) -> np.ndarray:
        common = np.repeat(rng.standard_normal((*shape, images // GROUP)), GROUP, axis=-1)
        return np.sqrt(alike) * common + np.sqrt(1 - alike) * rng.standard_normal((*shape, images))

    x = ACCURACY_AT + of_images(1, 1) + ARM_BY_IMAGE * of_images(2, 1) + OF_SEEDS * rng.standard_normal((2, seeds, 1))
    return x + REST * rng.standard_normal((2, seeds, images)) > 0

"""How often do the crossed intervals hold the truth, and how wide are they? Seeds, images, accuracies, unlike arms."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from itertools import product

import numpy as np
from scipy.special import bdtr

from ablation_suite.reports.statistics.intervals import score_interval
from tests.benchmarks.calibration.crossed import Found, all_found, check
from tests.benchmarks.calibration.draw import Draw, always_wrong, latent, pieces

LOWEST, HIGHEST, ALARMS = 0.925, 0.995, 0.07  # wanted
NUM_SEEDS = (2, 3, 5, 10)


def intervals(repetitions: int) -> Iterator[str]:
    """Two arms of 87 %: seeds, images, noise and effect; and one run alone."""
    yield (
        "The crossed interval of two arms, the baseline right on 87 % of the images. Seed noise is the standard "
        "deviation between seeds on the latent scale, where the images' difficulty has 1. p < 0.05 is the rate of "
        f"false alarms where the effect is zero (at most {ALARMS} wanted) and the power elsewhere. Wanted coverage: "
        f"{LOWEST} to {HIGHEST}. A share of 0.95 has a standard error of {np.sqrt(0.95 * 0.05 / repetitions):.4f} "
        "here."
    )
    rows, outside, alone = [], 0, []
    settings = list(product(NUM_SEEDS, (300, 1000, 5000), (0.0, 0.05, 0.15), (0.0, 0.02)))
    for index, (seeds, images, noise, effect) in enumerate(settings):
        rng = np.random.default_rng([1, index])
        draw = latent(seeds, images, [noise] * 2, [0.87, 0.87 + effect])
        if images == 300:
            check(draw, np.random.default_rng([1, index, 1]))
        found = all_found(draw, repetitions, 2 * seeds * images, rng)
        one_covers, one_alarms = _one_run(latent(1, images, [noise] * 2, [0.87, 0.87 + effect]), images, effect, rng)
        covers, alarms = found.covers(effect).mean(), (found.p() < 0.05).mean()
        alone.append(one_covers)
        bad = not LOWEST <= covers <= HIGHEST or (effect == 0 and alarms > ALARMS)
        outside += bad
        rows.append(
            f"| {seeds} | {images} | {noise:g} | {100 * effect:g} | {covers:.3f} | {alarms:.3f} | "
            f"{100 * np.median(found.half()):.2f} | {one_covers:.3f} | {one_alarms:.3f} | {'outside' if bad else ''} |"
        )
    yield (
        f"Rows outside: {outside} of {len(rows)}. The interval of one run alone covers in {min(alone):.3f} to "
        f"{max(alone):.3f} of 1,000 pairs of runs, which is why one seed a side has no verdict."
    )
    yield ""
    yield (
        "| seeds | images | seed noise | effect (pp) | coverage | p < 0.05 | half-width (pp) "
        "| one run: coverage | p < 0.05 | |"
    )
    yield "| --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |"
    yield from rows


def _one_run(draw: Draw, images: int, effect: float, rng: np.random.Generator) -> tuple[float, float]:
    covered, alarms = [], []
    for piece in pieces(draw, 1000, 2 * images, rng):
        gained = (piece[:, 1, 0] & ~piece[:, 0, 0]).sum(axis=1)
        lost = (piece[:, 0, 0] & ~piece[:, 1, 0]).sum(axis=1)
        for plus, minus in zip(gained, lost, strict=True):
            low, high = _tango(int(plus), int(minus), images)
            covered.append(low <= effect <= high)
        alarms.append(2 * bdtr(np.minimum(gained, lost), gained + lost, 0.5) < 0.05)
    return float(np.mean(covered)), float(np.concatenate(alarms).mean())


@cache
def _tango(gained: int, lost: int, images: int) -> tuple[float, float]:
    return score_interval(gained, lost, images)


def accuracies(repetitions: int) -> Iterator[str]:
    """From chance to nearly always right, where few images differ."""
    yield (
        "Two alike arms at other accuracies, seed noise 0.05. “Plain” is the crossed interval without the two added "
        "images. Coverage near one is no fault here: where almost no image differs, an honest interval has to allow "
        "for images that were not seen (next section), and then covers more than 95 % where there are none."
    )
    yield ""
    yield "| seeds | images | accuracy | coverage | half-width (pp) | plain: coverage | half-width (pp) | |"
    yield "| --: | --: | --: | --: | --: | --: | --: | --- |"
    for index, (seeds, images, accuracy) in enumerate(
        product(NUM_SEEDS, (36, 300, 1000, 5000), (0.5, 0.9, 0.99, 0.999))
    ):
        draw = latent(seeds, images, [0.05] * 2, [accuracy] * 2)
        found, plain = _both_ways(draw, repetitions, 2 * seeds * images, [2, index])
        yield _few_row(f"{seeds} | {images} | {accuracy:g}", found, plain, 0.0)


def few_images(repetitions: int) -> Iterator[str]:
    """An arm that is always wrong on a few images of its own."""
    yield (
        "An arm that is always wrong on a few images of its own, a share of all images there are, and else like the "
        "baseline. “Both”: the baseline is always wrong on as many others. “Plain” as above."
    )
    yield ""
    yield (
        "| seeds | images | wrong on | expected | accuracy | both | coverage | half-width (pp) "
        "| plain: coverage | half-width (pp) | |"
    )
    yield "| --: | --: | --: | --: | --: | --- | --: | --: | --: | --: | --- |"
    places = [(5, 36, 0.05), (10, 100, 0.02), (10, 1000, 0.002), (3, 100, 0.025), (2, 300, 0.01), (5, 300, 0.02)]
    for index, ((seeds, images, share), accuracy, both) in enumerate(product(places, (0.9, 1.0), (False, True))):
        draw = always_wrong(seeds, images, share, accuracy, both=both)
        truth = 0.0 if both else -share * accuracy
        found, plain = _both_ways(draw, repetitions, 2 * seeds * images, [3, index])
        start = f"{seeds} | {images} | {100 * share:g} % | {share * images:g} | {accuracy:g} | {'yes' if both else ''}"
        yield _few_row(start, found, plain, truth)


def _both_ways(draw: Draw, repetitions: int, size: int, seed: list[int]) -> tuple[Found, Found]:
    return (
        all_found(draw, repetitions, size, np.random.default_rng(seed)),
        all_found(draw, repetitions, size, np.random.default_rng(seed), added=False),
    )


def _few_row(start: str, found: Found, plain: Found, truth: float) -> str:
    told = [f"{each.covers(truth).mean():.3f} | {100 * np.median(each.half()):.2f}" for each in (found, plain)]
    return f"| {start} | {told[0]} | {told[1]} | {'outside' if found.covers(truth).mean() < LOWEST else ''} |"

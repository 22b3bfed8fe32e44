"""Do the intervals cover the truth as often as they say, and does looking after every seed cost false alarms?

    python -m tests.benchmarks.calibration          some minutes on one core; writes CALIBRATION.md beside this file

Each repetition draws a whole experiment: images of a difficulty that both arms share, arms that find different images
hard, runs that differ by their seed. A run is right on an image where level + seed + difficulty + arm x image + rest
is positive. All terms are normal, so the true accuracy over all seeds and images is known exactly, by the normal
distribution function.
"""

from __future__ import annotations

import argparse
import datetime
import platform
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import scipy
from scipy.special import ndtri

from ablation_suite.reports.statistics.comparison import difference_interval, verdict
from ablation_suite.reports.statistics.sequential import SeedRule, repeated_interval

NUM_SEEDS = (2, 3, 5, 10)
NUM_IMAGES = (300, 1000, 5000)
SEED_NOISE = (0.0, 0.05, 0.15)  # sd on the latent scale, where difficulty has sd 1
EFFECTS = (0.0, 0.02)  # in accuracy
ARM_BY_IMAGE, REST = 0.3, 0.4  # sd on the latent scale
ACCURACY = 0.87  # of the baseline
RULE = SeedRule(min=3, max=20, until="decided")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """What happened in one setting, as shares of the repetitions; half-width in accuracy."""

    seeds: int
    images: int
    noise: float
    effect: float
    coverage: float
    significant: float
    half_width: float
    one_run_coverage: float
    one_run_significant: float

    @property
    def passes(self) -> bool:
        return 0.925 <= self.coverage <= 0.995 and (self.effect > 0 or self.significant <= 0.07)


@dataclass(frozen=True, kw_only=True)
class Stopping:
    """How the seeds-as-needed rule fared in one setting, beside fixed designs on the same data."""

    noise: float
    effect: float
    margin: float | None
    direction: float
    mean_seeds: float
    fixed_seeds: float | None
    naive: float


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=2000)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_name("CALIBRATION.md"))
    arguments = parser.parse_args()
    started = time.process_time()
    settings = list(product(NUM_SEEDS, NUM_IMAGES, SEED_NOISE, EFFECTS))
    cells = [
        cover(*setting, arguments.repetitions, np.random.default_rng([1, i])) for i, setting in enumerate(settings)
    ]
    plans: list[tuple[float, float, float | None]] = [
        (noise, effect, None) for noise, effect in product(SEED_NOISE, (0.0, 0.02, 0.04))
    ]
    plans += [(noise, 0.0, 0.02) for noise in SEED_NOISE]
    stops = [stop(*plan, arguments.repetitions, np.random.default_rng([2, i])) for i, plan in enumerate(plans)]
    page = "\n".join(render(cells, stops, arguments.repetitions, time.process_time() - started)) + "\n"
    arguments.output.write_text(page, encoding="utf-8")
    print(page)


def draw(
    seeds: int, images: int, noise: float, effect: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Draw one experiment: correctness of the treated arm and the baseline, (S, N) each."""
    scale = np.sqrt(1 + ARM_BY_IMAGE**2 + REST**2 + noise**2)
    difficulty = rng.standard_normal(images, dtype=np.float32)

    def arm(accuracy: float) -> np.ndarray:
        latent = rng.standard_normal((seeds, images), dtype=np.float32)
        latent *= REST
        latent += difficulty + ARM_BY_IMAGE * rng.standard_normal(images, dtype=np.float32)
        latent += noise * rng.standard_normal((seeds, 1), dtype=np.float32)
        return latent > -np.float32(scale * ndtri(accuracy))

    return arm(ACCURACY + effect), arm(ACCURACY)


def cover(seeds: int, images: int, noise: float, effect: float, repetitions: int, rng: np.random.Generator) -> Cell:
    """Count how often the crossed interval and the one-run interval contain the true difference."""
    found = np.empty((repetitions, 5))
    for row in found:
        treated, baseline = draw(seeds, images, noise, effect, rng)
        crossed, one_run = difference_interval(treated, baseline), difference_interval(treated[:1], baseline[:1])
        row[0], row[1], row[2] = crossed.low <= effect <= crossed.high, crossed.p < 0.05, crossed.half_width
        row[3], row[4] = one_run.low <= effect <= one_run.high, one_run.p < 0.05
    share = found.mean(axis=0)
    return Cell(
        seeds=seeds,
        images=images,
        noise=noise,
        effect=effect,
        coverage=share[0],
        significant=share[1],
        half_width=float(np.median(found[:, 2])),
        one_run_coverage=share[3],
        one_run_significant=share[4],
    )


def stop(
    noise: float, effect: float, margin: float | None, repetitions: int, rng: np.random.Generator, images: int = 1000
) -> Stopping:
    """Follow the rule look by look, and the naive rule and every fixed number of seeds on the same experiments."""
    looks = range(RULE.min, RULE.max + 1)
    fixed = np.zeros(len(looks))
    directions, naive, used = 0, 0, 0
    for _ in range(repetitions):
        treated, baseline = draw(RULE.max, images, noise, effect, rng)
        at_look = np.array([difference_interval(treated[:s], baseline[:s]).p < 0.05 for s in looks])
        fixed += at_look
        naive += int(at_look.any())
        for s in looks:
            interval = repeated_interval(treated[:s], baseline[:s], RULE)
            said = verdict(interval, interval.p, margin)
            if said != "undecided":
                break
        directions += said in ("higher", "lower")
        used += s
    power = np.maximum.accumulate(fixed / repetitions)
    enough = directions / repetitions
    return Stopping(
        noise=noise,
        effect=effect,
        margin=margin,
        direction=enough,
        mean_seeds=used / repetitions,
        fixed_seeds=float(np.interp(min(enough, 0.99), power, looks)) if effect > 0 else None,
        naive=naive / repetitions,
    )


def render(cells: list[Cell], stops: list[Stopping], repetitions: int, seconds: float) -> Iterator[str]:
    """The page, line by line."""
    failed = [cell for cell in cells if not cell.passes]
    covers = [cell.coverage for cell in cells]
    alarms = [cell.significant for cell in cells if cell.effect == 0]
    alone = [cell.one_run_coverage for cell in cells]
    yield "# Calibration of the intervals"
    yield ""
    yield "The page is written by `python -m tests.benchmarks.calibration`, which explains the simulated experiment."
    yield f"{repetitions:,} repetitions per row; {datetime.date.today()}; Python {platform.python_version()},"
    yield f"numpy {np.__version__}, scipy {scipy.__version__}; {seconds:.0f} s of one core."
    yield ""
    yield f"The crossed 95 % interval covers in {min(covers):.3f} to {max(covers):.3f} of the repetitions"
    yield f"(wanted: 0.925 to 0.995); false positives: {min(alarms):.3f} to {max(alarms):.3f} (at most 0.07 wanted)."
    yield f"Rows outside: {len(failed)} of {len(cells)}. The interval of one run alone covers in {min(alone):.3f} to"
    yield f"{max(alone):.3f}. A share of 0.95 has a standard error of {np.sqrt(0.95 * 0.05 / repetitions):.4f} here."
    yield ""
    yield "Seed noise is the standard deviation between seeds on the latent scale, where the images' difficulty has 1."
    yield "p < 0.05 is the false-positive rate where the effect is zero and the power elsewhere."
    yield ""
    yield (
        "| seeds | images | seed noise | effect (pp) | coverage | p < 0.05 | half-width (pp) "
        "| one run: coverage | one run: p < 0.05 | |"
    )
    yield "| --: | --: | --: | --: | --: | --: | --: | --: | --: | --- |"
    for c in cells:
        yield (
            f"| {c.seeds} | {c.images} | {c.noise:g} | {100 * c.effect:g} | {c.coverage:.3f} | {c.significant:.3f} | "
            f"{100 * c.half_width:.2f} | {c.one_run_coverage:.3f} | {c.one_run_significant:.3f} | "
            f"{'' if c.passes else 'outside'} |"
        )
    yield ""
    yield "# Seeds as needed"
    yield ""
    yield f"A look after every seed from {RULE.min} to {RULE.max}, 1000 images. Direction: how often the rule says"
    yield "higher or lower, which is a false alarm where the effect is zero. Naive: the same looks, stopping at any"
    yield "p < 0.05. Fixed: the number of seeds that a single look needs for the same power, or for 0.99 where the"
    yield "rule's power is above that. Saved counts seeds of one arm; with the baseline's, twice as many runs."
    yield ""
    yield "| seed noise | effect (pp) | margin (pp) | direction | naive | mean seeds | fixed | saved |"
    yield "| --: | --: | --: | --: | --: | --: | --: | --: |"
    for s in stops:
        margin = "" if s.margin is None else f"{100 * s.margin:g}"
        fixed = ("", "") if s.fixed_seeds is None else (f"{s.fixed_seeds:.1f}", f"{s.fixed_seeds - s.mean_seeds:.1f}")
        yield (
            f"| {s.noise:g} | {100 * s.effect:g} | {margin} | {s.direction:.3f} | {s.naive:.3f} | {s.mean_seeds:.1f} | "
            f"{fixed[0]} | {fixed[1]} |"
        )


if __name__ == "__main__":
    main()

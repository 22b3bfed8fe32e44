"""How often does an ablation of several arms call one wrongly different, or wrongly equivalent?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ablation_suite.reports.statistics.comparison import holm
from tests.benchmarks.calibration.crossed import Array, all_found
from tests.benchmarks.calibration.draw import latent

MARGIN = 0.02


def families(repetitions: int) -> Iterator[str]:
    """Arms that do not differ, and arms that differ by exactly the margin."""
    yield (
        f"A margin of {100 * MARGIN:g} pp, 87 % right, 1,000 images, seed noise 0.02. Any arm called different where "
        "none is; any arm called equivalent where all differ by the margin, with each arm judged alone (its 95 % "
        "interval lies inside) and as a family (Holm on two one-sided tests as well); and how many arms without any "
        "effect are called equivalent. At most 0.05 is wanted of the two errors."
    )
    yield ""
    yield (
        "| seeds | arms | any difference, none true | any equivalence, none true: alone | as a family "
        "| equal arms called equivalent: alone | as a family |"
    )
    yield "| --: | --: | --: | --: | --: | --: | --: |"
    for index, (seeds, arms) in enumerate(product((3, 5, 10), (1, 3, 8))):
        size = (arms + 1) * seeds * 1000
        at_zero, at_margin = (
            all_found(
                latent(seeds, 1000, [0.02] * (arms + 1), [0.87] + [0.87 + effect] * arms),
                repetitions,
                size,
                np.random.default_rng([8, index, int(1000 * effect)]),
            )
            for effect in (0.0, MARGIN)
        )
        alarms = [min(holm(row)) < 0.05 for row in at_zero.p()]
        (wrong_alone, wrong), (right_alone, right) = (
            (_alone(each.p_margin(MARGIN)), _as_family(each.p_margin(MARGIN))) for each in (at_margin, at_zero)
        )
        yield (
            f"| {seeds} | {arms} | {np.mean(alarms):.3f} | {wrong_alone.any(axis=1).mean():.3f} | "
            f"{wrong.any(axis=1).mean():.3f} | {right_alone.mean():.3f} | {right.mean():.3f} |"
        )


def _alone(p: Array) -> Array:
    return p < 0.025


def _as_family(p: Array) -> Array:
    return _alone(p) & (np.array([holm(row) for row in p]) < 0.05)

"""How are a mean, a difference and a smallest detectable difference written? In percent, pp, images and few digits."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.results import Run
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.statistics.intervals import Interval

MISSING = "–"
SPLITS = {"val": "validation", "test": "test"}


def accuracy(mean: float | None, sd: float | None, num_images: int) -> str:
    """An accuracy in [0, 1] as percent with its spread over seeds."""
    return MISSING if mean is None else digits.percent(mean, sd, num_images)


def difference(interval: Interval | None) -> str:
    """A difference in pp with its interval."""
    if interval is None:
        return MISSING
    return digits.with_interval(100 * interval.estimate, 100 * interval.low, 100 * interval.high)


def one_pair(difference: float, num_images: int) -> str:
    """The difference of two runs in pp, without an interval, in steps of an image."""
    return digits.signed(100 * difference, digits.decimals(100 / max(num_images, 1), most=2))


def two_runs(difference: float, num_images: int) -> str:
    """All that may be said of one run against one other."""
    return (
        f"these two runs differ by {one_pair(difference, num_images)} pp; one seed a side says nothing about the change"
    )


def detectable(row: Comparison) -> str:
    """The smallest detectable difference: `1.4 pp = 4 of 300 images`."""
    if row.smallest_detectable is None:
        return MISSING
    pp = 100 * row.smallest_detectable
    return f"{digits.fixed(pp, digits.decimals(pp))} pp = {detectable_images(row)} of {row.num_images} images"


def detectable_images(row: Comparison) -> int | None:
    """The same as a number of images, one at least."""
    return None if row.smallest_detectable is None else max(1, round(row.smallest_detectable * row.num_images))


def percent(value: float | None) -> float | None:
    """A share as percent, or a difference of shares in pp, in the digits of a file."""
    return None if value is None else significant(100 * value)


def significant(value: float | None) -> float | None:
    """A number in the digits of a file; None for what is no number."""
    return None if value is None or not math.isfinite(value) else digits.significant(value)


def metric(runs: Iterable[Run], key: str) -> list[float]:
    """A metric of those runs that have it."""
    return [run.record["metrics"][key] for run in runs if run.record and key in run.record["metrics"]]


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, None of nothing; standard deviation, None of fewer than two."""
    return (float(np.mean(values)) if values else None), (float(np.std(values, ddof=1)) if len(values) > 1 else None)

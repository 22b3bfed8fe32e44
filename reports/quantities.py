"""How are means, differences, names and lists of them written? In percent, pp, images and few digits; in quotes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import numpy as np

from ablation_suite.core.metrics.measures import Metric, metric_of
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.results import CellRun
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.statistics.intervals import Interval

ACCURACY = metric_of("test/accuracy", ())
MISSING = "–"
SPLITS = {"val": "validation", "test": "test"}
EQUAL = 1.02
"""Costs whose largest is no more than so many times the smallest are told as one."""


SHARE = 100.0
"""What shares are multiplied with to be percent; other metrics have a `Metric.scale` of their own."""


def step(num_images: int, num_runs: int = 1, scale: float = SHARE) -> float:
    """The percent that one image of one run is: nothing finer can have been measured."""
    return scale / max(1, num_images * num_runs)


def accuracy(mean: float | None, sd: float | None, places: int, scale: float = SHARE) -> str:
    """A metric, of which an accuracy in [0, 1] becomes percent, with its spread over seeds."""
    return MISSING if mean is None else digits.with_spread(mean, sd, places, scale)


def accuracy_places(cells: Iterable[tuple[float | None, int, int]], scale: float = SHARE) -> int:
    """Decimals of a column of accuracies, from the spread over seeds, the images and the runs of each."""
    spreads = ((scale * sd if sd else None, step(images, runs, scale)) for sd, images, runs in cells)
    return digits.column(spreads, most=most_places(scale))


def difference(interval: Interval | None, places: int, scale: float = SHARE) -> str:
    """A difference in pp with its interval."""
    if interval is None:
        return MISSING
    return digits.with_interval(scale * interval.estimate, scale * interval.low, scale * interval.high, places)


def row_difference(row: Comparison, places: int, scale: float = SHARE) -> str:
    """The difference of an arm with its interval, or without one where there is one pair of runs."""
    if row.difference is not None and row.interval is None:
        return one_pair(row.difference, places, scale)
    return difference(row.interval, places, scale)


def difference_places(differences: Iterable[tuple[Interval | None, int, int]], scale: float = SHARE) -> int:
    """Decimals of a column of differences, from the interval, the images and the pairs of runs of each."""
    found = list(differences)
    ends = [scale * end for interval, _, _ in found if interval for end in (interval.low, interval.high)]
    halves = (
        (scale * interval.half_width if interval else None, step(images, pairs, scale))
        for interval, images, pairs in found
    )
    return digits.column(halves, ends, most_places(scale))


def answer_places(rows: Iterable[Comparison], scale: float = SHARE) -> int:
    """The same of the comparisons of an ablation: one number is written in one way wherever it stands."""
    differences = ((row.interval, row.num_images, row.num_pairs) for row in rows if row.difference is not None)
    return difference_places(differences, scale)


def most_places(scale: float) -> int:
    """Decimals that no number exceeds: two of percent, and what is as fine in other units."""
    return 2 if scale == SHARE else 4


def one_pair(difference: float, places: int, scale: float = SHARE) -> str:
    """The difference of two runs in pp, without an interval."""
    return digits.signed(scale * difference, places)


def two_runs(difference: float, places: int, unit: str = "pp", scale: float = SHARE) -> str:
    """All that may be said of one run against one other."""
    apart = f"{one_pair(difference, places, scale)} {unit}"
    return f"these two runs differ by {apart}; one seed a side says nothing about the change"


MOST_VAGUE = 5
"""A smallest detectable difference whose ends lie further apart than this many times is not told."""


def detectable(row: Comparison, metric: Metric = ACCURACY) -> str:
    """The smallest detectable difference: `1.4 pp = 4 of 300 images`, a range where it is less well known, or why not.

    The images are told where the metric counts them. None is told that is more than two arms can differ, nor one of
    which so few seeds and images know nothing.
    """
    if row.smallest_detectable is None:
        return MISSING
    if not can_show(row, metric):
        return "none"
    if not is_known(row, metric):
        return "too few to say"
    size, images = detectable_sizes(row, metric)
    return f"{size} = {images}" if metric.counts_images else size


def detectable_sizes(row: Comparison, metric: Metric = ACCURACY) -> tuple[str, str]:
    """The same as `1.4 pp` and `4 of 300 images`, or `1.1 to 2.3 pp` and `3 to 7 of 300 images`."""
    low, high = _detectable_ends(row)
    places = digits.decimals(metric.scale * low, most=6)
    sizes = [digits.fixed(metric.scale * end, places) for end in (low, high)]
    images = [str(max(1, round(end * row.num_images))) for end in (low, high)]
    told, counted = (first if first == last else f"{first} to {last}" for first, last in (sizes, images))
    return f"{told} {metric.unit}", f"{counted} of {row.num_images} images"


def can_show(row: Comparison, metric: Metric = ACCURACY) -> bool:
    """Whether the smallest detectable difference may be one that two arms can have: 100 pp, all images, at most."""
    return row.smallest_detectable is not None and _detectable_ends(row)[0] <= metric.widest


def is_known(row: Comparison, metric: Metric = ACCURACY) -> bool:
    """Whether it is known well enough to be told, and no more than two arms can differ as far as it is known."""
    low, high = _detectable_ends(row)
    return can_show(row, metric) and low > 0 and high <= metric.widest and high <= MOST_VAGUE * low


def detectable_images(row: Comparison, metric: Metric = ACCURACY) -> int | None:
    """The same as a number of images, one at least; None of a metric that counts none."""
    if row.smallest_detectable is None or not metric.counts_images or not is_known(row, metric):
        return None
    return max(1, round(row.smallest_detectable * row.num_images))


def _detectable_ends(row: Comparison) -> tuple[float, float]:
    """Its range, or twice the same where it is known to a fifth or so."""
    point = row.smallest_detectable if row.smallest_detectable is not None else math.inf
    low, high = row.detectable_range or (point, point)
    return (low, high) if not high <= 1.5 * low else (point, point)


def introduced(unit: str) -> str:
    """The unit of a difference as it is first said."""
    return "percentage points (pp)" if unit == "pp" else unit


def percent(value: float | None) -> float | None:
    """A share as percent, or a difference of shares in pp, in the digits of a file."""
    return None if value is None else significant(100 * value)


def scaled(value: float | None, scale: float) -> float | None:
    """The same of a metric with a scale of its own."""
    return None if value is None else significant(scale * value)


def significant(value: float | None) -> float | None:
    """A number in the digits of a file; None for what is no number."""
    return None if value is None or not math.isfinite(value) else digits.significant(value)


def over_seeds(most_seeds: int) -> str:
    """What a column of means is, where no arm has more seeds than so many."""
    return "mean ± standard deviation over seeds" if most_seeds > 1 else "one run each"


def metric(runs: Iterable[CellRun], key: str) -> list[float]:
    """A metric of those runs that have it."""
    return [run.record["metrics"][key] for run in runs if run.record and key in run.record["metrics"]]


def mean_and_sd(values: Sequence[float]) -> tuple[float | None, float | None]:
    """Mean, None of nothing; standard deviation, None of fewer than two."""
    with np.errstate(invalid="ignore"):  # a loss may be infinite, and its spread is then no number
        return float(np.mean(values)) if values else None, float(np.std(values, ddof=1)) if len(values) > 1 else None


def quoted(name: str) -> str:
    """The name of an arm, or of what else a user names, within a sentence."""
    return f"“{name}”"


def listed(words: Sequence[str]) -> str:
    """One word or more in a sentence: a, b and c."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"


def capital(text: str) -> str:
    """A text as it begins a sentence or a heading, its other capitals as they are."""
    return text[:1].upper() + text[1:]

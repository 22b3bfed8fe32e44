"""How is a metric of the user's own computed? As contributions of the images, or as one number without each of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.metrics import OwnMetric
from ablation_suite.core.metrics.measures import Array, Labels, Metric
from ablation_suite.core.own.loading import blamed, make, takes
from ablation_suite.core.own.undisturbed import undisturbed


def own_metric(entry: OwnMetric, classes: Sequence[str]) -> Metric:
    """The metric that a user's name leads to; its code is first run when contributions are asked for."""
    return Metric(
        name=entry.measure,
        text=entry.title,
        contributions=lambda probabilities, labels: _contributions(entry, classes, probabilities, labels),
        higher_is_better=entry.higher_is_better,
        sign=entry.unit,
        widest=1.0 if entry.unit == "%" else math.inf,
    )


def try_metric(entry: OwnMetric, classes: Sequence[str], labels: Labels) -> None:
    """Call a metric once for images with these labels (N,) and random predictions; OwnPartError where it fails."""
    probabilities = np.random.default_rng(0).dirichlet(np.ones(len(classes)), len(labels))
    with undisturbed(entry.name):
        _Callable(entry, classes)(probabilities, labels)


def _contributions(entry: OwnMetric, classes: Sequence[str], probabilities: Array, labels: Labels) -> Array:
    """(N,), whose mean is the metric; OwnPartError with the user's line where there is none.

    Of one number they are the jackknife's: the number, plus N - 1 times how far it falls without the image.
    """
    metric = _Callable(entry, classes)
    value = metric(probabilities, labels)
    if value.ndim:
        return value
    num_images = len(labels)
    if num_images == 1:
        return value[None]
    without = np.empty(num_images)
    others, of_others = probabilities[1:].copy(), labels[1:].copy()
    for each in range(num_images):
        if each:  # the one before takes the place of this one
            others[each - 1], of_others[each - 1] = probabilities[each - 1], labels[each - 1]
        without[each] = metric(others, of_others)
    return value + (num_images - 1) * (without.mean() - without)


class _Callable:
    """What a user's name leads to, called with arrays that it cannot change; its answers are checked."""

    def __init__(self, entry: OwnMetric, classes: Sequence[str]):
        self.entry = entry
        self.metric = make(entry, classes=tuple(classes))
        takes(self.metric, entry.called)

    def __call__(self, probabilities: Array, labels: Labels) -> Array:
        """(N,) or one number, of float64."""
        name, num_images = self.entry.name, len(labels)
        arrays = [each.view() for each in (probabilities, labels)]
        for each in arrays:
            each.flags.writeable = False
        with blamed(self.entry, "asked for its value"), np.errstate(all="ignore"):  # what comes of it is judged here
            given = self.metric(*arrays)
        wanted = f"a metric gives one number, or ({num_images},)"
        if not isinstance(given, int | float | np.number | np.ndarray) or np.asarray(given).dtype.kind not in "biuf":
            raise OwnPartError(f"{name}: gives a {type(given).__name__}; {wanted}")
        value = np.asarray(given, dtype=np.float64)
        if value.shape not in ((), (num_images,)):
            raise OwnPartError(f"{name}: gives an array {value.shape}; {wanted}")
        if not np.isfinite(value).all():
            raise OwnPartError(f"{name}: is no finite number on {num_images} images")
        if self.entry.unit == "%" and not -1e-9 <= value.mean() <= 1 + 1e-9:
            raise OwnPartError(
                f"{name}: is {value.mean():.6g}, and a metric in % is a share from 0 to 1; give it a `unit:` of its own"
            )
        return value

"""How is a metric computed, and what does each image contribute to it?

Every metric is written as contributions (N,), one per image, whose mean is the metric. For a mean over images they are
its terms. For the others they are the metric plus its influence function at each image (Hampel 1974, JASA 69), so that
their spread over images is the sampling spread of the metric, and one interval serves all metrics.

Probabilities are (N, K), rows summing to one; labels are (N,) integers below K.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ablation_suite.core.config.errors import nearest
from ablation_suite.core.config.menu import build
from ablation_suite.core.metrics import OwnMetric, split_of

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Metric:
    """A metric, its name in a sentence, its direction and its contributions."""

    name: str
    text: str
    contributions: Callable[[Array, Labels], Array]
    """(probabilities, labels) -> (N,), whose mean is the metric."""
    higher_is_better: bool = True
    sign: str = "%"
    """What stands behind a value: % where it is a share, which is shown in percent, else its unit."""
    counts_images: bool = False
    """Whether one image more or less is 1 / N of it."""
    widest: float = 1.0
    """How far two models can lie apart."""
    needs: int | None = None
    """The class that it is about, where it is about one."""

    @property
    def is_share(self) -> bool:
        """Whether it is shown in percent; a metric that is no share of anything is shown as it stands."""
        return self.sign == "%"

    @property
    def unit(self) -> str:
        """Of a difference times `scale`: percentage points, or the unit of a value."""
        return "pp" if self.is_share else self.sign

    @property
    def word(self) -> str:
        """The sign in the name of a value in a file."""
        return "percent" if self.is_share else self.sign

    @property
    def scale(self) -> float:
        """What a value is multiplied with before it is shown."""
        return 100.0 if self.is_share else 1.0


def metric_of(name: str, classes: Sequence[str], own: Mapping[str, OwnMetric] = MappingProxyType({})) -> Metric:
    """The metric of a `SPLIT/METRIC` for data of these classes; ValueError where they do not have it.

    own: those of the user's own, by their measure.
    """
    measure = name.partition("/")[2]
    if measure in own:
        metric: Metric = build(own[measure], classes)
        return metric
    if measure.startswith("recall/"):
        of_class = measure.removeprefix("recall/")
        if of_class not in classes:
            raise ValueError(f"{name}: there is no class {of_class!r}{nearest(of_class, classes)}")
        at = list(classes).index(of_class)
        return Metric(name=measure, text=f"recall of “{of_class}”", contributions=partial(_recall, at), needs=at)
    if measure.startswith("top_"):
        count = int(measure.removeprefix("top_"))
        if count >= len(classes):
            raise ValueError(f"{name}: of {len(classes)} classes the true one is always among the first {count}")
        return Metric(
            name=measure, text=f"top-{count} accuracy", contributions=partial(_top, count), counts_images=True
        )
    return _PLAIN[measure]


def data_fault(name: str, classes: Sequence[str], labels: Labels) -> str:
    """Why the images of a split, with these labels, do not have a metric of the suite, or nothing."""
    try:
        metric = metric_of(name, classes)
    except ValueError as error:
        return str(error)
    absent = [
        str(each) for each, count in zip(classes, np.bincount(labels, minlength=len(classes)), strict=True) if not count
    ]
    wanted = [classes[metric.needs]] if metric.needs is not None else classes if metric.name in _NEED_ALL else []
    missing = [each for each in absent if each in wanted]
    if missing:
        split = split_of(name)
        return (
            f"{name}: needs images of every class, and {split} has none of {', '.join(missing[:3])}{_more(missing, 3)}"
        )
    if metric.name == "auroc" and len(set(labels.tolist())) < 2:
        return f"{name}: needs two classes"
    return ""


def checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Array, Labels]:
    """Probabilities as float64 and labels as int64; ValueError where they are no prediction of N images."""
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or p.size == 0:
        raise ValueError(f"probabilities (N, K) and labels (N,) are needed, not {p.shape} and {y.shape}")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"labels must be integers from 0 to {p.shape[1] - 1}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("every row of probabilities must be finite, not negative, and sum to one")
    return p, y.astype(np.int64)


def accuracy(probabilities: Array, labels: Labels) -> Array:
    """Whether each image was recognised."""
    return (probabilities.argmax(axis=1) == labels).astype(np.float64)


def balanced_accuracy(probabilities: Array, labels: Labels) -> Array:
    """The mean of the classes' recalls, over the classes that have images."""
    correct, counts = accuracy(probabilities, labels), np.bincount(labels)
    recalls = np.bincount(labels, weights=correct) / np.maximum(counts, 1)  # K
    occurring = counts > 0
    weight = len(labels) / counts[labels] / occurring.sum()  # N
    return recalls[occurring].mean() + weight * (correct - recalls[labels])


def macro_f1(probabilities: Array, labels: Labels) -> Array:
    """The mean of the classes' F1 scores, over the classes that occur among the labels or the predictions.

    F1 = 2 TP / (labelled + predicted); an image enters its own class's TP and two of the sums.
    """
    num_images, num_classes = probabilities.shape
    predicted = probabilities.argmax(axis=1)  # N
    hits = np.bincount(labels[predicted == labels], minlength=num_classes)
    sums = np.bincount(labels, minlength=num_classes) + np.bincount(predicted, minlength=num_classes)
    occurs = sums > 0
    f1 = np.divide(2 * hits, sums, out=np.zeros(num_classes), where=occurs)  # K
    slope = np.divide(
        num_images, sums * occurs.sum(), out=np.zeros(num_classes), where=occurs
    )  # of F1's mean, per image
    influence = (
        2 * slope[labels] * (predicted == labels) - slope[labels] * f1[labels] - slope[predicted] * f1[predicted]
    )
    return f1[occurs].mean() + influence


def brier(probabilities: Array, labels: Labels) -> Array:
    """The squared distance of the probabilities from the truth, in [0, 2] (Brier 1950, Monthly Weather Review 78)."""
    truth = np.zeros_like(probabilities)
    truth[np.arange(len(labels)), labels] = 1
    return ((probabilities - truth) ** 2).sum(axis=1)


def nll(probabilities: Array, labels: Labels) -> Array:
    """The negative logarithm of the probability of the true class, in nats; of zero, that of float64's smallest."""
    return -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], np.finfo(np.float64).tiny))


def calibration_error(probabilities: Array, labels: Labels, num_bins: int = 15) -> Array:
    """The expected calibration error over equal bins of confidence (Guo et al. 2017, ICML, equation 3)."""
    confidence, bins = _confidences(probabilities, num_bins)
    gap = accuracy(probabilities, labels) - confidence
    sign = np.sign(np.bincount(bins, weights=gap, minlength=num_bins))
    return sign[bins] * gap


def calibration_error_by_chance(
    probabilities: Array, rng: np.random.Generator, num_bins: int = 15, num_draws: int = 20
) -> float:
    """The mean calibration error that these images would show if every confidence were true.

    It is not zero: few images a bin are right more or less often than expected (Bröcker and Smith 2007, Weather and
    Forecasting 22, consistency resampling).
    """
    confidence, bins = _confidences(probabilities, num_bins)
    gaps = (rng.random((num_draws, len(confidence))) < confidence) - confidence  # draws N
    sums = [np.bincount(bins, weights=gap, minlength=num_bins) for gap in gaps]
    return float(np.abs(sums).sum(axis=1).mean() / len(confidence))


def _confidences(probabilities: Array, num_bins: int) -> tuple[Array, Labels]:
    """The confidence of each image and its bin, open to the left: (N,) each."""
    confidence = np.minimum(probabilities.max(axis=1), 1.0)
    return confidence, np.maximum(np.ceil(confidence * num_bins).astype(int) - 1, 0)


def auroc(probabilities: Array, labels: Labels) -> Array:
    """The mean over classes of the area under one-against-rest ROC curves, ties counting half.

    Its influence: DeLong, DeLong and Clarke-Pearson 1988, Biometrics 44.
    """
    num_images, num_classes = probabilities.shape
    found = np.zeros(num_images)
    for each in range(num_classes):
        score, positive = probabilities[:, each], labels == each
        num_positive, num_negative = positive.sum(), num_images - positive.sum()
        wins = _below(score[~positive], score[positive]) / num_negative  # of each image of the class
        losses = 1 - _below(score[positive], score[~positive]) / num_positive  # of each other image
        area, influence = wins.mean(), np.empty(num_images)
        influence[positive] = (wins - area) * num_images / num_positive
        influence[~positive] = (losses - area) * num_images / num_negative
        found += (area + influence) / num_classes
    return found


def kappa(probabilities: Array, labels: Labels) -> Array:
    """Cohen's kappa with quadratic weights (1968, Psychological Bulletin 70), for classes in an order.

    1 - observed / expected, where both are means over images and the influence follows by the quotient rule.
    """
    predicted = probabilities.argmax(axis=1)  # N
    observed = (predicted - labels) ** 2.0  # N
    # Expected under independence: the mean over all pairs of a label and a prediction of their squared distance.
    from_labels = (labels - predicted.mean()) ** 2 + predicted.var()  # N; over all predictions, of each label
    from_predicted = (predicted - labels.mean()) ** 2 + labels.var()  # N
    expected = from_labels.mean()
    if expected == 0:
        return np.full(len(labels), 1.0 if observed.sum() == 0 else 0.0)
    ratio = observed.mean() / expected
    influence = -(observed - observed.mean()) / expected
    influence += ratio * (from_labels + from_predicted - 2 * expected) / expected
    return 1 - ratio + influence


def _recall(at: int, probabilities: Array, labels: Labels) -> Array:
    correct, of_class = accuracy(probabilities, labels), labels == at
    share = correct[of_class].mean()
    return share + of_class * (correct - share) * len(labels) / of_class.sum()


def _top(count: int, probabilities: Array, labels: Labels) -> Array:
    # N count; of ties the later, as scikit-learn
    best = np.argsort(probabilities, axis=1, kind="stable")[:, -count:]
    return (best == labels[:, None]).any(axis=1).astype(np.float64)


def _below(values: Array, of: Array) -> Array:
    """How many of `values` lie below each of `of`, ties counting half."""
    ordered = np.sort(values)
    return (np.searchsorted(ordered, of, "left") + np.searchsorted(ordered, of, "right")) / 2


def _more(items: Sequence[str], shown: int) -> str:
    return f" and {len(items) - shown} more" if len(items) > shown else ""


_NEED_ALL = ("balanced_accuracy", "auroc")
_PLAIN = {
    each.name: each
    for each in (
        Metric(name="accuracy", text="accuracy", contributions=accuracy, counts_images=True),
        Metric(name="balanced_accuracy", text="balanced accuracy", contributions=balanced_accuracy),
        Metric(name="macro_f1", text="macro F1", contributions=macro_f1),
        Metric(name="auroc", text="AUROC", contributions=auroc),
        Metric(name="kappa", text="quadratic weighted kappa", contributions=kappa, widest=2.0),
        Metric(name="nll", text="NLL", contributions=nll, higher_is_better=False, sign="nats", widest=math.inf),
        Metric(name="brier", text="Brier score", contributions=brier, higher_is_better=False, widest=2.0),
        Metric(
            name="calibration_error", text="calibration error", contributions=calibration_error, higher_is_better=False
        ),
    )
}

"""What else do the predicted probabilities say: top-5, macro F1, calibration, and each class by itself?

Probabilities are (N, K), rows summing to one; labels are (N,) integers below K. All values lie in [0, 1].
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Labels = NDArray[np.int64]


def top_5(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The share of images whose label is among the five most probable classes; 1 where there are no more than five.

    Of equal probabilities the later class counts as the more probable one, as in scikit-learn.
    """
    probabilities, labels = _checked(probabilities, labels)
    if probabilities.shape[1] <= 5:
        return 1.0
    best = np.argsort(probabilities, axis=1, kind="stable")[:, -5:]  # N 5
    return float((best == labels[:, None]).any(axis=1).mean())


def macro_f1(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """The mean of the classes' F1 scores, over the classes that occur among the labels or the predictions."""
    counts = confusion(probabilities, labels)
    occurrences = counts.sum(axis=0) + counts.sum(axis=1)  # K; F1 = 2 TP / (2 TP + FP + FN)
    occurs = occurrences > 0
    return float((2 * counts.diagonal()[occurs] / occurrences[occurs]).mean())


def calibration_error(probabilities: ArrayLike, labels: ArrayLike, num_bins: int = 15) -> float:
    """The expected calibration error: mean |accuracy - confidence| over equally wide bins of confidence.

    Bins are open to the left, as in the paper. Source: Guo, Pleiss, Sun and Weinberger 2017, ICML, equation 3.
    """
    probabilities, labels = _checked(probabilities, labels)
    confidence = np.minimum(probabilities.max(axis=1), 1.0)  # N
    correct = probabilities.argmax(axis=1) == labels  # N
    bins = np.maximum(np.ceil(confidence * num_bins).astype(int) - 1, 0)  # N
    gaps = np.bincount(bins, weights=correct - confidence, minlength=num_bins)  # sums, so no bin is divided by zero
    return float(np.abs(gaps).sum() / len(labels))


def class_accuracy(probabilities: ArrayLike, labels: ArrayLike) -> Array:
    """Each class's share of its images that were recognised, (K,); NaN for a class without images."""
    counts = confusion(probabilities, labels)
    num_images = counts.sum(axis=1)
    return np.divide(counts.diagonal(), num_images, out=np.full(len(counts), np.nan), where=num_images > 0)


def confusion(probabilities: ArrayLike, labels: ArrayLike) -> Labels:
    """How many images of each class (row) were taken for each class (column): (K, K) counts."""
    probabilities, labels = _checked(probabilities, labels)
    num_classes = probabilities.shape[1]
    pairs = labels * num_classes + probabilities.argmax(axis=1)  # N
    return np.bincount(pairs, minlength=num_classes**2).reshape(num_classes, num_classes)


def _checked(probabilities: ArrayLike, labels: ArrayLike) -> tuple[Array, Labels]:
    p, y = np.asarray(probabilities, dtype=np.float64), np.asarray(labels)
    if p.ndim != 2 or y.shape != p.shape[:1] or p.size == 0:
        raise ValueError(f"probabilities (N, K) and labels (N,) are needed, not {p.shape} and {y.shape}")
    if not np.issubdtype(y.dtype, np.integer) or y.min() < 0 or y.max() >= p.shape[1]:
        raise ValueError(f"labels must be integers from 0 to {p.shape[1] - 1}")
    if not np.isfinite(p).all() or p.min() < 0 or np.abs(p.sum(axis=1) - 1).max() > 1e-3:
        raise ValueError("every row of probabilities must be finite, not negative, and sum to one")
    return p, y.astype(np.int64)

"""What did one run say about the images of a split? Read from its `outputs.npz`, of the epoch that may answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.metrics import OwnMetric
from ablation_suite.core.metrics.measures import (
    calibration_error,
    calibration_error_by_chance,
    checked,
    data_fault,
    macro_f1,
    metric_of,
)
from ablation_suite.core.runs.damage import open_outputs
from ablation_suite.core.runs.shape import Record

Epoch = Literal["kept", "last"]
"""Which weights of a run speak: those that were kept, or those of its last epoch, which nobody selected."""
_LAST = "last_val_probabilities"
Split = Literal["val", "test"]
Asked = tuple[str | OwnMetric, ...]
"""Metrics without their split, and those of the user's own."""


class NoMetric(Exception):
    """The images of a split do not have a metric that was asked for."""


@dataclass(frozen=True, kw_only=True)
class Outputs:
    """What one run said about the images of one split, and the metrics that need its probabilities."""

    names: tuple[str, ...]  # N
    labels: NDArray[np.int64]  # N
    predicted: NDArray[np.int64]  # N
    correct: NDArray[np.bool_]  # N
    contributions: dict[str, NDArray[np.float64]]
    """Metric, without its split -> what each image (N,) contributes to it."""
    num_classes: int
    top_5: float
    macro_f1: float
    calibration_error: float
    calibration_error_by_chance: float
    groups: tuple[str, ...] | None = None  # N; where the run's data told which images belong together

    def same_images(self, other: Outputs) -> bool:
        """Whether both speak of the same images in the same order, with the same labels."""
        return self.names == other.names and np.array_equal(self.labels, other.labels)


def last_epoch_speaks(path: Path, record: Record) -> bool:
    """Whether a run kept what its last epoch said about the validation images; older runs kept that of the best alone.

    Raises OUTPUT_ERRORS where the file cannot be read.
    """
    if is_last(record):
        return True
    with open_outputs(path, record) as arrays:
        return _LAST in arrays.files


def is_last(record: Record) -> bool:
    """Whether the epoch that a run kept is its last one."""
    history = record["history"]
    return bool(history) and bool(record["metrics"].get("best_epoch") == history[-1]["epoch"])


def read_outputs(
    path: Path,
    record: Record,
    split: Split,
    measures: Asked = ("accuracy",),
    *,
    epoch: Epoch = "kept",
) -> Outputs:
    """The outputs of one run on one split, with what its images contribute to metrics.

    epoch: "last" reads what the last epoch said about the validation images, where it is not the kept one.
    Raises OUTPUT_ERRORS where they cannot be read, NoMetric where these images do not have a metric.
    """
    classes = [str(each) for each in record["classes"]]
    with open_outputs(path, record) as arrays:
        last = epoch == "last" and split == "val" and _LAST in arrays.files
        probabilities = arrays[_LAST if last else f"{split}_probabilities"]  # N K
        labels = arrays[f"{split}_labels"].astype(np.int64)  # N
        names = tuple(map(str, arrays[f"{split}_names"]))
        groups = tuple(map(str, arrays[f"{split}_groups"])) if f"{split}_groups" in arrays.files else None
    if len(names) != len(labels):
        raise ValueError(f"{len(names)} names for {len(labels)} labels")
    if groups is not None and len(groups) != len(labels):
        raise ValueError(f"{len(groups)} groups for {len(labels)} labels")
    probabilities, labels = checked(probabilities, labels)
    predicted = probabilities.argmax(axis=1)  # N
    return Outputs(
        contributions=dict(_contributions(each, split, classes, probabilities, labels) for each in measures),
        names=names,
        groups=groups,
        labels=labels,
        predicted=predicted,
        correct=predicted == labels,
        num_classes=probabilities.shape[1],
        top_5=_top_5(probabilities, labels),
        macro_f1=float(macro_f1(probabilities, labels).mean()),
        calibration_error=float(calibration_error(probabilities, labels).mean()),
        calibration_error_by_chance=calibration_error_by_chance(probabilities, np.random.default_rng(0)),
    )


def _top_5(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> float:
    """1 where there are no more than five classes."""
    classes = [str(each) for each in range(probabilities.shape[1])]
    return (
        1.0
        if len(classes) <= 5
        else float(metric_of("test/top_5", classes).contributions(probabilities, labels).mean())
    )


def _contributions(
    asked: str | OwnMetric,
    split: Split,
    classes: Sequence[str],
    probabilities: NDArray[Any],
    labels: NDArray[np.int64],
) -> tuple[str, NDArray[np.float64]]:
    """The measure, and what each image (N,) contributes to it."""
    known = classes or [str(each) for each in range(probabilities.shape[1])]
    measure = asked if isinstance(asked, str) else asked.measure
    name = f"{split}/{measure}"
    if isinstance(asked, str) and (fault := data_fault(name, known, labels)):
        raise NoMetric(fault)
    own = {} if isinstance(asked, str) else {measure: asked}
    try:
        found = metric_of(name, known, own).contributions(probabilities, labels)
    except OwnPartError as error:
        raise NoMetric(str(error)) from error
    if not np.isfinite(found).all():
        raise NoMetric(f"{name}: is no number on these images")
    return measure, found

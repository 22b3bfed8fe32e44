"""Which runs of an ablation are there, and what did each get right? Missing and failed ones are named, not dropped."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ablation_suite.core.metrics import (
    Metric,
    accuracy,
    calibration_error,
    calibration_error_by_chance,
    checked,
    data_fault,
    macro_f1,
    metric_of,
)
from ablation_suite.core.runs.files import open_regular
from ablation_suite.core.runs.store import OUTPUT_ERRORS, RunFolder
from ablation_suite.reports.design import Design

Split = Literal["val", "test"]


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

    def same_images(self, other: Outputs) -> bool:
        """Whether both speak of the same images in the same order, with the same labels."""
        return self.names == other.names and np.array_equal(self.labels, other.labels)


@dataclass(frozen=True, kw_only=True)
class Run:
    """One cell of the plan. `record` and `outputs` are there exactly when `problem` is empty."""

    arm: str
    seed: int
    run_id: str
    status: str
    problem: str
    record: dict[str, Any] | None = None
    outputs: Outputs | None = None

    @property
    def usable(self) -> bool:
        return self.outputs is not None

    def describe(self) -> str:
        """Which run this is, and what is the matter with it."""
        return f"{self.arm}, seed {self.seed} ({self.run_id}): {self.status}, {self.problem}"


@dataclass(frozen=True, kw_only=True)
class Results:
    """All cells of a design with what was found for each; `split` is the one that gives the answer."""

    design: Design
    split: Split
    runs: tuple[Run, ...]

    def of_arm(self, arm: str) -> list[Run]:
        """The usable runs of an arm, in the order of the plan."""
        return [run for run in self.runs if run.arm == arm and run.usable]

    def problems(self) -> list[Run]:
        """The runs that count for nothing, each with its reason."""
        return [run for run in self.runs if not run.usable]

    def outputs(self, arm: str) -> dict[int, Outputs]:
        """Seed -> outputs of the usable runs of an arm."""
        return {run.seed: run.outputs for run in self.of_arm(arm) if run.outputs is not None}

    @property
    def classes(self) -> list[str]:
        """The names of the classes, as the first usable run has them."""
        return next((list(map(str, run.record["classes"])) for run in self.runs if run.record), [])

    @property
    def metric(self) -> Metric:
        """The metric that decides."""
        return self.measure(self.design.measures[0])

    def measure(self, name: str) -> Metric:
        """A metric by its name without the split."""
        try:
            return metric_of(f"{self.split}/{name}", self.classes)
        except ValueError:  # no run has been read that could tell the classes
            return Metric(name=name, text=name, contributions=accuracy)

    def scores(self, arm: str, measure: str | None = None) -> dict[int, NDArray[np.float64]]:
        """Seed -> what each image (N,) contributes to a metric, by default the one that decides."""
        name = measure or self.design.measures[0]
        return {seed: outputs.contributions[name] for seed, outputs in self.outputs(arm).items()}

    @property
    def reference(self) -> Outputs | None:
        """The outputs whose images all comparisons are about: the baseline's, or the first there are."""
        runs = [*self.of_arm(self.design.baseline), *(run for run in self.runs if run.usable)]
        return runs[0].outputs if runs else None

    def comparable(self, arm: str) -> bool:
        """Whether all usable runs of an arm speak of the reference's images."""
        reference = self.reference
        return reference is not None and all(each.same_images(reference) for each in self.outputs(arm).values())


class Reader:
    """Reads the run folders of one store, each once however many ablations share it."""

    def __init__(self, store: Path):
        self.store = store
        self._records: dict[str, tuple[str, str, dict[str, Any] | None]] = {}
        self._outputs: dict[tuple[str, Split, tuple[str, ...]], Outputs] = {}

    def results(self, design: Design, split: Split | None = None) -> Results:
        """What the store holds for a design on a split, by default the one that answers.

        Nothing is raised for runs that are missing, failed or damaged.
        """
        found = {run_id: self._record(run_id) for _, _, run_id in design.cells}
        split = split or answer_split((record for _, _, record in found.values() if record), design.metric)
        runs = (self._run(design, arm, seed, run_id, split) for arm, seed, run_id in design.cells)
        return Results(design=design, split=split, runs=tuple(runs))

    def records(self, design: Design) -> dict[str, list[dict[str, Any]]]:
        """Arm -> the records of its runs that can be read."""
        found: dict[str, list[dict[str, Any]]] = {arm.name: [] for arm in design.arms}
        for arm, _, run_id in design.cells:
            record = self._record(run_id)[2]
            if record is not None:
                found[arm].append(record)
        return found

    def _run(self, design: Design, arm: str, seed: int, run_id: str, split: Split) -> Run:
        status, problem, record = self._record(run_id)
        outputs = None
        if record is not None and design.factors and not design.arm(arm).has_levels(record["config"]):
            status, problem, record = "damaged", "record.json: its config has other levels than its cell", None
        if record is not None and f"{split}/accuracy" not in record["metrics"]:
            asked = f"{split}/{design.measures[0]}"
            problem, record = f"it has no labelled {split} images, and {asked} was asked for", None
        if record is not None:
            try:
                outputs = self._read_outputs(run_id, split, design.measures, record["classes"])
            except NoMetric as error:
                problem, record = str(error), None
            except OUTPUT_ERRORS as error:
                status, problem, record = "damaged", f"outputs.npz: {_one_line(error)}", None
        return Run(arm=arm, seed=seed, run_id=run_id, status=status, problem=problem, record=record, outputs=outputs)

    def _record(self, run_id: str) -> tuple[str, str, dict[str, Any] | None]:
        """Status, problem and record of a run."""
        if run_id not in self._records:
            self._records[run_id] = read_record(RunFolder(self.store / run_id))
        return self._records[run_id]

    def _read_outputs(self, run_id: str, split: Split, measures: tuple[str, ...], classes: Sequence[str]) -> Outputs:
        key = (run_id, split, measures)
        if key not in self._outputs:
            path = self.store / run_id / "outputs.npz"
            self._outputs[key] = read_outputs(path, split, measures, tuple(map(str, classes)))
        return self._outputs[key]


def answer_split(records: Iterable[dict[str, Any]], metric: str | None = None) -> Split:
    """The split that answers: that of the metric that was asked for; without one, test where every finished run has a
    labelled one, else validation.

    The kept epoch was chosen on the validation images, so that their accuracy is optimistic.
    """
    if metric is not None:
        return "test" if metric.startswith("test/") else "val"
    has_test = ["test/accuracy" in record["metrics"] for record in records]
    return "test" if has_test and all(has_test) else "val"


def read_outputs(
    path: Path, split: Split, measures: Sequence[str] = ("accuracy",), classes: Sequence[str] = ()
) -> Outputs:
    """The outputs of one run on one split, with what its images contribute to metrics (named without their split).

    Raises OUTPUT_ERRORS where they cannot be read, NoMetric where these images do not have a metric.
    """
    with open_regular(path) as file, np.load(file) as arrays:  # np.load alone leaves a damaged file open
        probabilities = arrays[f"{split}_probabilities"]  # N K
        labels = arrays[f"{split}_labels"].astype(np.int64)  # N
        names = tuple(map(str, arrays[f"{split}_names"]))
    if len(names) != len(labels):
        raise ValueError(f"{len(names)} names for {len(labels)} labels")
    probabilities, labels = checked(probabilities, labels)
    predicted = probabilities.argmax(axis=1)  # N
    return Outputs(
        contributions={name: _contributions(f"{split}/{name}", classes, probabilities, labels) for name in measures},
        names=names,
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
    name: str, classes: Sequence[str], probabilities: NDArray[Any], labels: NDArray[np.int64]
) -> NDArray[np.float64]:
    known = classes or [str(each) for each in range(probabilities.shape[1])]
    if fault := data_fault(name, known, labels):
        raise NoMetric(fault)
    found = metric_of(name, known).contributions(probabilities, labels)
    if not np.isfinite(found).all():
        raise NoMetric(f"{name}: is no number on these images")
    return found


def read_record(folder: RunFolder) -> tuple[str, str, dict[str, Any] | None]:
    """Status, problem and record of a run; there is a record exactly where there is no problem."""
    try:
        record = folder.record()
        if record is not None:
            return "finished", "", record
        status = folder.status()
        failure = (folder.failure() or {}) if status == "failed" else {}
    except (OSError, ValueError) as error:  # Damaged, and a folder that cannot be read at all
        return "damaged", _one_line(error).replace(f"{folder.path}/", ""), None
    return status, str(failure.get("message", "")) or _WHY[status], None


_WHY = {
    "running": "being trained now",
    "failed": "failed without a message",
    "interrupted": "interrupted before its end",
    "missing": "never begun",
    "finished": "finished while this report was made",
    "damaged": "run.json is damaged",
}


def _one_line(error: Exception) -> str:
    return next(_lines(str(error)), type(error).__name__)


def _lines(text: str) -> Iterator[str]:
    return (line.strip() for line in text.splitlines() if line.strip())

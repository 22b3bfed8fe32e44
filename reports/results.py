"""Which runs of an ablation are there, and what did each get right? Missing and failed ones are named, not dropped."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ablation_suite.core.data import groups as grouping
from ablation_suite.core.metrics.measures import Metric, accuracy, metric_of
from ablation_suite.core.runs.shape import Record
from ablation_suite.reports.design import Design
from ablation_suite.reports.outputs import Epoch, Outputs, Split, is_last


@dataclass(frozen=True, kw_only=True)
class CellRun:
    """One cell of the plan. `record` and `outputs` are there exactly when `problem` is empty."""

    arm: str
    seed: int
    run_id: str
    status: str
    problem: str
    record: Record | None = None
    outputs: Outputs | None = None
    kept: Outputs | None = None
    """What the kept epoch said, where the last one answers and is another."""

    @property
    def usable(self) -> bool:
        return self.outputs is not None

    def describe(self) -> str:
        """Which run this is, and what is the matter with it."""
        return f"{self.arm}, seed {self.seed} ({self.run_id}): {self.status}, {self.problem}"


@dataclass(frozen=True, kw_only=True)
class Results:
    """All cells of a design with what was found for each; `split` is the one that gives the answer.

    `epoch` gives it: on test images the kept one, on validation images the last one. These have chosen the kept one,
    which so does too well on them, and the better, the more restless its curve; it answers only where a run has nothing
    else, as older ones do.
    """

    design: Design
    split: Split
    epoch: Epoch
    runs: tuple[CellRun, ...]

    @property
    def prefix(self) -> str:
        """How a record names the metrics of the epoch that answers: test, val or last/val."""
        return "last/val" if self.epoch == "last" else self.split

    @property
    def selected(self) -> bool:
        """Whether the images that answer have chosen the epoch of a run."""
        chosen = self.epoch == "kept" and self.split == "val"
        return chosen and any(run.record and not is_last(run.record) for run in self.runs)

    @property
    def of_kept(self) -> Results | None:
        """The results with the kept epoch in the place of the last; None where none is another, or test answers."""
        if not any(run.kept for run in self.runs):
            return None
        return replace(
            self,
            epoch="kept",
            runs=tuple(replace(run, outputs=run.kept or run.outputs, kept=None) for run in self.runs),
        )

    @property
    def refusal(self) -> str:
        """Why the images have no such metric, where runs are finished and none of them has it; else nothing."""
        finished = [run for run in self.runs if run.status == "finished"]
        return finished[0].problem if finished and not any(run.usable for run in finished) else ""

    def of_arm(self, arm: str) -> list[CellRun]:
        """The usable runs of an arm, in the order of the plan."""
        return [run for run in self.runs if run.arm == arm and run.usable]

    def problems(self) -> list[CellRun]:
        """The runs that count for nothing, each with its reason."""
        return [run for run in self.runs if not run.usable]

    @property
    def most_seeds(self) -> int:
        """The largest number of usable runs that an arm has."""
        return max(len(self.of_arm(arm.name)) for arm in self.design.arms)

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
            return metric_of(f"{self.split}/{name}", self.classes, self.design.own)
        except ValueError:  # no run has been read that could tell the classes
            return Metric(name=name, text=name, contributions=accuracy)

    def scores(self, arm: str, measure: str | None = None) -> dict[int, NDArray[np.float64]]:
        """Seed -> what each image (N,) contributes to a metric, by default the one that decides; each group of images
        where the design has them.
        """
        name = measure or self.design.measures[0]
        found = {seed: outputs.contributions[name] for seed, outputs in self.outputs(arm).items()}
        if self.groups is None or not self.comparable(arm):
            return found
        return {seed: grouping.summed(row, self.groups) for seed, row in found.items()}

    @property
    def groups(self) -> NDArray[np.int64] | None:
        """The group of each of the reference's images (N,); None where each counts alone."""
        if self.reference is None:
            return None
        if self.design.groups is not None:
            return grouping.groups_of(self.reference.names, self.design.groups)
        return None if self.reference.groups is None else grouping.numbered(self.reference.groups)

    @property
    def grouped_by(self) -> str:
        """What says which images belong together, for people, where they are judged in groups."""
        if self.design.groups is not None:
            return f"what {self.design.groups} has in braces"
        run = self._reference_run
        table = run.record["config"]["data"]["groups"] if run and run.record else ""
        return "the picture that they show" if table == grouping.NEAR_DUPLICATES else f"their group in {table}"

    @property
    def reference(self) -> Outputs | None:
        """The outputs whose images all comparisons are about: the baseline's, or the first there are."""
        return self._reference_run.outputs if self._reference_run else None

    @property
    def _reference_run(self) -> CellRun | None:
        runs = [*self.of_arm(self.design.baseline), *(run for run in self.runs if run.usable)]
        return runs[0] if runs else None

    def comparable(self, arm: str) -> bool:
        """Whether all usable runs of an arm speak of the reference's images."""
        reference = self.reference
        return reference is not None and all(each.same_images(reference) for each in self.outputs(arm).values())

    def validated_alike(self, arm: str) -> bool:
        """Whether the runs of an arm were validated on the images of the baseline's, as far as records tell."""
        runs = [*self.of_arm(self.design.baseline), *self.of_arm(arm)]
        return len({_validated_on(run.record) for run in runs if run.record}) < 2


_SAME_IMAGES = ("size", "resize", "preprocess", "eval_size", "eval_crop", "sampler", "share")
"""Settings of data that leave which images validate as it is, but not their looks, or what is trained on."""


def _validated_on(record: Record) -> tuple[str, str]:
    """Digest of the data, and the settings that divide it; older records lack those at their neutral defaults."""
    data = record["config"].get("data", {})
    settings = {key: value for key, value in data.items() if value and key not in _SAME_IMAGES}
    return record["data_fingerprint"], json.dumps(settings, sort_keys=True)

"""Which classes and which images make the difference between the arms?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from ablation_suite.core.data.groups import summed
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.outputs import Outputs
from ablation_suite.reports.quantities import accuracy_places, difference, difference_places, one_pair
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import Interval, difference_interval, pair
from ablation_suite.reports.tables import Column, Row, Table, Value

MAX_IMAGES = 24
MAX_CONFUSIONS = 12


def classes_table(results: Results) -> Table | None:
    """Per class: the baseline's accuracy and each arm's difference to it; None without a baseline to compare with."""
    baseline, reference = results.outputs(results.design.baseline), results.reference
    if not baseline or reference is None:
        return None
    arms = _compared_arms(results)
    of_classes = [reference.labels == index for index in range(reference.num_classes)]  # K of N
    found = {
        (arm, index): _difference(outputs, baseline, of_class, results.groups)
        for arm, outputs in arms.items()
        for index, of_class in enumerate(of_classes)
        if of_class.any()
    }
    places = difference_places((each.interval, each.num_images, each.num_pairs) for each in found.values())
    baseline_places = accuracy_places((None, int(each.sum()), len(baseline)) for each in of_classes if each.any())
    rows = []
    for index, name in enumerate(_class_names(results)):
        of_class = of_classes[index]
        num_images = int(of_class.sum())
        values: dict[str, Value] = {"class": name, "images": num_images}
        texts = {"class": name, "images": str(num_images)}
        if num_images:
            accuracy = float(np.mean([each.correct[of_class].mean() for each in baseline.values()]))
            values["baseline_percent"] = digits.significant(100 * accuracy)
            texts["baseline"] = digits.with_spread(accuracy, None, baseline_places)
            for arm in arms:
                of_arm = found[arm, index]
                values |= {f"{_key(arm)}: {name}": value for name, value in of_arm.values().items()}
                texts[_key(arm)] = of_arm.text(places)
        rows.append(Row(values=values, texts=texts))
    return Table(
        name="classes",
        title="Class by class",
        note="Difference of each arm to the baseline in pp"
        + (
            "; the 95 % intervals are not adjusted for their number, and one seed a side has none."
            if any(each.interval for each in found.values())
            else "; one seed a side has no interval."
        ),
        columns=(
            Column(key="class", heading="Class", sort="class", number=False),
            Column(key="images", heading="Images", sort="images"),
            Column(key="baseline", heading=f"{results.design.baseline} %", sort="baseline_percent"),
            *(Column(key=_key(arm), heading=arm, sort=f"{_key(arm)}: difference_pp") for arm in arms),
        ),
        rows=tuple(rows),
    )


def confusions(results: Results) -> dict[str, Any] | None:
    """The mean number of images per run that each class (row) is taken for each (column), arm by arm."""
    if results.reference is None:
        return None
    matrices = {}
    for arm in results.design.arms:
        outputs = results.outputs(arm.name)
        if outputs and results.comparable(arm.name):
            counts = np.mean([_counts(each) for each in outputs.values()], axis=0)  # K K
            matrices[arm.name] = np.round(counts, 2).tolist()
    return {"classes": _class_names(results), "arms": matrices}


def confusions_table(results: Results) -> Table | None:
    """The pairs of classes that are mistaken most often, over all arms."""
    found = confusions(results)
    if found is None or not found["arms"]:
        return None
    classes, matrices = found["classes"], {arm: np.array(rows) for arm, rows in found["arms"].items()}
    total = np.sum(list(matrices.values()), axis=0)  # K K
    pairs = [(true, taken) for true in range(len(classes)) for taken in range(len(classes)) if true != taken]
    pairs = sorted((each for each in pairs if total[each] > 0), key=lambda each: (-total[each], each))[:MAX_CONFUSIONS]
    rows = []
    for true, taken in pairs:
        values: dict[str, Value] = {"class": classes[true], "taken_for": classes[taken]}
        values |= {_key(arm): float(matrix[true, taken]) for arm, matrix in matrices.items()}
        texts = {"class": classes[true], "taken_for": classes[taken]}
        texts |= {_key(arm): digits.fixed(float(matrix[true, taken]), 1) for arm, matrix in matrices.items()}
        rows.append(Row(values=values, texts=texts))
    return Table(
        name="confusions",
        title="Most frequent confusions",
        note="Images per run, averaged over the seeds.",
        columns=(
            Column(key="class", heading="Class", sort="class", number=False),
            Column(key="taken_for", heading="Taken for", sort="taken_for", number=False),
            *(Column(key=_key(arm), heading=arm, sort=_key(arm)) for arm in matrices),
        ),
        rows=tuple(rows),
    )


def disagreements_table(results: Results) -> Table | None:
    """The images on which the arms differ most: the share of an arm's seeds that were right, highest against lowest."""
    arms = {arm.name: results.outputs(arm.name) for arm in results.design.arms if results.comparable(arm.name)}
    arms = {arm: outputs for arm, outputs in arms.items() if outputs and arm != results.design.control}
    reference, classes = results.reference, _class_names(results)
    if len(arms) < 2 or reference is None:
        return None
    right = np.array([np.mean([each.correct for each in outputs.values()], axis=0) for outputs in arms.values()])  # A N
    gap, spread = np.ptp(right, axis=0), right.var(axis=0)  # N
    order = np.lexsort((np.arange(len(gap)), -spread, -gap))[:MAX_IMAGES]
    rows = []
    for image in (int(each) for each in order if gap[each] > 0):
        values: dict[str, Value] = {"image": reference.names[image], "class": classes[reference.labels[image]]}
        texts = {"image": reference.names[image], "class": classes[reference.labels[image]]}
        for index, (arm, outputs) in enumerate(arms.items()):
            num_right = sum(bool(each.correct[image]) for each in outputs.values())
            taken = _most_frequent([int(each.predicted[image]) for each in outputs.values() if not each.correct[image]])
            values[_key(arm)] = digits.significant(float(right[index, image]))
            mistake = f", {classes[taken]}" if taken is not None else ""
            texts[_key(arm)] = f"{num_right}/{len(outputs)}{mistake}"
        rows.append(Row(values=values, texts=texts))
    return Table(
        name="disagreements",
        title="Images on which the arms disagree most",
        note="Seeds that were right, and what the others took the image for most often.",
        columns=(
            Column(key="image", heading="Image", sort="image", number=False),
            Column(key="class", heading="Class", sort="class", number=False),
            *(Column(key=_key(arm), heading=arm, sort=_key(arm)) for arm in arms),
        ),
        rows=tuple(rows),
    )


def _key(arm: str) -> str:
    """A column's key that no arm's name can confuse with another column."""
    return f"arm: {arm}"


def _compared_arms(results: Results) -> dict[str, dict[int, Outputs]]:
    """The arms beside the baseline that share a seed and the images with it."""
    baseline = results.outputs(results.design.baseline)
    found = {}
    for arm in results.design.arms:
        outputs = results.outputs(arm.name)
        if arm.name != results.design.baseline and outputs.keys() & baseline.keys() and results.comparable(arm.name):
            found[arm.name] = outputs
    return found


@dataclass(frozen=True, kw_only=True)
class _ClassDifference:
    """How an arm differs from the baseline on the images of one class; no interval with one seed a side."""

    estimate: float
    interval: Interval | None
    num_images: int
    num_pairs: int

    def values(self) -> dict[str, Value]:
        """In pp, for a file."""
        ends = (self.interval.low, self.interval.high) if self.interval else ()
        return {
            name: digits.significant(100 * end)
            for name, end in zip(("difference_pp", "low_pp", "high_pp"), (self.estimate, *ends), strict=False)
        }

    def text(self, places: int) -> str:
        """In pp, for people."""
        return difference(self.interval, places) if self.interval else one_pair(self.estimate, places)


def _difference(
    outputs: dict[int, Outputs], baseline: dict[int, Outputs], of_class: np.ndarray, groups: np.ndarray | None
) -> _ClassDifference:
    scores = ({seed: each.correct[of_class] for seed, each in side.items()} for side in (outputs, baseline))
    treated, control = pair(*scores)  # S N
    if groups is not None:
        of_group = np.unique(groups[of_class], return_inverse=True)[1]
        treated, control = (np.stack([summed(row, of_group) for row in side]) for side in (treated, control))
    return _ClassDifference(
        estimate=float(treated.mean() - control.mean()),
        interval=difference_interval(treated, control).within(1.0) if len(treated) > 1 else None,
        num_images=int(of_class.sum()),
        num_pairs=len(treated),
    )


def _class_names(results: Results) -> list[str]:
    reference = results.reference
    num_classes = reference.num_classes if reference else 0
    names = results.classes
    return names if len(names) == num_classes else [str(index) for index in range(num_classes)]


def _counts(outputs: Outputs) -> np.ndarray:
    """Images of each class (row) by the class they were taken for (column), (K, K)."""
    size = outputs.num_classes
    return np.bincount(outputs.labels * size + outputs.predicted, minlength=size * size).reshape(size, size)


def _most_frequent(values: list[int]) -> int | None:
    return max(sorted(set(values)), key=values.count) if values else None

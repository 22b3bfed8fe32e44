"""What could spoil the answer? Flags with the number that raised each, then the checks that were passed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.budgets import BUDGETS
from ablation_suite.reports.results import Results
from ablation_suite.reports.rule_wording import seeds_added
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.tables import Row, Table, mean_cost

_NEVER_FOUND = 0.05
"""A class of which fewer of its images are recognised, by every arm, is flagged."""
_SLOWER = 1.2
"""Training times further apart than this at equal FLOPs say something of the machine."""
_MOST_CLASSES = 6
_MOST_ARMS = 3


@dataclass(frozen=True, kw_only=True)
class Doubt:
    """One line: what it is about, in a word; what was found; and whether it is a flag or a check that was passed."""

    kind: str
    text: str
    flag: bool


def doubts(
    results: Results,
    compared: Mapping[str, Comparison],
    audit: Sequence[Mapping[str, str]],
    problems: Sequence[str],
    pairing: Table | None,
    budgets: Table | None,
) -> tuple[Doubt, ...]:
    """The flags first. audit: findings as `arm`, `kind`, `text`, `severity`. problems: a sentence each."""
    found = [
        *(Doubt(kind="runs", text=problem, flag=True) for problem in problems),
        *_audited(audit),
        *_gap(results),
        *_classes(results),
        *_time(results),
        *_length(results),
        *_same_seeds(results),
        *_budgets(budgets, compared, higher_is_better=results.metric.higher_is_better),
        *_alarm(results, compared),
        *_pairing(pairing, results.design.control),
        *_finished(results, compared, audit),
    ]
    return tuple(sorted(found, key=lambda doubt: not doubt.flag))


def _audited(audit: Sequence[Mapping[str, str]]) -> Iterator[Doubt]:
    for finding in (each for each in audit if each["severity"] != "factor"):
        text = f"“{finding['arm']}”: {finding['text'].replace('->', '→')}"
        yield Doubt(kind=finding["severity"], text=text, flag=finding["severity"] == "confound")


def _gap(results: Results) -> Iterator[Doubt]:
    """Validation accuracies that lie further from the test accuracies than so many images explain."""
    found = [run.record["metrics"] for run in results.runs if run.record and run.usable]
    keys = {"val/accuracy", "test/accuracy"}
    pairs = [(each["val/accuracy"], each["test/accuracy"]) for each in found if each.keys() >= keys]
    if results.split != "test" or not pairs or results.reference is None:
        return
    (val, test), num_images = np.mean(pairs, axis=0), len(results.reference.labels)
    error = float(np.sqrt(2 * max(test * (1 - test), 1 / num_images) / num_images))  # two samples of so many images
    places = digits.column([(100 * error, texts.step(num_images))])
    apart, both = (
        digits.fixed(100 * abs(val - test), places),
        f"{digits.fixed(100 * val, places)} against {digits.fixed(100 * test, places)} %",
    )
    if abs(val - test) >= 2 * error:
        side = "above" if val > test else "below"
        text = (
            f"Validation lies {apart} pp {side} test ({both}), more than chance among the images: the kept epoch was "
            f"chosen on validation, or the splits are not alike. Do not read {digits.fixed(100 * val, places)} % as "
            "what to expect."
        )
        yield Doubt(kind="gap", text=text, flag=True)
    else:
        text = f"Validation and test are {apart} pp apart ({both}), no more than chance among so many images."
        yield Doubt(kind="gap", text=text, flag=False)


def _classes(results: Results) -> Iterator[Doubt]:
    """Classes that no arm finds."""
    reference = results.reference
    arms = [results.outputs(arm.name) for arm in results.design.arms if results.comparable(arm.name)]
    correct = [np.mean([each.correct for each in outputs.values()], axis=0) for outputs in arms if outputs]  # A of N
    if reference is None or not correct:
        return
    names = results.classes
    lost = []
    for index in range(reference.num_classes):
        of_class = reference.labels == index
        if of_class.any() and max(each[of_class].mean() for each in correct) < _NEVER_FOUND:
            name = names[index] if len(names) == reference.num_classes else str(index)
            lost.append(f"“{name}” ({int(of_class.sum())} images)")
    if lost:
        more = f" and {len(lost) - _MOST_CLASSES} more" if len(lost) > _MOST_CLASSES else ""
        told = f"{', '.join(lost[:_MOST_CLASSES])}{more}"
        yield Doubt(kind="classes", text=f"Found in fewer than 1 of 20 images by every arm: {told}.", flag=True)


def _time(results: Results) -> Iterator[Doubt]:
    """Times that differ although the work is the same."""
    baseline = mean_cost(results.of_arm(results.design.baseline))
    told = []
    for arm in results.design.arms:
        cost = mean_cost(results.of_arm(arm.name))
        work, time = (
            cost[key] / baseline[key] if cost.get(key) and baseline.get(key) else None
            for key in ("flops_per_image", "train_seconds")
        )
        if work and time and max(work, 1 / work) < texts.EQUAL and max(time, 1 / time) > _SLOWER:
            told.append(f"“{arm.name}” {digits.ratio(time)}")
    if told:
        text = (
            f"Training took another time than the baseline's at equal FLOPs: {', '.join(told)}. Either the change "
            "costs time beside the network, or other work ran on the machine."
        )
        yield Doubt(kind="time", text=text, flag=True)


def _length(results: Results) -> Iterator[Doubt]:
    """Runs whose kept epoch is the last one were perhaps stopped too early."""
    records = [run.record for run in results.runs if run.usable and run.record and run.record["history"]]
    last = sum(each["metrics"].get("best_epoch") == each["history"][-1]["epoch"] for each in records)
    if records and 2 * last > len(records):
        text = f"{last} of {len(records)} runs kept their last epoch: with more epochs the answer may be another."
        yield Doubt(kind="epochs", text=text, flag=True)


def _same_seeds(results: Results) -> Iterator[Doubt]:
    """Arms whose seeds err alike on every image, as if they were one training that was made again."""
    told = []
    for arm in results.design.arms:
        found = list(results.outputs(arm.name).values())
        alike = len(found) > 1 and all(np.array_equal(each.predicted, found[0].predicted) for each in found)
        if alike and results.comparable(arm.name) and not found[0].correct.all():
            told.append(texts.quoted(arm.name))
    if told:
        text = (
            f"The seeds of {texts.listed(told)} differ in no prediction. Where that is because they change nothing, "
            "they count as one, and one seed has no verdict."
        )
        yield Doubt(kind="seeds", text=text, flag=True)


def _budgets(table: Table | None, compared: Mapping[str, Comparison], *, higher_is_better: bool) -> Iterator[Doubt]:
    """Arms that are told apart, and whether they still are where both spend as much."""
    rows = [row for row in table.rows if row.values["low_pp"] is not None] if table else []
    at_epochs = {row.texts["arm"]: row for row in rows if row.values["equal"] == "epochs"}
    sides = {
        arm: _decided(compared[arm], higher_is_better=higher_is_better) or _side(row) for arm, row in at_epochs.items()
    }
    answered = {arm for arm in at_epochs if _decided(compared[arm], higher_is_better=higher_is_better)}
    for budget in (each for each in BUDGETS if each != "epochs"):
        found = [row for row in rows if row.values["equal"] == budget and sides[row.texts["arm"]]]
        for stays, in_answer in product((False, True), (True, False)):
            told = [
                f"“{row.texts['arm']}” {row.texts['difference']} pp, at equal epochs "
                f"{at_epochs[row.texts['arm']].texts['difference']}"
                for row in found
                if (_side(row) == sides[row.texts["arm"]]) == stays and (row.texts["arm"] in answered) == in_answer
            ]
            if told:
                what = "What the answer tells apart" if in_answer else "What equal epochs alone tell apart"
                more = [f"{len(told) - _MOST_ARMS} more"] if len(told) > _MOST_ARMS else []
                cut = "" if stays else " A run that is cut at its budget had not ended its schedule."
                text = (
                    f"{what} is {'so' if stays else 'not so'} at equal {BUDGETS[budget]}{' too' if stays else ''}, "
                    f"in validation accuracy: {'; '.join(told[:_MOST_ARMS] + more)}.{cut}"
                )
                yield Doubt(kind="budget", text=text, flag=not stays)


def _decided(row: Comparison, *, higher_is_better: bool) -> int:
    """1 where an arm is better than the baseline, -1 where it is worse, 0 without a verdict."""
    return {"higher": 1, "lower": -1}.get(row.verdict or "", 0) * (1 if higher_is_better else -1)


def _side(row: Row | None) -> int:
    """1 where an interval lies above zero, -1 where below, else 0."""
    low, high = (float(row.values[end] or 0.0) for end in ("low_pp", "high_pp")) if row else (0.0, 0.0)
    return (low > 0) - (high < 0)


def _alarm(results: Results, compared: Mapping[str, Comparison]) -> Iterator[Doubt]:
    control = results.design.control
    interval = compared[control].interval if control else None
    if interval is not None:
        text = "The control, where nothing was changed, differs from the baseline "
        text += "by more than its interval allows: a false alarm." if interval.excludes_zero else "by chance only."
        yield Doubt(kind="control", text=text, flag=interval.excludes_zero)


def _pairing(table: Table | None, control: str | None) -> Iterator[Doubt]:
    """How alike the arms and the baseline err on the same seed and the same image."""
    rows = [row.values for row in table.rows if row.values["arm"] != control] if table else []
    spans = {axis: [float(row[f"{axis}_correlation"] or 0.0) for row in rows] for axis in ("seed", "image")}
    if rows and all(row[f"{axis}_correlation"] is not None for axis in spans for row in rows):
        over_seeds, over_images = map(_span, spans.values())
        text = f"Correlation of arm and baseline over seeds {over_seeds}, over images {over_images}."
        yield Doubt(kind="pairing", text=text, flag=False)


def _finished(
    results: Results, compared: Mapping[str, Comparison], audit: Sequence[Mapping[str, str]]
) -> Iterator[Doubt]:
    usable = sum(run.usable for run in results.runs)
    if usable == len(results.runs):
        alone = audit and all(finding["severity"] == "factor" for finding in audit)
        text = f"{usable} of {usable} runs finished.{' Nothing moved but the factor.' if alone else ''}"
        yield Doubt(kind="runs", text=text, flag=False)
    if results.design.rule:
        yield Doubt(kind="seeds", text=seeds_added(results, list(compared.values())), flag=False)


def _span(values: Sequence[float]) -> str:
    low, high = digits.fixed(min(values), 2), digits.fixed(max(values), 2)
    return low if low == high else f"{low} to {high}"

"""What is left of a difference where both arms spend as much? Validation accuracy at equal FLOPs and equal seconds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ablation_suite.core.runs.shape import Record
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.consistency import device_of
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.intervals import Array, Interval, difference_interval
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value

BUDGETS = {"epochs": "epochs", "flops": "training FLOPs", "seconds": "training seconds"}
_ALIKE = 1.05
"""Arms of which none spends more than so many times as much as the other are told at equal epochs alone."""
Pairs = Sequence[tuple[Record, Record]]
"""The records of an arm and of the baseline, seed by seed."""


@dataclass(frozen=True, kw_only=True)
class AtBudget:
    """An arm and the baseline at one budget: by pair of runs the epochs reached and the accuracies there, (S, 2)."""

    arm: str
    budget: str
    epochs: Array
    accuracies: Array

    @property
    def interval(self) -> Interval | None:
        """Of the difference, over the pairs; None of one alone."""
        if len(self.accuracies) < 2:
            return None
        ours, theirs = self.accuracies[:, :1], self.accuracies[:, 1:]
        return difference_interval(ours, theirs, method="seeds").within(1.0)


def budgets_table(results: Results) -> Table | None:
    """Each arm that costs another sum than the baseline, at equal epochs and at equal costs; None without any.

    A pair of runs may spend what the cheaper one spent in all, and each is read at its last epoch within that.
    Arms that were validated on other images are left out.
    """
    arms = [arm.name for arm in results.design.contenders if results.validated_alike(arm.name)]
    readings = [reading for arm in arms for reading in _readings(results, arm)]
    if not readings:
        return None
    baseline, intervals = results.design.baseline, [reading.interval for reading in readings]
    known = [interval for interval in intervals if interval is not None]
    ends = [100 * end for interval in known for end in (interval.low, interval.high)]
    places = digits.column([(100 * interval.half_width, 0.01) for interval in known], ends) if known else 1
    return Table(
        name="budgets",
        title="At equal budgets",
        note=_note(results, with_intervals=bool(known)),
        columns=(
            ARM,
            Column(key="equal", heading="Equal", sort="equal", number=False),
            Column(key="baseline_epochs", heading=f"Epochs of {baseline}", sort="baseline_epochs"),
            Column(key="epochs", heading="Epochs of the arm", sort="epochs"),
            Column(key="baseline", heading=f"{baseline} %", sort="baseline_percent"),
            Column(key="accuracy", heading="Arm %", sort="accuracy_percent"),
            Column(key="difference", heading="Difference (pp)", sort="difference_pp"),
        ),
        rows=tuple(_row(reading, interval, places) for reading, interval in zip(readings, intervals, strict=True)),
    )


def _readings(results: Results, arm: str) -> Iterator[AtBudget]:
    """At equal epochs, and at each cost that is not alike; nothing where all are."""
    theirs = {run.seed: run.record for run in results.of_arm(results.design.baseline)}
    pairs = [(run.record, theirs[run.seed]) for run in results.of_arm(arm) if run.seed in theirs]
    known = [(ours, base) for ours, base in pairs if ours is not None and base is not None]
    found = [reading for budget in BUDGETS if (reading := _reading(arm, budget, known)) is not None]
    if len(found) > 1:
        yield from found


def _reading(arm: str, budget: str, pairs: Pairs) -> AtBudget | None:
    spent = [(_spent(ours, budget), _spent(theirs, budget)) for ours, theirs in pairs]
    known = [(ours, theirs) for ours, theirs in spent if ours is not None and theirs is not None]
    if not pairs or len(known) < len(pairs) or (budget == "seconds" and len(_devices(pairs)) > 1):
        return None
    if budget == "seconds":
        known = list(zip(*map(_at_one_pace, zip(*known, strict=True)), strict=True))
    totals = np.array([[ours[-1], theirs[-1]] for ours, theirs in known])  # S 2
    means = totals.mean(axis=0)
    if budget != "epochs" and means.max() <= _ALIKE * means.min():
        return None
    limits = totals.min(axis=1) * (1 + 1e-9)
    reached = np.array(
        [
            [np.searchsorted(each, limit, side="right") for each in pair]
            for pair, limit in zip(known, limits, strict=True)
        ]
    )  # S 2
    if reached.min() == 0:  # a first epoch that costs more than all of the other run
        return None
    rows = [
        [record["history"][num - 1] for record, num in zip(pair, both, strict=True)]
        for pair, both in zip(pairs, reached, strict=True)
    ]
    accuracies = np.array([[row["val/accuracy"] for row in both] for both in rows])
    epochs = np.array([[row["epoch"] for row in both] for both in rows], dtype=np.float64)
    return AtBudget(arm=arm, budget=budget, epochs=epochs, accuracies=accuracies)


def _spent(record: Record, budget: str) -> Array | None:
    """What a run had spent after each epoch; None where its record does not say."""
    history, per_image = record["history"], record["cost"].get("flops_per_image")
    spent: list[float | None]
    if budget == "epochs":
        spent = [1.0 for _ in history]
    elif budget == "flops":
        spent = [row.get("images_seen") and per_image and per_image * row["images_seen"] for row in history]
    else:
        spent = [row.get("seconds_train") for row in history]
    complete = history and all(spent) and all("val/accuracy" in row for row in history)
    return np.cumsum(np.array(spent, dtype=np.float64)) if complete else None


def _at_one_pace(spent: Sequence[Array]) -> list[Array]:
    """The seconds of an arm's runs as if all their epochs took as long: what else ran beside one is no cost of it."""
    pace = sum(each[-1] for each in spent) / sum(map(len, spent))
    return [pace * np.arange(1, len(each) + 1) for each in spent]


def _devices(pairs: Pairs) -> set[str]:
    return {device_of(record) for pair in pairs for record in pair}


def _row(reading: AtBudget, interval: Interval | None, places: int) -> Row:
    ours, theirs = reading.accuracies.mean(axis=0).tolist()
    values: dict[str, Value] = {
        "arm": reading.arm,
        "equal": reading.budget,
        "baseline_epochs": texts.significant(float(reading.epochs[:, 1].mean())),
        "epochs": texts.significant(float(reading.epochs[:, 0].mean())),
        "baseline_percent": texts.percent(theirs),
        "accuracy_percent": texts.percent(ours),
        "difference_pp": texts.percent(ours - theirs),
        "low_pp": texts.percent(interval.low if interval else None),
        "high_pp": texts.percent(interval.high if interval else None),
        "pairs": len(reading.accuracies),
    }
    shown = {
        "arm": reading.arm,
        "equal": BUDGETS[reading.budget],
        "baseline_epochs": _range(reading.epochs[:, 1]),
        "epochs": _range(reading.epochs[:, 0]),
        "baseline": texts.accuracy(theirs, None, places),
        "accuracy": texts.accuracy(ours, None, places),
        "difference": texts.difference(interval, places) if interval else texts.one_pair(ours - theirs, places),
    }
    return Row(values=values, texts=shown)


def _range(epochs: Array) -> str:
    first, last = int(epochs.min()), int(epochs.max())
    return str(first) if first == last else f"{first} to {last}"


def _note(results: Results, *, with_intervals: bool) -> str:
    devices = {device_of(run.record) for run in results.runs if run.record}
    parts = [
        "Validation accuracy of the last epoch within what the cheaper run of each pair spent in all"
        + (
            ", with 95 % intervals over seeds, on these validation images and not adjusted for their number."
            if with_intervals
            else "; one seed a side says nothing about the changes."
        ),
        "FLOPs are the network's, of all images seen in training; of the seconds each epoch of an arm has its mean.",
        "A run that is cut here had not ended its schedule: planned for that budget, it might do better.",
        f"Costs within {100 * (_ALIKE - 1):.0f} % of each other are left out.",
    ]
    if len(devices) > 1:
        parts.append("Seconds are compared only between runs of one device.")
    return " ".join(parts)

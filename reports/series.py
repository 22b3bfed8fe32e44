"""How did training go? One line per arm and measure: the mean over seeds, the range of the seeds, the kept epochs."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from ablation_suite.reports.quantities import listed, quoted
from ablation_suite.reports.results import Results
from ablation_suite.reports.rounding import significant
from ablation_suite.reports.statistics.bands import FEWEST_SEEDS, simultaneous_band
from ablation_suite.reports.statistics.intervals import Array

MEASURES = {
    "val/accuracy": "Validation accuracy (%)",
    "val/loss": "Validation loss",
    "train/accuracy": "Training accuracy (%)",
    "train/loss": "Training loss",
}
Series = dict[str, Any]
_DEPENDS_ON = {"train/loss": ("loss", "mix", "augment"), "train/accuracy": ("mix", "augment")}
"""What a measure of the training images is a measure of: where arms differ in it, their values are not of one kind."""


def training_series(results: Results) -> dict[str, list[Series]]:
    """Measure -> one series per arm: `epochs`, and at each `mean`, `low`, `high` over seeds; accuracies in percent.

    `best` lists [epoch, value] of the kept epoch of each seed, for validation measures. An epoch that only some seeds
    reached is averaged over those. Measures that no run recorded are left out, and those that are not of one kind.
    """
    found: dict[str, list[Series]] = {}
    for measure in (each for each in MEASURES if not _differing(results, each)):
        lines = [_series(results, arm.name, measure) for arm in results.design.arms]
        if any(line["epochs"] for line in lines):
            found[measure] = lines
    return found


def paired_series(results: Results) -> list[Series]:
    """The validation accuracy of each arm minus the baseline's by epoch, in pp, paired by seed; the question itself.

    `seeds` is (S, E), one row per pair of runs, over the epochs that all of them recorded; `mean` is over them. Where
    the seeds are enough, `low` and `high` are the ends of a band of 95 % for all epochs and arms together.
    """
    design = results.design
    baseline = _histories(results, design.baseline)
    apart: dict[str, tuple[list[int], Array]] = {}
    others = (each.name for each in design.arms if each.name != design.baseline)
    for arm in filter(results.validated_alike, others):
        pairs = [(ours, baseline[seed]) for seed, ours in _histories(results, arm).items() if seed in baseline]
        epochs = sorted(set.intersection(*(set(ours) & set(theirs) for ours, theirs in pairs))) if pairs else []
        if epochs:
            apart[arm] = epochs, np.array([[ours[at] - theirs[at] for at in epochs] for ours, theirs in pairs])  # S E
    family = sum(len(seeds) >= FEWEST_SEEDS for _, seeds in apart.values())
    return [
        {"arm": arm, "epochs": epochs, "num_seeds": len(seeds), **_written(seeds, family)}
        for arm, (epochs, seeds) in apart.items()
    ]


def told_apart(line: Series) -> list[int]:
    """At each epoch of a line of `paired_series` with a band: 1 where this lies above zero, -1 where below, else 0."""
    return [(low > 0) - (high < 0) for low, high in zip(line["low"], line["high"], strict=True)]


def _written(seeds: Array, family: int) -> dict[str, Any]:
    """The rows of one arm's difference, in the digits of a file; a band among a family of so many."""
    rows = {"seeds": seeds, "mean": seeds.mean(axis=0)}
    if len(seeds) >= FEWEST_SEEDS:
        band = simultaneous_band(seeds, level=1 - 0.05 / family)
        rows |= {"low": band.low, "high": band.high}
    rounded = np.vectorize(lambda value: significant(value, 5))
    return {name: rounded(values).tolist() for name, values in rows.items()}


def _histories(results: Results, arm: str, measure: str = "val/accuracy") -> dict[int, dict[int, float]]:
    """Seed -> epoch -> a measure in percent."""
    return {
        run.seed: {row["epoch"]: 100 * row[measure] for row in run.record["history"] if measure in row}
        for run in results.of_arm(arm)
        if run.record
    }


def left_out(results: Results) -> list[str]:
    """A sentence for each measure that is not one quantity in all arms, and one for arms without pairs."""
    differing = {measure: _differing(results, measure) for measure in MEASURES}
    told = [
        f"{MEASURES[measure].partition(' (')[0]} is not drawn: the arms differ in {' and '.join(settings)}, so that "
        "it is not the same quantity in all of them."
        for measure, settings in differing.items()
        if settings
    ]
    if elsewhere := [quoted(arm.name) for arm in results.design.arms if not results.validated_alike(arm.name)]:
        told.append(f"No difference by epoch of {listed(elsewhere)}: other images validate than the baseline's.")
    return told


def _differing(results: Results, measure: str) -> list[str]:
    """The settings that a measure depends on and that are not the same in all runs."""
    configs = [run.record["config"] for run in results.runs if run.record]
    return [
        setting
        for setting in _DEPENDS_ON.get(measure, ())
        if len({json.dumps(config.get(setting), sort_keys=True) for config in configs}) > 1
    ]


def _series(results: Results, arm: str, measure: str) -> Series:
    scale = 100.0 if measure.endswith("accuracy") else 1.0
    histories, best = [], []
    for run in results.of_arm(arm):
        assert run.record is not None
        history = {row["epoch"]: scale * row[measure] for row in run.record["history"] if measure in row}
        kept = run.record["metrics"].get("best_epoch")
        if measure.startswith("val/") and np.isfinite(history.get(kept, np.nan)):
            best.append([kept, significant(history[kept], 5)])
        # An epoch of a loss beyond all numbers is left out of the curve.
        histories.append({epoch: value for epoch, value in history.items() if np.isfinite(value)})
    epochs = sorted({epoch for history in histories for epoch in history})
    values = np.array([[history.get(epoch, np.nan) for epoch in epochs] for history in histories])  # S E
    line: Series = {"arm": arm, "epochs": epochs, "num_seeds": len(histories), "best": best}
    for name, reduce in (("mean", np.nanmean), ("low", np.nanmin), ("high", np.nanmax)):
        line[name] = [significant(value, 5) for value in reduce(values, axis=0)] if epochs else []
    return line

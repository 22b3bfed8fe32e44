"""How does each arm compare with the baseline? The statistics, applied to the results of one ablation."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

from ablation_suite.ablations.plan import Plan
from ablation_suite.reports.design import Design, design_of
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import Comparison, IntervalOf, compare, difference_interval, pair
from ablation_suite.reports.statistics.curse import without_the_curse
from ablation_suite.reports.statistics.intervals import Interval
from ablation_suite.reports.statistics.sequential import SeedRule, next_seeds, repeated_interval


def comparisons(results: Results, measure: str | None = None) -> dict[str, Comparison]:
    """Arm -> its comparison with the baseline in a metric of the answering split, by default the one that decides.

    Where seeds were added until there was an answer, the intervals allow for having looked that often. Arms whose runs
    saw other images than the baseline are compared with nothing; their mean and spread stand. A control is no member of
    the family that p values are adjusted for, and no margin makes it equivalent: it raises an alarm or it does not.

    A difference at which a rule stopped is told without the winner's curse beside it, where the images that answer are
    those that stopped it.

    One pair of runs has a difference and nothing else: how far two trainings of one arm lie apart is unknown, and the
    images alone would call every third pair of identical arms different at 1,000 images.
    """
    design = results.design
    scores = {arm.name: results.scores(arm.name, measure) for arm in design.arms}
    together = {arm: rows for arm, rows in scores.items() if results.comparable(arm) or not rows}
    margin = design.margin / results.metric.scale if design.margin is not None else None
    family = {arm: rows for arm, rows in together.items() if arm != design.control}
    found = {row.arm: row for row in compare(family, design.baseline, margin=margin, interval=_interval(results))}
    for arm in together.keys() - family.keys():
        both = {name: scores[name] for name in (design.baseline, arm)}
        found[arm] = compare(both, design.baseline, interval=_interval(results))[1]
    for arm in scores.keys() - together.keys():
        found[arm] = compare({arm: scores[arm]}, arm)[0]
    rule = stopping_rule(design, results.metric.scale)
    if rule is not None and rule.until == "decided" and results.split == "val" and measure is None:
        for arm, row in found.items():
            if row.verdict in ("higher", "lower") and arm != design.control and row.num_pairs <= rule.max:
                freed = without_the_curse(*pair(scores[arm], scores[design.baseline]), rule)
                found[arm] = replace(row, freed=freed)
    num_images = len(results.reference.labels) if results.reference else 0  # of which a group has several
    widest = results.measure(measure or design.measures[0]).widest
    return {
        arm.name: replace(found[arm.name], num_images=num_images, interval=_possible(found[arm.name].interval, widest))
        for arm in design.arms
    }


def seeds_wanted(plan: Plan, store: Path) -> dict[str, int]:
    """Arm -> number of finished seeds that it should have at the next look; empty where the rule is satisfied.

    Decided on validation images alone: the test split is sealed until the runs are done.
    """
    results = Reader(store).results(design_of(plan), split="val")
    wanted, design = seeds_to_add(results), results.design
    num_seeds = max(wanted.get(design.baseline, 0), len(results.of_arm(design.baseline)))
    # A control decides nothing and keeps the baseline company.
    if design.rule and design.control and len(results.of_arm(design.control)) < num_seeds:
        wanted[design.control] = num_seeds
    return wanted


def seeds_to_add(results: Results) -> dict[str, int]:
    """Arm -> number of finished seeds that it should have at the next look at these images.

    Empty where the rule is satisfied, and without one. A control is never among them: it decides nothing.
    """
    design, rule = results.design, stopping_rule(results.design, results.metric.scale)
    if rule is None:
        return {}
    scores = {arm.name: results.scores(arm.name) for arm in design.arms if not arm.control}
    return next_seeds(scores, design.baseline, rule)


def stopping_rule(design: Design, scale: float) -> SeedRule | None:
    """The rule by which seeds are added, in units of the metric; None where their number is fixed.

    scale: that of the metric, which turns its differences into those of the spec.
    """
    rule = design.rule
    if not rule:
        return None
    return SeedRule(
        min=rule["min"],
        max=rule["max"],
        until=rule["until"],
        precision=rule["precision"] / scale if rule["precision"] is not None else None,
        margin=design.margin / scale if design.margin is not None else None,
    )


def _possible(interval: Interval | None, widest: float) -> Interval | None:
    return interval.within(widest) if interval is not None else None


def _interval(results: Results) -> IntervalOf:
    rule = stopping_rule(results.design, results.metric.scale)
    return partial(repeated_interval, rule=rule) if rule is not None else difference_interval

"""Which arms of an ablation need one more seed? Asked after every round of training, where a spec has a rule for it."""

from __future__ import annotations

from pathlib import Path

from ablation_suite.ablations.plan import Plan
from ablation_suite.reports.compared import stopping_rule
from ablation_suite.reports.design import design_of
from ablation_suite.reports.results import Reader
from ablation_suite.reports.statistics.sequential import next_seeds


def seeds_wanted(plan: Plan, store: Path) -> dict[str, int]:
    """Arm -> number of finished seeds that it should have at the next look; empty where the rule is satisfied.

    Decided on validation images alone: the test split is sealed until the runs are done.
    """
    results = Reader(store).results(design_of(plan), split="val")
    rule = stopping_rule(results.design, results.metric.scale)
    if rule is None:
        return {}
    design = results.design
    scores = {arm.name: results.scores(arm.name) for arm in design.arms}
    wanted = next_seeds({arm: rows for arm, rows in scores.items() if arm != design.control}, design.baseline, rule)
    num_seeds = max(wanted.get(design.baseline, 0), len(scores[design.baseline]))
    if design.control and len(scores[design.control]) < num_seeds:  # it decides nothing and keeps the baseline company
        wanted[design.control] = num_seeds
    return wanted

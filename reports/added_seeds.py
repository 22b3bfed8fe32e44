"""Which arms of an ablation need one more seed? Asked after every round of training, where a spec has a rule for it."""

from __future__ import annotations

from pathlib import Path

from ablation_suite.ablations.plan import Plan
from ablation_suite.reports.compared import seeds_to_add
from ablation_suite.reports.design import design_of
from ablation_suite.reports.results import Reader


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

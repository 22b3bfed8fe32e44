"""Can each ablation be grouped whole at a tracker, whichever call trained its runs? Asked of the run folders alone."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from ablation_suite.ablations.plan import Plan, jobs, make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.labels import merged
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.scheduling.grid import drive
from ablation_suite.core.tracking.projection import Shown, shown
from tests.sweeps.fake import Fake

SPECS = ("quickstart/1-backbone", "quickstart/2-scaling", "quickstart/3-contrastive", "quickstart/4-encoding")


class Quiet:
    """Hears how the grid goes, and says nothing."""

    def begin(self, *given: Any) -> None: ...

    def news(self, event: Any) -> None: ...

    def ended(self, *given: Any, **more: Any) -> None: ...

    def line(self, text: str) -> None: ...


def called(results: Path, *calls: tuple[str, ...]) -> tuple[list[Plan], list[Shown]]:
    """The plans of all calls, each of which drives its own in the same results, and what a tracker is shown then."""
    runtime = Runtime(results=str(results), tracker="off")
    plans = []
    for specs in calls:
        ours = make_plans(specs, runtime)
        drive(jobs(ours), runtime, Fake(runtime.store, size=50, score=lambda config: 0.5), Quiet())
        plans += ours
    return plans, [shown(folder) for folder in run_folders(runtime.store)]


@pytest.mark.parametrize(
    "calls", [(SPECS,), ((SPECS[0],), SPECS[1:3], (SPECS[3],))], ids=["in one call", "in three calls"]
)
def test_each_quickstart_ablation_is_grouped_whole(calls: tuple[tuple[str, ...], ...], tmp_path: Path) -> None:
    """`config.ablations.<name>.arm` gives every arm all its seeds, and the tag of the ablation every run of it."""
    plans, runs = called(tmp_path, *calls)
    assert sum(len(run.config["ablations"]) > 1 for run in runs) > 0, "no run is shared, and nothing is shown"
    assert len(plans) == 4
    for plan in plans:
        name = plan.ablation.ablation
        groups: dict[str, set[str]] = defaultdict(set)
        for run in runs:
            if name in run.config["ablations"]:
                groups[run.config["ablations"][name]["arm"]].add(run.run_id)
        assert groups == {arm.name: {cell.run_id for cell in plan.of_arm(arm.name)} for arm in plan.ablation.arms}
        assert {run.run_id for run in runs if name in run.tags} == {cell.run_id for cell in plan.cells}
        baselines = [run for run in runs if run.config["ablations"].get(name, {}).get("role") == "baseline"]
        assert len(baselines) == len(plan.ablation.seeds)
        assert all("baseline" in run.tags and plan.ablation.question in run.notes for run in baselines)
    tags = {tag for run in runs for tag in run.tags}
    assert len(tags) <= 10, "four ablations, their factors, and the baseline"


def test_a_run_keeps_the_name_of_its_first_use(tmp_path: Path) -> None:
    """A second ablation adds itself and changes neither group nor name; the first, called again, refreshes its own."""
    first = {"group": "a", "name": "plain-0", "ablations": {"a": {"arm": "plain", "outcome": "done"}}}
    second = {"group": "b", "name": "base-0", "ablations": {"b": {"arm": "base"}}}
    both = merged(first, second)
    assert (both["group"], both["name"], list(both["ablations"])) == ("a", "plain-0", ["a", "b"])
    renamed = {"group": "a", "name": "none-0", "ablations": {"a": {"arm": "none"}}}
    again = merged(both, renamed)
    assert again["name"] == "none-0"
    assert again["ablations"] == {"a": {"arm": "none", "outcome": "done"}, "b": {"arm": "base"}}


def test_labels_of_an_older_version_take_part(tmp_path: Path) -> None:
    """Where only names were listed, the names stay, and what a use says now comes to them."""
    old = {"group": "a", "name": "plain-0", "ablations": ["a", "b"]}
    assert merged(old, {"group": "b", "ablations": {"b": {"arm": "x"}}})["ablations"] == {"a": {}, "b": {"arm": "x"}}

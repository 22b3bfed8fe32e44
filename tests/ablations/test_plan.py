"""Does a plan name every run once, pair the seeds, and give people names for what it hashes?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner

from ablation_suite.ablations.plan import grown, jobs, make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.reading_verbs import plan as plan_verb
from ablation_suite.reports.design import design_of
from tests.core.tracked_run import BARE_RECORD

BASE = "data: digits\nepochs: 2\n"
ONE = """ablation: one
question: Does dropout help?
base: base.yaml
seeds: 3
baseline: plain
arms:
  dropout: {model.head.dropout: 0.5}
"""
TWO = (
    ONE.replace("ablation: one", "ablation: two")
    .replace("dropout: {", "longer: {")
    .replace("model.head.dropout: 0.5", "epochs: 4")
)


@pytest.fixture
def folder(tmp_path) -> Path:
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "one.yaml").write_text(ONE)
    (tmp_path / "two.yaml").write_text(TWO)
    return tmp_path


def plans(folder: Path, *names: str, overrides: tuple[str, ...] = ()):
    runtime = Runtime(results=str(folder / "results"), cache=str(folder / "cache"))
    return make_plans([str(folder / name) for name in names], runtime, overrides)


def test_every_arm_has_a_cell_at_every_seed(folder):
    """Two arms at three seeds are six cells."""
    [plan] = plans(folder, "one.yaml")
    assert [(cell.arm, cell.seed) for cell in plan.cells] == [(a, s) for a in ("plain", "dropout") for s in range(3)]
    assert len({cell.run_id for cell in plan.cells}) == 6


def test_runs_that_two_ablations_need_are_trained_once(folder):
    """The common baseline: twelve cells are nine runs, and its labels name both ablations."""
    both = plans(folder, "one.yaml", "two.yaml")
    found = jobs(both)
    assert sum(len(plan.cells) for plan in both) == 12
    assert len(found) == 9
    shared = [job["labels"] for job in found.values() if len(job["labels"]["ablations"]) == 2]
    assert len(shared) == 3
    assert all(labels["ablations"]["two"]["arm"] == "plain" for labels in shared)


def test_the_order_of_specs_changes_no_run_id(folder):
    """Labels may differ; what is trained does not."""
    assert set(jobs(plans(folder, "one.yaml", "two.yaml"))) == set(jobs(plans(folder, "two.yaml", "one.yaml")))


def test_labels_are_not_hashed(folder):
    """Renaming an arm trains nothing again."""
    before = {cell.run_id for cell in plans(folder, "one.yaml")[0].cells}
    (folder / "one.yaml").write_text(ONE.replace("  dropout:", "  with dropout:"))
    assert {cell.run_id for cell in plans(folder, "one.yaml")[0].cells} == before


def test_more_seeds_keep_the_runs_of_fewer(folder):
    """Five seeds contain the three."""
    three = {cell.run_id for cell in plans(folder, "one.yaml")[0].cells}
    five = {cell.run_id for cell in plans(folder, "one.yaml", overrides=("seeds=5",))[0].cells}
    assert three < five


def test_a_grown_plan_has_the_run_ids_that_more_seeds_would_give(folder):
    """One arm alone may grow."""
    [plan] = plans(folder, "one.yaml")
    larger = grown(plan, {"dropout": 5})
    five = {(cell.arm, cell.seed): cell.run_id for cell in plans(folder, "one.yaml", overrides=("seeds=5",))[0].cells}
    assert len(larger.of_arm("plain")) == 3
    assert {cell.seed: cell.run_id for cell in larger.of_arm("dropout")} == {s: five["dropout", s] for s in range(5)}


def test_seeds_that_a_rule_added_are_found_again(folder):
    """A finished run at the fourth seed of one arm belongs to the plan of the next call."""
    (folder / "one.yaml").write_text(ONE.replace("seeds: 3", "seeds: {min: 3, max: 9, until: decided}"))
    [plan] = plans(folder, "one.yaml")
    fourth = grown(plan, {"dropout": 4}).of_arm("dropout")[-1]
    run = folder / "results" / "runs" / fourth.run_id
    run.mkdir(parents=True)
    (run / "record.json").write_text(json.dumps(BARE_RECORD))
    [again] = plans(folder, "one.yaml")
    assert [len(again.of_arm(arm)) for arm in ("plain", "dropout")] == [3, 4]


def test_the_baseline_of_a_grid_is_labelled_and_printed_with_its_levels(folder):
    """People read at the run, in the plan and in the report what it was trained with: the first levels."""
    (folder / "one.yaml").write_text(ONE.split("arms:")[0] + "grid: {model.head.dropout: [0.1, 0.5], epochs: [3, 4]}")
    [plan] = plans(folder, "one.yaml")
    job = jobs([plan])[plan.of_arm("plain")[0].run_id]
    assert job["labels"]["factors"] == {"model.head.dropout": 0.1, "epochs": 3}
    assert job["labels"]["ablations"]["one"]["tags"] == ["one", "model.head.dropout", "epochs", "baseline"]
    assert job["labels"]["ablations"]["one"]["level"] == "0.1 + 3"
    words = [str(folder / "one.yaml"), "--results", str(folder / "results")]
    printed = CliRunner().invoke(plan_verb, words, standalone_mode=False, catch_exceptions=False).output
    assert "  plain                 baseline: model.head.dropout = 0.1, epochs = 3\n" in printed
    design = design_of(plan)
    assert design.arms[0].changes == "model.head.dropout = 0.1, epochs = 3"
    for arm in design.arms:
        assert arm.has_levels(plan.of_arm(arm.name)[0].config.model_dump(mode="json"))

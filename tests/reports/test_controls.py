"""Does a report hold a control apart from the arms, and say what its difference means?"""

from __future__ import annotations

import re
import shutil

from ablation_suite.ablations.spec import CONTROL, Seeds
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.compared import seeds_wanted
from ablation_suite.reports.design import Design, design_of
from ablation_suite.reports.page import report_html, report_markdown
from ablation_suite.reports.reader import Reader
from tests.reports.make_runs import TRUTHS, Truth, make_store

SMALL = {"seeds": 4, "epochs": 2, "num_images": 150}
FEW = {name: TRUTHS[name] for name in ("baseline", "wide", "no-encoding")}


def analysis_of(store, truths, **settings):
    return analyse(Reader(store).results(design_of(make_store(store, truths, **{**SMALL, **settings}))))


def rows(analysis, table="answer"):
    return {row.values["arm"]: row.values for row in analysis.tables[table].rows}


def test_a_control_is_outside_the_family(tmp_path):
    """The adjusted p of every arm is what it is without the control, and the control's is its own."""
    without = rows(analysis_of(tmp_path / "a", FEW))
    found = rows(analysis_of(tmp_path / "b", {**FEW, CONTROL: Truth(delta={}, control=True)}))
    assert {arm: found[arm]["p_adjusted"] for arm in FEW} == {arm: row["p_adjusted"] for arm, row in without.items()}
    assert found[CONTROL]["p_adjusted"] == found[CONTROL]["p"]


def test_a_control_that_finds_nothing_is_told_as_it_should_be(tmp_path):
    """Zero is inside; the arms are counted without it; page and text show the row, the note and the sentence."""
    analysis = analysis_of(tmp_path, {**FEW, CONTROL: Truth(delta={}, control=True)}, margin=50.0)
    assert rows(analysis)[CONTROL]["verdict"] == "no alarm"
    assert "The control, the baseline on other seeds, differs from it by " in analysis.answer
    assert "zero is inside, as it should be." in analysis.answer
    assert f"“{CONTROL}”" not in analysis.answer
    for text in (report_html(analysis), report_markdown(analysis)):
        assert "chance gives one to 1 control in 20" in text
        assert CONTROL.partition(" ")[0] in text
    assert CONTROL not in [column.heading for column in analysis.tables["disagreements"].columns]


def test_a_control_that_differs_is_a_false_alarm(tmp_path):
    """A baseline that is no baseline: the report says what that means for the other intervals."""
    analysis = analysis_of(tmp_path, {**FEW, CONTROL: Truth(delta={}, effect=-0.3, control=True)})
    assert rows(analysis)[CONTROL]["verdict"] == "false alarm"
    assert "a false alarm. Chance gives one to 1 control in 20" in analysis.answer


def test_a_control_of_one_seed_raises_no_alarm(tmp_path):
    """It shows what chance alone does between two runs, which is no verdict on anything."""
    analysis = analysis_of(tmp_path, {**FEW, CONTROL: Truth(delta={}, effect=-0.3, control=True)}, seeds=1)
    assert rows(analysis)[CONTROL]["verdict"] == "one seed"
    assert re.search(r"the baseline on another seed, differs from it by −\d+\.\d pp by chance alone\.", analysis.answer)


def test_a_control_leaves_the_effects_of_a_grid_alone(tmp_path):
    """It has the baseline's levels and must not stand in for it."""
    truths = {"baseline": Truth(delta={"epochs": 2}), "epochs=3": Truth(delta={"epochs": 3}, effect=0.03)}
    control = {CONTROL: Truth(delta={"epochs": 2}, effect=-0.3, control=True)}
    without, found = (
        analysis_of(tmp_path / name, {**truths, **more}, grid={"epochs": (2, 3)})
        for name, more in (("a", {}), ("b", control))
    )
    assert found.tables["effects"] == without.tables["effects"]


def test_a_design_with_a_control_survives_its_file(tmp_path):
    """What is written is what is read."""
    design = design_of(make_store(tmp_path, {**FEW, CONTROL: Truth(delta={}, control=True)}, **SMALL))
    assert Design.from_json(design.to_json()) == design
    assert design.control == CONTROL
    assert [arm.name for arm in design.contenders] == ["wide", "no-encoding"]


def test_a_control_follows_the_baseline_and_asks_for_no_seeds(tmp_path):
    """Where the arms are decided, only a control that lags behind the baseline is wanted."""
    truths = {"baseline": TRUTHS["baseline"], "worse": Truth(delta={"epochs": 1}, effect=-0.4)}
    rule = Seeds(min=4, max=9, until="decided")
    plan = make_store(tmp_path, {**truths, CONTROL: Truth(delta={}, control=True)}, rule=rule, **SMALL)
    assert seeds_wanted(plan, tmp_path) == {}
    shutil.rmtree(tmp_path / plan.of_arm(CONTROL)[-1].run_id)
    assert seeds_wanted(plan, tmp_path) == {CONTROL: 4}

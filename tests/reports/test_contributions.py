"""Is a leave-one-out ablation known for one, and its table sorted by what the parts contribute?"""

from __future__ import annotations

import pytest

from ablation_suite.ablations.plan import make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.statistics.contributions import left_out_group
from tests.reports.make_runs import TRUTHS, Truth, make_store

PARTS = {
    "all": Truth(delta={}),
    "none at all": Truth(delta={"augment": "none"}, effect=-0.3),
    "no flip": Truth(delta={"augment.horizontal_flip": 0}, effect=-0.02),
    "no rotation": Truth(delta={"augment.rotation": 0}, effect=-0.2),
    "no contrast": Truth(delta={"augment.contrast": 0}, effect=0.1),
}


def analysis_of(store, truths):
    return analyse(Reader(store).results(design_of(make_store(store, truths, seeds=3, epochs=2, num_images=200))))


def test_contributions_are_minus_the_differences_the_largest_first(tmp_path):
    """The whole group comes last, whatever it contributes; the interval is turned around."""
    analysis = analysis_of(tmp_path, PARTS)
    rows = [row.values for row in analysis.tables["contributions"].rows]
    assert [row["arm"] for row in rows] == ["no rotation", "no flip", "no contrast", "none at all"]
    answer = {row.values["arm"]: row.values for row in analysis.tables["answer"].rows}
    for row in rows:
        theirs = answer[row["arm"]]
        assert row["contribution_pp"] == pytest.approx(-theirs["difference_pp"])
        assert (row["low_pp"], row["high_pp"]) == pytest.approx((-theirs["high_pp"], -theirs["low_pp"]))
    assert analysis.tables["contributions"].title == "What each part of augment contributes"


@pytest.mark.parametrize(
    "more",
    [
        {"weight": Truth(delta={"loss.weight": 1.0})},
        {"less rotation": Truth(delta={"augment.rotation": 5})},
        {"both": Truth(delta={"augment.hue": 0, "augment.saturation": 0}, compound=True)},
    ],
    ids=["another group", "a part twice", "a compound"],
)
def test_other_ablations_have_no_such_table(tmp_path, more):
    """One arm that leaves out no part of the same group."""
    assert "contributions" not in analysis_of(tmp_path, {**PARTS, **more}).tables
    assert left_out_group(design_of(make_store(tmp_path / "other", TRUTHS, seeds=1, epochs=1, num_images=20))) is None


def test_the_shipped_augmentation_spec_is_a_leave_one_out(tmp_path):
    """Seven parts of `augment`, and all of them at once."""
    runtime = Runtime(results=str(tmp_path / "results"), cache=str(tmp_path / "cache"))
    [plan] = make_plans(["beyond/augmentation"], runtime, ("data=digits",))
    assert left_out_group(design_of(plan)) == "augment"

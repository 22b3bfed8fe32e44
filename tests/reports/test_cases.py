"""Does a page hold for ablations that are not the usual ones? Another unit, long names, missing runs, many classes."""

from __future__ import annotations

import itertools
import re
import shutil

import numpy as np
import pytest
from sklearn.metrics import log_loss

from ablation_suite.commands.report import write_reports
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.blocks import over_all_blocks
from ablation_suite.reports.build import blocks_files, index_files, text_files
from ablation_suite.reports.cost_drawing import cost_panel
from ablation_suite.reports.design import design_of
from ablation_suite.reports.drawings import IntervalBar, interval_plot
from ablation_suite.reports.glance import _told, glance
from ablation_suite.reports.page import blocks_html, report_html
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.tables import Row, Table
from tests.reports.make_runs import TRUTHS, Truth, make_store
from tests.reports.test_page import index_of, page_of

THREE = {name: TRUTHS[name] for name in ("baseline", "wide", "no-encoding")}


@pytest.fixture(scope="module")
def in_nats(tmp_path_factory):
    """An ablation that the negative log likelihood decides, with accuracy beside it."""
    folder = tmp_path_factory.mktemp("nats")
    return page_of(folder, THREE, metric="test/nll", metrics=("test/nll", "test/accuracy"), num_images=300)


def test_a_metric_in_nats_is_never_told_in_percent(in_nats):
    """Its differences are nats in answer, table, plot and the names of values; only accuracy has pp and percent."""
    analysis, text = in_nats
    assert " nats (95 % interval" in analysis.answer
    assert " pp" not in analysis.answer
    headings = [column.heading for column in analysis.tables["answer"].columns]
    assert "Test NLL nats" in headings
    assert "Difference (nats)" in headings
    assert not [name for name in analysis.tables["answer"].rows[1].values if name.endswith("_pp")]
    assert "paired by seed and image, in nats." in text
    assert "NLL, nats: better ← 0 → worse" in text


def test_a_metric_in_nats_decides_by_its_own_size(tmp_path):
    """Mean and difference are those of scikit-learn's log loss, and a margin of 3 is 3 nats, which hold all arms."""
    plan = make_store(tmp_path, THREE, metric="test/nll", metrics=("test/nll",), num_images=90, seeds=3, margin=3.0)
    analysis = analyse(Reader(tmp_path).results(design_of(plan)))
    losses = [
        [log_loss(each["test_labels"], each["test_probabilities"], labels=range(10)) for each in map(np.load, paths)]
        for paths in ([tmp_path / cell.run_id / "outputs.npz" for cell in plan.of_arm(arm)] for arm in THREE)
    ]
    for found, of_arm in zip(analysis.tables["answer"].rows, losses, strict=True):
        assert found.values["score_nats"] == pytest.approx(np.mean(of_arm), rel=1e-4)
        if found.values["difference_nats"] is not None:
            assert found.values["difference_nats"] == pytest.approx(np.mean(of_arm) - np.mean(losses[0]), rel=1e-3)
    assert [row.values["verdict"] for row in analysis.tables["answer"].rows] == ["baseline", "equivalent", "equivalent"]
    assert "within ±3 nats" in analysis.answer


def test_the_seeds_of_a_metric_in_nats_stand_around_their_mean(in_nats):
    """The strokes of an arm have the mean that the table says, in the same unit."""
    analysis, _ = in_nats
    for row in analysis.tables["answer"].rows[1:]:
        seeds = analysis.strokes["nll"][str(row.values["arm"])]
        assert sum(seeds) / len(seeds) == pytest.approx(row.values["difference_nats"], rel=1e-4)


def test_an_index_over_two_units_draws_one_and_names_both(in_nats, tmp_path):
    """Rows of the other unit have their numbers and no bar on an axis that is not theirs."""
    usual, _ = page_of(tmp_path, THREE)
    seen = glance([usual, in_nats[0]])
    assert seen.plot is not None
    assert set(seen.plot.rows) == {"row 0", "row 1"}
    assert [row.texts["difference"].endswith(" nats") for row in seen.table.rows] == [False, False, True, True]
    assert "wide against baseline, NLL" in [row.texts["arm"] for row in seen.table.rows]
    assert "some in nats, which are not drawn" in index_of([usual, in_nats[0]])


def test_an_interval_of_a_page_reaches_both_ways():
    """From its low end to its high end, with the difference in the middle where it is in the middle."""
    row = interval_plot({"wide": IntervalBar(estimate=1.0, low=-1.0, high=3.0)}, "", str).rows["wide"]
    assert row.bar is not None
    assert row.mean - row.bar[0] == pytest.approx(row.bar[1] - row.mean)
    assert row.bar[0] < row.mean


def test_the_index_tells_what_went_unseen_in_every_arm():
    """From the arm whose seeds would have found the least to the one that would have missed the most."""
    values = ({"difference_pp": 0.1, "detectable_pp": 2.6}, {"difference_pp": 0.3, "detectable_pp": 1.4})
    rows = tuple(Row(values={"verdict": "undecided", "unit": "pp", **each}, texts={}) for each in values)
    *_, told = _told(Table(name="index", title="", columns=(), rows=rows), {"pp": 1})
    assert told == "True ones of 1.4 to 2.6 pp would have been found four times in five."


def test_long_and_foreign_names_are_shortened_by_their_width_and_isolated(tmp_path):
    """A name in Chinese is cut at half as many characters; each arm's name keeps its own direction of writing."""
    chinese, hebrew = "位置编码采用多尺度正弦余弦函数并在每一层重复注入", "שכבה רחבה יותר"
    truths = {"baseline": TRUTHS["baseline"], chinese: TRUTHS["wide"], hebrew: TRUTHS["grouped"]}
    _, text = page_of(tmp_path, truths)
    assert f"<bdi>{hebrew}</bdi>" in text
    assert f">{chinese[:6]}…</text>" in text


def test_missing_runs_are_told_beside_their_arm_and_flagged(tmp_path):
    """An arm with two of three seeds says so under its name; one without any has neither number nor interval."""
    plan = make_store(tmp_path, THREE, seeds=3, epochs=4, num_images=90)
    gone = [cell for cell in plan.cells if cell.arm == "no-encoding" or (cell.arm == "wide" and cell.seed == 0)]
    for cell in gone:
        shutil.rmtree(tmp_path / cell.run_id)
    analysis = analyse(Reader(tmp_path).results(design_of(plan)), ())
    assert "“no-encoding” has no result, every other arm 2 to 3 seeds; 4 of 9 planned runs" in "".join(analysis.method)
    text = report_html(analysis)
    assert '<span class="sub">2 of 3 seeds</span></span>' in text
    assert '<span class="sub">0 of 3 seeds</span></span>' in text
    assert text.count("⚠ runs") == len(gone)


def test_a_control_many_arms_and_many_classes_have_their_forms(tmp_path):
    """The control is no alarm; twelve arms leave six in ink; of forty classes twelve are shown and no matrix."""
    control = {**THREE, "same again": Truth(delta={}, control=True)}
    _, text = page_of(tmp_path / "control", control, margin=2.0, seeds=5)
    assert "no alarm" in text
    assert "Dotted lines: the margin of ±2 pp" in text
    arms = {f"arm {index}": Truth(delta={"a": index}, effect=0.004 * index) for index in range(12)}
    _, text = page_of(tmp_path / "many", {"baseline": TRUTHS["baseline"], **arms})
    assert "6 others" in text
    classes = tuple(f"species {index}" for index in range(40))
    _, text = page_of(tmp_path / "classes", THREE, classes=classes, num_images=400)
    assert "the 12 classes that differ most" in text
    assert "images per run" not in re.sub(r"<p.*?</p>", "", text)


def test_names_of_arms_of_one_cost_do_not_cover_each_other():
    """Five marks at one place have names twelve pixels apart or more, in the order of the marks."""
    bars = {f"arm {index}": (1.0, IntervalBar(estimate=index / 10)) for index in range(5)}
    bars["wide"] = (2.0, IntervalBar(estimate=0.1))
    panel = cost_panel("training time", bars, {arm: index + 1 for index, arm in enumerate(bars)})
    left = sorted((point.name_at, -point.y) for point in panel.points if not point.is_left)
    assert len(left) == 5
    assert all(below[0] - above[0] >= 11.9 for above, below in itertools.pairwise(left))
    assert [point.is_left for point in panel.points if point.arm == "wide"] == [True]


def test_a_metric_that_the_data_do_not_have_is_one_line_and_no_report(tmp_path):
    """Where every finished run lacks it; nothing is written, and no reading of the test split is counted."""
    settings = {"seeds": 1, "epochs": 1, "num_images": 20}
    good = make_store(tmp_path / "runs", THREE, ablation="good", **settings)
    bad = make_store(tmp_path / "runs", THREE, ablation="bad", metrics=("test/recall/unicorn",), **settings)
    with pytest.raises(SchemaError) as told:
        write_reports([good, bad], Runtime(results=str(tmp_path)), tmp_path / "report")
    assert str(told.value) == "specs/bad.yaml: metric: test/recall/unicorn: there is no class 'unicorn'"
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]


@pytest.mark.parametrize("same", [False, True])
def test_seeds_that_change_nothing_are_flagged(tmp_path, same):
    """Copies of one run are told as what they are: one seed, whatever their interval says."""
    plan = make_store(tmp_path, {"baseline": TRUTHS["baseline"], "wide": TRUTHS["wide"]}, seeds=2, num_images=200)
    first, second = (tmp_path / cell.run_id / "outputs.npz" for cell in plan.of_arm("wide"))
    if same:
        shutil.copy(first, second)
    doubts = analyse(Reader(tmp_path).results(design_of(plan))).doubts
    told = [doubt.text for doubt in doubts if doubt.kind == "seeds" and doubt.flag]
    assert [text.partition(".")[0] for text in told] == ["The seeds of “wide” differ in no prediction"] * same


OF_SEVERAL_SEEDS = ("95 %", "±", "Holm", "four times in five", "equivalent", "not adjusted", "higher", "lower")


def test_one_seed_promises_neither_interval_nor_verdict_anywhere(tmp_path):
    """No note, sentence, heading, table or paragraph of a report, of its blocks or of an index speaks of several."""
    truths = {**THREE, "same again": Truth(delta={}, control=True)}
    settings = {"seeds": 1, "epochs": 4, "num_images": 60, "margin": 2.0}
    metrics = {"metrics": ("test/accuracy", "test/macro_f1")}
    plans = [
        make_store(tmp_path, truths, ablation=f"clothes-{block}", family="clothes", block=block, **settings, **metrics)
        for block in ("small", "large")
    ]
    levels = {"model.backbone": ("a", "b"), "model.encoding": ("c", "d")}
    cells = {f"{a}-{c}": {"model.backbone": a, "model.encoding": c} for a, c in itertools.product("ab", "cd")}
    grid = {name: Truth(delta=delta) for name, delta in cells.items()}
    plans.append(make_store(tmp_path, grid, ablation="grid", grid=levels, **settings))
    family = [Reader(tmp_path).results(design_of(plan)) for plan in plans]
    analyses = [analyse(results) for results in family]
    over = over_all_blocks(family[:2])
    said = {**blocks_files(over), **index_files(analyses), "blocks.html": blocks_html(over)}
    for analysis in analyses:
        said |= {f"{analysis.design.ablation}/{name}": text for name, text in text_files(analysis).items()}
        said[f"{analysis.design.ablation}/report.html"] = report_html(analysis)
    assert "9 arms have one seed a side, which says nothing about them." in said["index.html"]
    for name, text in said.items():
        told = re.sub(r"<(style|script).*?</\1>|<[^>]*>", " ", text, flags=re.DOTALL)
        told = re.sub(r"within which arms count as equivalent|±2 pp|from the lowest to the highest|!\[.*\]", "", told)
        assert [told[at - 60 : at + 60] for word in OF_SEVERAL_SEEDS if (at := told.find(word)) >= 0] == [], name

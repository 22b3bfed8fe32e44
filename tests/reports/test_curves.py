"""Are the figures the same for the same runs, and do they survive any name?"""

from __future__ import annotations

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ablation_suite import reports
from ablation_suite.reports.ablation_figures import cost, differences, drawings
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.drawings import IntervalBar, interval_plot
from ablation_suite.reports.figures import FORMATS, render
from ablation_suite.reports.page import report_html, report_markdown
from ablation_suite.reports.palette import MOST_AT_ONCE, inks, telling
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.series import MEASURES
from tests.reports.make_runs import TRUTHS, Truth, make_store

HOSTILE = ("baseline", "_x", "$a$", "$", "<b>&amp;", "a" * 80, "\\input", "weiß")


def analysis_of(store, truths=TRUTHS, **settings):
    plan = make_store(store, truths, **{"seeds": 2, "epochs": 6, "num_images": 60, **settings})
    return analyse(Reader(store).results(design_of(plan)))


def draw_figures(analysis):
    return render(drawings(analysis))


@pytest.fixture(scope="module")
def analysis(tmp_path_factory):
    return analysis_of(tmp_path_factory.mktemp("runs"))


def test_the_same_analysis_gives_the_same_bytes(analysis):
    """Neither the time nor a random id is in any of the nine files."""
    first, second = draw_figures(analysis), draw_figures(analysis)
    assert set(first) == {f"{name}.{kind}" for name in ("curves", "differences", "cost") for kind in FORMATS}
    assert first == second


def test_pictures_and_drawings_are_well_formed(analysis):
    """SVG parses as XML, PNG opens and has ink, PDF begins as one."""
    figures = draw_figures(analysis)
    for name, content in figures.items():
        if name.endswith(".svg"):
            ElementTree.fromstring(content)
        elif name.endswith(".png"):
            assert np.asarray(Image.open(io.BytesIO(content)).convert("L")).std() > 5
        else:
            assert content.startswith(b"%PDF")


def test_no_name_breaks_or_vanishes_from_a_figure(tmp_path):
    """Underscores, dollars and markup are drawn as they stand, without a warning."""
    truths = {name: TRUTHS["wide"] for name in HOSTILE}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures = draw_figures(analysis_of(tmp_path, truths))
    text = figures["curves.svg"].decode()
    assert "<!-- _x -->" in text
    assert "<!-- $a$ -->" in text
    assert "<b>&amp;" not in text


def test_series_are_the_mean_and_the_range_of_the_seeds(analysis, tmp_path):
    """Recomputed with numpy from the histories; accuracies in percent, the kept epoch of every seed marked."""
    plan = make_store(tmp_path, seeds=2, epochs=6, num_images=60)
    results = Reader(tmp_path).results(design_of(plan))
    values = np.array([[row["val/accuracy"] for row in run.record["history"]] for run in results.of_arm("wide")])  # S E
    (line,) = [each for each in analysis.series["val/accuracy"] if each["arm"] == "wide"]
    for name, expected in (("mean", values.mean(0)), ("low", values.min(0)), ("high", values.max(0))):
        assert np.allclose(line[name], 100 * expected, rtol=1e-4)
    kept = [run.record["metrics"]["best_epoch"] for run in results.of_arm("wide")]
    assert [epoch for epoch, _ in line["best"]] == kept


@pytest.mark.parametrize(
    ("delta", "missing"),
    [
        ({"optimizer.lr": 0.1}, set()),
        ({"loss.weight": 15.0}, {"train/loss"}),
        ({"mix": {"name": "mixup"}}, {"train/loss", "train/accuracy"}),
        ({"augment.rotation": 10.0}, {"train/loss", "train/accuracy"}),
    ],
)
def test_what_is_not_one_quantity_in_all_arms_is_not_drawn_in_one_panel(tmp_path, delta, missing):
    """Training losses of other losses, mixings or augmentations cannot be compared: no panel, and a sentence why."""
    analysis = analysis_of(tmp_path, {"baseline": TRUTHS["baseline"], "arm": Truth(delta=delta)})
    assert set(analysis.series) == set(MEASURES) - missing
    assert len(analysis.left_out) == len(missing)
    figures = draw_figures(analysis)
    assert figures["curves.svg"].decode().count("<!-- Epoch -->") == 2
    for text in (report_html(analysis), report_markdown(analysis)):
        assert text.count("is not drawn: the arms differ in ") == len(missing)


@pytest.mark.parametrize(("delta", "is_paired"), [({"data.split_seed": 1}, False), ({"data.share": 0.5}, True)])
def test_an_arm_that_other_images_validate_is_not_paired_by_epoch(tmp_path, delta, is_paired):
    """Test images may be the same all the same; a share of the training images is no other division."""
    analysis = analysis_of(tmp_path, {"baseline": TRUTHS["baseline"], "arm": Truth(delta=delta)})
    assert [line["arm"] for line in analysis.paired] == ["arm"] * is_paired
    told = "No difference by epoch of “arm”: other images validate than the baseline's."
    assert (told in analysis.left_out) != is_paired


def test_interval_bars_reach_both_ways(analysis):
    """From the low end to the high end of the table, with the difference between."""
    lines = differences(analysis).axes[0].get_lines()
    bars = [list(map(float, line.get_xdata())) for line in lines if list(line.get_ydata()) != [0, 1]]
    rows = [row.values for row in analysis.tables["answer"].rows if row.values["difference_pp"] is not None]
    expected = [bar for row in rows for bar in ([row["low_pp"], row["high_pp"]], [row["difference_pp"]])]
    assert bars == expected
    assert all(row["low_pp"] < row["difference_pp"] < row["high_pp"] for row in rows)


def test_interval_bars_of_a_page_reach_both_ways():
    """From -1 to 4, with the difference 1 at two fifths of the way, zero at one and the ground on both sides of it."""
    plot = interval_plot({"wide": IntervalBar(estimate=1.0, low=-1.0, high=4.0, unseen=2.0)}, "", str)
    (low, high), row = plot.rows["wide"].bar, plot.rows["wide"]
    assert (row.mean - low, plot.zero - low) == pytest.approx((0.4 * (high - low), 0.2 * (high - low)))
    assert high > low
    assert row.ground == pytest.approx((plot.zero - 0.4 * (high - low), plot.zero + 0.4 * (high - low)))


def test_costs_are_drawn_against_the_differences_of_the_table(analysis):
    """Each arm stands at its ratio to the baseline's cost with the interval of the table; equal costs have no panel."""
    answers = {row.values["arm"]: row.values for row in analysis.tables["answer"].rows}
    costs = {row.values["arm"]: row.values for row in analysis.tables["cost"].rows}
    drawn = cost(analysis).axes
    assert len(drawn) == 3
    lines = [list(map(float, line.get_ydata())) for line in drawn[0].get_lines()]
    for arm in ("wide", "no-encoding"):
        assert [answers[arm]["low_pp"], answers[arm]["high_pp"]] in lines
    places = {float(line.get_xdata()[0]) for line in drawn[0].get_lines()}
    assert costs["wide"]["parameters"] / costs["baseline"]["parameters"] in places


def test_seeds_and_the_ground_of_what_goes_unseen_are_drawn(tmp_path):
    """Strokes at the differences of the seeds, on a bar that reaches to the smallest detectable difference."""
    analysis = analysis_of(tmp_path, seeds=8, num_images=300)
    axes = differences(analysis).axes[0]
    rows = [row.values for row in analysis.tables["answer"].rows if row.values["difference_pp"] is not None]
    strokes = [sorted(float(each[0][0]) for each in lines.get_segments()) for lines in axes.collections]
    assert strokes == [sorted(analysis.strokes["accuracy"][row["arm"]]) for row in rows]
    known = [row["detectable_pp"] for row in rows if row["detectable_pp"] is not None]
    assert known
    grounds = [-patch.get_x() for patch in axes.patches]
    assert [ground <= wanted + 1e-9 for ground, wanted in zip(grounds, known, strict=True)] == [True] * len(known)


def test_what_is_not_drawn_is_not_linked(tmp_path):
    """Arms of one cost have no figure of it, and the text has no image that is missing."""
    truths = {"baseline": Truth(delta={}), "arm": Truth(delta={"a": 1})}
    analysis = analysis_of(tmp_path, truths)
    for row in analysis.tables["cost"].rows:
        row.values.update({"train_seconds": 60.0})
    figures = draw_figures(analysis)
    assert "cost.svg" not in figures
    linked = re.findall(r"figures/(\w+\.svg)", report_markdown(analysis))
    assert set(linked) == {name for name in figures if name.endswith(".svg")}


def test_better_and_worse_have_colours_of_no_arm():
    """On the light page and on the dark one they are further from every arm's ink than the eye takes for the same."""
    for ground, style in zip(("light", "dark"), style_sheets(), strict=True):
        for ink in inks([f"arm{index}" for index in range(4)] + ["base"], "base").values():
            for name in ("better", "worse"):
                assert lab_distance(rgb(style[name]), rgb(getattr(ink, ground))) > 14


def test_the_inks_of_the_style_sheet_are_those_of_the_figures():
    """One hand: what a page draws in an arm's ink, a figure for a paper draws in the same."""
    for ground, style in zip(("light", "dark"), style_sheets(), strict=True):
        for ink in inks([f"arm{index}" for index in range(4)] + ["base"], "base").values():
            assert style[f"a{ink.place}"] == getattr(ink, ground)


def style_sheets():
    """The colours of the light and of the dark page, by their names."""
    style = (Path(reports.__file__).parent / "templates/style.css").read_text()
    return [dict(re.findall(r"--(\w+): (#\w{6});", root)) for root in style.split(":root {")[1:3]]


def rgb(colour):
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def lab_distance(*colours):
    """The distance of two sRGB colours in CIELAB, where 2 to 3 is just seen."""
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    found = []
    for colour in colours:
        share = np.array(colour) / 255
        linear = np.where(share > 0.04045, ((share + 0.055) / 1.055) ** 2.4, share / 12.92)
        x, y, z = np.cbrt(to_xyz @ linear / [0.9505, 1.0, 1.089])
        found.append(np.array([116 * y - 16, 500 * (x - y), 200 * (y - z)]))
    return float(np.linalg.norm(found[0] - found[1]))


def test_many_arms_are_drawn_with_the_most_different_in_colour():
    """Beyond eight, the baseline and the largest differences are shown, in the order of the plan."""
    differences = {"base": None, **{f"arm{index}": (-1) ** index * index / 10 for index in range(20)}}
    shown = telling(differences, "base")
    assert shown == ["base", *(f"arm{index}" for index in range(14, 20))]
    assert len(shown) < MOST_AT_ONCE
    assert telling({"base": None, "a": 1.0}, "base") == ["base", "a"]


def test_no_two_of_eight_arms_look_the_same():
    """Four colours, each with a dash and a mark of its own, filled and then open; and the baseline in black."""
    found = inks([f"arm{index}" for index in range(8)] + ["base"], "base").values()
    assert len({(ink.light, ink.mark, ink.open) for ink in found}) == 9
    assert len({(ink.dark, ink.mark, ink.open) for ink in found}) == 9
    assert len({ink.place for ink in found}) == 9

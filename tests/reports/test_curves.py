"""Are the figures the same for the same runs, and do they survive any name?"""

from __future__ import annotations

import io
import warnings
import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from PIL import Image

from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.figures import FORMATS, draw_figures
from ablation_suite.reports.palette import MOST_AT_ONCE, inks, telling
from ablation_suite.reports.results import Reader
from tests.reports.make_runs import TRUTHS, make_store

HOSTILE = ("baseline", "_x", "$a$", "$", "<b>&amp;", "a" * 80, "\\input", "weiß")


def analysis_of(store, truths=TRUTHS, **settings):
    plan = make_store(store, truths, **{"seeds": 2, "epochs": 6, "num_images": 60, **settings})
    return analyse(Reader(store).results(design_of(plan)))


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


def test_many_arms_are_drawn_with_the_most_different_in_colour():
    """Beyond eight, the baseline and the largest differences are shown, in the order of the plan."""
    differences = {"base": None, **{f"arm{index}": (-1) ** index * index / 10 for index in range(20)}}
    shown = telling(differences, "base")
    assert shown == ["base", *(f"arm{index}" for index in range(14, 20))]
    assert len(shown) < MOST_AT_ONCE
    assert telling({"base": None, "a": 1.0}, "base") == ["base", "a"]


def test_no_two_of_eighteen_arms_look_the_same():
    """Six colours with three dashes each, and the baseline in grey."""
    found = inks([f"arm{index}" for index in range(18)] + ["base"], "base")
    assert len({(ink.light, ink.dash) for ink in found.values()}) == 19
    assert len({(ink.dark, ink.dash) for ink in found.values()}) == 19

"""Can the figures of a sweep be read? Words that lie on the page and apart from each other, whatever they name."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path as Outline
from matplotlib.text import Text

from ablation_suite.reports import sweep_figures
from ablation_suite.reports.figures import _STYLE
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from tests.sweeps.test_report import make_analysis

SGD = {"name": "sgd", "momentum": 0.9, "nesterov": True}
SIX = {
    "optimizer": {"choice": ["adam", SGD, {"name": "sgd", "momentum": 0.5}]},
    "optimizer.lr": {"log": [1e-5, 1e-1]},
    "model.head.dropout": {"uniform": [0.0, 0.9]},
    "model.encoding": {"choice": ["none", {"name": "sinusoidal", "levels": 3}, {"name": "sinusoidal", "levels": 6}]},
    "batch_size": {"choice": [16, 32, 64, 128]},
    "optimizer.weight_decay": {"log": [1e-6, 1e-2]},
}


@pytest.fixture(scope="module")
def six(tmp_path_factory: pytest.TempPathFactory) -> SweepAnalysis:
    """A search over six parameters, two of which are choices of dictionaries."""
    return make_analysis(tmp_path_factory.mktemp("six"), space=SIX, trials=30)


@pytest.mark.parametrize("name", ["slices", "parallel", "importances", "contour", "history"])
def test_no_word_is_cut_or_printed_over_another(name: str, six: SweepAnalysis, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every text that is drawn lies on the page, and its outline meets no other's."""
    drawn: list[Text] = []
    draw = Text.draw

    def keep(text: Text, *given: object, **more: object) -> None:
        drawn.extend([text] if text.get_text().strip() and text.get_visible() else [])
        draw(text, *given, **more)

    with rc_context(_STYLE):
        figure = getattr(sweep_figures, f"_{name}")(six)
        canvas = FigureCanvasAgg(figure)
        monkeypatch.setattr(Text, "draw", keep)
        canvas.draw()
    assert len(drawn) > 5
    for text in drawn:
        box = text.get_window_extent(canvas.get_renderer())
        ends = [box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1]
        assert min(ends) >= 0, f"{text.get_text()!r} is cut"
    for one, other in itertools.combinations(drawn, 2):
        assert not _outline(one, canvas).intersects_path(_outline(other, canvas)), (one.get_text(), other.get_text())


def test_names_that_are_cut_stay_apart() -> None:
    """By their ends where their beginnings are alike, and by their number where both are."""
    assert sweep_figures.distinct(["none", 3], 8) == ["none", "3"]
    alike = ["sinusoidal (levels 3)", "sinusoidal (levels 6)"]
    assert sweep_figures.distinct(alike, 12) == ["sinusoi…s 3)", "sinusoi…s 6)"]
    same = ["a" * 30 + "x" + "b" * 30, "a" * 30 + "y" + "b" * 30]
    assert sweep_figures.distinct(same, 12) == ["aaaaaaaa… 1", "aaaaaaaa… 2"]


def _outline(text: Text, canvas: FigureCanvasAgg) -> Outline:
    """The box of a text as it stands on the page, turned with it, without the empty room above and below letters."""
    angle = text.get_rotation()
    around = text.get_window_extent(canvas.get_renderer())
    text.set_rotation(0)
    box = text.get_window_extent(canvas.get_renderer())
    text.set_rotation(angle)
    corners = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1), (-1, -1)]) * (0.48 * box.width, 0.35 * box.height)
    cos, sin = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    centre = ((around.x0 + around.x1) / 2, (around.y0 + around.y1) / 2)
    return Outline(corners @ np.array([[cos, sin], [-sin, cos]]) + centre, closed=True)

"""Can the figures of a sweep be read? Words that lie on the page and apart from each other, whatever they name."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import rc_context
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.path import Path as Outline
from matplotlib.text import Text
from matplotlib.tri import TriContourSet

from ablation_suite.reports import sweep_figures
from ablation_suite.reports.axes import Axis, distinct, wrapped
from ablation_suite.reports.figures import _STYLE
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from ablation_suite.sweeps.parameter import read_parameter
from tests.sweeps.test_report import make_analysis

SGD = {"name": "sgd", "momentum": 0.9, "nesterov": True}
ADAM = {"name": "adam", "betas": [0.5, 0.999], "weight_decay": 1e-3}
SIX = {
    "optimizer": {"choice": [ADAM, SGD, {"name": "sgd", "momentum": 0.5}]},
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
    """Every text that is drawn is whole, lies on the page, and its outline meets no other's."""
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
        assert "…" not in text.get_text()
        box = text.get_window_extent(canvas.get_renderer())
        ends = [box.x0, box.y0, figure.bbox.x1 - box.x1, figure.bbox.y1 - box.y1]
        assert min(ends) >= 0, f"{text.get_text()!r} is cut"
    for one, other in itertools.combinations(drawn, 2):
        assert not _outline(one, canvas).intersects_path(_outline(other, canvas)), (one.get_text(), other.get_text())


def test_names_that_are_cut_stay_apart() -> None:
    """By their ends where their beginnings are alike, and by their number where both are."""
    assert distinct(["none", 3], 8) == ["none", "3"]
    alike = ["sinusoidal (levels 3)", "sinusoidal (levels 6)"]
    assert distinct(alike, 12) == ["sinusoi…s 3)", "sinusoi…s 6)"]
    same = ["a" * 30 + "x" + "b" * 30, "a" * 30 + "y" + "b" * 30]
    assert distinct(same, 12) == ["aaaaaaaa… 1", "aaaaaaaa… 2"]


def test_long_names_are_broken_before_they_are_cut() -> None:
    """At blanks, else behind underscores, never within a number; what has no room in the lines loses its middle."""
    assert wrapped(["sgd (momentum 0.9)", 3], 14, 2) == [["sgd (momentum", "0.9)"], ["3"]]
    assert wrapped(["width_per_group"], 11, 2) == [["width_per_", "group"]]
    assert wrapped(["a" * 30], 10, 3) == [["a" * 10] * 3]
    for word in wrapped(["one two three four five six", "one two three four five sax"], 7, 2):
        assert len(word) <= 2
        assert max(map(len, word)) <= 7


@pytest.mark.parametrize(
    ("levels", "names"),
    [
        (
            [{"name": "net", "planes": [8, 16], "blocks": [1, 1]}, {"name": "net", "planes": [8, 8], "blocks": [1, 1]}],
            ("net (planes [8, 16])", "net (planes [8, 8])"),
        ),
        ([{"name": "sgd", "nesterov": True}, {"name": "sgd"}, "adam"], ("sgd (nesterov true)", "sgd", "adam")),
        ([{"name": "sgd", "momentum": 0.9}, {"name": "adam", "momentum": 0.9}], ("sgd", "adam")),
        ([[8, 16], [16, 16]], ("[8, 16]", "[16, 16]")),
    ],
)
def test_the_levels_of_a_choice_are_called_by_what_tells_them_apart(levels: list[Any], names: tuple[str, ...]) -> None:
    """An axis has no room for the settings that all entries of one name share."""
    assert read_parameter("model.backbone", {"choice": levels}, {}).short_labels == names


def test_nothing_stands_between_two_epochs_or_two_trials(tmp_path: Path) -> None:
    """A search of two trials and four epochs names whole numbers alone, on paper and on its page."""
    analysis = make_analysis(tmp_path, trials=2, pruner="none")
    for name in ("history", "curves", "budget"):
        with rc_context(_STYLE):
            figure = getattr(sweep_figures, f"_{name}")(analysis)
            FigureCanvasAgg(figure).draw()
        told = [text.get_text().replace("−", "-") for text in figure.axes[0].get_xticklabels()]
        assert told
        assert all(float(text).is_integer() for text in told)
    assert Axis(low=0, high=3).ticks(5, whole=True) == [(0, "0"), (33.33, "1"), (66.67, "2"), (100, "3")]
    assert [text for _, text in Axis(low=0, high=2000).ticks(5, whole=True)] == ["0", "500", "1k", "1.5k", "2k"]


def test_a_contour_has_no_more_bands_than_there_are_scores(six: SweepAnalysis) -> None:
    """Of trials that differ by two images there are three, and eleven bands would be ten of nothing."""
    trials = [replace(trial, score=0.9 + 0.001 * (trial.number % 3)) for trial in six.trials if trial.score is not None]
    with rc_context(_STYLE):
        figure = sweep_figures._contour(replace(six, trials=tuple(trials)))
    [filled] = [each for each in figure.axes[0].collections if isinstance(each, TriContourSet)]
    assert len(filled.levels) == 3 + 1


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

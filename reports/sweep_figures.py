"""What does a sweep look like on paper? History, importances, slices, a contour, parallel axes, curves, budget."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from ablation_suite.reports.axes import wrapped
from ablation_suite.reports.figures import SHADES, Axes, Figure, empty_figure, render, shades, small, width
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from ablation_suite.reports.sweep_drawings import value_of
from ablation_suite.reports.sweep_front import draw_front
from ablation_suite.sweeps.parameter import Parameter
from ablation_suite.sweeps.trial import Trial

_BLUE, _ORANGE, _GREY = "#0072b2", "#cf5a00", "#b5b2aa"
_CHARACTER_INCHES = 0.075
"""The mean width of a character of the figures' text."""
_LINE_INCHES = 0.13
_WORDS_MOST, _WORDS_INCHES = 20, 1.15
"""Characters in a line of a slanted level, and how far down its lines reach."""
_NAME_MOST = 24
_PARALLEL_INCHES = 2.75
"""How high the axes of the settings beside each other stand."""
_BEHIND_WORDS = {"facecolor": "white", "edgecolor": "none", "pad": 0.8, "alpha": 0.8}
_OUTCOMES = {
    "complete": (_BLUE, "o"),
    "pruned": (_GREY, "x"),
    "diverged": (_ORANGE, "x"),
    "infeasible": (_GREY, "+"),
    "imported": ("#333333", "s"),
}


def draw_sweep(analysis: SweepAnalysis) -> dict[str, bytes]:
    """File name -> content of every figure that the trials suffice for; the same trials give the same bytes."""
    return render(sweep_drawings(analysis))


def sweep_drawings(analysis: SweepAnalysis) -> dict[str, partial[Figure | None]]:
    """Name -> what draws it."""
    found = {
        **({"front": draw_front} if analysis.sweep.is_multi else {"history": _history}),
        "importances": _importances,
        "slices": _slices,
        "contour": _contour,
        "parallel": _parallel,
        **({} if analysis.sweep.is_multi else {"curves": _curves, "budget": _budget}),
    }
    return {name: partial(draw, analysis) for name, draw in found.items()}


def _history(analysis: SweepAnalysis) -> Figure | None:
    """Score against trial, and the best so far."""
    points = [(trial, value) for trial in analysis.trials if (value := value_of(trial)) is not None]
    if not points:
        return None
    figure = empty_figure(2.6, left=0.8)
    axes = figure.add_subplot()
    edge = edge_of([value for _, value in points], analysis.sweep.maximize)
    for outcome in _OUTCOMES:
        chosen = [(trial.number, value) for trial, value in points if trial.shown_as == outcome]
        _plot_trials(axes, chosen, outcome, edge, analysis.sweep.maximize)
    complete = [(trial.number, trial.score) for trial in analysis.trials if trial.may_be_best]
    if complete:
        numbers, scores = zip(*complete, strict=True)
        best = (np.maximum if analysis.sweep.maximize else np.minimum).accumulate(scores)
        axes.step(numbers, best, where="post", color="#333333", linewidth=1, label="best so far")
    axes.set_xlabel("Trial")
    _count_across(axes)
    axes.set_ylabel(analysis.sweep.spec.metric)
    _legend_above(axes)
    return figure


def _importances(analysis: SweepAnalysis) -> Figure | None:
    if not analysis.importance.shares:
        return None
    figure = empty_figure(0.95 + 0.28 * len(analysis.importance.shares), left=2.2, bottom=0.65)
    axes = figure.add_subplot()
    paths = list(analysis.importance.shares)[::-1]
    names = _joined([analysis.sweep.space.names[path] for path in paths], 28)
    shares = [100 * analysis.importance.shares[path] for path in paths]
    ends = analysis.importance.ends
    axes.barh(names, shares, color=_BLUE if ends else _GREY, height=0.55)
    for place, path in enumerate(paths):
        if path in ends:
            axes.plot([100 * end for end in ends[path]], [place, place], color="#333333", linewidth=1.0)
    few = "" if ends else "\ntoo few complete trials to rank them by"
    axes.set_xlabel(f"Share of the difference between good and other trials (%){few}")
    return figure


def _slices(analysis: SweepAnalysis) -> Figure | None:
    """Score against each setting."""
    parameters = analysis.sweep.space.parameters
    complete = [trial for trial in analysis.trials if value_of(trial) is not None]
    if not complete:
        return None
    num_rows, num_columns = math.ceil(len(parameters) / 3), min(3, len(parameters))
    # Slanted words of choices need room below them, and the row below must not begin in it.
    has_two_lines = any("\n" in _name(analysis, each) for each in parameters)
    below = 0.5 + _WORDS_INCHES * any(_is_slanted(each, num_columns) for each in parameters)
    plot, below = 1.55, below + _LINE_INCHES * has_two_lines
    height = num_rows * (plot + below) + 0.15
    figure = empty_figure(height, left=0.8, bottom=below, top=0.15)
    figure.subplots_adjust(hspace=below / plot)
    grid = figure.subplots(num_rows, num_columns, sharey=True, squeeze=False)
    edge = edge_of([value for trial in complete if (value := value_of(trial)) is not None], analysis.sweep.maximize)
    for axes, parameter in zip(grid.flat, parameters, strict=False):
        for outcome in _OUTCOMES:
            chosen = [each for each in complete if each.shown_as == outcome and parameter.path in each.values]
            points = [(_place(parameter, each), float(value_of(each) or 0.0)) for each in chosen]
            _plot_trials(axes, points, outcome, edge, analysis.sweep.maximize)
        _label_x(axes, analysis, parameter, num_columns)
    for axes in grid.flat[len(parameters) :]:
        axes.set_visible(False)
    for row in grid:
        row[0].set_ylabel(analysis.sweep.spec.metric)
    return figure


def _contour(analysis: SweepAnalysis) -> Figure | None:
    """The score over the two numeric settings that matter most, between the complete trials."""
    ranked = sorted(analysis.sweep.space.parameters, key=lambda each: -analysis.importance.shares.get(each.path, 0.0))
    chosen = [parameter for parameter in ranked if parameter.kind != "choice"][:2]
    if len(chosen) < 2:
        return None
    across, up = chosen
    trials = [each for each in analysis.trials if each.score is not None and {across.path, up.path} <= set(each.values)]
    x, y = ([_place(parameter, trial) for trial in trials] for parameter in (across, up))
    if len(trials) < 4 or not _span_a_plane(x, y):
        return None
    figure = empty_figure(3.6)
    axes = figure.add_subplot()
    scores = [float(trial.score or 0.0) for trial in trials]
    maximize = analysis.sweep.maximize
    low, high = sorted([edge_of(scores, maximize), (max if maximize else min)(scores)])
    bands = min(10, len({score for score in scores if low <= score <= high}))  # no more than there are scores
    levels: Any = np.linspace(low, high, bands + 1) if high > low else 2
    filled = axes.tricontourf(x, y, scores, levels=levels, cmap=SHADES, extend="min" if maximize else "max")
    axes.plot(x, y, "o", color="white", markeredgecolor="#333333", markersize=4, clip_on=False, zorder=3)
    stopped = [each for each in analysis.trials if each.outcome in ("pruned", "diverged") and up.path in each.values]
    stopped = [each for each in stopped if across.path in each.values]
    axes.plot([_place(across, each) for each in stopped], [_place(up, each) for each in stopped], "x", color="#333333")
    figure.colorbar(filled, ax=axes, label=analysis.sweep.spec.metric)
    _label_x(axes, analysis, across)
    axes.set_ylabel(_name(analysis, up))
    return figure


def _parallel(analysis: SweepAnalysis) -> Figure | None:
    """One line per complete trial through one axis per setting and the score."""
    trials = [trial for trial in analysis.trials if trial.score is not None]
    if len(trials) < 2:
        return None
    parameters = analysis.sweep.space.parameters
    most = int((width() - 1.0) / len(parameters) / _CHARACTER_INCHES) - 1
    names = _joined([analysis.sweep.space.names[each.path] for each in parameters], most)
    below = _LINE_INCHES * any("\n" in name for name in names)
    figure = empty_figure(3.6 + below, left=0.5, right=0.5, bottom=0.75 + below, top=0.1)
    axes = figure.add_subplot()
    scores = np.array([trial.score for trial in trials], dtype=float)
    low, high = float(scores.min()), float(scores.max())
    heights = (scores - low) / (high - low) if high > low else np.full(len(scores), 0.5)
    colours = shades(heights)
    order = np.argsort(scores if analysis.sweep.maximize else -scores, kind="stable")
    for index in order:
        ups = [_share(parameter, trials[index]) for parameter in parameters]
        axes.plot(
            [*range(len(parameters) + 1)], [*ups, heights[index]], color=colours[index], linewidth=1.0, clip_on=False
        )
    for place in range(len(parameters) + 1):
        axes.plot([place, place], [0.0, 1.0], color="#999999", linewidth=0.6, zorder=0, clip_on=False)
    words = {place: _levels(each, most) for place, each in enumerate(parameters) if each.kind == "choice"}
    for place, levels in words.items():
        for index, level in enumerate(levels):
            up = index / (len(levels) - 1)
            axes.text(place, up, level, ha="center", va="center", fontsize=small(), bbox=_BEHIND_WORDS)
    num_lines = max((level.count("\n") + 1 for levels in words.values() for level in levels), default=1)
    room = 0.5 * num_lines * _LINE_INCHES / _PARALLEL_INCHES
    axes.set_ylim(-room, 1.0 + room)
    ends = [f"{name}\n{_ends(each)}" for name, each in zip(names, parameters, strict=True)]
    ends.append(f"{analysis.sweep.spec.metric}\n{low:.4f} to\n{high:.4f}")
    axes.set_xticks(range(len(ends)), ends)
    axes.set_xlim(0, len(parameters))
    axes.set_yticks([])
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(axis="x", length=0)
    return figure


def _curves(analysis: SweepAnalysis) -> Figure | None:
    """What each trial had reached at each step; the stopped ones end in a cross, the best one is drawn on top."""
    if not any(trial.curve for trial in analysis.trials):
        return None
    figure = empty_figure(2.8, left=0.8)
    axes = figure.add_subplot()
    for trial in analysis.trials:
        if trial.curve and trial is not analysis.best:
            stopped = trial.outcome in ("pruned", "diverged")
            axes.plot(*_xy(trial), color=_GREY if stopped else _BLUE, alpha=0.6, linewidth=0.8)
            if stopped:
                axes.plot(*[[values[-1]] for values in _xy(trial)], "x", color=_GREY, markersize=4)
    if analysis.best is not None:
        axes.plot(*_xy(analysis.best), color=_ORANGE, linewidth=1.6, label=f"trial {analysis.best.number}, the best")
        _legend_above(axes)
    _count_across(axes)
    axes.set_xlabel("Seed" if analysis.sweep.spec.pruner.name == "wilcoxon" else "Epoch")
    axes.set_ylabel(analysis.sweep.spec.metric)
    return figure


def _budget(analysis: SweepAnalysis) -> Figure | None:
    """The expected best score against the number of trials."""
    if len(analysis.expected) < 2:
        return None
    figure = empty_figure(2.4, left=0.8)
    axes = figure.add_subplot()
    axes.plot(range(1, len(analysis.expected) + 1), analysis.expected, color=_BLUE)
    axes.set_xlabel("Trials")
    _count_across(axes)
    axes.set_ylabel(f"Expected best {analysis.sweep.spec.metric}")
    return figure


def edge_of(values: Sequence[float], maximize: bool) -> float:
    """Where an axis of scores ends on the bad side, so that a quarter of hopeless trials does not flatten the rest."""
    best, worst = (max(values), min(values)) if maximize else (min(values), max(values))
    quartile = float(np.quantile(values, 0.25 if maximize else 0.75))
    edge = quartile + 0.1 * (quartile - best)
    return max(edge, worst) if maximize else min(edge, worst)


def _plot_trials(axes: Axes, points: Sequence[tuple[float, float]], outcome: str, edge: float, maximize: bool) -> None:
    """Trials as points (x, score); those beyond the edge stand on it as hollow triangles."""
    colour, marker = _OUTCOMES[outcome]
    inside = [(x, value) for x, value in points if (value >= edge if maximize else value <= edge)]
    beyond = [(x, edge) for x, value in points if (value < edge if maximize else value > edge)]
    if inside:
        axes.plot(*zip(*inside, strict=True), marker, color=colour, markersize=4, label=outcome, zorder=3)
    if beyond:
        arrow = "v" if maximize else "^"
        axes.plot(*zip(*beyond, strict=True), arrow, color=colour, markersize=4, markerfacecolor="none", clip_on=False)


def _legend_above(axes: Axes) -> None:
    """Where it hides no trial."""
    axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.0)


def _count_across(axes: Axes) -> None:
    """Leave out what lies between two whole numbers, where trials, epochs or seeds are counted."""
    axes.locator_params(axis="x", integer=True)


def _levels(parameter: Parameter, most: int) -> list[str]:
    """The levels of a choice in as many lines as there is room for between two of them on an axis."""
    return _joined(parameter.short_labels, most, _PARALLEL_INCHES / len(parameter.labels))


def _joined(names: Sequence[Any], most: int, room: float = 2 * _LINE_INCHES) -> list[str]:
    """Names in lines of so many characters, in as many as stand in so many inches."""
    num_lines = max(1, min(6, int(room / _LINE_INCHES + 0.01)))
    return ["\n".join(lines) for lines in wrapped(names, most, num_lines)]


def _place(parameter: Parameter, trial: Trial) -> float:
    """Where a trial stands on a parameter's axis: exponents for logarithmic ranges, positions for choices."""
    value = trial.values[parameter.path]
    if parameter.kind == "choice":
        return parameter.labels.index(value)
    return math.log10(value) if parameter.is_log else float(value)


def _share(parameter: Parameter, trial: Trial) -> float:
    """The place as a share of the axis; not a number, which breaks the line, where the parameter does not exist."""
    if parameter.path not in trial.values:
        return math.nan
    if parameter.kind == "choice":
        return _place(parameter, trial) / (len(parameter.labels) - 1)
    low, high = (math.log10(end) if parameter.is_log else end for end in (parameter.low, parameter.high))
    return (_place(parameter, trial) - low) / (high - low)


def _label_x(axes: Axes, analysis: SweepAnalysis, parameter: Parameter, num_columns: int = 1) -> None:
    """Name and levels below an axis, the levels slanted where they would run into each other."""
    axes.set_xlabel(_name(analysis, parameter))
    if parameter.kind != "choice":
        if parameter.kind == "int" and not parameter.is_log:
            _count_across(axes)
        return
    slanted = _is_slanted(parameter, num_columns)
    words = _joined(parameter.short_labels, _WORDS_MOST, _room(parameter, num_columns) * 0.7 if slanted else 0.0)
    axes.set_xticks(range(len(words)), words)
    if slanted:
        for text in axes.get_xticklabels():
            text.set(rotation=45, ha="right", rotation_mode="anchor")
    axes.set_xlim(-0.4, len(words) - 0.6)


def _is_slanted(parameter: Parameter, num_columns: int) -> bool:
    """Whether the levels of a choice are too long to stand side by side below one of so many plots."""
    return any(len(str(label)) * _CHARACTER_INCHES > _room(parameter, num_columns) for label in parameter.short_labels)


def _room(parameter: Parameter, num_columns: int) -> float:
    """Inches from one level of a choice to the next, below one of so many plots."""
    return 0.8 * width() / num_columns / max(1, len(parameter.labels))


def _name(analysis: SweepAnalysis, parameter: Parameter) -> str:
    name = analysis.sweep.space.names[parameter.path]
    return _joined([f"log10 {name}" if parameter.is_log else name], _NAME_MOST)[0]


def _ends(parameter: Parameter) -> str:
    """Where the axis of a range begins and ends, on two lines; the levels of a choice stand on its axis."""
    return "\n" if parameter.kind == "choice" else f"{parameter.low:g} to\n{parameter.high:g}"


def _xy(trial: Trial) -> tuple[list[int], list[float]]:
    return list(trial.curve), list(trial.curve.values())


def _span_a_plane(x: Sequence[float], y: Sequence[float]) -> bool:
    """Whether the points do not all lie on one line, over which nothing can be drawn."""
    points = np.column_stack([x, y])
    scale = np.ptp(points, axis=0)
    return bool((scale > 0).all()) and np.linalg.matrix_rank((points - points[0]) / scale, tol=1e-6) == 2

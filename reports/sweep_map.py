"""Where do the good settings lie? A map of the two numeric ones that matter most, and parallel axes of all."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from ablation_suite.reports.axes import Axis, brief, ticks, wrapped
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from ablation_suite.reports.sweep_drawings import BEST, COMPLETE, STOPPED, Mark, Plane, Score, is_stopped, straight
from ablation_suite.reports.sweep_importance import common_step
from ablation_suite.sweeps.parameter import Parameter
from ablation_suite.sweeps.trial import DONE, Trial

MAP_HEIGHT, PARALLEL_HEIGHT = 330, 264
_TOP, _BOTTOM = 10.0, 304.0
_AXES_TOP, _AXES_BOTTOM = 58.0, PARALLEL_HEIGHT - 24.0
_WORDS_MOST, _LINE = 17, 13.0
"""Characters of a name or a level beside those of the next axis, and pixels from one of its lines to the next."""
_COLUMNS, _ROWS = 60, 36
_OVERLAP = 0.6
"""Pixels by which a row of the ground reaches into the next one, so that no seam shows."""
_FEWEST = 8
"""Trials at a common step from which on a ground is smoothed."""
_STEPS = 5
_NARROWEST = 0.03

Array = NDArray[np.float64]


def setting_map(analysis: SweepAnalysis, score: Score) -> tuple[Plane, str] | None:
    """The map and what its ground says, or why it has none; None for fewer than two numeric settings or trials."""
    chosen = _two_numeric(analysis)
    trials = [each for each in analysis.trials if chosen and {each.path for each in chosen} <= each.values.keys()]
    trials = [each for each in trials if each.outcome in DONE]
    if len(trials) < 2 or chosen is None:
        return None
    names = analysis.sweep.space.names
    right, up = (parameter_axis(each, *ends) for each, ends in zip(chosen, ((2, 98), (_BOTTOM, _TOP)), strict=True))
    spots = [(right.at(t.values[chosen[0].path]), up.at(t.values[chosen[1].path])) for t in trials]
    tiles, steps, told = _ground(trials, spots, score)
    logs = [", logarithmic" if axis.log else "" for axis in (right, up)]
    title, across = (names[each.path] for each in chosen[::-1])
    plane = Plane(
        title=title,
        rest=f" (up{logs[1]}) against {across} (across{logs[0]})",
        label=f"Map of {across} against {title} with {len(trials)} trials. {told}",
        height=MAP_HEIGHT,
        ups=up.ticks(5),
        acrosses=right.ticks(6),
        tiles=tiles,
        steps=steps,
        marks=[_spot(trial, x, y, analysis, score) for trial, (x, y) in zip(trials, spots, strict=True)],
    )
    return plane, told


def parallel(analysis: SweepAnalysis, score: Score) -> Plane | None:
    """One line per trial through an axis for each setting and one for the score; None for fewer than three settings."""
    parameters = analysis.sweep.space.parameters
    trials = [each for each in analysis.trials if each.outcome in ("complete", "pruned", "diverged")]
    scores = [trial.score for trial in trials if trial.score is not None]
    if len(parameters) < 3 or len(scores) < 2:
        return None
    places = np.linspace(5, 95, len(parameters) + 1)
    axes = [parameter_axis(each, _AXES_BOTTOM, _AXES_TOP) for each in parameters]
    last = score.axis(scores, start=_AXES_TOP, stop=_AXES_BOTTOM)
    if not score.is_error and score.is_share:
        last = score.axis(scores, start=_AXES_BOTTOM, stop=_AXES_TOP)
    paths = []
    for trial in sorted(trials, key=lambda each: (each is analysis.best, not is_stopped(each))):
        ups = [_level(axis, each, trial) for axis, each in zip(axes, parameters, strict=True)]
        ups.append(last.at(score.drawn(trial.score)) if trial.score is not None else None)
        look = BEST if trial is analysis.best else f"{STOPPED if is_stopped(trial) else COMPLETE} thin"
        paths.append((look, _broken([(x, y) for x, y in zip(places, ups, strict=True)])))
    rules = [("edge", f"M{x:.4g} {_AXES_TOP:g}V{_AXES_BOTTOM:g}") for x in places]
    return Plane(
        title="One line per trial",
        rest="; up is better on the last axis, and stopped trials end before it",
        label=f"Parallel axes of {len(parameters)} settings with {len(trials)} trials, {len(scores)} of them complete",
        height=PARALLEL_HEIGHT,
        ups=[],
        acrosses=[],
        paths=[*rules, *(each for each in paths if each[1])],
        texts=_axis_texts(analysis, places.tolist(), axes, last, score),
    )


def parameter_axis(parameter: Parameter, start: float, stop: float) -> Axis:
    """The whole range of a parameter; the levels of a choice by their number."""
    if parameter.kind == "choice":
        return Axis(low=0, high=max(1, len(parameter.labels) - 1), start=start, stop=stop)
    return Axis(low=parameter.low, high=parameter.high, start=start, stop=stop, log=parameter.is_log)


def _two_numeric(analysis: SweepAnalysis) -> tuple[Parameter, Parameter] | None:
    """Across the one that matters most, up the next one."""
    shares = (analysis.early or analysis.importance).shares
    numeric = [each for each in analysis.sweep.space.parameters if each.kind != "choice"]
    ranked = sorted(numeric, key=lambda each: -shares.get(each.path, 0.0))
    return (ranked[0], ranked[1]) if len(ranked) > 1 else None


def _spot(trial: Trial, x: float, y: float, analysis: SweepAnalysis, score: Score) -> Mark:
    told = f": {score.text(trial.score)}" if trial.score is not None else ""
    says = f"trial {trial.number}, {trial.shown_as}{told}"
    if trial is analysis.best or trial in analysis.front:
        return Mark(shape="mb", look=BEST, x=x, y=y, says=f"{says}, {'the best' if analysis.best else 'on the front'}")
    shape, look = ("mh", "a0 s0") if is_stopped(trial) else ("m5", "a0 s1")
    return Mark(shape=shape, look=look, x=x, y=y, says=says)


def _ground(
    trials: Sequence[Trial], spots: Sequence[tuple[float, float]], score: Score
) -> tuple[list[tuple[str, str]], list[tuple[str, str]], str]:
    """Tiles with their look, the looks' meaning, and a sentence.

    A kernel mean with Scott's bandwidths of what the trials had reached at a step that all of them came to. It is left
    out where it tells a trial's value from its neighbours no better than the mean of all others does.
    """
    step = common_step(trials)
    reached = [(spot, each.curve[step]) for spot, each in zip(spots, trials, strict=True) if step in each.curve]
    if step is None or len(reached) < _FEWEST:
        return [], [], f"No ground: fewer than {_FEWEST} trials came to a common step."
    at = np.array([spot for spot, _ in reached]) / (100.0, MAP_HEIGHT)  # n 2
    values = np.array([100 * value if score.is_share else value for _, value in reached])
    width = np.maximum(at.std(axis=0) * len(at) ** (-1 / 6), _NARROWEST)
    if not predicts(at, values, width):
        return [], [], (
            f"No ground: after step {step}, neighbours on this map tell a trial’s {score.name} no better than the mean "
            "of all others does."
        )  # fmt: skip
    x, y = (np.arange(_COLUMNS) + 0.5) / _COLUMNS, (_TOP + (np.arange(_ROWS) + 0.5) * _tile_height()) / MAP_HEIGHT
    cells = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    weights = _kernel(cells, at, width)
    smooth = (weights @ values / weights.sum(axis=1)).reshape(_ROWS, _COLUMNS)
    known = ((weights >= math.exp(-2)).sum(axis=1) >= 2).reshape(_ROWS, _COLUMNS)  # exp(-2): two bandwidths away
    edges = ticks(float(smooth[known].min()), float(smooth[known].max()), _STEPS - 1)[: _STEPS - 1]
    kinds = np.digitize(smooth, edges)
    looks = [f"q{kind if score.is_share else len(edges) - kind}" for kind in range(len(edges) + 1)]
    tiles = [(look, _tiles(known & (kinds == kind))) for kind, look in enumerate(looks)]
    meaning = list(zip(looks, _between(edges, score.unit), strict=True))
    told = (
        f"The ground is a kernel mean of the {score.name} after step {step}, which {len(reached)} trials reached, so "
        "that stopped and complete trials count alike; none where fewer than two trials lie near."
    )
    return [each for each in tiles if each[1]], meaning, told


def predicts(at: Array, values: Array, width: Array) -> bool:
    """Whether the kernel mean (n, 2) of its neighbours is nearer to each left-out value (n,) than the others' mean."""
    weights = _kernel(at, at, width)
    np.fill_diagonal(weights, 0.0)
    by_near = weights @ values / np.maximum(weights.sum(axis=1), 1e-300)
    by_all = (values.sum() - values) / (len(values) - 1)
    return bool(((values - by_near) ** 2).sum() < ((values - by_all) ** 2).sum())


def _kernel(places: Array, at: Array, width: Array) -> Array:
    """Gaussian weights of `at` (n, 2) at `places` (m, 2): m n."""
    apart = ((places[:, None] - at[None]) / width) ** 2
    return np.exp(-0.5 * apart.sum(axis=-1))


def _tile_height() -> float:
    return (_BOTTOM - _TOP) / _ROWS


def _tiles(chosen: NDArray[np.bool_]) -> str:
    """One path over the chosen cells, a rectangle for each run of them in a row."""
    height, found = _tile_height(), []
    for row, cells in enumerate(chosen):
        turns = np.flatnonzero(np.diff(np.concatenate([[0], cells.astype(int), [0]])))
        for begin, end in turns.reshape(-1, 2).tolist():
            left, wide = begin * 100 / _COLUMNS, (end - begin) * 100 / _COLUMNS
            found.append(f"M{left:.4g} {_TOP + row * height:.4g}h{wide:.4g}v{height + _OVERLAP:.4g}h-{wide:.4g}z")
    return "".join(found)


def _between(edges: Sequence[float], unit: str) -> list[str]:
    """What the steps between edges stand for."""
    told = [brief(edge) for edge in edges]
    middle = [f"{low} to {high}{unit}" for low, high in itertools.pairwise(told)]
    return [f"below {told[0]}{unit}", *middle, f"{told[-1]}{unit} and more"] if told else ["everywhere"]


def _level(axis: Axis, parameter: Parameter, trial: Trial) -> float | None:
    """None where the parameter does not exist beside the others, which breaks the line."""
    if parameter.path not in trial.values:
        return None
    value = trial.values[parameter.path]
    return axis.at(parameter.labels.index(value) if parameter.kind == "choice" else value)


def _broken(points: Sequence[tuple[float, float | None]]) -> str:
    """The paths through neighbours that there are."""
    runs: list[list[tuple[float, float]]] = [[]]
    for x, y in points:
        if y is None:
            runs.append([])
        else:
            runs[-1].append((x, y))
    return "".join(straight(run) for run in runs if len(run) > 1)


def _axis_texts(
    analysis: SweepAnalysis, places: Sequence[float], axes: Sequence[Axis], last: Axis, score: Score
) -> list[tuple[str, float, float, str]]:
    parameters = analysis.sweep.space.parameters
    above, below, last_name = _AXES_TOP - 10, _AXES_BOTTOM + 18, _AXES_TOP - 29
    found = []
    names = wrapped([analysis.sweep.space.names[each.path] for each in parameters], _WORDS_MOST, 2)
    for x, axis, each, name in zip(places, axes, parameters, names, strict=False):
        found += [("t1 mid", x, y, line) for line, y in _lines(name, last_name - (len(name) - 1) * _LINE)]
        if each.kind == "choice":
            found += [("mid halo", x, y, line) for line, y in _levels(each, axis)]
        else:
            found += [("mid", x, above, brief(each.high)), ("mid", x, below, brief(each.low))]
    top, bottom = (last.high, last.low) if last.start > last.stop else (last.low, last.high)
    title = "error" if score.is_error else score.name
    found += [("t1 mid", places[-1], last_name, f"Final {title}")]
    return found + [("mid", places[-1], y, f"{brief(end)}{score.unit}") for y, end in ((above, top), (below, bottom))]


def _levels(parameter: Parameter, axis: Axis) -> Iterator[tuple[str, float]]:
    """(line, down) of each level of a choice, in as many lines as there is room for between two levels."""
    room = (_AXES_BOTTOM - _AXES_TOP) / max(1, len(parameter.labels) - 1)
    words = wrapped(parameter.short_labels, _WORDS_MOST, max(1, min(3, int(room / _LINE))))
    for index, lines in enumerate(words):
        yield from _lines(lines, axis.at(index) + 4 - (len(lines) - 1) * _LINE / 2)


def _lines(lines: Sequence[str], first: float) -> list[tuple[str, float]]:
    """Each line with its place down."""
    return [(line, first + index * _LINE) for index, line in enumerate(lines)]

"""What does a search of several objectives show? The trials that no other one beats, where they lie, and the volume."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

from ablation_suite.reports.axes import Axis, around
from ablation_suite.reports.figures import Figure, empty_figure
from ablation_suite.reports.quantities import capital
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from ablation_suite.reports.sweep_drawings import BEST, COMPLETE, HEIGHT, Mark, Plane
from ablation_suite.reports.sweep_tables import score_text
from ablation_suite.reports.tables import Column, Row, Table
from ablation_suite.sweeps.front import hypervolume
from ablation_suite.sweeps.objectives import SCORES, is_maximised, measure_text
from ablation_suite.sweeps.progress import short
from ablation_suite.sweeps.trial import Trial

_BLUE, _ORANGE, _GREY, _DARK = "#0072b2", "#cf5a00", "#b5b2aa", "#333333"
_FIRST_FOR_RATIO = 10.0
"""From such a quotient of the largest and the smallest cost on, its axis is logarithmic."""


def objective_words(name: str) -> str:
    """An objective as a reader calls it, with its unit."""
    words = {"flops": "FLOPs per image", "seconds": "seconds of training"}
    return words.get(name, name.replace("val/", "validation ")) + (" %" if name == "val/accuracy" else "")


def objective_text(name: str, value: float) -> str:
    """An objective in a table, whose heading has the unit."""
    if name in SCORES:
        return score_text(value, name == "val/accuracy", "")
    return f"{value:,.1f}" if name == "seconds" else f"{value:,.0f}"


def front_table(analysis: SweepAnalysis) -> Table:
    """One row per trial of the front, the best in the first objective first."""
    sweep = analysis.sweep
    names = [*sweep.objectives, *(each.path for each in sweep.space.parameters)]
    columns = (
        Column(key="trial", heading="Trial", sort="trial"),
        *(Column(key=name, heading=capital(objective_words(name)), sort=name) for name in sweep.objectives),
        *(Column(key=each.path, heading=each.path, sort=each.path) for each in sweep.space.parameters),
        Column(key="run_id", heading="Runs", sort="run_id", number=False),
    )
    rows = []
    for trial in analysis.front:
        values: dict[str, Any] = {"trial": trial.number, **trial.objectives, **trial.values}
        values |= {"run_id": " ".join(trial.runs)}
        values |= {name: None for name in names if name not in values}
        texts = {key: "" if value is None else short(value) for key, value in values.items()}
        texts |= {name: objective_text(name, value) for name, value in trial.objectives.items()}
        rows.append(Row(values=values, texts=texts))
    note = f"No complete trial is as good as one of these in all objectives and better in one. {analysis.volume_words}"
    return Table(name="front", title="The front, best first", note=note, columns=columns, rows=tuple(rows))


def front_planes(analysis: SweepAnalysis) -> list[Plane]:
    """Each two objectives against each other, and the hypervolume by trial; none before a trial is complete."""
    trials = [each for each in analysis.trials if each.objectives]
    if not analysis.front:
        return []
    pairs = [_pair(analysis, trials, *pair) for pair in combinations(analysis.sweep.objectives, 2)]
    return [*pairs, _volumes(analysis)]


def draw_front(analysis: SweepAnalysis) -> Figure | None:
    """Each two objectives against each other on paper, the front on top."""
    trials = [each for each in analysis.trials if each.objectives]
    if not analysis.front:
        return None
    pairs = list(combinations(analysis.sweep.objectives, 2))
    figure = empty_figure(2.9 * len(pairs), left=0.9)
    grid = figure.subplots(len(pairs), 1, squeeze=False)
    for (up, across), axes in zip(pairs, grid.flat, strict=True):
        if _is_wide(across, trials):
            axes.set_xscale("log")
        for chosen, colour, marker, label in (
            ([each for each in trials if each.violated], _GREY, "x", "infeasible"),
            ([each for each in trials if each.is_imported and not each.violated], _DARK, "s", "imported"),
            ([each for each in trials if each.may_be_best and each not in analysis.front], _BLUE, "o", "complete"),
            (list(analysis.front), _ORANGE, "o", "front"),
        ):
            if chosen:
                points = [[_drawn(name, each) for each in chosen] for name in (across, up)]
                axes.plot(*points, marker, color=colour, markersize=4, label=label, zorder=3)
        axes.set_xlabel(capital(objective_words(across)))
        axes.set_ylabel(capital(objective_words(up)))
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=4, borderaxespad=0.0)
    return figure


def _pair(analysis: SweepAnalysis, trials: Sequence[Trial], up: str, across: str) -> Plane:
    right = _axis(across, trials, 6, 94)
    down = _axis(up, trials, HEIGHT - 26, 14)
    marks = [
        _mark(each, right.at(_drawn(across, each)), down.at(_drawn(up, each)), analysis)
        for each in sorted(trials, key=lambda each: each in analysis.front)
    ]
    paths = []
    if len(analysis.sweep.objectives) == 2:
        ends = [(right.at(_drawn(across, each)), down.at(_drawn(up, each))) for each in analysis.front]
        paths = [(BEST, _steps(sorted(ends)))]
    word, unit = objective_words(up), objective_words(across)
    return Plane(
        title=capital(word.removesuffix(" %")),
        rest=f" against {unit}{', logarithmic' if right.log else ''}; rings are the front",
        label=f"{word} against {unit} of {len(trials)} trials, {len(analysis.front)} of them on the front",
        height=HEIGHT,
        ups=down.ticks(5, unit=" %" if up == "val/accuracy" else ""),
        acrosses=[tick for tick in right.ticks(5) if 2 < tick[0] < 98],
        paths=paths,
        marks=marks,
    )


def _volumes(analysis: SweepAnalysis) -> Plane:
    """The hypervolume of the first 1, 2, ... trials, from the same point."""
    found = [
        hypervolume([each for each in analysis.trials if each.number <= trial.number], analysis.reference)
        for trial in analysis.trials
    ]
    across = Axis(low=0, high=max(1, analysis.trials[-1].number), start=4, stop=98)
    down = Axis(low=0.0, high=1.06 * max(found) or 1.0, start=HEIGHT - 26, stop=14)
    points = [(across.at(trial.number), down.at(value)) for trial, value in zip(analysis.trials, found, strict=True)]
    (x, y), *others = points
    path = f"M{x:.4g} {y:.4g}" + "".join(f"H{x:.4g}V{y:.4g}" for x, y in others)
    return Plane(
        title="Hypervolume",
        rest=" by trial, from the point that the table names",
        label=f"The hypervolume after each of {len(found)} trials; in the end {found[-1]:.4g}",
        height=HEIGHT,
        ups=down.ticks(5),
        acrosses=[tick for tick in across.ticks(5, whole=True) if tick[0] < 92],
        unit="Trial",
        paths=[(BEST, path)],
    )


def _mark(trial: Trial, x: float, y: float, analysis: SweepAnalysis) -> Mark:
    told = ", ".join(f"{name} {measure_text(name, value)}" for name, value in trial.objectives.items())
    settings = ", ".join(f"{path} {short(each)}" for path, each in trial.values.items())
    if trial in analysis.front:
        return Mark(shape="mb", look=BEST, x=x, y=y, says=f"trial {trial.number}, on the front: {told}; {settings}")
    shape, look = ("mx", "ax") if trial.violated else ("m1", COMPLETE)
    return Mark(shape=shape, look=look, x=x, y=y, says=f"trial {trial.number}, {trial.shown_as}: {told}; {settings}")


def _steps(points: Sequence[tuple[float, float]]) -> str:
    """Along the edge of what the front beats: level to the next trial, then to its height."""
    (x, y), *others = points
    return f"M{x:.4g} {y:.4g}" + "".join(f"H{x:.4g}V{y:.4g}" for x, y in others)


def _axis(name: str, trials: Sequence[Trial], start: float, stop: float) -> Axis:
    values = [_drawn(name, each) for each in trials]
    if _is_wide(name, trials):
        return Axis(low=min(values) / 1.15, high=max(values) * 1.15, start=start, stop=stop, log=True)
    return around(values, start=start, stop=stop)


def _is_wide(name: str, trials: Sequence[Trial]) -> bool:
    values = [_drawn(name, each) for each in trials]
    return not is_maximised(name) and min(values) > 0 and max(values) >= _FIRST_FOR_RATIO * min(values)


def _drawn(name: str, trial: Trial) -> float:
    return trial.objectives[name] * (100 if name == "val/accuracy" else 1)

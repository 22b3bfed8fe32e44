"""Where does each stroke of a search's figures stand? Trials in their order, and what they reached by epoch."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from ablation_suite.reports.axes import Axis, around
from ablation_suite.reports.drawings import Tick
from ablation_suite.reports.sweep_analysis import SweepAnalysis
from ablation_suite.reports.sweep_tables import score_text
from ablation_suite.sweeps.progress import short
from ablation_suite.sweeps.trial import Trial

COMPLETE, STOPPED, BEST = "a1 s1", "ax s0", "a0"
"""How trials are drawn: the inks of the style sheet, and what a toggle hides."""
_NEAR_ALL = 0.97
"""From such a best accuracy on, the error is drawn, on a logarithmic axis."""
_MOST_STOPS_TOLD = 3


@dataclass(frozen=True, kw_only=True)
class Mark:
    """A shape of the pages at a place, across in percent and down in pixels, and what it says under the pointer."""

    shape: str
    look: str
    x: float
    y: float
    says: str = ""


@dataclass(frozen=True, kw_only=True)
class Plane:
    """A figure of a search. Across in percent of its width, down in pixels; paths and texts with their look."""

    title: str
    rest: str
    label: str
    height: int
    ups: list[Tick]
    acrosses: list[Tick]
    unit: str = ""
    """What stands at the end of the axis across."""
    ground: tuple[float, float] | None = None
    """From where to where down the figure has a ground."""
    tiles: list[tuple[str, str]] = field(default_factory=list)
    paths: list[tuple[str, str]] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    texts: list[tuple[str, float, float, str]] = field(default_factory=list)
    """(look, across, down, text)"""
    steps: list[tuple[str, str]] = field(default_factory=list)
    """The tiles' looks with what they stand for."""


@dataclass(frozen=True, kw_only=True)
class Score:
    """How the metric of a search is drawn and written: accuracy in percent, near all of it as error, loss as it is."""

    name: str
    is_share: bool
    is_error: bool
    least: float
    """What stands for no error at all on a logarithmic axis: that of half an image."""

    def drawn(self, value: float) -> float:
        """Where a value stands on the axis."""
        if self.is_error:
            return max(100 * (1 - value), self.least)
        return 100 * value if self.is_share else value

    def text(self, value: float) -> str:
        """The value for readers, not the error."""
        return score_text(value, self.is_share)

    def axis(self, values: Sequence[float], *, start: float, stop: float) -> Axis:
        """An axis that holds these values as they are drawn."""
        found = [self.drawn(value) for value in values]
        if min(found) > 0 and (self.is_error or not self.is_share) and max(found) > min(found):
            return Axis(low=min(found) / 1.15, high=max(found) * 1.15, start=start, stop=stop, log=True)
        return around(found, start=start, stop=stop)

    @property
    def unit(self) -> str:
        return " %" if self.is_share else ""


def score_of(analysis: SweepAnalysis) -> Score:
    """How the scores of this search are to be drawn."""
    is_share = analysis.sweep.maximize
    found = [value for trial in analysis.trials if (value := value_of(trial)) is not None]
    errors = [1 - value for value in found if value < 1]
    return Score(
        name="accuracy" if is_share else "loss",
        is_share=is_share,
        is_error=is_share and max(found, default=0.0) >= _NEAR_ALL,
        least=50 * min(errors, default=0.01),
    )


def value_of(trial: Trial) -> float | None:
    """The score, or what a stopped trial had reached."""
    if trial.score is not None:
        return trial.score
    return trial.curve[max(trial.curve)] if trial.curve and trial.outcome != "running" else None


def history(analysis: SweepAnalysis, score: Score) -> Plane | None:
    """Every trial in its order, the best so far, and the ground of those that cannot be told from the best."""
    points = [(trial, value) for trial in analysis.trials if (value := value_of(trial)) is not None]
    if not points:
        return None
    up = score.axis([value for _, value in points], start=HEIGHT - 26, stop=14)
    across = Axis(low=0, high=max(1, points[-1][0].number), start=4, stop=98)
    so_far = _best_so_far(analysis)
    best = analysis.best
    told = f"; the best is trial {best.number} with {score.text(best.score or 0.0)}" if best else ""
    return Plane(
        title=f"Validation {'error' if score.is_error else score.name}",
        rest=f" by trial{_scale(up)}; the line is the best so far",
        label=f"{len(points)} trials in their order{told}",
        height=HEIGHT,
        ups=up.ticks(5, unit=score.unit),
        acrosses=[tick for tick in across.ticks(5, whole=True) if tick[0] < 92],
        unit="Trial",
        ground=_ground(analysis, score, up),
        paths=[(BEST, _staircase([(across.at(n), up.at(score.drawn(v))) for n, v in so_far], across.stop))],
        marks=[_mark(trial, across.at(trial.number), up.at(score.drawn(value)), score) for trial, value in points],
    )


def curves(analysis: SweepAnalysis, score: Score) -> Plane | None:
    """What each trial had reached at each step; the best on top, the stopped ones end in a cross."""
    drawn = [trial for trial in analysis.trials if trial.curve]
    if not drawn:
        return None
    up = score.axis([v for trial in drawn for v in trial.curve.values()], start=HEIGHT - 26, stop=14)
    steps = [step for trial in drawn for step in trial.curve]
    across = Axis(low=min(steps), high=max(steps), start=6, stop=94)
    lines = [
        (trial, [(across.at(step), up.at(score.drawn(value))) for step, value in trial.curve.items()])
        for trial in sorted(drawn, key=lambda trial: (trial is analysis.best, not is_stopped(trial)))
    ]
    ends = [(trial, line[-1]) for trial, line in lines if is_stopped(trial)]
    by_seed = analysis.sweep.spec.pruner.name == "wilcoxon"
    return Plane(
        title=f"Validation {'error' if score.is_error else score.name}",
        rest=f" by {'seed' if by_seed else 'epoch'}{_scale(up)}",
        label=f"What {len(drawn)} trials had reached; {len(ends)} of them were stopped early",
        height=HEIGHT,
        ups=up.ticks(5, unit=score.unit),
        acrosses=[tick for tick in across.ticks(6, whole=True) if tick[0] < 88],
        unit="Seed" if by_seed else "Epoch",
        paths=[(_line_look(trial, analysis), straight(line)) for trial, line in lines],
        marks=[_mark(trial, *end, score) for trial, end in ends],
        texts=_stops(ends, is_worse_up=score.is_error or not score.is_share),
    )


HEIGHT = 230


def is_stopped(trial: Trial) -> bool:
    """Whether it ended without a score."""
    return trial.score is None


def straight(points: Sequence[tuple[float, float]]) -> str:
    """The path through points."""
    return "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in points)


def _scale(axis: Axis) -> str:
    return ", logarithmic" if axis.log else ""


def _line_look(trial: Trial, analysis: SweepAnalysis) -> str:
    if trial is analysis.best:
        return BEST
    return f"{STOPPED if is_stopped(trial) else COMPLETE} thin"


def _mark(trial: Trial, x: float, y: float, score: Score) -> Mark:
    value = value_of(trial)
    told = f"trial {trial.number}, {trial.shown_as}" + (f": {score.text(value)}" if value is not None else "")
    settings = ", ".join(f"{path} {short(each)}" for path, each in trial.values.items())
    shape, look = ("mx", STOPPED) if is_stopped(trial) else ("m1", COMPLETE)
    return Mark(shape=shape, look=look, x=x, y=y, says=f"{told}; {settings}")


def _best_so_far(analysis: SweepAnalysis) -> list[tuple[int, float]]:
    """(number, score) of each complete trial that was better than all before it."""
    sign = 1 if analysis.sweep.maximize else -1
    found: list[tuple[int, float]] = []
    for trial in analysis.trials:
        if trial.may_be_best and (not found or sign * (trial.score or 0.0) > sign * found[-1][1]):
            found.append((trial.number, trial.score or 0.0))
    return found


def _staircase(points: Sequence[tuple[float, float]], end: float) -> str:
    if not points:
        return ""
    (x, y), *others = points
    steps = "".join(f"H{x:.4g}V{y:.4g}" for x, y in others)
    return f"M{x:.4g} {y:.4g}{steps}H{end:.4g}"


def _ground(analysis: SweepAnalysis, score: Score, up: Axis) -> tuple[float, float] | None:
    """Where the best and its rivals lie."""
    if analysis.best is None or analysis.rivals is None or not analysis.rivals.numbers:
        return None
    alike = [
        up.at(score.drawn(trial.score))
        for trial in analysis.trials
        if trial.score is not None and trial.number in (analysis.best.number, *analysis.rivals.numbers)
    ]
    return min(alike) - 8, max(alike) + 8


def _stops(
    ends: Sequence[tuple[Trial, tuple[float, float]]], *, is_worse_up: bool
) -> list[tuple[str, float, float, str]]:
    """How many were stopped where, at the worst cross of the steps where most were."""
    at: dict[int, list[tuple[float, float]]] = defaultdict(list)
    for trial, end in ends:
        at[max(trial.curve)].append(end)
    most = sorted(at, key=lambda step: -len(at[step]))[:_MOST_STOPS_TOLD]
    worst = min if is_worse_up else max
    return [
        ("t1 s0 halo", at[step][0][0] + 2, worst(y for _, y in at[step]) + 4, f"{len(at[step])} stopped at {step}")
        for step in most
        if at[step][0][0] < 75
    ]

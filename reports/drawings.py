"""Where does each stroke of the page's figures stand? Interval plots and curves by epoch, as plain numbers.

Across in percent of the figure's width, down in pixels: text never scales, and no script is needed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ablation_suite.reports.axes import Axis, around
from ablation_suite.reports.series import Series

Places = Mapping[str, int | None]
"""Arm -> where its ink stands in the palette, None for a thin soft line."""
Tick = tuple[float, str]


@dataclass(frozen=True, kw_only=True)
class IntervalBar:
    """What one row of an interval plot shows: a difference, its interval, its seeds, and what would go unseen."""

    estimate: float
    low: float | None = None
    high: float | None = None
    unseen: float | None = None
    seeds: Sequence[float] = ()


@dataclass(frozen=True, kw_only=True)
class IntervalRow:
    """A bar in places: `bar` and `ground` as (from, to), `seeds` as (place, pixels to the right of it)."""

    mean: float
    bar: tuple[float, float] | None
    ground: tuple[float, float] | None
    seeds: tuple[tuple[float, int], ...]
    label: str


@dataclass(frozen=True, kw_only=True)
class IntervalPlot:
    """An interval plot: what stands above it, and the rows by their keys."""

    title: str
    ticks: list[Tick]
    zero: float
    margin: tuple[float, float] | None
    rows: dict[str, IntervalRow]


def interval_plot(
    bars: Mapping[str, IntervalBar],
    title: str,
    write: Callable[[float], str],
    *,
    margin: float | None = None,
    beside: Iterable[IntervalBar] = (),
    most: int = 4,
    signs: bool = True,
) -> IntervalPlot:
    """All bars on one axis that holds their intervals, seeds and the margin; a wider ground runs out of the figure.

    beside: bars of a plot in the same table, whose range this one is to have too.
    """
    shown = [
        value
        for bar in (*bars.values(), *beside)
        for value in (bar.estimate, bar.low, bar.high, *bar.seeds, *_grounds(bar))
        if value is not None
    ]
    axis = around([0.0, *shown, *((-margin, margin) if margin else ())])
    return IntervalPlot(
        title=title,
        ticks=[tick for tick in axis.ticks(most, signs=signs) if 3 < tick[0] < 97],
        zero=axis.at(0.0),
        margin=(axis.at(-margin), axis.at(margin)) if margin else None,
        rows={key: _interval_row(bar, axis, write) for key, bar in bars.items()},
    )


def _grounds(bar: IntervalBar) -> Iterable[float]:
    """The ends of the ground, as far as they are not far beyond what else is shown."""
    widest = max(map(abs, (bar.estimate, bar.low or 0.0, bar.high or 0.0, *bar.seeds)))
    edge = min(bar.unseen, 1.3 * widest) if bar.unseen is not None else 0.0
    return -edge, edge


def _interval_row(bar: IntervalBar, axis: Axis, write: Callable[[float], str]) -> IntervalRow:
    seeds: list[tuple[float, int]] = []
    for place in sorted(axis.at(seed) for seed in bar.seeds):
        equal = sum(abs(place - other) < 0.5 for other, _ in seeds)
        seeds.append((place, 3 * equal))
    told = [f"interval {write(bar.low)} to {write(bar.high)}"] if bar.low is not None and bar.high is not None else []
    told += [f"seeds {', '.join(map(write, bar.seeds))}"] if bar.seeds else []
    return IntervalRow(
        mean=axis.at(bar.estimate),
        bar=(axis.at(bar.low), axis.at(bar.high)) if bar.low is not None and bar.high is not None else None,
        ground=(axis.at(-bar.unseen), axis.at(bar.unseen)) if bar.unseen is not None else None,
        seeds=tuple(seeds),
        label=f"{write(bar.estimate)}{': ' if told else ''}{'; '.join(told)}",
    )


@dataclass(frozen=True, kw_only=True)
class Curve:
    """One arm's line in a panel: paths, its kept epochs, its end, and where its name stands."""

    arm: str
    place: int | None
    path: str
    band: str
    thin: list[str]
    kept: list[tuple[float, float]]
    end: tuple[float, float]
    name_at: float


@dataclass(frozen=True, kw_only=True)
class Panel:
    """A figure by epoch. `reading` is what a reader is told at each epoch: [place, epoch, [[arm, text], ...]]."""

    key: str
    title: str
    rest: str
    label: str
    ups: list[Tick]
    zero: float | None
    acrosses: list[Tick]
    curves: list[Curve]
    reading: list[Any] = field(default_factory=list)


HEIGHT = 230
_TOP, _BOTTOM, _END = 16.0, 204.0, 70.0
PLOT = (_TOP - 2, _BOTTOM - _TOP + 4)
"""Where lines are drawn, from the top and downwards: what lies beyond is cut off."""
_STEP = 12.0
"""Pixels between names."""


def curve_panel(
    key: str,
    title: str,
    rest: str,
    lines: Sequence[Series],
    places: Places,
    write: Callable[[float], str],
    *,
    log: bool = False,
    zero: bool = False,
) -> Panel:
    """One measure of all arms by epoch. lines: `epochs`, `mean`, `low` and `high`, or `seeds` too, as in `series`."""
    lines = [line for line in lines if line["epochs"]]
    values = [value for line in lines for value in extent(line)]
    across = Axis(
        low=min(line["epochs"][0] for line in lines), high=max(line["epochs"][-1] for line in lines), stop=_END, start=4
    )
    if log:
        up = Axis(low=min(values), high=max(values), start=_BOTTOM, stop=_TOP, log=True)
    else:
        up = around([*values, *([0.0] if zero else [])], share=0.04, start=_BOTTOM, stop=_TOP)
    coloured = [line for line in lines if places[line["arm"]] is not None]
    named = sorted(coloured, key=lambda line: up.at(line["mean"][-1]))
    names = apart([up.at(line["mean"][-1]) for line in named])
    at = {line["arm"]: name for line, name in zip(named, names, strict=True)}
    drawn = sorted(lines, key=lambda line: places[line["arm"]] is not None)  # soft lines lie below
    return Panel(
        key=key,
        title=title,
        rest=rest,
        label=f"{title} by epoch; ends at " + ", ".join(f"{each['arm']} {write(each['mean'][-1])}" for each in lines),
        ups=up.ticks(5, signs=zero),
        zero=up.at(0.0) if zero else None,
        acrosses=[(place, text) for place, text in across.ticks(5) if text.isdigit()],
        curves=[_curve(line, places[line["arm"]], across, up, at.get(line["arm"], 0.0)) for line in drawn],
        reading=_reading(lines, across, write),
    )


def has_band(line: Series) -> bool:
    """Whether a band is drawn around the line."""
    return line["num_seeds"] > 1 and "low" in line and not line.get("hidden", False)


def extent(line: Series) -> list[float]:
    """The values that a panel has room for. Of a difference those after the first quarter, in which runs that learn
    nothing yet lie far apart, and of its band no more than is near its seeds: the rest runs out of the figure.
    """
    seeds = [value for seed in line.get("seeds", ()) for value in seed[len(seed) // 4 :]]
    if not seeds:
        return [*line["low"], *line["high"]]
    low, high = min(seeds), max(seeds)
    reach = 1.5 * (high - low)
    ends = [end for name in ("low", "high") for end in line.get(name, ())[len(line["epochs"]) // 4 :]]
    hidden = line.get("hidden", False)
    return [*seeds, *(min(max(end, low - reach), high + reach) for end in ends if not hidden)]


def _curve(line: Series, place: int | None, across: Axis, up: Axis, name_at: float) -> Curve:
    def path(values: Sequence[float], epochs: Sequence[int] = line["epochs"]) -> str:
        points = [(across.at(at), up.at(value, beyond=True)) for at, value in zip(epochs, values, strict=True)]
        return "M" + "L".join(f"{x:.4g} {y:.4g}" for x, y in points)

    is_banded, has_thin = place is not None and has_band(line), place is not None and line["num_seeds"] > 1
    back = path(line["low"][::-1], line["epochs"][::-1]) if is_banded else ""
    return Curve(
        arm=line["arm"],
        place=place,
        path=path(line["mean"]),
        band=f"{path(line['high'])}L{back[1:]}Z" if is_banded else "",
        thin=[path(seed) for seed in line.get("seeds", ()) if has_thin],
        kept=[(across.at(epoch), up.at(value)) for epoch, value in line.get("best", ())] if place is not None else [],
        end=(across.at(line["epochs"][-1]), up.at(line["mean"][-1])),
        name_at=name_at,
    )


def apart(places: Sequence[float], bottom: float = _BOTTOM) -> list[float]:
    """The places of names that are sorted downwards, pushed apart and kept above the bottom of the figure."""
    found: list[float] = []
    for place in places:
        found.append(max(place, found[-1] + _STEP) if found else place)
    beyond = found[-1] - bottom if found else 0.0
    if beyond > 0:
        found = [min(place, bottom - _STEP * (len(found) - 1 - index)) for index, place in enumerate(found)]
    return [round(place + 4, 1) for place in found]


def _reading(lines: Sequence[Series], across: Axis, write: Callable[[float], str]) -> list[Any]:
    epochs = sorted({epoch for line in lines for epoch in line["epochs"]})
    rows = []
    for epoch in epochs:
        told = []
        for line in lines:
            if epoch in line["epochs"]:
                at = line["epochs"].index(epoch)
                ends = (line["low"][at], line["high"][at]) if "low" in line else _range(line["seeds"], at)
                span = f" ({write(ends[0])} to {write(ends[1])})" if line["num_seeds"] > 1 else ""
                told.append([line["arm"], write(line["mean"][at]) + span])
        rows.append([across.at(epoch), epoch, told])
    return rows


def _range(seeds: Sequence[Sequence[float]], at: int) -> tuple[float, float]:
    values = [seed[at] for seed in seeds]
    return min(values), max(values)

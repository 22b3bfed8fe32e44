"""What is there to draw of an ablation? Intervals, curves and costs as plain values, for pages and for papers alike."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.captions import FIGURES
from ablation_suite.reports.drawings import IntervalBar
from ablation_suite.reports.quantities import EQUAL
from ablation_suite.reports.series import MEASURES, Series, told_apart
from ablation_suite.reports.tables import Column, Table, Value

_NEAR_ALL = 97.0
"""Above so many percent the error is drawn, on a logarithmic axis."""
_MOST_BANDS = 2
_COSTS = (("parameters", "parameters"), ("flops_per_image", "FLOPs"), ("train_seconds", "training time"))


@dataclass(frozen=True, kw_only=True)
class CurvePlot:
    """A measure of all arms by epoch: its title and what stands behind it, its lines and its axis."""

    key: str
    title: str
    rest: str
    lines: list[Series]
    write: Callable[[float], str]
    log: bool = False
    zero: bool = False


@dataclass(frozen=True, kw_only=True)
class CostPlot:
    """Arm -> what it costs as a ratio to the baseline's, and its difference."""

    name: str
    bars: dict[str, tuple[float, IntervalBar]]


def captions(analysis: Analysis) -> dict[str, str]:
    """Name -> caption of the figures that an analysis has something to draw for."""
    drawn = {"differences": answer_bars(analysis), "curves": analysis.series, "cost": cost_plots(analysis)}
    return {name: caption for name, caption in FIGURES.items() if drawn.get(name)}


def bar_of(values: Mapping[str, Value], seeds: list[float], prefix: str = "", unit: str = "pp") -> IntervalBar | None:
    """The bar of a table's row; None where it has no difference."""
    estimate, low, high = (number(values.get(f"{prefix}{end}_{unit}")) for end in ("difference", "low", "high"))
    if estimate is None:
        return None
    unseen = number(values.get(f"detectable_{unit}")) if not prefix else None
    return IntervalBar(estimate=estimate, low=low, high=high, unseen=unseen, seeds=seeds)


def answer_bars(analysis: Analysis) -> dict[str, IntervalBar]:
    """Arm -> its difference in the metric that decides."""
    rows = {str(row.values["arm"]): row.values for row in analysis.tables["answer"].rows}
    return bars_of(rows, analysis.strokes[analysis.design.measures[0]], unit=analysis.unit)


def bars_of(
    rows: Mapping[str, Mapping[str, Value]], strokes: Mapping[str, list[float]], prefix: str = "", unit: str = "pp"
) -> dict[str, IntervalBar]:
    """Arm -> the bar of its row, of those that have one."""
    found = {arm: bar_of(values, strokes.get(arm, []), prefix, unit) for arm, values in rows.items()}
    return {arm: bar for arm, bar in found.items() if bar is not None}


def curve_plots(analysis: Analysis) -> list[CurvePlot]:
    """The measures of training in their order, and behind validation accuracy its paired difference."""
    found = []
    for measure, every in analysis.series.items():
        title, _, unit = MEASURES[measure].partition(" (")
        lines = [line for line in every if line["epochs"]]
        log = measure.endswith("loss") and min(min(line["low"]) for line in lines) > 0
        write: Callable[[float], str] = partial(digits.fixed, places=3 if measure.endswith("loss") else 1)
        rest = ", logarithmic" if log else f", {unit.rstrip(')')}" if unit else ""
        if measure.endswith("accuracy") and min(line["mean"][-1] for line in lines) >= _NEAR_ALL:
            least = min([1.0, *(100 - high for line in lines for high in line["high"] if high < 100)])
            lines = [_error(line, least / 2) for line in lines]
            title, rest, log = title.replace("accuracy", "error"), ", %, logarithmic", True
            write = partial(digits.fixed, places=2)
        found.append(CurvePlot(key=measure, title=title, rest=rest, lines=lines, write=write, log=log))
        if measure == "val/accuracy" and analysis.paired:
            write = partial(digits.signed, places=1)
            rest = f" to {analysis.design.baseline}, pp, paired by seed"
            title = "Its difference"
            lines = _with_bands_that_tell(analysis.paired)
            found.append(CurvePlot(key="paired", title=title, rest=rest, lines=lines, write=write, zero=True))
    return found


def _with_bands_that_tell(paired: list[Series]) -> list[Series]:
    """Of more bands than can be told from each other those that leave zero; the others are `hidden`."""
    banded = [line for line in paired if "low" in line]
    if len(banded) <= _MOST_BANDS:
        return paired
    return [{**line, "hidden": line in banded and not any(told_apart(line))} for line in paired]


def cost_plots(analysis: Analysis) -> list[CostPlot]:
    """One for each price that the arms do not share."""
    varying, _ = varying_costs(analysis.tables["cost"])
    rows = {str(row.values["arm"]): row.values for row in analysis.tables["cost"].rows}
    answers = {str(row.values["arm"]): row.values for row in analysis.tables["answer"].rows}
    found = []
    for key, name in _COSTS:
        bars, base = {}, number(rows[analysis.design.baseline][key])
        for arm, values in rows.items():
            bar, cost = bar_of(answers[arm], [], unit=analysis.unit), number(values[key])
            if bar is not None and cost and base:
                bars[arm] = (cost / base, bar)
        if key in varying and bars:
            found.append(CostPlot(name=name, bars=bars))
    return found


def varying_costs(table: Table) -> tuple[set[str], list[Column]]:
    """The keys of the costs that differ, and the columns of those that do not."""
    varying, same = set(), []
    for column in table.columns[1:]:
        values = [float(row.values[column.sort]) for row in table.rows if row.values[column.sort]]  # type: ignore[arg-type]
        if values and min(values) > 0 and max(values) > EQUAL * min(values):
            varying.add(column.sort)
        elif values:
            same.append(column)
    return varying, same


def number(value: Value) -> float | None:
    """The value of a table as a number; None where it has none."""
    return None if value is None else float(value)


def _error(line: Mapping[str, Any], least: float) -> dict[str, Any]:
    """A line of accuracies as one of errors; no error at all is drawn as `least`."""
    turned = {"mean": line["mean"], "low": line["high"], "high": line["low"]}
    return {
        **line,
        **{name: [max(100 - value, least) for value in values] for name, values in turned.items()},
        "best": [[epoch, max(100 - value, least)] for epoch, value in line["best"]],
    }

"""What stands on the page of one ablation, and what is left out with a sentence instead? Data for its template."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.cost_drawing import COST_HEIGHT, CostPanel, cost_panel
from ablation_suite.reports.drawings import (
    HEIGHT,
    PLOT,
    IntervalBar,
    IntervalPlot,
    Panel,
    Places,
    curve_panel,
    interval_plot,
)
from ablation_suite.reports.matrices import MOST_CLASSES, matrices
from ablation_suite.reports.palette import inks, telling
from ablation_suite.reports.plots import answer_bars, bar_of, bars_of, cost_plots, curve_plots, number, varying_costs
from ablation_suite.reports.quantities import SHARE, SPLITS, introduced, most_places, step
from ablation_suite.reports.tables import Column, Row, Value

SIGNS = {"higher": "▲ ", "lower": "▼ ", "equivalent": "≈ ", "undecided": "○ "}
_MOST_COLUMNS = 3
"""Arms that have a plot of their own in the table of classes."""


def page_context(analysis: Analysis) -> dict[str, Any]:
    """Everything that `report.html` draws and tells beside the tables themselves."""
    places = arm_places(analysis)
    panels = _panels(analysis, places)
    costs, same = _costs(analysis, places)
    return {
        "analysis": analysis,
        "design": analysis.design,
        "tables": analysis.tables,
        "places": places,
        "arms": {arm.name: arm for arm in analysis.design.arms},
        "split": SPLITS[analysis.split],
        "unit": introduced(analysis.unit),
        "facts": _facts(analysis),
        "rest": analysis.answer.removeprefix(analysis.claim).strip(),
        "shown_places": ["x" if place is None else place for place in dict.fromkeys(places.values())],
        "contents": _contents(analysis),
        "signs": SIGNS,
        "plots": _evidence(analysis),
        "with_p": len(analysis.design.contenders) > 2
        and any(row.values["p"] is not None for row in analysis.tables["answer"].rows),
        "p_values": _p_values(analysis),
        "classes": _classes(analysis),
        "panels": panels,
        "panel_height": HEIGHT,
        "panel_plot": PLOT,
        "matrices": matrices(analysis.confusions, analysis.design.baseline, _drawn(analysis)),
        "costs": costs,
        "cost_height": COST_HEIGHT,
        "cost_columns": _cost_columns(analysis),
        "same": same,
        "reading": {panel.key: panel.reading for panel in panels},
    }


def arm_places(analysis: Analysis) -> Places:
    """Arm -> its place in the palette; where there are too many for that, those that differ least have none."""
    baseline = analysis.design.baseline
    found = inks(telling(analysis.differences(), baseline), baseline)
    return {arm.name: found[arm.name].place if arm.name in found else None for arm in analysis.design.arms}


def sides(analyses: Sequence[Analysis]) -> str:
    """What the two sides of zero mean in a plot of differences; nothing where it is not the same in all."""
    better = {analysis.higher_is_better for analysis in analyses}
    if len(better) > 1:
        return ""
    return ": worse ← 0 → better" if better == {True} else ": better ← 0 → worse"


def difference_places(rows: list[Mapping[str, Value]], unit: str) -> int:
    """Decimals of the differences of rows of the answer's table."""
    scale = SHARE if unit == "pp" else 1.0
    cells, ends = [], []
    for row in (each for each in rows if each[f"difference_{unit}"] is not None):
        low, high = number(row[f"low_{unit}"]), number(row[f"high_{unit}"])
        one = step(int(row["images"] or 1), int(row["pairs"] or 1), scale)
        cells.append((None if low is None or high is None else (high - low) / 2, one))
        ends += [end for end in (low, high) if end is not None]
    return digits.column(cells, ends, most_places(scale))


def _facts(analysis: Analysis) -> dict[str, str]:
    design = analysis.design
    rows = [row.values for row in analysis.tables["answer"].rows]
    num_arms, images = len(design.arms) - 1, max(int(row["images"] or 0) for row in rows)
    planned = sorted({int(row["planned"] or 0) for row in rows})
    found = {
        "Arms": f"{num_arms} and the baseline" + (", one of them the control" if design.control else ""),
        "Data": f"{analysis.data + ', ' if analysis.data else ''}{images} {SPLITS[analysis.split]} images",
        "Seeds": " to ".join(map(str, planned)) + (", paired" if planned[-1] > 1 else ""),
        "Metrics": ", ".join(name.replace("_", " ") for name in design.measures),
        "Margin": f"±{design.margin:g} {analysis.unit}" if design.margin is not None else "none declared",
        "Runs": f"{len(design.cells) - len(_unfinished(analysis))} of {len(design.cells)} finished",
        "Spec": " ".join([design.spec, *design.overrides]),
    }
    return found


def _contents(analysis: Analysis) -> dict[str, str]:
    """Anchor -> name of the sections that there are."""
    found = {"evidence": "Evidence", "checks": "Checks"}
    found |= {"classes": "Classes"} if "classes" in analysis.tables else {}
    found |= {"training": "Training"} if analysis.series else {}
    found |= {"errors": "Errors"} if "confusions" in analysis.tables else {}
    return found | {"cost": "Cost", "runs": "Runs"}


def _unfinished(analysis: Analysis) -> list[Row]:
    return [row for row in analysis.tables["runs"].rows if row.values["status"] != "finished"]


def _evidence(analysis: Analysis) -> list[IntervalPlot]:
    """The plot of the metric that decides and, where more were named, of the second one."""
    design = analysis.design
    rows = {str(row.values["arm"]): row.values for row in analysis.tables["answer"].rows}
    _, *others = design.measures
    bars = answer_bars(analysis)
    if not bars:
        return []
    second, title, unit = _second(analysis, others[0]) if others and "further" in analysis.tables else ({}, "", "pp")
    same_unit = unit == analysis.unit
    write = partial(digits.signed, places=difference_places(list(rows.values()), analysis.unit))
    heading = f"{analysis.metric[0].upper()}{analysis.metric[1:]}, {analysis.unit}{sides([analysis])}"
    plots = [interval_plot(bars, heading, write, margin=design.margin, beside=second.values() if same_unit else ())]
    if second:
        write = partial(digits.signed, places=2 if unit == "pp" else 3)
        plots.append(interval_plot(second, title, write, beside=bars.values() if same_unit else ()))
    return plots


def _second(analysis: Analysis, name: str) -> tuple[dict[str, IntervalBar], str, str]:
    """The bars of the second metric that was named, its title and its unit."""
    table = analysis.tables["further"]
    rows = {str(row.values["arm"]): row.values for row in table.rows}
    before = f"{name}_difference_"
    unit = next(key.removeprefix(before) for values in rows.values() for key in values if key.startswith(before))
    title = next(column.heading for column in table.columns if column.key == name).rpartition(" ")[0]
    return bars_of(rows, analysis.strokes[name], f"{name}_", unit), f"{title}, {unit}", unit


def _p_values(analysis: Analysis) -> str:
    """The adjusted p of one or two arms, which have no column."""
    rows = [row for row in analysis.tables["answer"].rows if row.values["p_adjusted"] is not None]
    told = [f"{row.texts['arm']} {row.texts['p']}" for row in rows]
    return ", ".join(told) if len(analysis.design.contenders) <= 2 else ""


def _classes(analysis: Analysis) -> dict[str, Any] | None:
    """Classes by number of images with a plot per arm; where arms are many only texts, where classes are many few."""
    table = analysis.tables.get("classes")
    if table is None:
        return None
    keys = [column.key for column in table.columns if column.key.startswith("arm: ")]
    rows = sorted(table.rows, key=lambda row: -int(row.values["images"] or 0))
    if len(rows) > MOST_CLASSES:
        rows = sorted(rows, key=lambda row: -_largest(row, keys))[:12]
    bars = {
        f"{row.values['class']}\n{key}": bar
        for row in rows
        for key in keys
        if (bar := bar_of(row.values, [], f"{key}: ")) is not None
    }
    plot = interval_plot(bars, "", partial(digits.signed, places=0), most=3) if bars else None
    num_decided = sum(bar.low is not None and bar.high is not None and bar.low * bar.high > 0 for bar in bars.values())
    return {
        "rows": rows,
        "keys": keys if len(keys) <= _MOST_COLUMNS else [],
        "plot": plot if len(keys) <= _MOST_COLUMNS else None,
        "num_decided": num_decided,
        "num_shown": sum(bar.low is not None for bar in bars.values()),
        "few": len(rows) < len(table.rows),
    }


def _largest(row: Row, keys: list[str]) -> float:
    return max((abs(number(row.values.get(f"{key}: difference_pp")) or 0.0) for key in keys), default=0.0)


def _drawn(analysis: Analysis) -> list[str]:
    """The arms beside the baseline that are drawn in colour."""
    places = arm_places(analysis)
    return [arm for arm, place in places.items() if place]


def _panels(analysis: Analysis, places: Places) -> list[Panel]:
    return [
        curve_panel(each.key, each.title, each.rest, each.lines, places, each.write, log=each.log, zero=each.zero)
        for each in curve_plots(analysis)
    ]


def _costs(analysis: Analysis, places: Places) -> tuple[list[CostPanel], str]:
    """A figure for each price that the arms do not share, and a sentence on what is the same in all."""
    table = analysis.tables["cost"]
    told = [
        f"{next(row.texts[each.key] for row in table.rows)} {_lowered(each.heading)}"
        for each in varying_costs(table)[1]
    ]
    return [cost_panel(each.name, each.bars, places) for each in cost_plots(analysis)], ", ".join(told)


def _cost_columns(analysis: Analysis) -> list[Column]:
    table = analysis.tables["cost"]
    varying, _ = varying_costs(table)
    return [table.columns[0], *(column for column in table.columns[1:] if column.sort in varying)]


def _lowered(heading: str) -> str:
    return heading if heading.startswith("FLOPs") else heading[0].lower() + heading[1:]

"""What do training, differences and costs look like on paper? Three figures, each as SVG, PNG and PDF."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.blocks import OVER, Blocks
from ablation_suite.reports.palette import Ink, inks, telling
from ablation_suite.reports.series import MEASURES, Series
from ablation_suite.reports.tables import Row

FORMATS = ("svg", "png", "pdf")
_STYLE: Any = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#999999",
    "axes.linewidth": 0.6,
    "axes.titlesize": 8,
    "axes.titlelocation": "left",
    "axes.labelcolor": "#333333",
    "axes.unicode_minus": True,
    "xtick.color": "#666666",
    "ytick.color": "#666666",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.3,
    "legend.frameon": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "ablation-suite",  # without it every writing of the same figure differs
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign, and a malformed formula would raise
}
_WIDTH = 7.0  # inches: the text width of a two-column page


def draw_figures(analysis: Analysis) -> dict[str, bytes]:
    """File name -> content of every figure that the analysis has data for; the same analysis gives the same bytes."""
    with matplotlib.rc_context(_STYLE):
        figures = {
            "curves": _curves(analysis),
            "differences": _differences(analysis),
            "cost": _cost(analysis),
        }
        return {
            f"{name}.{format}": _save(figure, format)
            for name, figure in figures.items()
            if figure is not None
            for format in FORMATS
        }


def draw_forest(blocks: Blocks) -> dict[str, bytes]:
    """File name -> content of the forest plot over blocks: a row per arm and block, and a diamond for the mean."""
    if not blocks.bars:
        return {}
    with matplotlib.rc_context(_STYLE):
        num_arms = len({bar.arm for bar in blocks.bars})
        figure = _figure(_WIDTH, 0.85 + 0.22 * len(blocks.bars), left=2.0, right=1.5, bottom=0.5, top=0.2)
        axes = figure.add_subplot()
        axes.axvline(0, color="#999999", linewidth=0.8)
        for index, bar in enumerate(blocks.bars):
            is_mean = bar.block == OVER
            axes.plot([bar.low, bar.high], [index, index], color="#333333", linewidth=2.2 if is_mean else 1.2)
            axes.plot([bar.difference], [index], "D" if is_mean else "o", color="#333333", markersize=4.5)
            axes.annotate(bar.text, (1.02, index), xycoords=axes.get_yaxis_transform(), va="center", fontsize=7)
        names = [bar.block if num_arms == 1 else f"{_short(bar.arm)}, {bar.block}" for bar in blocks.bars]
        axes.set_ylim(len(blocks.bars) - 0.5, -0.5)
        axes.set_yticks(range(len(blocks.bars)), [_short(name) for name in names])
        axes.tick_params(axis="y", length=0, labelcolor="#222222")
        axes.spines["left"].set_visible(False)
        axes.set_xlabel(f"Difference to {_short(blocks.baseline)} ({blocks.unit}, 95 % interval)")
        return {f"forest.{format}": _save(figure, format) for format in FORMATS}


def _save(figure: Figure, format: str) -> bytes:
    # The time of writing would make the same report differ from itself.
    undated = {"svg": {"Date": None}, "pdf": {"CreationDate": None}, "png": {"Software": None}}
    file = io.BytesIO()
    figure.savefig(file, format=format, dpi=160, metadata=undated[format])
    return file.getvalue()


def _curves(analysis: Analysis) -> Figure | None:
    """Two in a row: validation above training, accuracy beside loss; a band from the lowest to the highest seed."""
    if not analysis.series:
        return None
    arms = _arms(analysis)
    shown = _telling(analysis)
    measures = [measure for measure in MEASURES if measure in analysis.series]
    num_rows, bottom = -(-len(measures) // 2), 0.42 + 0.2 * _legend_rows(shown, len(arms))
    figure = _figure(_WIDTH, 0.2 + bottom + 2.1 * num_rows, bottom=bottom)
    grid = list(figure.subplots(num_rows, 2, sharex=True, squeeze=False).flat)
    for axes, measure in zip(grid, measures, strict=False):
        axes.set_title(MEASURES[measure], color="#333333")
        for line in analysis.series[measure]:
            if line["arm"] not in shown and line["epochs"]:
                axes.plot(line["epochs"], line["mean"], color="#cccccc", linewidth=0.6, zorder=1)
        for line in analysis.series[measure]:
            if line["arm"] in shown and line["epochs"]:
                _draw_line(axes, line, shown[line["arm"]])
        if measure.endswith("loss") and all(value > 0 for line in analysis.series[measure] for value in line["low"]):
            axes.set_yscale("log")
            _log_ticks(axes.yaxis, "{:g}".format)
        axes.grid(axis="y", color="#eeeeee", linewidth=0.6)
    for axes in grid[len(measures) :]:
        axes.set_visible(False)
    for axes in grid[: len(measures)][-2:]:  # the lowest of each column
        axes.tick_params(axis="x", labelbottom=True)
        axes.set_xlabel("Epoch")
    _legend(figure, shown, len(arms))
    return figure


def _draw_line(axes: Axes, line: Series, ink: Ink) -> None:
    axes.plot(line["epochs"], line["mean"], color=ink.light, linestyle=_dash(ink), zorder=3)
    if line["num_seeds"] > 1:
        axes.fill_between(line["epochs"], line["low"], line["high"], color=ink.light, alpha=0.13, linewidth=0, zorder=2)
    if line["best"]:
        epochs, values = zip(*line["best"], strict=True)
        axes.plot(epochs, values, "o", color=ink.light, markersize=3, mec="white", mew=0.5, zorder=4)


def _differences(analysis: Analysis) -> Figure | None:
    """One row per arm: the paired difference with its interval, the margin as a grey ground."""
    unit = analysis.unit
    rows = [row for row in analysis.tables["answer"].rows if row.values[f"difference_{unit}"] is not None]
    if not rows:
        return None
    colours = _inks(analysis)
    height = 0.85 + 0.26 * len(rows)
    figure = _figure(_WIDTH, height, left=2.0, right=1.5, bottom=0.5, top=0.2)
    axes = figure.add_subplot()
    margin = analysis.design.margin
    if margin is not None:
        axes.axvspan(-margin, margin, color="#f1f1f1", linewidth=0)
    axes.axvline(0, color="#999999", linewidth=0.8)
    beside = axes.get_yaxis_transform()
    for index, row in enumerate(rows):
        low, high, difference = (_number(row, key) for key in (f"low_{unit}", f"high_{unit}", f"difference_{unit}"))
        ink, judged = colours[str(row.values["arm"])], row.values[f"low_{unit}"] is not None
        if judged:
            axes.plot([low, high], [index, index], color=ink.light, linewidth=1.6, solid_capstyle="butt")
        # Hollow: one pair of runs, of which nothing is known but that they differ.
        face = ink.light if judged and not ink.open else "white"
        axes.plot([difference], [index], ink.mark, color=ink.light, markersize=4.5, mfc=face)
        axes.annotate(row.texts["difference"], (1.02, index), xycoords=beside, va="center", fontsize=7)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_yticks(range(len(rows)), [_short(str(row.values["arm"])) for row in rows])
    axes.tick_params(axis="y", length=0, labelcolor="#222222")
    axes.spines["left"].set_visible(False)
    kind = "95 % interval" if any(row.values[f"low_{unit}"] is not None for row in rows) else "one seed a side"
    axes.set_xlabel(f"Difference to {_short(analysis.design.baseline)} ({analysis.unit}, {kind})")
    return figure


def _cost(analysis: Analysis) -> Figure | None:
    """Accuracy against parameters, FLOPs and training time, one dot per arm with its spread over seeds."""
    costs = {str(row.values["arm"]): row.values for row in analysis.tables["cost"].rows}
    rows = [row for row in analysis.tables["answer"].rows if row.values[f"score_{analysis.word}"] is not None]
    if not rows:
        return None
    shown = _telling(analysis)
    figure = _figure(_WIDTH, 2.9, bottom=0.62 + 0.2 * _legend_rows(shown, len(costs)))
    grid = figure.subplots(1, 3, sharey=True)
    axes_of = {"parameters": "Parameters", "flops_per_image": "FLOPs per image", "train_seconds": "Training seconds"}
    for axes, (key, heading) in zip(grid, axes_of.items(), strict=True):
        axes.set_xlabel(heading)
        values = []
        for row in rows:
            arm, cost = str(row.values["arm"]), costs[str(row.values["arm"])].get(key)
            if cost is None:
                continue
            values.append(float(cost))
            colour = shown[arm].light if arm in shown else "#cccccc"
            accuracy, spread = _number(row, f"score_{analysis.word}"), row.values[f"sd_{analysis.word}"]
            axes.errorbar(cost, accuracy, yerr=spread, fmt="o", color=colour, markersize=4.5, linewidth=1)
        if values and min(values) > 0 and max(values) > 8 * min(values):
            axes.set_xscale("log")
            _log_ticks(axes.xaxis, digits.count)
        else:
            axes.xaxis.set_major_locator(MaxNLocator(4))
            axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: digits.count(value)))
        axes.margins(0.12)
        axes.grid(color="#eeeeee", linewidth=0.6)
    grid[0].set_ylabel(
        {"test": "Test", "val": "Validation"}[analysis.split]
        + f" {analysis.metric} ({'%' if analysis.unit == 'pp' else analysis.unit})"
    )
    _legend(figure, shown, len(costs))
    return figure


def _log_ticks(axis: Axis, write: Callable[[float], str]) -> None:
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: write(value)))


def _figure(
    width: float, height: float, *, left: float = 0.55, right: float = 0.12, bottom: float = 0.5, top: float = 0.28
) -> Figure:
    """An empty figure whose margins are given in inches: laying out by measuring text would draw everything twice."""
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    figure.subplots_adjust(left / width, bottom / height, 1 - right / width, 1 - top / height, wspace=0.18, hspace=0.2)
    return figure


def _arms(analysis: Analysis) -> list[str]:
    return [arm.name for arm in analysis.design.arms]


def _inks(analysis: Analysis) -> dict[str, Ink]:
    return inks(_arms(analysis), analysis.design.baseline)


def _telling(analysis: Analysis) -> dict[str, Ink]:
    """The arms that are drawn in colour; the others, if any, are grey."""
    baseline = analysis.design.baseline
    shown = telling(analysis.differences(), baseline)
    return inks(shown, baseline)


_LEGEND_COLUMNS = 3


def _legend_rows(shown: Mapping[str, Ink], num_arms: int) -> int:
    return -(-(len(shown) + (num_arms > len(shown))) // _LEGEND_COLUMNS)


def _legend(figure: Figure, shown: Mapping[str, Ink], num_arms: int) -> None:
    names = [_short(arm) for arm in shown]
    handles = [Line2D([], [], color=ink.light, linestyle=_dash(ink)) for ink in shown.values()]
    if num_arms > len(shown):
        names.append(f"{num_arms - len(shown)} other arms")
        handles.append(Line2D([], [], color="#cccccc", linewidth=0.8))
    # matplotlib drops a label that starts with an underscore, so the names are put in when the legend stands.
    legend = figure.legend(handles, list(map(str, range(len(names)))), loc="lower left", ncols=_LEGEND_COLUMNS)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set_text(name)


def _short(name: str, most: int = 34) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _dash(ink: Ink) -> Any:
    return (0, ink.dash) if ink.dash else "solid"


def _number(row: Row, key: str, default: float = float("nan")) -> float:
    value = row.values[key]
    return default if value is None else float(value)


def render(drawings: Mapping[str, Callable[[], Figure | None]]) -> dict[str, bytes]:
    """File name -> content of figures that another module draws; they are drawn and saved in the style of the house."""
    with matplotlib.rc_context(_STYLE):
        figures = {name: draw() for name, draw in drawings.items()}
        return {
            f"{name}.{format}": _save(figure, format)
            for name, figure in figures.items()
            if figure is not None
            for format in FORMATS
        }


def empty_figure(width: float, height: float, **margins: float) -> Figure:
    """A figure without axes, for `render`; sizes and margins (left, right, bottom, top) in inches."""
    return _figure(width, height, **margins)


SHADES = "viridis"
"""The colours of a quantity that has no middle."""


def shades(shares: Any) -> list[Any]:
    """The colours at shares in [0, 1] of a quantity."""
    return list(matplotlib.colormaps[SHADES](shares))

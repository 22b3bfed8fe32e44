"""What do differences, training and costs of an ablation look like on paper? In the hand of the pages, inks and all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.axes import around, brief
from ablation_suite.reports.blocks import Blocks
from ablation_suite.reports.drawings import apart, extent, has_band
from ablation_suite.reports.figures import (
    GROUND,
    INK,
    LABEL,
    RULE,
    SOFT,
    Axes,
    Figure,
    dash,
    empty_figure,
    height,
    is_narrow,
    log_ticks,
    named,
    number_ticks,
    small,
)
from ablation_suite.reports.palette import Ink, inks, telling
from ablation_suite.reports.plots import CostPlot, CurvePlot, answer_bars, cost_plots, curve_plots
from ablation_suite.reports.series import Series

_MOST_SEEDS = 40


def drawings(told: Analysis | Blocks) -> dict[str, partial[Figure | None]]:
    """Name -> what draws it, of the figures of one ablation or over the blocks of a spec."""
    if isinstance(told, Blocks):
        return {"forest": partial(forest, told)}
    analysis = told
    return {
        "curves": partial(curves, analysis),
        "differences": partial(differences, analysis),
        "cost": partial(cost, analysis),
    }


def forest(blocks: Blocks) -> Figure | None:
    """A row per arm and block, and a diamond for the mean."""
    if not blocks.bars:
        return None
    several = len({bar.arm for bar in blocks.bars}) > 1
    axes = _rows_of(len(blocks.bars))
    for index, bar in enumerate(blocks.bars):
        is_mean = bar.is_mean
        axes.plot([bar.low, bar.high], [index, index], color=INK, linewidth=2.2 if is_mean else 1.2)
        axes.plot([bar.difference], [index], "D" if is_mean else "o", color=INK)
        _beside(axes, index, bar.text)
    names = [f"{bar.arm}, {bar.block}" if several else bar.block for bar in blocks.bars]
    _name_rows(axes, names, f"Difference to {named(blocks.baseline, 20)} ({blocks.unit}, 95 % interval)")
    return axes.get_figure()  # type: ignore[return-value]


def differences(analysis: Analysis) -> Figure | None:
    """One row per arm: bar, mark and seeds on the ground of what would have gone unseen; margins as dotted lines."""
    bars, colours = answer_bars(analysis), _inks(analysis)
    if not bars:
        return None
    axes = _rows_of(len(bars))
    if analysis.design.margin is not None:
        for edge in (-analysis.design.margin, analysis.design.margin):
            axes.axvline(edge, color=RULE, linewidth=0.8, linestyle=(0, (1, 2)))
    texts = {str(row.values["arm"]): row.texts["difference"] for row in analysis.tables["answer"].rows}
    places = [each for bar in bars.values() for each in (bar.estimate, bar.low, bar.high, *bar.seeds)]
    reach = max(abs(each) for each in places if each is not None)
    for index, (arm, bar) in enumerate(bars.items()):
        ink = colours.get(arm)
        colour = ink.light if ink else SOFT
        if bar.unseen is not None:
            edge = min(bar.unseen, 1.3 * reach)  # a wider one runs out of the figure
            axes.barh(index, 2 * edge, 1.0, -edge, color=GROUND, zorder=0)
        if bar.low is not None and bar.high is not None:
            axes.plot([bar.low, bar.high], [index, index], color=colour, linewidth=1.8, solid_capstyle="butt")
        # Hollow: one pair of runs, of which nothing is known but that they differ.
        face = colour if bar.low is not None and not (ink and ink.open) else "white"
        axes.plot([bar.estimate], [index], ink.mark if ink else "o", color=colour, mfc=face)
        if len(bar.seeds) <= _MOST_SEEDS:
            axes.vlines(bar.seeds, index + 0.2, index + 0.4, color=colour, linewidth=0.8)
        _beside(axes, index, texts[arm])
    kind = "95 % interval" if any(bar.low is not None for bar in bars.values()) else "one seed a side"
    title = f"Difference to {named(analysis.design.baseline, 20)} ({analysis.unit}, {kind})"
    _name_rows(axes, list(bars), title)
    return axes.get_figure()  # type: ignore[return-value]


def curves(analysis: Analysis) -> Figure | None:
    """A panel per measure: a band from the lowest to the highest seed, or of 95 % where seeds are paired."""
    plots, colours = curve_plots(analysis), _inks(analysis)
    if not plots:
        return None
    num_columns = 1 if is_narrow() else 2
    num_rows = -(-len(plots) // num_columns)
    figure = empty_figure(0.55 + 2.0 * num_rows, bottom=0.4, hspace=0.3)
    points = 72 * max(height(0.55 + 2.0 * num_rows) / num_rows - 0.5, 0.1)
    grid = list(figure.subplots(num_rows, num_columns, squeeze=False).flat)
    for axes, plot in zip(grid, plots, strict=False):
        _draw_curves(axes, plot, colours, points)
    for axes in grid[len(plots) :]:
        axes.set_visible(False)
    for axes in grid[: len(plots)][-num_columns:]:  # the lowest of each column
        axes.set_xlabel("Epoch")
    return figure


def _draw_curves(axes: Axes, plot: CurvePlot, colours: dict[str, Ink], points: float) -> None:
    """points: the height of the panel."""
    lines = [line for line in plot.lines if line["epochs"]]
    axes.set_title(plot.title + named(plot.rest, 44))
    for line in (each for each in lines if each["arm"] not in colours):
        axes.plot(line["epochs"], line["mean"], color=SOFT, linewidth=0.6, zorder=1)
    coloured = [line for line in lines if line["arm"] in colours]
    for line in coloured:
        _draw_line(axes, line, colours[line["arm"]])
    if plot.zero:
        axes.axhline(0, color=RULE, linewidth=0.8, zorder=1)
        shown = around([0.0, *(value for line in lines for value in extent(line))], share=0.04)
        axes.set_ylim(shown.low, shown.high)
    if plot.log:
        axes.set_yscale("log")
        log_ticks(axes.yaxis, "{:g}".format)
    first, last = min(line["epochs"][0] for line in lines), max(line["epochs"][-1] for line in lines)
    span = (last - first) or 1
    axes.set_xlim(first - 0.03 * span, last + 0.42 * span)  # room for the names
    number_ticks(axes.xaxis, lambda value: f"{value:g}" if value == round(value) and value <= last else "")
    axes.grid(axis="y")
    _name_ends(axes, coloured, colours, last + 0.04 * span, points, log=plot.log)


def _draw_line(axes: Axes, line: Series, ink: Ink) -> None:
    axes.plot(line["epochs"], line["mean"], color=ink.light, linestyle=dash(ink), zorder=3)
    if has_band(line):
        axes.fill_between(line["epochs"], line["low"], line["high"], color=ink.light, alpha=0.13, linewidth=0, zorder=2)
    for seed in line.get("seeds", ()) if line["num_seeds"] > 1 else ():
        axes.plot(line["epochs"], seed, color=ink.light, linewidth=0.5, alpha=0.5, zorder=2)
    if line.get("best"):
        epochs, values = zip(*line["best"], strict=True)
        axes.plot(epochs, values, "o", color=ink.light, markersize=3, mec="white", mew=0.5, zorder=4)


def _name_ends(
    axes: Axes, lines: Sequence[Series], colours: dict[str, Ink], x: float, points: float, *, log: bool
) -> None:
    """The names behind the ends of the lines, pushed apart, instead of a legend."""
    low, high = axes.get_ylim()
    of = math.log if log else float
    downs = {line["arm"]: points * (of(high) - of(line["mean"][-1])) / (of(high) - of(low)) for line in lines}
    order = sorted(downs, key=lambda arm: downs[arm])
    for arm, down in zip(order, apart([downs[arm] for arm in order], points), strict=True):
        place = (x, 1 - (down - 4) / points)
        colour = colours[arm].light
        axes.text(
            *place, named(arm, 18), color=colour, fontsize=small(), va="center", transform=axes.get_xaxis_transform()
        )


def cost(analysis: Analysis) -> Figure | None:
    """Differences against each cost that varies, relative to the baseline's, with their intervals."""
    plots, colours = cost_plots(analysis), _inks(analysis)
    if not plots:
        return None
    rows, columns = (len(plots), 1) if is_narrow() else (1, len(plots))
    figure = empty_figure(0.3 + 2.3 * rows, left=0.6, hspace=0.45, wspace=0.12)
    grid = figure.subplots(rows, columns, squeeze=False, sharey=True)
    for axes, plot in zip(grid.flat, plots, strict=True):
        _draw_cost(axes, plot, colours)
    figure.supylabel(f"Difference ({analysis.unit})", fontsize="medium", color=LABEL)
    return figure


def _draw_cost(axes: Axes, plot: CostPlot, colours: dict[str, Ink]) -> None:
    axes.axhline(0, color=RULE, linewidth=0.8, zorder=1)
    axes.plot([1], [0], "_", color=INK)
    ratios = [ratio for ratio, _ in plot.bars.values()]
    middle = (min(1.0, *ratios) + max(1.0, *ratios)) / 2
    for arm, (ratio, bar) in plot.bars.items():
        ink = colours.get(arm)
        colour = ink.light if ink else SOFT
        if bar.low is not None and bar.high is not None:
            axes.plot([ratio, ratio], [bar.low, bar.high], color=colour, linewidth=1.2)
        axes.plot(
            [ratio], [bar.estimate], ink.mark if ink else ".", color=colour, mfc="white" if ink and ink.open else colour
        )
        if ink:
            side = -5 if ratio > middle else 5
            axes.annotate(
                named(arm, 18),
                (ratio, bar.estimate),
                (side, 3),
                textcoords="offset points",
                color=colour,
                fontsize=small(),
                ha="right" if side < 0 else "left",
            )
    axes.set_xlabel(f"{plot.name[0].upper()}{plot.name[1:]}, relative")
    axes.margins(0.15)
    if max(ratios) > 8 * min(ratios):
        axes.set_xscale("log")
        log_ticks(axes.xaxis, lambda value: f"{digits.TIMES}{value:g}")
    else:
        number_ticks(axes.xaxis, lambda value: f"{digits.TIMES}{value:g}")
    number_ticks(axes.yaxis, lambda value: ("+" if value > 0 else "") + brief(value), 5)
    axes.grid(axis="y")


def _rows_of(num_rows: int) -> Axes:
    """An axes with a row for each difference, zero across all of them."""
    narrow = is_narrow()
    figure = empty_figure(
        0.6 + 0.27 * num_rows, left=1.1 if narrow else 2.0, right=1.2 if narrow else 1.5, bottom=0.45, top=0.12
    )
    axes = figure.add_subplot()
    axes.axvline(0, color=RULE, linewidth=0.8)
    axes.grid(axis="x")
    axes.set_axisbelow(True)
    return axes


def _name_rows(axes: Axes, names: Sequence[str], title: str) -> None:
    axes.set_ylim(len(names) - 0.5, -0.5)
    axes.set_yticks(range(len(names)), [named(name, 18 if is_narrow() else 34) for name in names])
    axes.tick_params(axis="y", length=0, labelcolor="#222222")
    axes.spines["left"].set_visible(False)
    number_ticks(axes.xaxis, lambda value: ("+" if value > 0 else "") + brief(value))
    axes.set_xlabel(title)


def _beside(axes: Axes, index: int, text: str) -> None:
    axes.annotate(named(text), (1.02, index), xycoords=axes.get_yaxis_transform(), va="center", fontsize=small())


def _inks(analysis: Analysis) -> dict[str, Ink]:
    """The arms that are drawn in colour; the others, if any, are soft."""
    baseline = analysis.design.baseline
    return inks(telling(analysis.differences(), baseline), baseline)

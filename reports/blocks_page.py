"""What stands on the page over the blocks of a spec? Arm by arm its blocks and their mean, in one plot."""

from __future__ import annotations

from functools import partial
from itertools import groupby
from typing import Any

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.blocks import Blocks, ForestBar
from ablation_suite.reports.drawings import IntervalBar, interval_plot
from ablation_suite.reports.palette import inks
from ablation_suite.reports.quantities import introduced


def blocks_context(blocks: Blocks) -> dict[str, Any]:
    """Everything that `blocks.html` draws and tells."""
    bars = {
        key_of(bar): IntervalBar(estimate=bar.difference, low=bar.low, high=bar.high, seeds=bar.seeds)
        for bar in blocks.bars
    }
    better, worse = ("0 → better", "worse ←") if blocks.metric.higher_is_better else ("0 → worse", "better ←")
    title = f"{blocks.unit}: {worse} {better}"
    places = max((len(bar.text.partition(" ")[0].partition(".")[2]) for bar in blocks.bars), default=0)
    arms = list(dict.fromkeys(bar.arm for bar in blocks.bars))
    return {
        "blocks": blocks,
        "rest": blocks.answer.removeprefix(blocks.claim).strip(),
        "unit": introduced(blocks.unit),
        "groups": [(arm, list(of_arm)) for arm, of_arm in groupby(blocks.bars, key=lambda bar: bar.arm)],
        "places": {arm: ink.place for arm, ink in inks([blocks.baseline, *arms], blocks.baseline).items()},
        "plot": interval_plot(bars, title, partial(digits.signed, places=places)) if bars else None,
        "key_of": key_of,
        "p_value": digits.p_value,
    }


def key_of(bar: ForestBar) -> str:
    """Which row of the plot a bar is."""
    return f"{bar.arm}\n{bar.block}"

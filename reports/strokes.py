"""What does each seed say by itself? The paired difference of an arm to the baseline, seed by seed."""

from __future__ import annotations

from ablation_suite.reports.results import Results
from ablation_suite.reports.rounding import significant
from ablation_suite.reports.statistics.comparison import pair

Strokes = dict[str, dict[str, list[float]]]
"""Metric without its split -> arm -> the difference of each seed that it shares with the baseline.

In pp; of a metric that is no share in its own unit.
"""


def strokes(results: Results) -> Strokes:
    """The differences of all metrics that were asked for, seeds in the order of their numbers."""
    design = results.design
    found: Strokes = {}
    for measure in design.measures:
        scale = results.measure(measure).scale
        baseline = results.scores(design.baseline, measure)
        found[measure] = {}
        others = [arm.name for arm in design.arms if arm.name != design.baseline]
        for arm in filter(results.comparable, others):
            scores = results.scores(arm, measure)
            if scores.keys() & baseline.keys():
                treated, control = pair(scores, baseline)  # S N
                apart = treated.mean(axis=1) - control.mean(axis=1)  # S
                found[measure][arm] = [significant(scale * float(each)) for each in apart]
    return found

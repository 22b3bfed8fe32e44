"""What does each part of the baseline contribute? A leave-one-out table, where each arm changes another part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from ablation_suite.core.metrics.measures import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.design import Design, DesignArm
from ablation_suite.reports.quantities import MISSING
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value


def contributions_table(results: Results, compared: Mapping[str, Comparison]) -> Table | None:
    """The arms by what the baseline owes to the part that they change; None where they are no leave-one-out."""
    group = left_out_group(results.design)
    if group is None:
        return None

    def order(arm: DesignArm) -> tuple[bool, float]:
        return arm.factor == group, compared[arm.name].difference or 0.0

    places = texts.answer_places(compared.values(), results.metric.scale)
    arms = sorted((arm for arm in results.design.contenders if compared[arm.name].interval), key=order)
    return Table(
        name="contributions",
        title=f"What each part of {group} contributes",
        note=f"How much {results.metric.text} the baseline owes to its own setting: minus the difference of the arm "
        f"that changes it, in {results.metric.unit} with 95 % intervals, the largest first, the whole group last. "
        "Parts that do the same work can each look "
        "dispensable, so the contributions need not add up.",
        columns=(
            Column(key="factor", heading="Part", sort="factor", number=False),
            ARM,
            Column(
                key="contribution",
                heading=f"Contribution ({results.metric.unit})",
                sort=f"contribution_{results.metric.unit}",
            ),
            Column(key="p", heading="Adjusted p", sort="p_adjusted"),
        ),
        rows=tuple(_row(arm, compared[arm.name], places, results.metric) for arm in arms),
    )


def left_out_group(design: Design) -> str | None:
    """The group of settings of which every arm changes another one, as `augment`; an arm may also change it whole."""
    parts = [arm.factor for arm in design.contenders if "." in arm.factor]
    groups = {part.rpartition(".")[0] for part in parts}
    if len(groups) != 1 or len(parts) < 2 or len(set(parts)) < len(parts):
        return None
    (group,) = groups
    others = {arm.factor for arm in design.contenders} - set(parts)
    return group if others <= {group} else None


def _row(arm: DesignArm, row: Comparison, places: int, metric: Metric) -> Row:
    interval = row.interval
    assert interval is not None
    turned = replace(interval, estimate=-interval.estimate, low=-interval.high, high=-interval.low)
    values: dict[str, Value] = {
        "factor": arm.factor,
        "arm": arm.name,
        f"contribution_{metric.unit}": texts.scaled(turned.estimate, metric.scale),
        f"low_{metric.unit}": texts.scaled(turned.low, metric.scale),
        f"high_{metric.unit}": texts.scaled(turned.high, metric.scale),
        "p_adjusted": texts.significant(row.p_adjusted),
    }
    shown = {
        "factor": arm.factor,
        "arm": arm.name,
        "contribution": texts.difference(turned, places, metric.scale),
        "p": digits.p_value(row.p_adjusted) if row.p_adjusted is not None else MISSING,
    }
    return Row(values=values, texts=shown)

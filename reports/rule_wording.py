"""Why does an ablation with a rule for its seeds have as many as it has? In sentences."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.compared import seeds_to_add
from ablation_suite.reports.quantities import listed, quoted
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import Comparison


def seeds_added(results: Results, compared: Sequence[Comparison]) -> str:
    """Why an ablation with a rule for its seeds has as many as it has, and what that does to its numbers."""
    rule = results.design.rule or {}
    rows = [row for row in compared if row.interval and row.arm != results.design.control]
    allowed = "Intervals and p allow for having looked that often." if rows else "There is nothing to judge yet."
    waiting = wanting_seeds(results, compared)
    if waiting:
        until = (
            f"their intervals are within ±{rule['precision']:g} {results.metric.unit}"
            if rule["precision"] is not None
            else "there is an answer on validation images"
        )
        return (
            f"Seeds are added until {until}, up to {rule['max']}; {listed([*map(quoted, waiting)])} "
            f"{'is' if len(waiting) == 1 else 'are'} to get more. {allowed}"
        )
    if rule["precision"] is not None:
        return (
            f"Seeds were added until the interval was within ±{rule['precision']:g} {results.metric.unit}, "
            f"up to {rule['max']}. {allowed}"
        )
    if results.split != "val":
        return (
            f"Seeds were added, up to {rule['max']}, until the validation images gave an answer or more would hardly "
            f"have brought one. {allowed}"
        )
    without = [f"{quoted(row.arm)} (after {row.num_pairs})" for row in rows if row.verdict == "undecided"]
    told = "Seeds were added until there was an answer."
    if without:
        told = (
            f"Seeds were added, up to {rule['max']}, until there was an answer or more would hardly have brought one: "
            f"{listed(without)} stayed without."
        )
    scale = results.metric.scale
    freed = [
        f"{quoted(row.arm)} {digits.signed(scale * row.freed, texts.answer_places(rows, scale))}"
        for row in rows
        if row.freed is not None
    ]
    if freed:
        told += (
            " A difference that ended its own search is too large on average; freed from that, the estimates are "
            f"{listed(freed)} {results.metric.unit}."
        )
    return f"{told} {allowed}"


def wanting_seeds(results: Results, compared: Iterable[Comparison]) -> list[str]:
    """Arms that their rule gives more seeds; on test images, those that have too few for its first look."""
    design, rule = results.design, results.design.rule
    if not rule:
        return []
    wanted = seeds_to_add(results) if results.split == "val" else {}
    few = {row.arm for row in compared if row.num_pairs < rule["min"]}
    return [arm.name for arm in design.contenders if arm.name in wanted or arm.name in few]

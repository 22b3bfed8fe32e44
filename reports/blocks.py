"""What does a comparison that was repeated in blocks say in each, and over all? Rows are arms, columns are blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ablation_suite.core.metrics import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.compared import comparisons
from ablation_suite.reports.method import Text, method_over_blocks
from ablation_suite.reports.quantities import MISSING, SPLITS
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.blocks import OverBlocks, over_blocks
from ablation_suite.reports.statistics.comparison import Comparison, holm, pair
from ablation_suite.reports.statistics.intervals import Interval
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value

OVER = "over blocks"


@dataclass(frozen=True, kw_only=True)
class Bar:
    """One line of a forest plot: a difference in the unit of the metric with its interval, and the text beside it."""

    arm: str
    block: str
    difference: float
    low: float
    high: float
    text: str


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The answer over the blocks of one spec, its tables, and the bars of its forest plot."""

    family: str
    question: str
    baseline: str
    answer: str
    unit: str
    tables: tuple[Table, ...]
    bars: tuple[Bar, ...]
    pages: dict[str, str]
    """Block -> the folder of its own report."""
    method: Text = field(default_factory=list)
    """What a method section says of the blocks."""
    papers: tuple[Table, ...] = ()
    """Tables for papers that were asked for."""


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Comparisons by block and arm, their means over blocks by arm, and Holm's p over all of these together."""

    compared: dict[str, dict[str, Comparison]]
    over: dict[str, OverBlocks]
    adjusted: dict[tuple[str, str], float]
    """(arm, block or OVER) -> p."""
    places: int
    """Decimals of the differences."""


def over_all_blocks(family: Sequence[Results]) -> Blocks:
    """What the results of all blocks of a spec say together, the blocks in the order of the spec."""
    first, metric = family[0].design, family[0].metric
    arms = [arm.name for arm in first.contenders]
    told = judged(family)
    compared, found, adjusted, places = told.compared, told.over, told.adjusted, told.places
    return Blocks(
        family=first.family,
        question=first.question.removesuffix(f" ({first.block})"),
        baseline=first.baseline,
        answer=" ".join(_sentence(arm, family[0], found[arm], adjusted[arm, OVER], places) for arm in found)
        or "No arm has two paired seeds or more in two blocks yet.",
        tables=(_table(family, compared, found, adjusted, places), *_heterogeneity(metric, compared, found, places)),
        unit=metric.unit,
        bars=tuple(_bars(metric, arms, compared, found, places)),
        pages={results.design.block: results.design.ablation for results in family},
        method=method_over_blocks(family, len(adjusted)) if found else [],
    )


def judged(family: Sequence[Results], measure: str | None = None) -> Judged:
    """All comparisons of a metric in the blocks of a spec, by default of the one that decides, and over them.

    One block alone has the p values of its own report.
    """
    name = measure or family[0].design.measures[0]
    compared = {results.design.block: comparisons(results, name) for results in family}
    arms = [arm.name for arm in family[0].design.contenders]
    over = {arm: found for arm in arms if (found := _over(arm, family, compared, name)) is not None}
    if len(family) > 1:
        adjusted = _adjusted(arms, compared, over)
    else:
        rows = {(arm, block): row.p_adjusted for block, rows in compared.items() for arm, row in rows.items()}
        adjusted = {key: p for key, p in rows.items() if p is not None}
    every = [row for rows in compared.values() for row in rows.values()]
    places = texts.answer_places(every, family[0].measure(name).scale)
    return Judged(compared=compared, over=over, adjusted=adjusted, places=places)


def _over(
    arm: str, family: Sequence[Results], compared: Mapping[str, Mapping[str, Comparison]], measure: str
) -> OverBlocks | None:
    """The mean over the blocks in which an arm has an interval; None where these are fewer than two."""
    spoken = {each.design.block: each for each in family if compared[each.design.block][arm].interval is not None}
    if len(spoken) < 2:
        return None
    pairs = {
        block: pair(each.scores(arm, measure), each.scores(each.design.baseline, measure))
        for block, each in spoken.items()
    }
    intervals: dict[str, Interval] = {}
    groups: list[list[str]] = []
    for block, results in spoken.items():
        interval = compared[block][arm].interval
        assert interval is not None
        intervals[block] = interval
        alike = [group for group in groups if _same_images(spoken[group[0]], results)]
        if alike:
            alike[0].append(block)
        else:
            groups.append([block])
    return over_blocks(pairs, intervals, groups)


def _same_images(one: Results, other: Results) -> bool:
    first, second = one.reference, other.reference
    return first is not None and second is not None and first.same_images(second)


def _adjusted(
    arms: Sequence[str], compared: Mapping[str, Mapping[str, Comparison]], found: Mapping[str, OverBlocks]
) -> dict[tuple[str, str], float]:
    """(arm, block) -> p by Holm over all differences that the table shows, the means over blocks included."""
    raw = {
        (arm, block): rows[arm].interval.p  # type: ignore[union-attr]
        for arm in arms
        for block, rows in compared.items()
        if rows[arm].interval is not None
    }
    raw |= {(arm, OVER): over.interval.p for arm, over in found.items()}
    return dict(zip(raw, holm(list(raw.values())), strict=True))


def _table(
    family: Sequence[Results],
    compared: Mapping[str, Mapping[str, Comparison]],
    found: Mapping[str, OverBlocks],
    adjusted: Mapping[tuple[str, str], float],
    places: int,
) -> Table:
    design, results, metric = family[0].design, family[0], family[0].metric
    level_places = {
        block: texts.accuracy_places(
            ((row.sd, row.num_images, row.n) for row in rows.values() if row.mean is not None), metric.scale
        )
        for block, rows in compared.items()
    }
    rows = []
    for arm in design.arms:
        values: dict[str, Value] = {"arm": arm.name}
        shown = {"arm": arm.name}
        strong = set()
        for block, of_block in compared.items():
            row = of_block[arm.name]
            p = adjusted.get((arm.name, block))
            values |= {
                f"{block}: score_{metric.word}": texts.scaled(row.mean, metric.scale),
                f"{block}: sd_{metric.word}": texts.scaled(row.sd, metric.scale),
                **_numbers(metric, block, row.difference, row.interval, p),
            }
            level = texts.accuracy(row.mean, row.sd, level_places[block], metric.scale)
            difference = texts.difference(row.interval, places, metric.scale) if row.interval else ""
            shown[block] = f"{level}; {difference}" if difference else level
            if p is not None and p < 0.05:
                strong.add(block)
        over = found.get(arm.name)
        p = adjusted.get((arm.name, OVER))
        values |= _numbers(metric, OVER, over.interval.estimate if over else None, over.interval if over else None, p)
        shown[OVER] = texts.difference(over.interval, places, metric.scale) if over else MISSING
        if p is not None and p < 0.05:
            strong.add(OVER)
        rows.append(Row(values=values, texts=shown, strong=frozenset(strong)))
    return Table(
        name="blocks",
        title="The arms in every block",
        note=f"{SPLITS[results.split].capitalize()} {metric.text} in {metric.sign}, mean ± standard deviation over "
        f"seeds; then the paired difference to the baseline of the same block in {metric.unit}, with its 95 % "
        "interval. Bold: decided, by Holm over all differences of this table. The last column is the mean of the "
        "blocks' differences; it speaks of these blocks, not of others.",
        columns=(
            ARM,
            *(Column(key=block, heading=block, sort=f"{block}: score_{metric.word}") for block in compared),
            Column(key=OVER, heading=f"Over blocks ({metric.unit})", sort=f"{OVER}: difference_{metric.unit}"),
        ),
        rows=tuple(rows),
    )


def _numbers(
    metric: Metric, block: str, difference: float | None, interval: Interval | None, p: float | None
) -> dict[str, Value]:
    low, high = (interval.low, interval.high) if interval else (None, None)
    ends = {"difference": difference, "low": low, "high": high}
    return {
        **{f"{block}: {end}_{metric.unit}": texts.scaled(value, metric.scale) for end, value in ends.items()},
        f"{block}: p_adjusted": texts.significant(p),
    }


def _heterogeneity(
    metric: Metric,
    compared: Mapping[str, Mapping[str, Comparison]],
    found: Mapping[str, OverBlocks],
    places: int,
) -> tuple[Table, ...]:
    """Whether the blocks disagree by more than chance, and what the mean is without each."""
    if not found:
        return ()
    rows = []
    for arm, over in found.items():
        values: dict[str, Value] = {
            "arm": arm,
            "q": texts.significant(over.q),
            "p_of_q": texts.significant(over.p_of_q),
            "i_squared_percent": texts.percent(over.i_squared),
            **{
                f"without {block}: difference_{metric.unit}": texts.scaled(value, metric.scale)
                for block, value in over.without.items()
            },
        }
        shown = {
            "arm": arm,
            "q": digits.fixed(over.q, 1),
            "p_of_q": digits.p_value(over.p_of_q),
            "i_squared": f"{digits.fixed(100 * over.i_squared, 0)} %",
            **{
                f"without {block}": digits.signed(metric.scale * value, places) for block, value in over.without.items()
            },
        }
        rows.append(Row(values=values, texts=shown))
    return (
        Table(
            name="heterogeneity",
            title="Do the blocks agree?",
            note="Cochran's Q of the blocks' differences and its p; I² is the share of their disagreement that chance "
            "does not explain. Blocks on the same images vary together, so that Q is then on the safe side. "
            "The other columns: the mean difference when one block is left out.",
            columns=(
                ARM,
                Column(key="q", heading="Q", sort="q"),
                Column(key="p_of_q", heading="p", sort="p_of_q"),
                Column(key="i_squared", heading="I²", sort="i_squared_percent"),
                *(
                    Column(
                        key=f"without {block}",
                        heading=f"Without {block}",
                        sort=f"without {block}: difference_{metric.unit}",
                    )
                    for block in compared
                ),
            ),
            rows=tuple(rows),
        ),
    )


def _bars(
    metric: Metric,
    arms: Sequence[str],
    compared: Mapping[str, Mapping[str, Comparison]],
    found: Mapping[str, OverBlocks],
    places: int,
) -> list[Bar]:
    bars = []
    for arm in arms:
        lines = [(block, rows[arm].interval) for block, rows in compared.items()]
        lines += [(OVER, found[arm].interval)] if arm in found else []
        for block, interval in lines:
            if interval is not None:
                ends = (metric.scale * each for each in (interval.estimate, interval.low, interval.high))
                difference, low, high = ends
                text = texts.difference(interval, places, metric.scale)
                bars.append(Bar(arm=arm, block=block, difference=difference, low=low, high=high, text=text))
    return bars


def _sentence(arm: str, results: Results, over: OverBlocks, p: float, places: int) -> str:
    told = f"{texts.difference(over.interval, places, results.metric.scale)} {results.metric.unit}"
    design = results.design
    name, baseline = f"“{arm}”", f"“{design.baseline}”"
    if p < 0.05:
        direction = "higher" if over.interval.estimate > 0 else "lower"
        answer = f"Over the {len(over.without)} blocks {name} is {direction} than {baseline}: {told}."
    else:
        answer = f"Over the {len(over.without)} blocks {name} cannot be told apart from {baseline}: {told}."
    if over.p_of_q < 0.05:
        answer += f" The blocks disagree by more than chance (I² {digits.fixed(100 * over.i_squared, 0)} %)."
    return answer

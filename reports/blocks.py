"""What does a comparison that was repeated in blocks say in each, and over all? Rows are arms, columns are blocks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ablation_suite.core.metrics.measures import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.cited import Text
from ablation_suite.reports.judged import OVER, Judged, judged
from ablation_suite.reports.layout import layout_of
from ablation_suite.reports.method import method_over_blocks
from ablation_suite.reports.paper_table import paper_table
from ablation_suite.reports.quantities import SPLITS
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.blocks import OverBlocks
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.statistics.intervals import Interval
from ablation_suite.reports.strokes import strokes
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value
from ablation_suite.reports.wording import direction

MOST_TOLD = 3
"""Arms that have a sentence each; of more, those that are decided have one."""


@dataclass(frozen=True, kw_only=True)
class ForestBar:
    """One line of a forest plot: a difference in the unit of the metric with its interval and seeds, and its texts."""

    arm: str
    block: str
    difference: float
    low: float
    high: float
    text: str
    p: float
    level: str = ""
    """The arm's own mean and spread."""
    baseline_level: str = ""
    seeds: tuple[float, ...] = ()

    @property
    def is_mean(self) -> bool:
        """Whether this is the mean of the blocks above it."""
        return self.block == OVER

    @property
    def decided(self) -> bool:
        """Whether it is, among all differences of the page."""
        return self.p < 0.05


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """The answer over the blocks of one spec, its tables, and the bars of its forest plot."""

    family: str
    question: str
    baseline: str
    claim: str
    """The first sentence of the answer."""
    answer: str
    metric: Metric
    facts: dict[str, str]
    tables: tuple[Table, ...]
    bars: tuple[ForestBar, ...]
    pages: dict[str, str]
    """Block -> the folder of its own report."""
    method: Text = field(default_factory=list)
    """What a method section says of the blocks."""
    papers: tuple[Table, ...] = ()
    """Tables for papers that were asked for."""

    @property
    def unit(self) -> str:
        """Of the differences."""
        return self.metric.unit


def over_all_blocks(family: Sequence[Results]) -> Blocks:
    """What the results of all blocks of a spec say together, the blocks in the order of the spec."""
    first, told = family[0].design, judged(family)
    sentences = list(_sentences(family[0], told)) or ["No arm has two paired seeds or more in two blocks yet."]
    table = paper_table(family, layout_of("arms=rows,blocks=columns", "mean,difference,p"))
    return Blocks(
        family=first.family,
        question=first.question.removesuffix(f" ({first.block})"),
        baseline=first.baseline,
        claim=sentences[0],
        answer=" ".join(sentences),
        metric=family[0].metric,
        facts=_facts(family),
        tables=(
            replace(table, name="blocks", title="The arms in every block"),
            *_heterogeneity(family[0].metric, told.compared, told.over, told.places),
        ),
        bars=tuple(_bars(family, told)),
        pages={results.design.block: results.design.ablation for results in family},
        method=method_over_blocks(family, len(told.adjusted)) if told.over else [],
    )


def _facts(family: Sequence[Results]) -> dict[str, str]:
    design = family[0].design
    num_arms = len(design.contenders)
    images = sorted({len(each.reference.labels) for each in family if each.reference})
    seeds = sorted({len(each.of_arm(arm.name)) for each in family for arm in design.arms})
    runs = [run for each in family for run in each.runs]
    spans = (f"{each[0]} to {each[-1]}" if len(each) > 1 else f"{each[0]}" for each in (images or [0], seeds))
    num_images, num_seeds = spans
    return {
        "Blocks": str(len(family)),
        "Arms": f"{num_arms} and the baseline",
        "Data": f"{num_images} {SPLITS[family[0].split]} images a block",
        "Seeds": num_seeds,
        "Metric": family[0].metric.text,
        "Runs": f"{sum(run.usable for run in runs)} of {len(runs)} finished",
        "Spec": " ".join([design.spec, *(each for each in design.overrides if not each.startswith("block="))]),
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
            "p_of_disagreement": texts.significant(over.p_of_disagreement),
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
            "p_of_disagreement": digits.p_value(over.p_of_disagreement),
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
            note="Cochran's Q of the blocks' differences and its p, which takes their standard errors for known; that "
            "of Welch allows for how little few seeds know of them, and decides. I² is the share of the disagreement "
            "that chance does not explain. Blocks on the same images vary together: Q is then on the safe side. "
            "The other columns: the mean difference when one block is left out.",
            columns=(
                ARM,
                Column(key="q", heading="Q", sort="q"),
                Column(key="p_of_q", heading="p of Q", sort="p_of_q"),
                Column(key="p_of_disagreement", heading="p of Welch", sort="p_of_disagreement"),
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


def _bars(family: Sequence[Results], told: Judged) -> Iterator[ForestBar]:
    """Arm by arm its blocks, and their mean below them."""
    metric, design = family[0].metric, family[0].design
    seeds = {each.design.block: strokes(each)[metric.name] for each in family}
    for arm in (each.name for each in design.contenders):
        for block, rows in told.compared.items():
            row, places = rows[arm], _level_places(metric, rows)
            if row.interval is None:
                continue
            levels = (texts.accuracy(each.mean, each.sd, places, metric.scale) for each in (row, rows[design.baseline]))
            level, baseline_level = levels
            yield _bar(
                told, metric, arm, block, row.interval,
                seeds=tuple(seeds[block].get(arm, ())), level=level, baseline_level=baseline_level,
            )  # fmt: skip
        if arm in told.over:
            yield _bar(told, metric, arm, OVER, told.over[arm].interval)


def _bar(told: Judged, metric: Metric, arm: str, block: str, interval: Interval, **others: Any) -> ForestBar:
    return ForestBar(
        arm=arm,
        block=block,
        difference=metric.scale * interval.estimate,
        low=metric.scale * interval.low,
        high=metric.scale * interval.high,
        text=texts.difference(interval, told.places, metric.scale),
        p=told.adjusted[arm, block],
        **others,
    )


def _level_places(metric: Metric, rows: Mapping[str, Comparison]) -> int:
    cells = ((row.sd, row.num_images, row.n) for row in rows.values() if row.mean is not None)
    return texts.accuracy_places(cells, metric.scale)


def _sentences(results: Results, told: Judged) -> Iterator[str]:
    """The arms one by one, or where they are many those that are decided and how many are not."""
    each = {arm: told.adjusted[arm, OVER] for arm in told.over}
    named = list(each) if len(each) <= MOST_TOLD else [arm for arm, p in each.items() if p < 0.05][:MOST_TOLD]
    for arm in named:
        yield _sentence(arm, results, told.over[arm], each[arm], told.places)
    decided = sum(p < 0.05 for p in each.values())
    if len(each) > MOST_TOLD:
        more = decided - len(named)
        if more:
            yield f"{more} more arms are decided over the blocks."
        if decided < len(each):
            which = f"The other {len(each) - decided}" if decided else f"None of the {len(each)}"
            can = "cannot" if decided else "can"
            yield f"{which} arms {can} be told apart from “{results.design.baseline}” over the blocks."


def _sentence(arm: str, results: Results, over: OverBlocks, p: float, places: int) -> str:
    metric = results.metric
    told = f"{texts.difference(over.interval, places, metric.scale)} {metric.unit}"
    name, baseline = f"“{arm}”", f"“{results.design.baseline}”"
    if p < 0.05:
        way = direction(metric, "higher" if over.interval.estimate > 0 else "lower")
        answer = f"Over the {len(over.without)} blocks {name} is {way} than {baseline}: {told}."
    else:
        answer = f"Over the {len(over.without)} blocks {name} cannot be told apart from {baseline}: {told}."
    if over.p_of_disagreement < 0.05:
        answer += f" The blocks disagree by more than chance (I² {digits.fixed(100 * over.i_squared, 0)} %)."
    return answer

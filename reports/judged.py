"""How is a comparison judged that was repeated in blocks? Block by block and over all, in one family of p values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from ablation_suite.ablations.spec import OVER
from ablation_suite.reports import quantities as texts
from ablation_suite.reports.compared import comparisons
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.blocks import OverBlocks, over_blocks
from ablation_suite.reports.statistics.comparison import Comparison, holm, pair
from ablation_suite.reports.statistics.intervals import Interval


@dataclass(frozen=True, kw_only=True)
class Judged:
    """Comparisons by block and arm, their means over blocks by arm, and Holm's p over all of these together."""

    compared: dict[str, dict[str, Comparison]]
    over: dict[str, OverBlocks]
    adjusted: dict[tuple[str, str], float]
    """(arm, block or OVER) -> p."""
    places: int
    """Decimals of the differences."""


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
    places = _places(compared, over, family[0].measure(name).scale)
    return Judged(compared=compared, over=over, adjusted=adjusted, places=places)


def _places(compared: Mapping[str, Mapping[str, Comparison]], over: Mapping[str, OverBlocks], scale: float) -> int:
    """Decimals of all differences that a table shows, of which the means over blocks are the surest."""
    rows = [row for of_block in compared.values() for row in of_block.values() if row.difference is not None]
    shown = [(row.interval, row.num_images, row.num_pairs) for row in rows]
    for arm, mean in over.items():
        of_arm = [row for row in rows if row.arm == arm]
        shown.append((mean.interval, sum(row.num_images for row in of_arm), min(row.num_pairs for row in of_arm)))
    return texts.difference_places(shown, scale)


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
    found = over_blocks(pairs, intervals, groups)
    return replace(found, interval=found.interval.within(family[0].measure(measure).widest))


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

"""Where does each arm stand between what it gains and what it costs? Differences against a cost, as plain numbers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.axes import Axis, around
from ablation_suite.reports.drawings import IntervalBar, Places, Tick, apart


@dataclass(frozen=True, kw_only=True)
class CostPoint:
    """An arm in the figure of differences against a cost: where it stands, the ends of its interval, and its name."""

    arm: str
    place: int | None
    x: float
    y: float
    ends: tuple[float, float] | None
    name_at: float
    is_left: bool
    """Whether the name stands left of the mark, where there is no room at its right."""


@dataclass(frozen=True, kw_only=True)
class CostPanel:
    """Differences against a cost relative to the baseline's."""

    title: str
    label: str
    ups: list[Tick]
    zero: float
    acrosses: list[Tick]
    points: list[CostPoint]
    origin: float | None


COST_HEIGHT = 190
_LEFT_FROM = 60.0


def cost_panel(
    title: str, bars: Mapping[str, tuple[float, IntervalBar]], places: Places, names: Mapping[str, str] | None = None
) -> CostPanel:
    """bars: arm -> its cost as a ratio to the baseline's, and its difference. names: of keys that are no arm's name."""
    ratios = [ratio for ratio, _ in bars.values()]
    log = max(ratios) > 8 * min(ratios)
    low, high = min(1.0, *ratios), max(1.0, *ratios)
    room = 1.12 if log else 0.1 * (high - low)
    ends = (low / room, high * room) if log else (low - room, high + room)
    across = Axis(low=ends[0], high=ends[1], start=8, stop=84, log=log)
    values = [v for _, bar in bars.values() for v in (bar.estimate, bar.low, bar.high) if v is not None]
    up = around([0.0, *values], start=COST_HEIGHT - 26, stop=14)
    spots = {arm: (across.at(ratio), up.at(bar.estimate)) for arm, (ratio, bar) in bars.items()}
    names_at = _names({arm: spot for arm, spot in spots.items() if places[arm] is not None})
    points = [
        CostPoint(
            arm=(names or {}).get(arm, arm),
            place=places[arm],
            x=spots[arm][0],
            y=spots[arm][1],
            name_at=names_at.get(arm, 0.0),
            is_left=spots[arm][0] > _LEFT_FROM,
            ends=(up.at(bar.low), up.at(bar.high)) if bar.low is not None and bar.high is not None else None,
        )
        for arm, (_, bar) in bars.items()
    ]
    ratios_told = [f"{point.arm} {digits.ratio(ratio)}" for point, ratio in zip(points, ratios, strict=True)]
    return CostPanel(
        title=title,
        label=f"Differences against {title}: {', '.join(ratios_told)}",
        ups=up.ticks(5, signs=True),
        zero=up.at(0.0),
        acrosses=[(place, f"{digits.TIMES}{text}") for place, text in across.ticks(5)],
        points=points,
        origin=across.at(1.0),
    )


def _names(spots: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """Arm -> where down its name stands, so that none covers another on its side of the figure."""
    found: dict[str, float] = {}
    for is_left in (False, True):
        side = sorted((y, arm) for arm, (x, y) in spots.items() if (x > _LEFT_FROM) == is_left)
        found |= dict(zip([arm for _, arm in side], apart([y - 10 for y, _ in side], COST_HEIGHT - 30), strict=True))
    return found

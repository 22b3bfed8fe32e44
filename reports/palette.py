"""Which colour and dash does an arm have? The same in figures and on the page, and told apart by colour-blind eyes.

Source: Okabe and Ito 2008, Color Universal Design, a little darker for thin lines on white and lighter for a dark page.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BASELINE = ("#5f5e5a", "#b9b6ae")
_ARMS = (
    ("#0072b2", "#62b3ea"),
    ("#cf5a00", "#f2915a"),
    ("#00916a", "#45c9a0"),
    ("#a9508a", "#df98c4"),
    ("#b07d00", "#e6b84f"),
    ("#3a8fc4", "#9ad2f4"),
)
MOST_AT_ONCE = 8
_DASHES: tuple[tuple[float, ...], ...] = ((), (6, 2.5), (1.5, 2))


@dataclass(frozen=True, kw_only=True)
class Ink:
    """How an arm is drawn: hexadecimal colours on a light and a dark ground, dash lengths (none: solid)."""

    light: str
    dark: str
    dash: tuple[float, ...]


def inks(arms: Sequence[str], baseline: str) -> dict[str, Ink]:
    """Arm -> its ink: grey for the baseline, then six colours, then the same again with dashes."""
    found = {}
    others = [arm for arm in arms if arm != baseline]
    for index, arm in enumerate(others):
        light, dark = _ARMS[index % len(_ARMS)]
        found[arm] = Ink(light=light, dark=dark, dash=_DASHES[index // len(_ARMS) % len(_DASHES)])
    found[baseline] = Ink(light=_BASELINE[0], dark=_BASELINE[1], dash=())
    return found


def telling(differences: Mapping[str, float | None], baseline: str) -> list[str]:
    """The arms to draw at once: all, or where they are many the baseline and those that differ most from it."""
    if len(differences) <= MOST_AT_ONCE:
        return list(differences)
    others = [arm for arm in differences if arm != baseline]
    chosen = sorted(others, key=lambda arm: -abs(differences[arm] or 0.0))[: MOST_AT_ONCE - 2]
    return [baseline, *(arm for arm in others if arm in chosen)]

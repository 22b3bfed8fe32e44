"""Which colour, dash and mark does an arm have? The same in figures and on pages, told apart by colour-blind eyes.

The inks stay 14 units or more apart in CIELAB as protan, deutan and tritan eyes see them (Machado 2009); in grey print
the mark and the dash tell them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

_BASELINE = ("#1f1e1b", "#f0ede6")
_ARMS = (("#1b6ca8", "#5fa8e0"), ("#d4650a", "#f5a04e"), ("#8c2d62", "#d987b6"), ("#2a8f63", "#66d3a4"))
_DASHES: tuple[tuple[float, ...], ...] = ((), (7, 3), (2, 2.5), (8, 3, 2, 3))
_MARKS = ("o", "s", "^", "D")
MOST_AT_ONCE = 8
DIFFERENT = 2 * len(_ARMS)
"""Arms beside the baseline that look different; the next one looks like the first again."""


@dataclass(frozen=True, kw_only=True)
class Ink:
    """How an arm is drawn: hexadecimal colours on a light and a dark ground, dash lengths (none: solid), and its mark.

    `mark` is matplotlib's name of it. `place` is 0 for the baseline, then counts from 1 to DIFFERENT; the style sheet
    and the shapes of the pages go by it.
    """

    light: str
    dark: str
    dash: tuple[float, ...]
    mark: str
    open: bool
    place: int


def inks(arms: Sequence[str], baseline: str) -> dict[str, Ink]:
    """Arm -> its ink: black for the baseline, then four colours with filled marks, then the same with open ones."""
    found = {}
    for index, arm in enumerate(each for each in arms if each != baseline):
        place = index % DIFFERENT
        (light, dark), form = _ARMS[place % len(_ARMS)], place % len(_ARMS)
        found[arm] = Ink(
            light=light,
            dark=dark,
            dash=_DASHES[form],
            mark=_MARKS[form],
            open=place >= len(_ARMS),
            place=1 + place,
        )
    found[baseline] = Ink(light=_BASELINE[0], dark=_BASELINE[1], dash=(), mark="_", open=False, place=0)
    return found


def telling(differences: Mapping[str, float | None], baseline: str) -> list[str]:
    """The arms to draw at once: all, or where they are many the baseline and those that differ most from it."""
    if len(differences) <= MOST_AT_ONCE:
        return list(differences)
    others = [arm for arm in differences if arm != baseline]
    chosen = sorted(others, key=lambda arm: -abs(differences[arm] or 0.0))[: MOST_AT_ONCE - 2]
    return [baseline, *(arm for arm in others if arm in chosen)]

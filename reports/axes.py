"""Where on a figure of a page does a value stand, in percent or in pixels, and which values are named?"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from ablation_suite.reports.rounding import MINUS


@dataclass(frozen=True, kw_only=True)
class Axis:
    """Values from `low` to `high` on the places from `start` to `stop`; all above zero where it is logarithmic."""

    low: float
    high: float
    start: float = 0.0
    stop: float = 100.0
    log: bool = False

    def at(self, value: float, *, beyond: bool = False) -> float:
        """The place of a value; one beyond the ends stands on the end, or where it would on a longer axis."""
        inside = value if beyond else min(max(value, self.low), self.high)
        low, high, here = ((math.log(each) if self.log else each) for each in (self.low, self.high, inside))
        share = (here - low) / (high - low) if high > low else 0.5
        return round(self.start + share * (self.stop - self.start), 2)

    def ticks(self, most: int, *, signs: bool = False, unit: str = "", whole: bool = False) -> list[tuple[float, str]]:
        """At most so many round values, each as (place, text).

        `signs`: a plus on what is above zero; `whole`: none between two whole numbers, for what is counted.
        """
        values = log_ticks(self.low, self.high, most) if self.log else ticks(self.low, self.high, most)
        values = [value for value in values if not whole or value == round(value)]
        return [(self.at(value), ("+" if signs and value > 0 else "") + brief(value) + unit) for value in values]


def around(values: Iterable[float], *, share: float = 0.06, start: float = 0.0, stop: float = 100.0) -> Axis:
    """A linear axis that holds all values, with so much room beyond them."""
    found = list(values)
    low, high = min(found), max(found)
    room = (high - low) * share or abs(high) * share or 1.0
    return Axis(low=low - room, high=high + room, start=start, stop=stop)


def ticks(low: float, high: float, most: int) -> list[float]:
    """Round values between two ends, whose step is 1, 2 or 5 times a power of ten."""
    rough = (high - low) / most or 1.0
    unit = 10.0 ** math.floor(math.log10(rough))
    step = unit * next(each for each in (1, 2, 5, 10) if each * unit >= rough * (1 - 1e-9))
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def log_ticks(low: float, high: float, most: int) -> list[float]:
    """Round values on a logarithmic axis; of one that spans less than two of them, those of a linear one."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 3, 5, 7), (1, 2, 5), (1, 3), (1,)):
        found = [digit * 10.0**power for power in powers for digit in digits]
        inside = [value for value in found if low * 0.999 <= value <= high * 1.001]
        if len(inside) <= most:
            break
    return inside[:: -(-len(inside) // most)] if len(inside) > 1 else ticks(low, high, most)


def brief(value: float, write: Callable[[float], str] = "{:.3g}".format) -> str:
    """The text of a tick: three digits at most, thousands as k, a real minus sign."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{write(value / size)}{unit}".replace("-", MINUS)
    return "0" if value == 0 or abs(value) < 1e-12 else _plain(write(value)).replace("-", MINUS)


def distinct(labels: Sequence[Any], most: int) -> list[str]:
    """Labels as words of at most so many characters; what is cut out of some is their middle, where the ends differ."""
    words = [str(label) for label in labels]
    for end in (0, most // 3):
        cut = [word if len(word) <= most else f"{word[: most - 1 - end]}…{word[len(word) - end :]}" for word in words]
        if len(set(cut)) == len(set(words)):
            return cut
    return [f"{word[: most - 4]}… {place}" for place, word in enumerate(words, start=1)]


def wrapped(labels: Sequence[Any], most: int, num_lines: int) -> list[list[str]]:
    """Labels as at most so many lines of at most so many characters; what has no room then loses its middle."""
    for room in (max(map(len, map(str, labels)), default=0), *range(most * num_lines, most - 1, -1)):
        found = [_lines(word, most) for word in distinct(labels, room)]
        if all(len(lines) <= num_lines for lines in found):
            break
    return found


def _lines(word: str, most: int) -> list[str]:
    """A word broken at blanks; a part of it that is too long, behind underscores, and else anywhere."""
    parts = [part for each in re.findall(r"\S+\s*", word) for part in ([each] if len(each) <= most else _parts(each))]
    lines = [""]
    for part in parts:
        if lines[-1] and len((lines[-1] + part).rstrip()) > most:
            lines.append("")
        lines[-1] += part
    whole = (line.strip() for line in lines)
    return [line[at : at + most] for line in whole for at in range(0, len(line), most)]


def _parts(word: str) -> list[str]:
    return re.findall(r".+?(?:[_/]+|\.(?=\D)|$)", word, re.DOTALL)


def _plain(text: str) -> str:
    return f"{float(text):.7f}".rstrip("0") if "e" in text else text

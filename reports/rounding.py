"""How many digits does a number deserve? No more than its uncertainty leaves it."""

from __future__ import annotations

import math
from collections.abc import Iterable

MINUS, TIMES = "−", "×"


def decimals(uncertainty: float, most: int = 3) -> int:
    """Decimals that show an uncertainty with one significant digit, or two where the first is a 1.

    Source: the rounding rule of the Particle Data Group (Review of Particle Physics, section 5.3), simplified.
    """
    if not math.isfinite(uncertainty) or uncertainty <= 0:
        return most
    exponent = math.floor(math.log10(uncertainty))
    leading = uncertainty / 10**exponent
    return min(max(-exponent + (1 if leading < 1.95 else 0), 0), most)


def column(cells: Iterable[tuple[float | None, float]], ends: Iterable[float] = (), most: int = 2) -> int:
    """Decimals for all numbers of a column, so that they can be compared: those of the cell that deserves the most.

    cells: of each number its uncertainty (None or 0 where it has none to show) and its step, which is one image of one
    run. A cell deserves two significant digits of its uncertainty, but never digits that are finer than its step.
    ends: ends of intervals; none of them is shown as zero, unless `most` decimals are too few for it.
    """
    places = 0
    for uncertainty, step in cells:
        deserved = [max(0, math.ceil(-math.log10(step)))] if 0 < step < math.inf else [most]
        if uncertainty and math.isfinite(uncertainty):  # one infinite loss makes a mean without any
            deserved.append(max(0, 1 - math.floor(math.log10(uncertainty))))
        places = max(places, min(*deserved, most))
    for end in ends:
        while end != 0 and _is_shown_as_zero(end, places) and places < most:
            places += 1
    return places


def fixed(value: float, places: int) -> str:
    """A number with so many decimals, a real minus sign, and no sign on zero."""
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, places: int) -> str:
    """The same with a plus before what is above zero."""
    text = fixed(value, places)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def with_interval(value: float, low: float, high: float, places: int) -> str:
    """`+1.4 [+0.4, +2.4]`, all three with so many decimals."""
    first, last = ends(low, high, places)
    return f"{signed(value, places)} [{first}, {last}]"


def ends(low: float, high: float, places: int) -> tuple[str, str]:
    """The ends of an interval; one that would be rounded to zero says on which side of it it lies."""
    first, last = (
        (">0" if end > 0 else "<0") if end != 0 and _is_shown_as_zero(end, places) else signed(end, places)
        for end in (low, high)
    )
    return first, last


def _is_shown_as_zero(value: float, places: int) -> bool:
    return float(f"{value:.{places}f}") == 0


def with_spread(mean: float, sd: float | None, places: int, scale: float = 100.0) -> str:
    """`87.2 ± 0.4`: a metric, of which an accuracy in [0, 1] becomes percent, with its spread over seeds."""
    return fixed(scale * mean, places) + (f" ± {fixed(scale * sd, places)}" if sd is not None else "")


def p_value(p: float) -> str:
    """Two significant digits, three decimals at most."""
    if p < 0.001:
        return "<0.001"
    return f"{p:.3f}" if p < 0.0995 else f"{p:.2f}"


def count(value: float) -> str:
    """A large count in three significant digits: 1.23M, 45.6k, 789."""
    for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size * 0.9995:
            return f"{_three_digits(value / size)}{unit}"
    return f"{value:.0f}"


def ratio(value: float) -> str:
    """A ratio to the baseline: ×1.02, ×2.0, ×31."""
    return TIMES + (f"{value:.2f}" if value < 1.995 else f"{value:.1f}" if value < 9.95 else f"{value:.0f}")


def seconds(value: float) -> str:
    """A duration in the unit that a person would use."""
    if value < 99.5:
        return f"{_three_digits(value) if value < 9.95 else f'{value:.0f}'} s"
    return f"{_three_digits(value / 60)} min" if value < 5970 else f"{value / 3600:.1f} h"


def size(num_bytes: float) -> str:
    """A memory size: 310 MB."""
    text = count(num_bytes)
    return f"{text[:-1]} {text[-1]}B" if text[-1].isalpha() else f"{text} B"


def significant(value: float, places: int = 6) -> float:
    """A number for a file: enough digits for any use, too few for noise in the last bit."""
    return float(f"{value:.{places}g}")


def _three_digits(value: float) -> str:
    return f"{value:.{2 if abs(value) < 9.995 else 1 if abs(value) < 99.95 else 0}f}"

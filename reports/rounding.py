"""How many digits does a number deserve? No more than its uncertainty leaves it."""

from __future__ import annotations

import math

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


def fixed(value: float, places: int) -> str:
    """A number with so many decimals, a real minus sign, and no sign on zero."""
    text = f"{value:.{places}f}"
    return text.removeprefix("-") if float(text) == 0 else text.replace("-", MINUS)


def signed(value: float, places: int) -> str:
    """The same with a plus before what is above zero."""
    text = fixed(value, places)
    return text if text.startswith(MINUS) or float(text) == 0 else f"+{text}"


def with_interval(value: float, low: float, high: float) -> str:
    """`+1.4 [+0.4, +2.4]`, all three to the digits that the interval leaves."""
    places = decimals((high - low) / 2)
    first, last = ends(low, high)
    return f"{signed(value, places)} [{first}, {last}]"


def ends(low: float, high: float) -> tuple[str, str]:
    """The ends of an interval; where it excludes zero, an end that is rounded to zero still says so."""
    places = decimals((high - low) / 2)
    hidden = [low * high > 0 and float(f"{end:.{places}f}") == 0 for end in (low, high)]
    side = ">0" if low > 0 else "<0"
    return (side if hidden[0] else signed(low, places)), (side if hidden[1] else signed(high, places))


def percent(mean: float, sd: float | None, num_images: int) -> str:
    """An accuracy in [0, 1] as percent with its spread over seeds; never finer than one image of one run."""
    spread = max(100 * sd if sd else 0.0, 100 / max(num_images, 1))
    places = decimals(spread, most=2)
    return fixed(100 * mean, places) + (f" ± {fixed(100 * sd, places)}" if sd is not None else "")


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

"""What did pairing save? How alike the arms err on the same seed and the same image, and what that is worth."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.quantities import MISSING
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import pair
from ablation_suite.reports.statistics.intervals import Array
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value

ENOUGH_PAIRS = 10
"""With fewer a gain is noise: at three seeds that share nothing, one table in four would claim a factor of two."""


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What pairing along one axis, seeds or images, was worth.

    `correlation` is that of the two arms' means, None where an arm does not vary. `factor` is the variance of the
    difference that unpaired means would have over that of the paired difference, and `low` to `high` its 95 % interval;
    None where the paired difference does not vary, the interval also of two pairs. Below 1, pairing has cost something.
    """

    num: int
    correlation: float | None
    factor: float | None
    low: float | None = None
    high: float | None = None


def pairing_gain(treated: Array, baseline: Array) -> tuple[Gain, Gain]:
    """The gain over seeds and the gain over images of two arms' scores (S, N) of the same seeds and images.

    Over seeds it is that of the seeds' means over the images, and the other way round; S and N are 2 at least. The
    interval over seeds is exact for normal means, that over images is for many of any distribution.
    """
    of_seeds, of_images = ((treated.mean(axis=axis), baseline.mean(axis=axis)) for axis in (1, 0))
    return _gain(*of_seeds, exact=True), _gain(*of_images, exact=False)


def unpaired_worth(num_pairs: int, factor: float, level: float = 0.95) -> float:
    """How many unpaired runs of each arm give an interval as short as this many pairs.

    n pairs leave n - 1 degrees of freedom to the t quantile, m unpaired leave 2 (m - 1), so that pairing costs a little
    where it gains nothing: t(n - 1)^2 / n = factor t(2 m - 2)^2 / m, solved for m > 1.
    """
    from scipy.special import stdtrit

    def squared_width(num: float, freedom: float) -> float:
        return float(stdtrit(freedom, (1 + level) / 2)) ** 2 / num

    wanted = squared_width(num_pairs, num_pairs - 1)
    low, high = 1.0, 2.0
    while factor * squared_width(high, 2 * (high - 1)) > wanted:
        low, high = high, 2 * high
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if factor * squared_width(middle, 2 * (middle - 1)) > wanted else (low, middle)
    return high


def _gain(treated: Array, baseline: Array, *, exact: bool) -> Gain:
    """Two rows of paired means: Var(a) + Var(b) against Var(a - b) = Var(a) + Var(b) - 2 Cov(a, b)."""
    (ours, shared), (_, theirs) = np.cov(treated, baseline)
    apart, paired = float(ours + theirs), float(np.var(treated - baseline, ddof=1))
    spread = float(np.sqrt(ours * theirs))
    correlation = float(shared) / spread if spread > _ROUNDING else None
    if paired <= _ROUNDING or len(treated) < 3:
        factor = apart / paired if paired > _ROUNDING else None
        return Gain(num=len(treated), correlation=correlation, factor=factor)
    ends = (_exact_ends if exact else _ends)(treated, baseline)
    return Gain(num=len(treated), correlation=correlation, factor=apart / paired, low=ends[0], high=ends[1])


def _exact_ends(treated: Array, baseline: Array) -> tuple[float, float]:
    """The factor is (1 + q) / 2, q being Var(a + b) / Var(a - b), two correlated variances.

    Their ratio's interval is the set of ratios that the test of Pitman (1939, Biometrika 31, 9-12) does not reject.
    """
    from scipy.special import stdtrit

    (of_sum, shared), (_, of_difference) = np.cov(treated + baseline, treated - baseline)
    ratio, num = of_sum / of_difference, len(treated)
    unexplained = max(0.0, 1 - shared**2 / (of_sum * of_difference)) if of_sum > _ROUNDING else 1.0
    k = 1 + 2 * unexplained * float(stdtrit(num - 2, 0.975)) ** 2 / (num - 2)
    low, high = (ratio * (k + sign * math.sqrt(k * k - 1)) for sign in (-1, 1))
    return float(1 + low) / 2, float(1 + high) / 2


def _ends(treated: Array, baseline: Array) -> tuple[float, float]:
    """The delta method on the logarithm of the factor, with the images' influences."""
    a, b = treated - treated.mean(), baseline - baseline.mean()
    apart, paired = a**2 + b**2, (a - b) ** 2
    factor = apart.mean() / paired.mean()
    error = float(np.std(apart / apart.mean() - paired / paired.mean(), ddof=1)) / math.sqrt(len(a))
    return float(factor * math.exp(-1.96 * error)), float(factor * math.exp(1.96 * error))


_ROUNDING = 1e-15


def pairing_table(results: Results) -> Table | None:
    """The gain of each arm that shares two seeds or more with the baseline; None where none does."""
    design = results.design
    baseline = results.scores(design.baseline)
    gains: dict[str, tuple[Gain, Gain]] = {}
    for arm in design.arms:
        scores = results.scores(arm.name)
        shared = scores.keys() & baseline.keys()
        if arm.name != design.baseline and len(shared) > 1 and results.comparable(arm.name):
            gains[arm.name] = pairing_gain(*pair(scores, baseline))
    told = {
        unit: any(gain[index].num >= ENOUGH_PAIRS for gain in gains.values())
        for index, unit in enumerate(("seed", "image"))
    }
    if not any(told.values()):
        return None
    return Table(
        name="pairing",
        title="What pairing saved",
        note="Correlation of the arm with the baseline, and how many unpaired runs or images would have given as short "
        "an interval, degrees of freedom counted, with its own 95 % interval. Below "
        f"{ENOUGH_PAIRS} pairs that is noise and not told. The seeds of a control share nothing.",
        columns=(ARM, *(column for unit in told if told[unit] for column in _columns(unit))),
        rows=tuple(_row(arm, *found) for arm, found in gains.items()),
    )


def _columns(unit: str) -> tuple[Column, Column]:
    return (
        Column(key=f"{unit}_correlation", heading=f"Correlation over {unit}s", sort=f"{unit}_correlation"),
        Column(key=f"{unit}s", heading=f"{unit.capitalize()}s worth", sort=f"unpaired_{unit}s"),
    )


def _row(arm: str, seeds: Gain, images: Gain) -> Row:
    values: dict[str, Value] = {"arm": arm}
    shown = {"arm": arm}
    for unit, gain in (("seed", seeds), ("image", images)):
        enough = gain.num >= ENOUGH_PAIRS
        known = [each for each in (gain.factor, gain.low, gain.high) if each is not None and enough]
        worth: list[float | None] = [unpaired_worth(gain.num, each) for each in known] or [None] * 3
        correlation = gain.correlation if enough else None
        values |= {
            f"{unit}s": gain.num,
            f"{unit}_correlation": texts.significant(correlation),
            f"unpaired_{unit}s": texts.significant(worth[0]),
            f"unpaired_{unit}s_low": texts.significant(worth[1]),
            f"unpaired_{unit}s_high": texts.significant(worth[2]),
        }
        shown[f"{unit}_correlation"] = MISSING if correlation is None else digits.signed(correlation, 2)
        told = [digits.fixed(each, 1 if each < 10 else 0) for each in worth if each is not None]
        shown[f"{unit}s"] = f"{gain.num} paired = {told[0]} [{told[1]}, {told[2]}] unpaired" if told else MISSING
    return Row(values=values, texts=shown)

"""What did pairing save? How alike the arms err on the same seed and the same image, and what that is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.quantities import MISSING
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import pair
from ablation_suite.reports.statistics.intervals import Array
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value


@dataclass(frozen=True, kw_only=True)
class Gain:
    """What pairing along one axis, seeds or images, was worth.

    `correlation` is that of the two arms' means, None where an arm does not vary. `factor` is the variance of the
    difference that unpaired means would have over that of the paired difference, so that n paired are worth
    factor * n unpaired; None where the paired difference does not vary. Below 1, pairing has cost something.
    """

    num: int
    correlation: float | None
    factor: float | None


def pairing_gain(treated: Array, baseline: Array) -> tuple[Gain, Gain]:
    """The gain over seeds and the gain over images of two arms' scores (S, N) of the same seeds and images.

    Over seeds it is that of the seeds' means over the images, and the other way round; S and N are 2 at least.
    """
    over_seeds = _gain(treated.mean(axis=1), baseline.mean(axis=1))
    return over_seeds, _gain(treated.mean(axis=0), baseline.mean(axis=0))


def _gain(treated: Array, baseline: Array) -> Gain:
    """Two rows of paired means: Var(a) + Var(b) against Var(a - b) = Var(a) + Var(b) - 2 Cov(a, b)."""
    (ours, shared), (_, theirs) = np.cov(treated, baseline)
    apart, paired = float(ours + theirs), float(np.var(treated - baseline, ddof=1))
    spread = float(np.sqrt(ours * theirs))
    return Gain(
        num=len(treated),
        correlation=float(shared) / spread if spread > _ROUNDING else None,
        factor=apart / paired if paired > _ROUNDING else None,
    )


_ROUNDING = 1e-15


def pairing_table(results: Results) -> Table | None:
    """The gain of each arm that shares two seeds or more with the baseline; None where none does."""
    design = results.design
    baseline = results.scores(design.baseline)
    rows = []
    for arm in design.arms:
        scores = results.scores(arm.name)
        shared = scores.keys() & baseline.keys()
        if arm.name != design.baseline and len(shared) > 1 and results.comparable(arm.name):
            rows.append(_row(arm.name, *pairing_gain(*pair(scores, baseline))))
    if not rows:
        return None
    return Table(
        name="pairing",
        title="What pairing saved",
        note="Correlation of the arm with the baseline over seeds and over images, and how many unpaired ones would "
        "have given a difference of the same variance. Rough from few seeds; the seeds of a control share nothing.",
        columns=(
            ARM,
            Column(key="seed_correlation", heading="Correlation over seeds", sort="seed_correlation"),
            Column(key="seeds", heading="Seeds worth", sort="unpaired_seeds"),
            Column(key="image_correlation", heading="Correlation over images", sort="image_correlation"),
            Column(key="images", heading="Images worth", sort="unpaired_images"),
        ),
        rows=tuple(rows),
    )


def _row(arm: str, seeds: Gain, images: Gain) -> Row:
    values: dict[str, Value] = {"arm": arm}
    shown = {"arm": arm}
    for unit, gain in (("seed", seeds), ("image", images)):
        worth = None if gain.factor is None else gain.num * gain.factor
        values |= {
            f"{unit}s": gain.num,
            f"{unit}_correlation": texts.significant(gain.correlation),
            f"unpaired_{unit}s": texts.significant(worth),
        }
        shown[f"{unit}_correlation"] = MISSING if gain.correlation is None else digits.signed(gain.correlation, 2)
        places = 1 if worth is not None and worth < 10 else 0
        shown[f"{unit}s"] = MISSING if worth is None else f"{gain.num} paired = {digits.fixed(worth, places)} unpaired"
    return Row(values=values, texts=shown)

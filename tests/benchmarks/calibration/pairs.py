"""How well is it known what pairing was worth, and how often does a table claim that it doubled the seeds?"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np

from ablation_suite.reports.statistics.pairing import pairing_gain


def pairs(repetitions: int) -> Iterator[str]:
    """Normal seeds of known correlation, and images that are right or wrong."""
    yield (
        "What pairing saves, where it is known: the variance of the unpaired difference over that of the paired one. "
        "Seeds: normal means of two arms, the second with as much or twice the standard deviation. Images: each of "
        "five runs right where difficulty and noise allow. Coverage of the factor's 95 % interval, and how often the "
        "estimate says two or more. Told from ten pairs on."
    )
    yield ""
    yield "| over | pairs | correlation | second's sd | true factor | coverage | median interval | says two or more |"
    yield "| --- | --: | --: | --: | --: | --: | --- | --: |"
    for index, (num, correlation, sd) in enumerate(product((3, 5, 10, 20), (0.0, 0.5, 0.9), (1.0, 2.0))):
        rng = np.random.default_rng([7, index])
        cov = np.array([[1, correlation * sd], [correlation * sd, sd**2]])
        found = []
        for means in rng.multivariate_normal([0, 0], cov, size=(repetitions, num)):
            rows = np.repeat(means.T[:, :, None], 2, axis=2)  # 2 S N, alike on both images
            found.append(pairing_gain(rows[0], rows[1])[0])
        yield _row("seeds", num, f"{correlation:g} | {sd:g}", (1 + sd**2) / (1 + sd**2 - 2 * correlation * sd), found)
    for index, (num, apart) in enumerate(product((300, 5000), (0.3, 1.0))):
        rng = np.random.default_rng([7, 1, index])
        found = [pairing_gain(*_images(num, apart, rng))[1] for _ in range(repetitions // 10)]
        treated, baseline = _images(1_000_000, apart, rng)
        truth = pairing_gain(treated, baseline)[1]
        yield _row("images", num, f"{truth.correlation:.2f} | 1", truth.factor or 0.0, found)


def _images(num: int, apart: float, rng: np.random.Generator) -> np.ndarray:
    x = rng.standard_normal((1, 1, num)) + apart * rng.standard_normal((2, 1, num))
    return (x + 0.4 * rng.standard_normal((2, 5, num)) > -1.2).astype(np.float64)


def _row(unit: str, num: int, told: str, truth: float, found: list) -> str:
    low, high, factor = (np.array([getattr(each, key) for each in found]) for key in ("low", "high", "factor"))
    covers = np.mean((low <= truth) & (truth <= high))
    return (
        f"| {unit} | {num} | {told} | {truth:.2f} | {covers:.3f} | {np.median(low):.2f} to {np.median(high):.2f} | "
        f"{np.mean(factor >= 2):.2f} |"
    )

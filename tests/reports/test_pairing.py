"""Is the gain of pairing that of the textbook, and shown only where there are pairs?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import pearsonr

from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.results import Reader
from ablation_suite.reports.statistics.pairing import pairing_gain
from tests.reports.make_runs import TRUTHS, make_store

TWO_ARMS = {name: TRUTHS[name] for name in ("baseline", "wide")}


def test_the_gain_is_that_of_a_calculation_by_hand():
    """Means 1, 2, 3 and 2, 3, 5: variances 1 and 7/3, of the difference 1/3, so 3 paired seeds are worth 30."""
    baseline = np.array([[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]])
    seeds, _ = pairing_gain(np.array([[2.0, 2.0], [3.0, 3.0], [5.0, 5.0]]), baseline)
    assert seeds.factor == pytest.approx((1 + 7 / 3) / (1 / 3))
    assert seeds.correlation == pytest.approx(1.5 / np.sqrt(7 / 3))
    assert seeds.num == 3


def test_correlations_agree_with_scipy():
    """Over seeds the means over images, over images the means over seeds."""
    treated, baseline = np.random.default_rng(0).normal(size=(2, 5, 40))
    seeds, images = pairing_gain(treated, baseline)
    assert seeds.correlation == pytest.approx(pearsonr(treated.mean(1), baseline.mean(1)).statistic)
    assert images.correlation == pytest.approx(pearsonr(treated.mean(0), baseline.mean(0)).statistic)


def test_a_known_correlation_gives_the_known_gain():
    """For equal variances the factor is 1 / (1 - correlation): 5 where four fifths are shared."""
    shared, first, second = np.random.default_rng(1).normal(size=(3, 20_000, 2))
    treated, baseline = (np.sqrt(0.8) * shared + np.sqrt(0.2) * own for own in (first, second))
    seeds, _ = pairing_gain(treated, baseline)
    assert seeds.correlation == pytest.approx(0.8, abs=0.02)
    assert seeds.factor == pytest.approx(5.0, rel=0.05)


def test_arms_that_do_not_vary_have_no_gain():
    """No correlation of a constant, and no variance to divide by."""
    seeds, _ = pairing_gain(np.ones((3, 4)), np.zeros((3, 4)))
    assert (seeds.correlation, seeds.factor) == (None, None)


def test_the_table_has_every_arm_and_needs_two_seeds(tmp_path):
    """With one seed nothing was paired over seeds, and the table is left out."""
    for seeds, expected in ((1, False), (3, True)):
        plan = make_store(tmp_path / str(seeds), TWO_ARMS, seeds=seeds, epochs=2, num_images=60)
        tables = analyse(Reader(tmp_path / str(seeds)).results(design_of(plan))).tables
        assert ("pairing" in tables) == expected
    [row] = tables["pairing"].rows
    assert row.values["arm"] == "wide"
    assert row.texts["seeds"].startswith("3 paired = ")
    assert row.texts["images"].startswith("60 paired = ")

"""Is the gain of pairing that of the textbook, and shown only where there are pairs?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.statistics.pairing import pairing_gain, unpaired_worth
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
    assert seeds.correlation == pytest.approx(stats.pearsonr(treated.mean(1), baseline.mean(1)).statistic)
    assert images.correlation == pytest.approx(stats.pearsonr(treated.mean(0), baseline.mean(0)).statistic)


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


@pytest.mark.parametrize("end", ["low", "high"])
def test_the_ends_over_seeds_are_where_pitmans_test_rejects_at_five_percent(end):
    """scipy: at the end q of Var(a + b) / Var(a - b) the scaled sum and difference of both correlate with p = 0.05."""
    treated, baseline = np.random.default_rng(3).normal(size=(2, 12))
    seeds, _ = pairing_gain(np.stack([treated] * 2, axis=1), np.stack([baseline] * 2, axis=1))
    ratio = 2 * getattr(seeds, end) - 1
    scaled, difference = (treated + baseline) / np.sqrt(ratio), treated - baseline
    assert stats.pearsonr(scaled + difference, scaled - difference).pvalue == pytest.approx(0.05)


def test_the_interval_over_images_agrees_with_the_bootstrap():
    """scipy's percentiles of resampled images, to a tenth of the width."""
    rng = np.random.default_rng(4)
    treated, baseline = rng.normal(size=400) + rng.laplace(size=(2, 400))
    _, images = pairing_gain(np.stack([treated] * 2), np.stack([baseline] * 2))

    def factor(a, b, axis=-1):
        return (a.var(axis=axis) + b.var(axis=axis)) / (a - b).var(axis=axis)

    found = stats.bootstrap((treated, baseline), factor, paired=True, n_resamples=2000, method="percentile", rng=rng)
    low, high = found.confidence_interval
    assert (images.low, images.high) == pytest.approx((low, high), abs=(high - low) / 10)


def test_as_many_unpaired_runs_as_pairs_are_worth_give_the_same_width():
    """By scipy's quantiles of n - 1 and of 2 (m - 1) degrees of freedom; without a gain pairing costs a little."""
    worth = unpaired_worth(10, 2.5)
    assert stats.t.ppf(0.975, 9) / np.sqrt(10) == pytest.approx(
        stats.t.ppf(0.975, 2 * (worth - 1)) * np.sqrt(2.5 / worth)
    )
    assert 8 < unpaired_worth(10, 1.0) < 10


def test_over_seeds_the_table_tells_what_ten_pairs_or_more_show(tmp_path):
    """With three it has the images' columns alone."""
    keys = {}
    for seeds in (3, 10):
        plan = make_store(tmp_path / str(seeds), TWO_ARMS, seeds=seeds, epochs=2, num_images=60)
        table = analyse(Reader(tmp_path / str(seeds)).results(design_of(plan))).tables["pairing"]
        keys[seeds] = [column.key for column in table.columns]
        [row] = table.rows
        assert row.values["arm"] == "wide"
        assert row.texts["images"].startswith("60 paired = ")
        assert (row.values["seed_correlation"] is None) == (seeds < 10)
    assert "seeds" not in keys[3]
    assert row.texts["seeds"].startswith("10 paired = ")
    assert row.values["unpaired_seeds_low"] < row.values["unpaired_seeds"] < row.values["unpaired_seeds_high"]


def test_one_seed_has_no_table(tmp_path):
    plan = make_store(tmp_path, TWO_ARMS, seeds=1, epochs=2, num_images=60)
    assert "pairing" not in analyse(Reader(tmp_path).results(design_of(plan))).tables

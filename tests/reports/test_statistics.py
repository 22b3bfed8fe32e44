"""Do adjustments, verdicts, power and comparisons agree with statsmodels and with sums done by hand?"""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import tt_solve_power
from statsmodels.stats.weightstats import ttost_paired

from ablation_suite.reports.statistics.comparison import compare, detectable_range, holm, smallest_detectable, verdict
from ablation_suite.reports.statistics.intervals import Interval, difference_interval

pytestmark = pytest.mark.filterwarnings("error")


def correctness(seeds=4, images=12, accuracy=0.8, seed=0):
    return (np.random.default_rng(seed).random((seeds, images)) < accuracy).astype(float)


@pytest.mark.parametrize("p_values", [[0.01, 0.04, 0.03, 0.005], [0.5, 0.9, 0.02], [0.3], [0.02, 0.02, 0.02], [0, 1]])
def test_holm_agrees_with_statsmodels(p_values):
    assert holm(p_values) == pytest.approx(tuple(multipletests(p_values, method="holm")[1]))


def test_holm_of_no_p_values_is_empty():
    assert holm([]) == ()


def an_interval(low, high, level=0.95):
    return Interval(
        estimate=(low + high) / 2,
        low=low,
        high=high,
        p=0.01,
        degrees_of_freedom=4.0,
        method="crossed",
        level=level,
        critical=2.776,
    )


@pytest.mark.parametrize(
    ("low", "high", "p_adjusted", "margin", "expected"),
    [
        (0.01, 0.03, 0.02, None, "higher"),
        (-0.03, -0.01, 0.02, None, "lower"),
        (0.01, 0.03, 0.06, None, "undecided"),  # the family is not convinced
        (0.01, 0.03, 0.05, None, "undecided"),  # 0.05 is not below 0.05
        (-0.01, 0.03, 0.02, None, "undecided"),
        (-0.01, 0.03, 0.20, 0.04, "equivalent"),
        (-0.01, 0.03, 0.20, 0.02, "undecided"),
        (-0.03, 0.01, 0.20, 0.02, "undecided"),
        (0.01, 0.03, 0.02, 0.04, "equivalent"),  # certain, and smaller than what matters
        (0.01, 0.03, 0.02, 0.02, "higher"),
    ],
)
def test_verdicts_follow_the_rule(low, high, p_adjusted, margin, expected):
    assert verdict(an_interval(low, high), p_adjusted, margin) == expected


def test_the_p_value_of_a_margin_is_the_two_one_sided_tests_of_statsmodels():
    """For a seeds-only interval it is TOST over the seeds' means."""
    treated, baseline = np.random.default_rng(0).normal(0.1, 1, size=(2, 7, 300))
    found = difference_interval(treated, baseline, method="seeds", margin=0.3)
    reference = ttost_paired(treated.mean(axis=1), baseline.mean(axis=1), -0.3, 0.3)[0]
    assert found.p_margin == pytest.approx(reference)
    assert difference_interval(treated, baseline, method="seeds").p_margin is None


def test_an_interval_lies_inside_the_margin_exactly_where_the_p_of_the_margin_is_below_half_its_error():
    """At 95 % the interval is inside where each one-sided test is below 0.025, also where the widest part changes."""
    inside = []
    for seed in range(60):
        rng = np.random.default_rng(seed)
        baseline = correctness(2 + seed % 4, 200, 0.8, seed)
        treated = np.where(rng.random(baseline.shape) < 0.06, 1 - baseline, baseline)
        found = difference_interval(treated, baseline, margin=0.08)
        inside.append(max(-found.low, found.high) < 0.08)
        assert inside[-1] == (found.p_margin < 0.025)
    assert 5 < sum(inside) < 55


def test_equivalence_is_adjusted_for_the_arms_that_ask_for_it():
    """Arms whose p of the margin is 0.01 to 0.024 are equivalent alone; of four, only where Holm says so."""
    baseline = correctness(5, 400, 0.8, 0)
    scores = {"base": dict(enumerate(baseline))}
    for arm in range(4):
        rng = np.random.default_rng([7, arm])
        scores[f"arm {arm}"] = dict(enumerate(np.where(rng.random(baseline.shape) < 0.08, 1 - baseline, baseline)))
    intervals = [difference_interval(np.stack(list(rows.values())), baseline) for rows in scores.values()][1:]
    margin = 1.02 * max(max(abs(each.low), abs(each.high)) for each in intervals)
    rows = compare(scores, "base", margin=margin)[1:]
    expected = multipletests([row.interval.p_margin for row in rows], method="holm")[1]
    assert [row.p_margin_adjusted for row in rows] == pytest.approx(list(expected))
    assert all(abs(end) < margin for each in intervals for end in (each.low, each.high))
    assert [row.verdict == "equivalent" for row in rows] == [p < 0.05 for p in expected]
    alone = {arm: scores[arm] for arm in ("base", "arm 0")}
    assert compare(alone, "base", margin=margin)[1].verdict == "equivalent"


def test_an_arm_inside_the_margin_whose_family_is_not_convinced_is_not_equivalent():
    assert verdict(an_interval(-0.01, 0.03), 0.2, 0.04, 0.049) == "equivalent"
    assert verdict(an_interval(-0.01, 0.03), 0.2, 0.04, 0.05) == "undecided"
    assert verdict(an_interval(0.01, 0.03), 0.02, 0.04, 0.2) == "higher"


def test_the_smallest_detectable_difference_has_the_power_that_statsmodels_computes():
    """For a seeds-only interval it is the paired t test's: standard deviation x the effect size for power 0.8."""
    treated, baseline = np.random.default_rng(0).normal(size=(2, 7, 30))
    found = difference_interval(treated, baseline, method="seeds")
    effect_size = tt_solve_power(nobs=7, alpha=0.05, power=0.8)
    sd = (treated - baseline).mean(axis=1).std(ddof=1)
    assert smallest_detectable(found) == pytest.approx(effect_size * sd, rel=1e-4)


def test_the_smallest_detectable_difference_of_one_run_uses_the_normal_distribution():
    """z(0.975) + z(0.9) standard errors; an interval's half-width is z(0.975) of them."""
    found = difference_interval(correctness(1, 300), correctness(1, 300, seed=5))
    assert smallest_detectable(found, power=0.9) == pytest.approx((1.959964 + 1.281552) * found.half_width / 1.959964)


def test_among_a_family_the_smallest_detectable_difference_is_that_of_bonferronis_level():
    """statsmodels' paired t test at 0.05 / 10, for the interval of the seeds alone."""
    treated, baseline = np.random.default_rng(0).normal(size=(2, 7, 30))
    found = difference_interval(treated, baseline, method="seeds")
    effect_size = tt_solve_power(nobs=7, alpha=0.005, power=0.8)
    sd = (treated - baseline).mean(axis=1).std(ddof=1)
    assert smallest_detectable(found, family=10) == pytest.approx(effect_size * sd, rel=1e-4)
    one_run = difference_interval(correctness(1, 300), correctness(1, 300, seed=5))
    z = scipy.stats.norm.ppf(1 - 0.005 / 2) + scipy.stats.norm.ppf(0.8)
    assert smallest_detectable(one_run, family=10) == pytest.approx(z * one_run.standard_error)


def test_the_range_of_the_smallest_detectable_difference_is_that_of_its_standard_deviation():
    """By hand: s sqrt(df / chi2), with scipy's quantiles."""
    treated, baseline = np.random.default_rng(0).normal(size=(2, 7, 30))
    found = difference_interval(treated, baseline, method="seeds")
    low, high = detectable_range(found, 2.0)
    assert low == pytest.approx(2 * np.sqrt(6 / scipy.stats.chi2.ppf(0.95, 6)))
    assert high == pytest.approx(2 * np.sqrt(6 / scipy.stats.chi2.ppf(0.05, 6)))


def test_a_comparison_counts_the_family_in_what_it_could_have_shown():
    scores = a_grid()
    rows = compare(scores, "base")[1:]
    assert [row.smallest_detectable for row in rows] == [smallest_detectable(row.interval, family=2) for row in rows]
    assert [row.detectable_range for row in rows] == [
        detectable_range(row.interval, row.smallest_detectable) for row in rows
    ]


def a_grid():
    arms = {name: correctness(3, 50, accuracy, seed) for name, accuracy, seed in (("a", 0.5, 1), ("b", 0.9, 2))}
    scores = {"base": dict(enumerate(correctness(3, 50, 0.5, seed=0)))}
    return scores | {name: dict(enumerate(rows)) for name, rows in arms.items()}


def test_comparing_a_full_grid_pairs_all_seeds_and_adjusts_over_the_arms():
    scores = a_grid()
    base, a, b = compare(scores, "base")
    stacked = {arm: np.stack(list(rows.values())) for arm, rows in scores.items()}
    assert [a.interval, b.interval] == [difference_interval(stacked[arm], stacked["base"]) for arm in ("a", "b")]
    assert (a.p_adjusted, b.p_adjusted) == pytest.approx(tuple(multipletests([a.p, b.p], method="holm")[1]))
    assert (base.arm, base.n, base.num_images, base.difference, base.verdict) == ("base", 3, 50, None, None)
    assert base.mean == pytest.approx(np.mean(list(scores["base"].values())))
    assert b.sd == pytest.approx(np.std([row.mean() for row in scores["b"].values()], ddof=1))
    assert (a.verdict, b.verdict) == ("undecided", "higher")


def test_arms_with_missing_seeds_are_paired_on_the_seeds_that_both_finished():
    """Arm a finished seeds 1, 2, 7 and the baseline 0, 1, 2: two pairs, whatever the order of finishing."""
    scores = a_grid()
    scores["a"] = {7: scores["a"][0], 2: scores["a"][2], 1: scores["a"][1]}
    _, a, _ = compare(scores, "base")
    by_hand = np.mean([scores["a"][s].mean() - scores["base"][s].mean() for s in (1, 2)])
    assert (a.n, a.num_pairs) == (3, 2)
    assert a.difference == pytest.approx(by_hand)
    assert a.interval == difference_interval(
        np.stack([scores["a"][1], scores["a"][2]]), np.stack([scores["base"][1], scores["base"][2]])
    )


def test_arms_that_share_no_seed_or_have_no_run_stay_in_the_table_undecided():
    scores = a_grid()
    scores["a"] = {}
    scores["b"] = {9: scores["b"][0]}
    _, a, b = compare(scores, "base")
    assert (a.n, a.mean, a.sd, a.difference, a.p_adjusted, a.verdict) == (0, None, None, None, None, "undecided")
    assert (b.n, b.num_pairs, b.sd, b.interval, b.verdict) == (1, 0, None, None, "undecided")
    assert b.mean == pytest.approx(scores["b"][9].mean())


def test_one_shared_seed_gives_a_difference_and_no_verdict():
    """However large it is, and inside any margin: no interval, no p, and the family of the other arms is smaller."""
    scores = a_grid()
    alone = {"base": scores["base"], "a": scores["a"]}
    scores["b"] = {1: np.ones(50)}
    for margin in (None, 1.0):
        _, a, b = compare(scores, "base", margin=margin)
        assert b.difference == pytest.approx(1 - scores["base"][1].mean())
        assert (b.num_pairs, b.interval, b.p, b.p_adjusted, b.smallest_detectable) == (1, None, None, None, None)
        assert b.verdict == "one seed"
        assert a == compare(alone, "base", margin=margin)[1]


def test_comparison_accepts_another_interval_and_passes_the_margin_to_the_verdict():
    scores = a_grid()
    rows = compare(scores, "base", margin=1.0, interval=partial(difference_interval, method="seeds"))
    assert [row.interval.method for row in rows[1:]] == ["seeds", "seeds"]
    assert [row.verdict for row in rows[1:]] == ["equivalent", "equivalent"]


def test_an_unknown_baseline_and_splits_of_different_size_are_refused_by_name():
    scores = a_grid()
    with pytest.raises(ValueError, match="'bass' is not among the arms: base, a, b"):
        compare(scores, "bass")
    scores["b"][1] = np.ones(49)
    with pytest.raises(ValueError, match=r"b seed 1: \(49,\)"):
        compare(scores, "base")


def test_importing_the_statistics_loads_neither_scipy_nor_scikit_learn():
    """`ablate plan` and friends stay fast."""
    code = "import sys, ablation_suite.core.metrics.measures, ablation_suite.reports.statistics.comparison;"
    code += "print([m for m in ('scipy', 'sklearn', 'torch') if m in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"

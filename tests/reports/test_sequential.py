"""Does looking after every seed keep its promise, and does the rule ask for the right seeds?"""

import numpy as np
import pytest
import scipy.stats

from ablation_suite.reports.statistics.comparison import difference_interval, holm
from ablation_suite.reports.statistics.curse import adjusted, without_the_curse
from ablation_suite.reports.statistics.sequential import (
    SeedRule,
    chance_to_decide,
    look_level,
    next_seeds,
    repeated_interval,
    smallest_scaled_p,
)

RULE = SeedRule(min=3, max=20, until="decided")


def arm(seeds, accuracy, seed):
    return {s: (np.random.default_rng([seed, s]).random(400) < accuracy).astype(float) for s in range(seeds)}


def paired_t_p_values(effect, looks, paths, seed):
    """p values (paths, looks) of scipy's one-sample t test on the first S of normal differences."""
    differences = np.random.default_rng(seed).normal(effect, size=(paths, max(looks)))
    return np.stack([scipy.stats.ttest_1samp(differences[:, :s], 0, axis=1).pvalue for s in looks], axis=1)


@pytest.mark.parametrize(("first", "last"), [(3, 20), (2, 8)])
def test_false_alarms_over_all_looks_stay_at_the_level(first, last):
    """On 20,000 experiments from another stream: 5 % with the rule's levels, far more when each look uses 5 %."""
    rule = SeedRule(min=first, max=last, until="decided")
    looks = range(first, last + 1)
    p = paired_t_p_values(0, looks, 20_000, seed=123)
    levels = np.array([1 - look_level(s, rule) for s in looks])
    assert (p < levels).any(axis=1).mean() == pytest.approx(0.05, abs=0.006)
    assert (p < 0.05).any(axis=1).mean() > 0.1


def test_a_rule_with_a_single_look_is_the_ordinary_interval():
    """min = max leaves one look, so its level is the level itself, up to the error of the simulation."""
    rule = SeedRule(min=5, max=5, until="decided")
    assert look_level(5, rule) == pytest.approx(0.95, abs=0.002)


@pytest.mark.slow
def test_two_looks_agree_with_numerical_integration():
    """Looks at 2 and 3 seeds: P(neither crosses) by quadrature over the third difference, given the first two."""
    rule = SeedRule(min=2, max=3, until="decided")
    critical = [scipy.stats.t.ppf((1 + look_level(s, rule)) / 2, s - 1) for s in (2, 3)]
    angles = (np.arange(20_000) + 0.5) * 2 * np.pi / 20_000  # (x1, x2) on a circle of radius r: t of two is free of r
    radii = np.sqrt(scipy.stats.chi2(2).ppf((np.arange(400) + 0.5) / 400))
    x1, x2 = np.cos(angles), np.sin(angles)
    quiet = np.abs(x1 + x2) <= critical[0] * np.abs(x1 - x2)
    stays = []
    for radius in radii:
        a, b = radius * x1[quiet][::20], radius * x2[quiet][::20]
        grid = np.linspace(-8, 8, 801)
        total, squares = (a + b)[:, None] + grid, (a**2 + b**2)[:, None] + grid**2
        t = total / np.sqrt(np.maximum(squares - total**2 / 3, 1e-300) / 2 * 3)
        stays.append(((np.abs(t) <= critical[1]) * scipy.stats.norm.pdf(grid)).sum(axis=1).mean() * 0.02)
    assert 1 - np.mean(stays) * quiet.mean() == pytest.approx(0.05, abs=0.003)


def test_the_level_of_a_look_spends_in_proportion_to_its_seeds():
    spent = [1 - look_level(s, RULE) for s in (5, 10, 20)]
    assert spent == pytest.approx([spent[2] / 4, spent[2] / 2, spent[2]])
    assert look_level(25, RULE) == look_level(20, RULE)


def test_a_repeated_interval_is_the_crossed_interval_at_the_level_of_its_look():
    treated, baseline = (np.stack(list(arm(6, a, s).values())) for a, s in ((0.9, 1), (0.8, 2)))
    plain = difference_interval(treated, baseline, level=look_level(6, RULE))
    found = repeated_interval(treated, baseline, RULE)
    assert (found.low, found.high, found.critical) == (plain.low, plain.high, plain.critical)
    assert found.level == 0.95
    assert found.p > plain.p


def test_a_repeated_interval_excludes_zero_where_its_p_is_below_the_level():
    """Also its p is never below that of a single look."""
    verdicts = []
    for seed in range(60):
        treated, baseline = (
            np.stack(list(arm(3 + seed % 8, a, s).values())) for a, s in ((0.86, 2 * seed), (0.8, 2 * seed + 1))
        )
        found = repeated_interval(treated, baseline, RULE)
        verdicts.append(found.low > 0 or found.high < 0)
        assert verdicts[-1] == (found.p < 0.05)
        assert found.p >= difference_interval(treated, baseline).p
    assert 5 < sum(verdicts) < 55


def test_a_repeated_interval_is_inside_the_margin_where_its_p_of_the_margin_is_below_half_the_error():
    """The same relation as at a single look, and the p is never below that of one."""
    inside = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        baseline = np.stack(list(arm(4 + seed % 8, 0.8, seed).values()))
        treated = np.where(rng.random(baseline.shape) < 0.1, 1 - baseline, baseline)
        found = repeated_interval(treated, baseline, RULE, margin=0.11)
        inside.append(max(-found.low, found.high) < 0.11)
        assert inside[-1] == (found.p_margin < 0.025)
        assert found.p_margin >= difference_interval(treated, baseline, margin=0.11).p_margin
    assert 5 < sum(inside) < 35


def test_a_repeated_p_is_small_but_never_zero_beyond_the_reach_of_the_simulation():
    """Bonferroni bounds it: the sum of the looks' shares of spending, times p."""
    rng = np.random.default_rng(0)
    baseline = rng.normal(size=(20, 50))
    treated = baseline + 3 + 0.1 * rng.normal(size=(20, 50))
    single = difference_interval(treated, baseline).p
    shares = sum(s / 20 for s in range(3, 21))
    assert repeated_interval(treated, baseline, RULE).p == pytest.approx(single * shares, rel=1e-6)


def test_the_simulation_depends_on_its_generator_only():
    first, again = (smallest_scaled_p(3, 6, np.random.default_rng(4), 1000) for _ in range(2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, smallest_scaled_p(3, 6, np.random.default_rng(5), 1000))


def test_before_the_first_look_every_arm_needs_the_minimum():
    scores = {"base": arm(1, 0.5, 0), "a": {}, "b": arm(2, 0.99, 1)}
    assert next_seeds(scores, "base", RULE) == {"base": 3, "a": 3, "b": 3}


def test_one_seed_decides_nothing_however_clear_it_looks():
    """An arm that is right wherever the baseline is wrong needs the minimum all the same."""
    scores = {"base": {0: np.zeros(400), 1: np.zeros(400), 2: np.zeros(400)}, "a": {0: np.ones(400)}}
    assert next_seeds(scores, "base", RULE) == {"a": 3}


def test_only_undecided_arms_and_the_baseline_they_need_get_more_seeds():
    scores = {"base": arm(8, 0.5, 0), "better": arm(8, 0.95, 1), "same": arm(8, 0.5, 2)}
    assert next_seeds(scores, "base", RULE) == {"same": 9, "base": 9}


def test_a_baseline_that_is_ahead_needs_nothing():
    scores = {"base": arm(12, 0.5, 0), "same": arm(8, 0.5, 2)}
    assert next_seeds(scores, "base", RULE) == {"same": 9}


def test_an_arm_that_waits_for_the_baseline_needs_nothing_itself():
    scores = {"base": arm(5, 0.5, 0), "same": arm(8, 0.5, 2)}
    assert next_seeds(scores, "base", RULE) == {"base": 6}


def test_nothing_is_needed_at_the_maximum():
    scores = {"base": arm(20, 0.5, 0), "same": arm(20, 0.5, 2)}
    assert next_seeds(scores, "base", RULE) == {}


def test_a_margin_lets_equal_arms_stop_early():
    scores = {"base": arm(8, 0.5, 0), "same": arm(8, 0.5, 2)}
    wide = SeedRule(min=3, max=20, until="decided", margin=0.2)
    narrow = SeedRule(min=3, max=20, until="decided", margin=0.001)
    assert next_seeds(scores, "base", wide) == {}
    assert next_seeds(scores, "base", narrow) == {"same": 9, "base": 9}


def test_precision_stops_at_the_half_width_whatever_the_verdict():
    scores = {"base": arm(8, 0.5, 0), "better": arm(8, 0.95, 1)}
    rows = [np.stack(list(rows.values())) for rows in scores.values()]
    half = repeated_interval(rows[1], rows[0], RULE).half_width
    just_enough = SeedRule(min=3, max=20, precision=half * 1.001)
    not_enough = SeedRule(min=3, max=20, precision=half * 0.999)
    assert next_seeds(scores, "base", just_enough) == {}
    assert next_seeds(scores, "base", not_enough) == {"better": 9, "base": 9}


def test_more_arms_make_the_rule_more_careful():
    """One arm that is decided alone stays undecided among nine that show nothing."""
    scores = {"base": arm(6, 0.8, 0)}
    candidates = [arm(6, accuracy, 1) for accuracy in np.linspace(0.8, 0.9, 41)]
    p_values = [
        repeated_interval(*(np.stack(list(x.values())) for x in (c, scores["base"])), RULE).p for c in candidates
    ]
    chosen = next(c for c, p in zip(candidates, p_values, strict=True) if 0.01 < p < 0.045)
    assert next_seeds(scores | {"a": chosen}, "base", RULE) == {}
    others = {f"null {i}": arm(6, 0.8, 50 + i) for i in range(9)}
    assert "a" in next_seeds(scores | {"a": chosen} | others, "base", RULE)
    assert holm([0.01] + [0.9] * 9)[0] > 0.05


@pytest.mark.parametrize("sign", [1, -1])
def test_the_chance_to_decide_is_that_of_simulated_further_seeds(sign):
    """Where only seeds vary: the share of 20,000 continuations, means and spread drawn from what five seeds say."""
    rng, rule = np.random.default_rng(2), SeedRule(min=3, max=20, until="decided")
    seen = sign * np.array([0.9, -0.3, 0.6, 0.2, 0.5])
    rows = np.repeat(seen[:, None], 100_000, axis=1)
    sd = seen.std(ddof=1) * np.sqrt(4 / rng.chisquare(4, 20_000))
    truth = seen.mean() + sd / np.sqrt(5) * rng.standard_normal(20_000)
    further = truth[:, None] + sd[:, None] * rng.standard_normal((20_000, 15))
    means = (seen.sum() + further.sum(axis=1)) / 20
    half = scipy.stats.t.ppf((1 + look_level(20, rule)) / 2, 19) * seen.std(ddof=1) / np.sqrt(20)
    expected = (np.abs(means) > half).mean()
    assert 0.3 < expected < 0.9
    assert chance_to_decide(rows, np.zeros_like(rows), rule) == pytest.approx(expected, abs=0.02)


def test_an_arm_that_the_most_seeds_would_hardly_decide_gets_no_more():
    """Twelve seeds around zero are hopeless for a direction; a margin that they can reach keeps them going."""
    seeds = {s: np.repeat(0.05 * (-1.0) ** s, 400) for s in range(12)}
    scores = {"base": {s: np.zeros(400) for s in seeds}, "same": seeds}
    assert next_seeds(scores, "base", RULE) == {}
    within_reach = SeedRule(min=3, max=20, until="decided", margin=0.035)
    assert next_seeds(scores, "base", within_reach) == {"same": 13, "base": 13}
    assert next_seeds(scores, "base", SeedRule(min=3, max=20, precision=0.001)) == {"same": 13, "base": 13}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"min": 1, "max": 5, "until": "decided"}, "2 <= min <= max"),
        ({"min": 6, "max": 5, "until": "decided"}, "2 <= min <= max"),
        ({"min": 3, "max": 5}, "either"),
        ({"min": 3, "max": 5, "until": "decided", "precision": 0.01}, "either"),
        ({"min": 3, "max": 5, "precision": 0.0}, "positive"),
    ],
)
def test_impossible_rules_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        SeedRule(**options)


@pytest.mark.parametrize(("effect", "curse"), [(0.4, 0.3), (0.8, 0.15), (1.5, 0.05)])
def test_the_freed_estimate_is_the_truth_whose_winners_have_the_mean_that_was_seen(effect, curse):
    """20,000 paths of scipy's t test from another stream, seeds alone vary: their mean at "higher" gives it back."""
    looks = range(RULE.min, RULE.max + 1)
    differences = np.random.default_rng(9).normal(effect, size=(20_000, RULE.max))
    ended = np.full(len(differences), np.nan)
    going = np.ones(len(differences), dtype=bool)
    for look in looks:
        found = scipy.stats.ttest_1samp(differences[:, :look], 0, axis=1)
        called = going & (found.pvalue < 1 - look_level(look, RULE))
        higher = called & (found.statistic > 0)
        ended[higher] = differences[higher, :look].mean(axis=1)
        going &= ~called
    seen = float(np.nanmean(ended))
    assert seen > effect + curse
    assert adjusted(seen, 1.0, 0.0, 0.0, 1000, RULE) == pytest.approx(effect, abs=0.06)
    assert adjusted(-seen, 1.0, 0.0, 0.0, 1000, RULE) == -adjusted(seen, 1.0, 0.0, 0.0, 1000, RULE)


def test_a_freed_estimate_lies_between_zero_and_what_was_seen():
    """A difference far beyond its spread keeps its size, one at the edge of its interval loses much of it."""
    rng = np.random.default_rng(1)
    baseline = (rng.random((4, 400)) < 0.8).astype(float)
    far = np.where(rng.random((4, 400)) < 0.9, 1.0, baseline)
    near = np.where(rng.random((4, 400)) < 0.25, 1.0, baseline)
    shares = []
    for treated in (far, near):
        seen = (treated - baseline).mean()
        shares.append(without_the_curse(treated, baseline, RULE) / seen)
        assert without_the_curse(baseline, treated, RULE) == pytest.approx(-shares[-1] * seen)
    assert 0.98 < shares[0] <= 1
    assert 0 <= shares[1] <= 1

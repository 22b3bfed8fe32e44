"""Is the variance between seeds that arms share Smyth's, guarded by scipy's F test, and does it cover a noisy arm?"""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.linalg
import scipy.stats
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm

from ablation_suite.reports.statistics.intervals import difference_interval
from ablation_suite.reports.statistics.moderation import posterior_variance, spread_of_seeds


def arms(num_arms, num_seeds, seed=0, sd=None):
    """Means (A, S) with a part that the arms share per seed; sd: of each arm."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=num_seeds) + rng.normal(size=(num_arms, num_seeds)) * np.reshape(sd or 1.0, (-1, 1))


def others_variance(means):
    """Twice the mean variance of an orthonormal basis of the contrasts beside arm 0 - arm 1, from scipy."""
    taken = np.array([np.ones(len(means)), [1, -1, *np.zeros(len(means) - 2)]])
    return 2 * np.var(scipy.linalg.null_space(taken).T @ means, axis=1, ddof=1).mean()


def p_of_noise(means, arm):
    """scipy's F test of an arm against the mean of the others, and an orthonormal basis of all other contrasts."""
    num_arms, num_seeds = means.shape
    contrast = np.full(num_arms, -1 / (num_arms - 1))
    contrast[arm] = 1
    others = scipy.linalg.null_space(np.array([np.ones(num_arms), contrast])).T @ means
    of_arm = np.var(contrast / np.linalg.norm(contrast) @ means, ddof=1)
    return scipy.stats.f.sf(
        of_arm / np.var(others, axis=1, ddof=1).mean(), num_seeds - 1, (num_arms - 2) * (num_seeds - 1)
    )


def alike(num_arms, num_seeds):
    """Means of which no F test tells any arm apart."""
    for seed in range(1000):
        means = arms(num_arms, num_seeds, seed)
        ratio = np.var(means[0] - means[1], ddof=1) / others_variance(means)
        if 0.2 < ratio < 0.8 and min(p_of_noise(means, arm) for arm in (0, 1)) > 0.31:
            return means
    raise AssertionError


@pytest.mark.parametrize("num_seeds", [2, 3, 4])
@pytest.mark.parametrize("num_arms", [3, 4, 7])
def test_the_shared_variance_has_the_weights_of_smyth(num_arms, num_seeds):
    """By hand: (d0 s0^2 + d s^2) / (d0 + d), d0 being the others' degrees of freedom, at most twice the arm's own."""
    means = alike(num_arms, num_seeds)
    own, prior = np.var(means[0] - means[1], ddof=1), others_variance(means)
    d, d0 = num_seeds - 1, min(num_arms - 2, 2) * (num_seeds - 1)
    found = spread_of_seeds(means[0], means[1], list(means[2:]))
    assert found.variance == pytest.approx((d0 * prior + d * own) / (d0 + d))
    assert (found.degrees_of_freedom, found.num_others) == (d0 + d, num_arms - 2)


def test_the_posterior_variance_is_limmas():
    """`squeezeVar` of 2 with 4 degrees of freedom and a prior of 1 with 6: (6 x 1 + 4 x 2) / 10."""
    assert posterior_variance(2.0, 4, 1.0, 6) == pytest.approx(1.4)


def test_the_two_variances_add_up_to_the_interaction_of_statsmodels():
    """The arm's own and the others' sum of squares are the residual of a two-way ANOVA of arms and seeds."""
    means = alike(4, 4)
    rows, seeds = np.indices(means.shape)
    frame = pd.DataFrame({"y": means.ravel(), "arm": rows.ravel(), "seed": seeds.ravel()})
    interaction = anova_lm(ols("y ~ C(arm) + C(seed)", frame).fit())["sum_sq"].to_numpy()[-1]
    own = 3 * np.var(means[0] - means[1], ddof=1) / 2
    found = spread_of_seeds(means[0], means[1], list(means[2:]))
    prior = (found.variance * 9 - 3 * np.var(means[0] - means[1], ddof=1)) / 6
    assert own + 6 * prior / 2 == pytest.approx(interaction)


@pytest.mark.parametrize(("num_seeds", "level"), [(2, 0.3), (3, 0.18), (4, 0.12)])
@pytest.mark.parametrize("arm", [0, 1])
def test_an_arm_or_a_baseline_that_varies_more_than_the_others_is_left_to_itself(num_seeds, level, arm):
    """From quieter to much noisier: shared exactly where scipy's p is at least the level, and the arm's own else."""
    shared = []
    for scale in np.geomspace(0.7, 100, 100):
        means = alike(4, num_seeds)
        means[arm] = means[2] + scale * (means[arm] - means[2])
        own = np.var(means[0] - means[1], ddof=1)
        f = scipy.stats.f(num_seeds - 1, 2 * (num_seeds - 1))
        found = spread_of_seeds(means[0], means[1], list(means[2:]))
        shared.append(found.num_others > 0)
        noisy = min(p_of_noise(means, each) for each in (0, 1)) < level
        assert shared[-1] == (not noisy and f.cdf(own / others_variance(means)) >= 0.05)
        assert found.variance >= own * (1 - 1e-12)
        if not shared[-1]:
            assert found.variance == pytest.approx(own)
    assert (shared[0], shared[-1]) == (True, False)


@pytest.mark.parametrize("num_seeds", [2, 3, 4])
def test_a_difference_that_varies_much_less_than_the_others_is_left_to_itself(num_seeds):
    """Shared exactly where scipy's p is at least 0.05."""
    shared = []
    for scale in np.geomspace(0.001, 1, 100):
        means = alike(4, num_seeds)
        middle, half = (means[0] + means[1]) / 2, scale * (means[0] - means[1]) / 2
        ratio = np.var(2 * half, ddof=1) / others_variance(means)
        shared.append(spread_of_seeds(middle + half, middle - half, list(means[2:])).num_others > 0)
        assert shared[-1] == (scipy.stats.f.cdf(ratio, num_seeds - 1, 2 * (num_seeds - 1)) >= 0.05)
    assert (shared[0], shared[-1]) == (False, True)


@pytest.mark.parametrize(
    ("num_arms", "num_seeds"), [(4, 5), (4, 10), (2, 3)], ids=["five seeds", "ten seeds", "no others"]
)
def test_with_five_seeds_or_no_other_arm_the_variance_is_the_arms_own(num_arms, num_seeds):
    means = arms(num_arms, num_seeds)
    found = spread_of_seeds(means[0], means[1], list(means[2:]))
    assert found.variance == pytest.approx(np.var(means[0] - means[1], ddof=1))
    assert (found.degrees_of_freedom, found.num_others) == (num_seeds - 1, 0)


def test_others_that_do_not_vary_at_all_are_not_believed():
    """Three arms that are one and the same say nothing about a fourth that varies, nor do they about none."""
    steady = np.array([0.8, 0.9, 0.7])
    noisy = steady + np.array([0.0, 0.1, -0.1])
    assert spread_of_seeds(noisy, steady, [(noisy + steady) / 2]).variance == pytest.approx(0.01)
    assert spread_of_seeds(steady, steady, [steady]).variance == 0


def test_where_seeds_dominate_the_interval_is_a_t_interval_of_the_shared_variance():
    """Scores that differ between seeds and not between images: by hand, with scipy's quantile."""
    means = alike(4, 3)
    scores = [np.tile(each[:, None], (1, 100_000)) for each in means]
    found = difference_interval(scores[0], scores[1], others=scores[2:])
    variance = (4 * others_variance(means) + 2 * np.var(means[0] - means[1], ddof=1)) / 6
    assert found.num_others == 2
    assert found.half_width == pytest.approx(scipy.stats.t.ppf(0.975, 6) * math.sqrt(variance / 3), rel=1e-3)


@pytest.mark.parametrize("num_seeds", [2, 3])
@pytest.mark.parametrize("noisy", [0, 1])
def test_one_arm_that_varies_four_times_as_much_is_covered_almost_as_often_as_promised(num_seeds, noisy):
    """Of 4,000 experiments of four arms, it or its baseline being noisy; without the guard it is 0.89 and less."""
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(4000):
        means = rng.normal(size=(4, num_seeds))
        means[noisy] *= 4
        found = spread_of_seeds(means[0], means[1], list(means[2:]))
        half = scipy.special.stdtrit(found.degrees_of_freedom, 0.975) * math.sqrt(found.variance / num_seeds)
        covered += abs((means[0] - means[1]).mean()) <= half
    assert covered / 4000 > 0.92

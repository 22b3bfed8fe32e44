"""Do intervals agree with scipy, statsmodels and published figures, and stay sensible for degenerate tables?"""

import math

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from scipy.optimize import minimize_scalar
from statsmodels.formula.api import ols
from statsmodels.stats.anova import anova_lm
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.weightstats import DescrStatsW

from ablation_suite.reports.statistics.comparison import smallest_detectable
from ablation_suite.reports.statistics.intervals import difference_interval, score_interval

pytestmark = pytest.mark.filterwarnings("error")


def correctness(seeds=4, images=12, accuracy=0.8, seed=0):
    return (np.random.default_rng(seed).random((seeds, images)) < accuracy).astype(float)


def noisy(seeds, images, seed=0, seed_noise=0.0, image_noise=0.0, shift=0.0):
    """Two arms of real-valued scores whose difference has a part for the seed and a part for the image."""
    rng = np.random.default_rng(seed)
    baseline = rng.normal(size=(seeds, images))
    parts = seed_noise * rng.normal(size=(seeds, 1)) + image_noise * rng.normal(size=images)
    return baseline + parts + rng.normal(size=(seeds, images)) + shift, baseline


def mean_squares(difference):
    """(MS_seeds, MS_images, MS_residual) of a seeds x images table, from statsmodels."""
    seeds, images = np.indices(difference.shape)
    frame = pd.DataFrame({"y": difference.ravel(), "seed": seeds.ravel(), "image": images.ravel()})
    return anova_lm(ols("y ~ C(seed) + C(image)", frame).fit())["sum_sq"].to_numpy() / [
        difference.shape[0] - 1,
        difference.shape[1] - 1,
        (difference.shape[0] - 1) * (difference.shape[1] - 1),
    ]


def one_way_over_images(difference, largest):
    """Mean, variance of the mean and degrees of freedom over the images and two more, +largest and -largest."""
    seen = difference.mean(axis=0)
    fitted = DescrStatsW(np.concatenate([seen, [largest, -largest]]))
    return fitted.mean, fitted.std_mean**2, len(seen) + 1


def test_the_crossed_interval_follows_from_the_mean_squares_of_a_two_way_anova():
    """Where seeds and images vary about equally, it is Satterthwaite's t interval on statsmodels' mean squares."""
    treated, baseline = noisy(8, 10, seed=3, seed_noise=0.5, image_noise=0.6, shift=0.3)
    difference = treated - baseline
    seeds, _, residual = mean_squares(difference) / 80
    centre, images, df_images = one_way_over_images(difference, np.abs(difference.mean(axis=0)).max())
    variance = seeds + images - residual
    df = variance**2 / (seeds**2 / 7 + images**2 / df_images + residual**2 / 63)
    error = math.sqrt(variance)
    expected = scipy.stats.t.interval(0.95, df, centre, error)

    found = difference_interval(treated, baseline)

    assert found.estimate == pytest.approx(difference.mean())
    assert (found.low, found.high) == pytest.approx(expected)
    assert found.degrees_of_freedom == pytest.approx(df)
    assert found.standard_error == pytest.approx(error)
    assert found.p == pytest.approx(2 * scipy.stats.t.sf(abs(centre) / error, df))
    assert found.method == "crossed"


def test_the_crossed_interval_is_never_narrower_than_a_t_over_seeds_or_over_images():
    """Over many tables with few seeds or few images both one-way intervals lie inside, and each is reached by some."""
    reached = np.zeros(2, dtype=int)
    for seed in range(60):
        few, noise = 2 + seed % 3, (seed % 4) / 2
        treated, baseline = (
            noisy(few, 9, seed=seed, seed_noise=noise) if seed % 2 else noisy(9, few, seed=seed, image_noise=noise)
        )
        difference = treated - baseline
        over_seeds = scipy.stats.ttest_1samp(difference.mean(axis=1), 0).confidence_interval(0.95)
        _, variance, df = one_way_over_images(difference, np.abs(difference.mean(axis=0)).max())
        found = difference_interval(treated, baseline)
        halves = ((over_seeds.high - over_seeds.low) / 2, scipy.stats.t.ppf(0.975, df) * math.sqrt(variance))
        for axis, half in enumerate(halves):
            assert found.half_width >= half * (1 - 1e-9)
            reached[axis] += found.half_width == pytest.approx(half)
    assert reached.min() > 0


def test_one_more_differing_image_never_makes_the_interval_of_few_narrower():
    """From no differing image of 36 to six, each found by all seeds, the half-width rises and zero stays inside."""
    halves = []
    for num_differ in range(7):
        baseline, treated = np.ones((5, 36)), np.ones((5, 36))
        treated[:, :num_differ] = 0
        found = difference_interval(treated, baseline)
        halves.append(found.half_width)
        assert found.low < 0
        assert (found.high > 0) == (num_differ < 6)
    assert halves == sorted(halves)


def test_an_arm_that_is_always_wrong_on_a_few_images_is_covered_also_when_the_split_holds_none_of_them():
    """An arm wrong on 2 % of all images: of 100, none is in the split in every seventh draw (binomial, by hand)."""
    of_none = difference_interval(np.ones((10, 100)), np.ones((10, 100)))
    assert scipy.stats.binom.pmf(0, 100, 0.02) > 0.13
    assert of_none.low < -0.02
    assert scipy.stats.binom.pmf(0, 100, -of_none.low) < 0.075


def test_arms_that_agree_on_every_image_may_differ_on_others_whatever_the_metric_counts():
    """Contributions of 0 and 2, of a metric that is no share, have twice the interval of 0 and 1, and never none."""
    of_ones = np.tile(np.arange(60) % 2, (3, 1)).astype(float)
    one, two = (difference_interval(each * of_ones, each * of_ones) for each in (1, 2))
    assert one.half_width > 0
    assert (two.low, two.high) == pytest.approx((2 * one.low, 2 * one.high))


def test_the_largest_difference_of_an_image_may_be_told():
    """A contrast of two pairs of runs can differ by 2 on one image, though no such image was seen."""
    nothing = np.zeros((3, 50))
    one, two = (difference_interval(nothing + 2, nothing + 2, largest=each).half_width for each in (1.0, 2.0))
    assert two == pytest.approx(2 * one)


def test_an_interval_excludes_zero_exactly_where_p_is_below_one_minus_its_level():
    """The p value belongs to the interval at every level, also where the widest part changes with the level."""
    for seed in range(40):
        treated, baseline = noisy(2 + seed % 4, 15, seed=seed, seed_noise=0.3, image_noise=0.3, shift=1.0)
        for level in (0.5, 0.8, 0.95, 0.99):
            found = difference_interval(treated, baseline, level)
            assert (found.low > 0 or found.high < 0) == (found.p < 1 - level)


def test_seeds_only_is_the_paired_t_test_of_scipy():
    treated, baseline = noisy(6, 20, shift=0.2)
    reference = scipy.stats.ttest_rel(treated.mean(axis=1), baseline.mean(axis=1))
    expected = reference.confidence_interval(0.9)

    found = difference_interval(treated, baseline, 0.9, method="seeds")

    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert (found.p, found.degrees_of_freedom) == pytest.approx((reference.pvalue, 5))


def test_one_seed_of_correctness_gives_the_exact_mcnemar_p_of_statsmodels():
    treated, baseline = correctness(1, 200, 0.85, seed=1), correctness(1, 200, 0.75, seed=2)
    table = [[int(((treated == i) & (baseline == j)).sum()) for j in (1, 0)] for i in (1, 0)]

    found = difference_interval(treated, baseline)

    assert found.p == pytest.approx(mcnemar(table, exact=True).pvalue)
    assert 0 < found.p < 0.5
    assert found.method == "images only"


def test_the_score_interval_agrees_with_a_published_example():
    """Bentur et al. 2009 (1 gained, 7 lost of 21) in Fagerland et al. 2014: Tango's interval is -0.517 to -0.026."""
    assert score_interval(1, 7, 21) == pytest.approx((-0.517, -0.026), abs=5e-4)


@pytest.mark.parametrize(("gained", "lost", "images"), [(9, 4, 60), (0, 5, 30), (12, 0, 40)])
def test_at_the_ends_of_the_score_interval_a_numeric_score_test_gives_z(gained, lost, images):
    """The nuisance probability is found by maximising the likelihood numerically instead of by Tango's formula."""
    for delta in score_interval(gained, lost, images, 0.9):

        def minus_log_likelihood(q, delta=delta):
            probabilities = np.maximum([q + delta, q, 1 - 2 * q - delta], 1e-300)
            return -np.dot([gained, lost, images - gained - lost], np.log(probabilities))

        bounds = (max(0, -delta), (1 - delta) / 2)
        q = minimize_scalar(minus_log_likelihood, bounds=bounds, method="bounded", options={"xatol": 1e-12}).x
        z = (gained - lost - images * delta) / math.sqrt(images * (2 * q + delta * (1 - delta)))
        assert abs(z) == pytest.approx(scipy.stats.norm.ppf(0.95), rel=1e-4)


def test_one_seed_of_real_valued_scores_gives_a_paired_t_over_images():
    treated, baseline = noisy(1, 30, shift=0.4)
    reference = scipy.stats.ttest_rel(treated[0], baseline[0])
    found = difference_interval(treated, baseline)
    assert found.p == pytest.approx(reference.pvalue)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert found.method == "images only"


def test_the_bootstrap_agrees_with_the_exact_variance_of_resampled_means():
    """Resampling seeds and images, the mean has variance (SS_seeds + SS_images + interaction) / (S N), by hand."""
    treated, baseline = noisy(12, 300, seed_noise=0.4, image_noise=0.4)
    difference = treated - baseline
    of_seeds, of_images = difference.mean(axis=1), difference.mean(axis=0)
    residual = difference - of_seeds[:, None] - of_images + difference.mean()
    variance = of_seeds.var() / 12 + of_images.var() / 300 + (residual**2).mean() / 3600

    found = difference_interval(treated, baseline, method="bootstrap", rng=np.random.default_rng(0))

    assert found.half_width == pytest.approx(1.96 * math.sqrt(variance), rel=0.1)
    assert found.low < found.estimate < found.high
    again = difference_interval(treated, baseline, method="bootstrap", rng=np.random.default_rng(0))
    assert again == found


def test_a_bootstrap_whose_resamples_all_agree_has_the_smallest_p_that_it_can_show():
    """None of 2,000 on the other side: 2 x 1 / 2,001."""
    found = difference_interval(np.ones((3, 4)), np.zeros((3, 4)), method="bootstrap", rng=np.random.default_rng(0))
    assert found.p == pytest.approx(2 / 2001)


def test_a_bootstrap_without_a_generator_is_refused():
    with pytest.raises(ValueError, match="rng"):
        difference_interval(correctness(), correctness(seed=1), method="bootstrap")


def test_identical_arms_of_one_seed_get_tangos_interval_of_no_differing_image():
    """It is +- z^2 / (N + z^2), close to the rule of three's 3 / N, one-sided."""
    arm = correctness(1, 100)
    found = difference_interval(arm, arm)
    z = scipy.stats.norm.ppf(0.975)
    expected = z**2 / (100 + z**2)
    assert (found.estimate, found.p) == (0, 1)
    assert (found.low, found.high) == pytest.approx((-expected, expected))
    assert smallest_detectable(found) > expected


@pytest.mark.parametrize("seeds", [2, 5])
def test_identical_arms_of_several_seeds_get_the_adjusted_wald_interval_of_no_differing_image(seeds):
    """Bonett and Price's standard error with no differing image is sqrt(2) / (N + 2), but for the unbiased variance."""
    arm = correctness(seeds, 100)
    found = difference_interval(arm, arm)
    expected = scipy.stats.t.ppf(0.975, 101) * math.sqrt(2) / 102 * math.sqrt(102 / 101)
    assert (found.estimate, found.p) == (0, 1)
    assert (found.low, found.high) == pytest.approx((-expected, expected))
    assert smallest_detectable(found) > expected


def test_images_on_which_all_seeds_agree_give_bonett_and_prices_interval():
    """As written in their paper for one pair of runs, with t for z: p10 = (f10 + 1) / (N + 2), p01 likewise."""
    treated, baseline = np.ones((4, 200)), np.ones((4, 200))
    treated[:, :9], baseline[:, 9:13] = 0, 0
    lost, gained = (9 + 1) / 202, (4 + 1) / 202
    error = math.sqrt((gained + lost - (gained - lost) ** 2) / 201)  # their N + 2 is 202 - 1 with the unbiased variance
    expected = scipy.stats.t.interval(0.95, 201, gained - lost, error)

    found = difference_interval(treated, baseline)

    assert (found.low, found.high) == pytest.approx(expected)


@pytest.mark.parametrize("method", ["crossed", "seeds"])
@pytest.mark.parametrize(
    ("treated", "baseline"),
    [
        (np.ones((3, 4)), np.zeros((3, 4))),
        (np.ones((2, 1)), np.zeros((2, 1))),
        (np.full((2, 5), 0.3), np.full((2, 5), 0.3)),
        (np.repeat(correctness(1, 40), 2, axis=0), np.repeat(correctness(1, 40, seed=9), 2, axis=0)),
        (np.eye(2), np.zeros((2, 2))),
        (np.diag([1.0, 1.1]), np.zeros((2, 2))),
    ],
    ids=["all gained", "one image", "constant scores", "two equal seeds", "two by two", "nearly all residual"],
)
def test_degenerate_tables_give_finite_intervals_around_the_mean_difference(treated, baseline, method):
    found = difference_interval(treated, baseline, method=method)
    assert found.estimate == pytest.approx((treated - baseline).mean())
    assert -np.inf < found.low <= found.estimate <= found.high < np.inf
    assert 0 < found.p <= 1
    assert 0 <= smallest_detectable(found) < np.inf
    assert found.degrees_of_freedom >= 1


def test_two_equal_seeds_say_what_a_t_over_images_says():
    """Without any variation between seeds the images alone decide, with N + 1 degrees of freedom."""
    treated, baseline = (np.repeat(correctness(1, 80, seed=s), 2, axis=0) for s in (1, 2))
    reference = scipy.stats.ttest_1samp(np.append(treated[0] - baseline[0], [1, -1]), 0)
    found = difference_interval(treated, baseline)
    assert (found.low, found.high) == pytest.approx(tuple(reference.confidence_interval(0.95)))
    assert found.p == pytest.approx(reference.pvalue)


def test_five_equal_seed_differences_without_spread_get_the_sign_flip_p():
    """Of 2^5 sign patterns two are as extreme: p = 2^-4."""
    found = difference_interval(np.ones((5, 3)), np.zeros((5, 3)), method="seeds")
    assert found.p == 2**-4


@pytest.mark.parametrize(
    ("treated", "baseline", "options", "message"),
    [
        (np.ones(3), np.ones(3), {}, r"\(seeds, images\)"),
        (np.ones((2, 3)), np.ones((3, 2)), {}, "one shape"),
        (np.ones((2, 0)), np.ones((2, 0)), {}, "one shape"),
        (np.full((2, 3), np.nan), np.ones((2, 3)), {}, "finite"),
        (np.ones((2, 3)), np.ones((2, 3)), {"level": 1.0}, "level"),
        (np.ones((2, 3)), np.ones((2, 3)), {"method": "t"}, "crossed, seeds or bootstrap"),
        (np.ones((1, 3)), np.ones((1, 3)), {"method": "seeds"}, "one seed"),
        (np.full((1, 1), 0.2), np.full((1, 1), 0.3), {}, "one seed and one image"),
    ],
)
def test_impossible_requests_are_refused_with_the_reason(treated, baseline, options, message):
    with pytest.raises(ValueError, match=message):
        difference_interval(treated, baseline, **options)


def test_an_interval_holds_nothing_that_is_impossible():
    """Two accuracies lie 100 pp apart at most; what is cut off took no part in the standard error."""
    first, second = np.array([[1, 1, 0, 1], [0, 1, 1, 0]]), np.array([[0, 1, 0, 0], [1, 0, 0, 0]])
    wide = difference_interval(first, second)
    assert wide.high > 1
    possible = wide.within(1.0)
    assert (possible.low, possible.high) == (max(wide.low, -1.0), 1.0)
    assert possible.standard_error == pytest.approx(wide.standard_error)
    assert (possible.estimate, possible.p) == (wide.estimate, wide.p)
    assert wide.within(math.inf) == wide

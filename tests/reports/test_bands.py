"""Does a band along the epochs hold what it promises, and do its sentences say no more than it shows?"""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from ablation_suite.reports.ahead import told_by_epoch
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import design_of
from ablation_suite.reports.drawings import extent
from ablation_suite.reports.page import report_html, report_markdown
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.statistics.bands import simultaneous_band
from tests.reports.make_runs import TRUTHS, make_store


@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_the_band_of_one_epoch_is_a_paired_t_interval(seeds):
    """Against scipy's."""
    differences = np.random.default_rng(seeds).standard_normal((seeds, 1)) + 1
    band, wanted = simultaneous_band(differences), stats.ttest_1samp(differences[:, 0], 0).confidence_interval(0.95)
    assert (band.low[0], band.high[0]) == pytest.approx((wanted.low, wanted.high))


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_band_of_two_epochs_holds_its_level_exactly(level):
    """Two t values that share a variance lie inside with this probability, by scipy's bivariate t distribution."""
    first = np.array([1.0, -1.0, 0.5, -0.5, 2.0])
    second = np.array([-1.0, 2.0, 1.0, -0.5, 0.5])[[1, 0, 2, 3, 4]]
    rows = np.stack([stats.zscore(first), stats.zscore(second)], axis=1)  # 5 2
    correlation = np.corrcoef(rows.T)[0, 1]
    assert correlation > 0.1
    freedom = 4 * 2**2 / (2 + 2 * correlation**2)
    band = simultaneous_band(rows, level)
    assert band.degrees_of_freedom == pytest.approx(freedom)
    both = stats.multivariate_t(shape=[[1, correlation], [correlation, 1]], df=freedom, seed=0)
    ends = np.full(2, band.critical)
    assert both.cdf(ends, lower_limit=-ends, maxpts=200_000) == pytest.approx(level, abs=5e-4)
    assert np.allclose(band.half, band.critical * np.sqrt(5 / 4 / 5))


def test_a_band_is_narrower_than_one_t_interval_for_each_epoch_and_wider_than_a_single_one():
    """Thirty restless epochs of three seeds: Bonferroni's t intervals, with a variance each, are the alternative."""
    rng = np.random.default_rng(0)
    differences = rng.standard_normal((200, 3, 30))
    halves = np.array([simultaneous_band(each).half for each in differences])
    errors = differences.std(axis=1, ddof=1) / np.sqrt(3)
    assert np.median(halves) < 0.4 * np.median(stats.t.ppf(1 - 0.025 / 30, 2) * errors)
    assert np.median(halves) > 1.96 / np.sqrt(3)


def test_a_quiet_epoch_is_judged_by_its_neighbours_too_and_a_wild_one_by_itself():
    """Variances 1, 0, 1, 9, 1, 1: pooled by threes they are 2/3, 2/3, 10/3, 11/3, 11/3, 11/3."""
    spread = np.sqrt([1, 0, 1, 9, 1, 1])
    band = simultaneous_band(np.outer([1, 0, -1], spread))
    assert (band.half / band.critical) ** 2 * 3 == pytest.approx([1, 2 / 3, 10 / 3, 9, 11 / 3, 11 / 3])


def test_differences_without_any_spread_tell_nothing_apart():
    """Three seeds that all gain one image at every epoch are no proof: there is nothing to judge by."""
    band = simultaneous_band(np.full((3, 8), 0.5))
    assert band.signs == [0] * 8


@pytest.mark.parametrize(
    ("differences", "level", "said"),
    [
        (np.zeros((2, 4)), 0.95, "3 seeds or more"),
        (np.zeros(4), 0.95, "3 seeds or more"),
        (np.zeros((3, 0)), 0.95, "3 seeds or more"),
        (np.full((3, 2), np.nan), 0.95, "finite"),
        (np.zeros((3, 2)), 1.0, "between 0 and 1"),
    ],
)
def test_what_has_no_band_is_refused(differences, level, said):
    with pytest.raises(ValueError, match=said):
        simultaneous_band(differences, level)


def line(signs, arm="wide", num_seeds=5):
    """A line of `paired_series` whose band has these signs."""
    ends = {0: (-1.0, 1.0), 1: (0.5, 1.0), -1: (-1.0, -0.5)}
    low, high = zip(*(ends[sign] for sign in signs), strict=True)
    found = {"arm": arm, "epochs": list(range(1, len(signs) + 1)), "num_seeds": num_seeds}
    return found | ({"low": low, "high": high} if num_seeds > 2 else {})


@pytest.mark.parametrize(
    ("signs", "told"),
    [
        ([0, 0, 0], "told apart from “base” at no epoch"),
        ([1, 1, 1], "ahead of “base” at every epoch"),
        ([-1, -1, -1], "behind “base” at every epoch"),
        ([0, 0, 1, 1], "ahead of “base” at every epoch from 3 on, and told apart at none before"),
        ([0, 0, 1], "ahead of “base” at epoch 3, and told apart at none before"),
        ([1, 1, 0], "ahead of “base” at epochs 1 to 2, and not told apart at the last one"),
        ([-1, 0, 1, 1], "behind “base” at epoch 1 and ahead of “base” at every epoch from 3 on"),
        ([1, 1, 0, 1, 1], "ahead of “base” at epochs 1 to 2 and at every epoch from 4 on"),
        (
            [1, 0, -1, 0, 1, 0, 1, 0],
            "ahead of “base” at 3 and behind “base” at 1 of 8 epochs, here and there; not told apart at the last one",
        ),
    ],
)
def test_a_sentence_tells_where_the_band_leaves_zero(signs, told):
    """By hand."""
    assert told_by_epoch([line(signs)], "base")[0] == f"“wide” is {told}."


def test_arms_that_say_nothing_share_a_sentence_and_those_without_a_band_have_no_verdict():
    found = told_by_epoch([line([0], "a"), line([0], "b"), line([0], "c", num_seeds=2)], "base")
    assert found[0] == "“a” and “b” are told apart from “base” at no epoch."
    assert found[1] == "1 of 3 arms have fewer than 3 seeds beside the baseline’s: no band, and no word on any epoch."
    (alone,) = told_by_epoch([line([0], num_seeds=1)], "base")
    assert "apart" not in alone
    assert told_by_epoch([], "base") == ()


def analysis_of(store, arms=("wide",), **settings):
    truths = {arm: TRUTHS[arm] for arm in ("baseline", *arms)}
    settings = {"seeds": 3, "epochs": 8, "num_images": 300, "seed_noise": 0.0, **settings}
    return analyse(Reader(store).results(design_of(make_store(store, truths, **settings))))


def test_bands_hold_for_all_arms_together(tmp_path):
    """Two arms with a band have one level of 0.975 each."""
    for lines in (analysis_of(tmp_path / "one").paired, analysis_of(tmp_path / "two", ("wide", "no-encoding")).paired):
        for each in lines:
            band = simultaneous_band(each["seeds"], level=1 - 0.05 / len(lines))
            assert np.allclose(each["low"], band.low, atol=1e-3)
            assert np.allclose(each["high"], band.high, atol=1e-3)


def test_two_seeds_have_no_band(tmp_path):
    """Neither in the numbers nor in words."""
    analysis = analysis_of(tmp_path, seeds=2)
    assert "low" not in analysis.paired[0]
    assert analysis.by_epoch == told_by_epoch(analysis.paired, "baseline")
    assert "fewer than 3 seeds" in analysis.by_epoch[0]


def test_the_page_and_the_text_tell_where_arms_are_apart(tmp_path):
    analysis = analysis_of(tmp_path)
    for text in (report_html(analysis), report_markdown(analysis)):
        for sentence in analysis.by_epoch:
            assert sentence in text


def test_a_panel_has_room_for_what_follows_the_first_quarter():
    """By hand: of eight epochs the first two do not count, and a band counts up to 1.5 times their spread."""
    seeds = [[50.0, -50.0, 1, 1, 1, 1, 1, 2], [-50.0, 50.0, 0, 0, 0, 0, 0, 0]]
    line = {"epochs": list(range(1, 9)), "seeds": seeds, "low": [-99.0] * 7 + [-1.0], "high": [99.0] * 7 + [3.0]}
    assert (min(extent(line)), max(extent(line))) == (-3, 5)
    assert (min(extent({**line, "hidden": True})), max(extent({**line, "hidden": True}))) == (0, 2)


def test_of_many_bands_only_those_that_leave_zero_are_drawn(tmp_path):
    """Three that hold it would hide each other; two are drawn, whatever they hold."""
    few = report_html(analysis_of(tmp_path / "few", ("grouped", "contrastive")))
    many = report_html(analysis_of(tmp_path / "many", ("grouped", "contrastive", "as-published")))
    few, many = (page.split('data-key="paired"')[1].split("</figure>")[0] for page in (few, many))
    assert few.count('class="band"') == 2
    assert many.count('class="band"') == 0

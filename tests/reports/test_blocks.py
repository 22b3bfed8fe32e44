"""Is the mean over blocks, with its interval and its heterogeneity, what meta-analysis says it is?"""

from __future__ import annotations

import re

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.meta_analysis import combine_effects
from statsmodels.stats.oneway import anova_generic

from ablation_suite.ablations.plan import make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.metrics.measures import metric_of
from ablation_suite.reports.ablation_figures import forest
from ablation_suite.reports.blocks import Blocks, ForestBar, over_all_blocks
from ablation_suite.reports.build import build_report
from ablation_suite.reports.check import check_reports
from ablation_suite.reports.design import design_of
from ablation_suite.reports.judged import OVER, judged
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.statistics.blocks import over_blocks
from ablation_suite.reports.statistics.intervals import difference_interval
from tests.reports.make_runs import Truth, make_store


def block(effect, seed, num_seeds=4, num_images=300):
    """An arm and the baseline on images that are harder or easier, each run with noise of its own."""
    rng = np.random.default_rng(seed)
    ease = rng.normal(0.6, 0.8, num_images)
    noise = [rng.normal(0, 0.15, (num_seeds, 1)) + rng.normal(0, 0.7, (num_seeds, num_images)) for _ in range(2)]
    return (ease + effect + noise[0] > 0).astype(float), (ease + noise[1] > 0).astype(float)


def summary(pairs, same_images=None):
    intervals = {name: difference_interval(*pair) for name, pair in pairs.items()}
    return intervals, over_blocks(pairs, intervals, same_images or [[name] for name in pairs])


def test_the_mean_counts_every_block_alike_and_each_is_left_out_in_turn():
    """However much surer one of them is."""
    pairs = {"a": block(0.5, 1), "b": block(0.0, 2, num_images=2000), "c": block(-0.2, 3)}
    intervals, found = summary(pairs)
    each = {name: interval.estimate for name, interval in intervals.items()}
    assert found.interval.estimate == pytest.approx(np.mean(list(each.values())))
    assert found.without["b"] == pytest.approx((each["a"] + each["c"]) / 2)


def test_heterogeneity_is_that_of_statsmodels():
    """Cochran's Q, its p and I squared, from the blocks' estimates and standard errors."""
    pairs = {"a": block(0.6, 4), "b": block(0.0, 5), "c": block(-0.4, 6)}
    intervals, found = summary(pairs)
    estimates = np.array([each.estimate for each in intervals.values()])
    variances = np.array([each.standard_error**2 for each in intervals.values()])
    expected = combine_effects(estimates, variances)
    assert found.q == pytest.approx(expected.q)
    assert found.i_squared == pytest.approx(expected.i2)
    assert found.p_of_q == pytest.approx(stats.chi2.sf(expected.q, 2))


def test_the_p_of_a_disagreement_is_welchs_for_standard_errors_that_are_estimates():
    """That of statsmodels for groups with these variances of the mean and so many degrees of freedom."""
    pairs = {"a": block(0.6, 4), "b": block(0.0, 5, num_seeds=3), "c": block(-0.4, 6)}
    intervals, found = summary(pairs)
    sizes = np.array([each.degrees_of_freedom + 1 for each in intervals.values()])
    variances = np.array([each.standard_error**2 for each in intervals.values()]) * sizes
    means = np.array([each.estimate for each in intervals.values()])
    expected = anova_generic(means, variances, sizes, use_var="unequal", welch_correction=True)
    assert found.p_of_disagreement == pytest.approx(expected.pvalue)
    assert found.p_of_disagreement > found.p_of_q


def test_equal_blocks_of_few_seeds_seldom_disagree():
    """Five blocks of one truth with three seeds each, whose spread is that of the seeds: at most one alarm in 20."""
    alarms = of_q = 0
    for draw in range(200):
        rng = np.random.default_rng(draw)
        runs = [[0.7 + 0.05 * rng.standard_normal((3, 1)) for _ in range(2)] for _ in range(5)]
        pairs = {str(at): [(rng.random((3, 200)) < each).astype(float) for each in two] for at, two in enumerate(runs)}
        _, found = summary(pairs)
        alarms += found.p_of_disagreement < 0.05
        of_q += found.p_of_q < 0.05
    assert alarms <= 18 < of_q  # 18 of 200 has a chance of 1 in 100 at a rate of 0.05


def test_equal_blocks_do_not_disagree():
    """Three copies of one block: Q is zero, and so is I squared."""
    _, found = summary({name: block(0.3, 7) for name in "abc"})
    assert (found.q, found.i_squared) == (pytest.approx(0, abs=1e-20), 0.0)


def test_blocks_on_the_same_images_are_not_counted_as_independent():
    """Two copies of one block on the same images say as much as one, and two independent ones say more."""
    pair = block(0.3, 8)
    alone = difference_interval(*pair)
    _, same = summary({"a": pair, "b": pair}, [["a", "b"]])
    assert same.interval.half_width == pytest.approx(alone.half_width)
    _, apart = summary({"a": pair, "b": pair})
    assert apart.interval.half_width < 0.8 * alone.half_width


@pytest.mark.parametrize("same", [False, True])
def test_the_interval_over_blocks_covers_as_it_says(same):
    """No effect, three blocks, 4 seeds, 400 draws: within [0.925, 0.995], on images apart or shared."""
    inside = 0
    for draw in range(400):
        rng = np.random.default_rng([draw, same])
        ease = rng.normal(0.6, 0.8, 100)
        pairs = {}
        for name in "abc":
            ease = ease if same else rng.normal(0.6, 0.8, 100)
            noise = [rng.normal(0, 0.15, (4, 1)) + rng.normal(0, 0.7, (4, 100)) for _ in range(2)]
            pairs[name] = tuple((ease + each > 0).astype(float) for each in noise)
        _, found = summary(pairs, [list("abc")] if same else None)
        inside += found.interval.low <= 0 <= found.interval.high
    assert 0.925 <= inside / 400 <= 0.995


SPEC = """
ablation: smoothing
question: Does label smoothing help?
base: base.yaml
seeds: 2
blocks: BLOCKS
arms: {smooth: {loss.label_smoothing: 0.1}}
"""


def plans(tmp_path, blocks, *overrides):
    (tmp_path / "base.yaml").write_text("{data: digits, epochs: 1}")
    (tmp_path / "spec.yaml").write_text(SPEC.replace("BLOCKS", blocks))
    return make_plans([str(tmp_path / "spec.yaml")], Runtime(results=str(tmp_path / "results")), overrides)


def test_a_spec_with_blocks_is_a_comparison_under_the_settings_of_each(tmp_path):
    """Their runs are those that the settings as overrides give, and one block can be asked for alone."""
    small, large = plans(tmp_path, "{small: {data.size: 8}, large: {data.size: 16}}")
    assert (small.ablation.ablation, large.ablation.ablation) == ("smoothing-small", "smoothing-large")
    assert [cell.config.data.size for cell in large.cells] == [16, 16, 16, 16]
    (alone,) = plans(tmp_path, "{small: {data.size: 8}, large: {data.size: 16}}", "block=large")
    assert [cell.run_id for cell in alone.cells] == [cell.run_id for cell in large.cells]
    assert design_of(large).overrides == ("block=large",)


@pytest.mark.parametrize(
    ("blocks", "told"),
    [
        ("{a: {data.size: 8}, b: {data.size: 8}}", "is the same comparison as block 'a'"),
        ("{a: {data.size: 8}, b: {}}", "changes nothing"),
        ("{a: {data.size: 8}, b: {loss.label_smoothing: 0.2}}", "is what arm 'smooth' changes"),
        ("{a: {data.size: 8}, b: {loss: cross_entropy}}", "is what arm 'smooth' changes"),
        ("{a: {data.size: 8}, b: {seed: 3}}", "seeds are set by `seeds:`"),
        ("{a: {data.size: 8}, b: {data.sise: 8}}", "did you mean 'size'"),
        ("{a: {data.size: 8}}", "two blocks or more"),
        ("{a: {data.size: 8}, b/c: {data.size: 9}}", "no usable name"),
        ("{a: {data.size: 8}, over blocks: {data.size: 9}}", "what tables call the mean of all blocks"),
    ],
)
def test_blocks_that_are_none_are_refused(tmp_path, blocks, told):
    """Before anything is planned, in one line."""
    with pytest.raises(SchemaError) as error:
        plans(tmp_path, blocks)
    assert [told in str(fault) for fault in error.value.faults] == [True]
    assert str(error.value.faults[0]).startswith(f"{tmp_path / 'spec.yaml'}:6: ")


def test_the_report_over_blocks_shows_each_and_their_mean(tmp_path):
    """Bold is what Holm decides over all differences of the table, and each block has its own page too."""
    truths = {"baseline": Truth(delta={}, effect=-0.6), "better": Truth(delta={"a": 1}, effect=0.6)}
    settings = {"seeds": 3, "epochs": 1, "num_images": 80, "family": "q"}
    made = [
        make_store(tmp_path / "runs", truths, ablation=f"q-{block}", **settings, block=block)
        for block in ("one", "two")
    ]
    blocks = over_all_blocks([Reader(tmp_path / "runs").results(design_of(plan)) for plan in made])
    row = blocks.tables[0].rows[1]
    differences = [row.values[f"{block}: difference_pp"] for block in ("one", "two")]
    assert row.values[f"{OVER}: difference_pp"] == pytest.approx(np.mean(differences), rel=1e-4)
    decided = {key for key in ("one", "two", OVER) if row.values[f"{key}: p_adjusted"] < 0.05}
    assert {key.partition(": ")[0] for key in row.strong} == decided
    assert OVER in decided
    assert "Over the 2 blocks “better” is more accurate than “baseline”: +" in blocks.answer
    pages = build_report(made, tmp_path / "runs", tmp_path / "report")
    assert [str(page.relative_to(tmp_path / "report")) for page in pages] == [
        "index.html", "q/blocks.html", "q-one/report.html", "q-two/report.html",
    ]  # fmt: skip
    assert pages[1].read_text().count('class="n b"') == len(decided)
    assert "\\textbf{" in (tmp_path / "report" / "q" / "tables" / "blocks.tex").read_text()
    assert "**" in (tmp_path / "report" / "q" / "blocks.md").read_text()
    assert not any(check_reports(tmp_path / "report").values())
    page = pages[1]
    page.write_text(page.read_text().replace("is more accurate than", "is less accurate than"))
    assert check_reports(tmp_path / "report")[page.parent] == ["blocks.html: does not hold what the runs say"]


def test_the_mean_over_blocks_has_the_digits_that_its_own_interval_deserves(tmp_path):
    """Blocks that are known to 10 pp or worse need no decimals; their mean, which is known better, has one."""
    truths = {"baseline": Truth(delta={}), "other": Truth(delta={"a": 1}, effect=0.05)}
    made = [
        make_store(
            tmp_path / "runs", truths, ablation=f"q-{num}", seeds=3, epochs=1, num_images=num, family="q",
            block=str(num),
        )
        for num in (36, 38, 42)
    ]  # fmt: skip
    family = [Reader(tmp_path / "runs").results(design_of(plan)) for plan in made]
    told = judged(family)
    halves = [100 * rows["other"].interval.half_width for rows in told.compared.values()]
    assert min(halves) > 10 > 100 * told.over["other"].interval.half_width > 1
    over = over_all_blocks(family).tables[0].rows[1].texts[f"{OVER}: difference"]
    assert re.fullmatch(r"[+−]?\d+\.\d \[[+−]\d+\.\d, [+−]\d+\.\d\]", over)


def test_the_bars_of_a_forest_plot_reach_both_ways():
    """From the low end to the high end, with the difference between."""
    bars = tuple(
        ForestBar(arm="a", block=name, difference=1.0, low=-2.0, high=3.5, text="", p=1.0) for name in ("one", OVER)
    )
    settings = {"family": "", "question": "", "claim": "", "answer": "", "facts": {}, "tables": (), "pages": {}}
    blocks = Blocks(**settings, baseline="b", metric=metric_of("val/accuracy", ()), bars=bars)
    lines = [list(map(float, line.get_xdata())) for line in forest(blocks).axes[0].get_lines()]
    assert lines == [[0.0, 0.0], *[[-2.0, 3.5], [1.0]] * 2]

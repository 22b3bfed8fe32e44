"""Do main effects and interactions of a grid agree with statsmodels and with sums done by hand?"""

from itertools import product

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from statsmodels.formula.api import ols

from ablation_suite.reports.statistics.comparison import difference_interval, holm
from ablation_suite.reports.statistics.factorial import factorial_effects

FACTORS = {"backbone": ["resnet", "resnext", "vit"], "encoding": ["none", "learned"]}


def a_grid(factors, seeds=4, images=30, seed=0):
    rng = np.random.default_rng(seed)
    return {cell: dict(enumerate(rng.random((seeds, images)))) for cell in product(*factors.values())}


def cell_mean(scores, *cell):
    return np.mean(list(scores[cell].values()))


def test_estimates_agree_with_a_regression_on_sum_to_zero_contrasts():
    """Three two-level factors: in statsmodels' +-1/2 coding each coefficient is the effect averaged over the rest."""
    factors = {"a": ["0", "1"], "b": ["0", "1"], "c": ["0", "1"]}
    scores = a_grid(factors)
    rows = [
        {"y": y, **{name: int(level) - 0.5 for name, level in zip(factors, cell, strict=True)}}
        for cell, of_cell in scores.items()
        for run in of_cell.values()
        for y in run
    ]
    fitted = ols("y ~ a * b * c", pd.DataFrame(rows)).fit().params

    found = {":".join(effect.factors): effect.interval.estimate for effect in factorial_effects(scores, factors)}

    assert found == pytest.approx({name: fitted[name] for name in ("a", "b", "c", "a:b", "a:c", "b:c")})


def test_effects_of_a_three_by_two_grid_are_the_differences_of_cell_means_done_by_hand():
    scores = a_grid(FACTORS)
    found = {effect.levels: effect.interval.estimate for effect in factorial_effects(scores, FACTORS)}

    def m(backbone, encoding):
        return cell_mean(scores, backbone, encoding)

    assert found == pytest.approx(
        {
            ("resnext",): (
                m("resnext", "none") + m("resnext", "learned") - m("resnet", "none") - m("resnet", "learned")
            )
            / 2,
            ("vit",): (m("vit", "none") + m("vit", "learned") - m("resnet", "none") - m("resnet", "learned")) / 2,
            ("learned",): sum(m(b, "learned") - m(b, "none") for b in FACTORS["backbone"]) / 3,
            ("resnext", "learned"): m("resnext", "learned")
            - m("resnext", "none")
            - m("resnet", "learned")
            + m("resnet", "none"),
            ("vit", "learned"): m("vit", "learned") - m("vit", "none") - m("resnet", "learned") + m("resnet", "none"),
        }
    )


def test_each_effect_names_its_factors_and_the_references_it_is_measured_against():
    effects = factorial_effects(a_grid(FACTORS), FACTORS)
    assert [(effect.factors, effect.references) for effect in effects] == [
        (("backbone",), ("resnet",)),
        (("backbone",), ("resnet",)),
        (("encoding",), ("none",)),
        (("backbone", "encoding"), ("resnet", "none")),
        (("backbone", "encoding"), ("resnet", "none")),
    ]


def test_the_interval_of_an_interaction_counts_seeds_and_images_of_its_contrast():
    """It is the crossed interval of the per-seed, per-image difference of differences."""
    scores = a_grid({"a": ["0", "1"], "b": ["0", "1"]})
    y = {cell: np.stack(list(runs.values())) for cell, runs in scores.items()}
    expected = difference_interval(y["1", "1"] + y["0", "0"], y["1", "0"] + y["0", "1"])
    interaction = factorial_effects(scores, {"a": ["0", "1"], "b": ["0", "1"]})[-1]
    assert interaction.interval == expected
    contrast = y["1", "1"] - y["1", "0"] - y["0", "1"] + y["0", "0"]
    over_seeds = scipy.stats.ttest_1samp(contrast.mean(axis=1), 0).confidence_interval(0.95)
    assert interaction.interval.half_width >= (over_seeds.high - over_seeds.low) / 2 * (1 - 1e-9)


def test_effects_of_which_no_image_shows_any_are_as_uncertain_as_an_image_could_make_them():
    """All runs right on all of 40 images: a main effect is that of two identical arms, an interaction twice as wide."""
    scores = a_grid({"a": ["0", "1"], "b": ["0", "1"]}, images=40)
    scores = {cell: {seed: np.ones(40) for seed in runs} for cell, runs in scores.items()}
    a, b, both = factorial_effects(scores, {"a": ["0", "1"], "b": ["0", "1"]})
    identical = difference_interval(np.ones((4, 40)), np.ones((4, 40)))
    assert a.interval.half_width == b.interval.half_width == pytest.approx(identical.half_width)
    assert both.interval.half_width == pytest.approx(2 * identical.half_width)


def test_factors_that_add_up_show_no_interaction_and_their_own_effects():
    """Scores built as base(seed, image) + 0.1 for a + 0.2 for b, plus a little noise."""
    rng = np.random.default_rng(1)
    factors = {"a": ["0", "1"], "b": ["0", "1"]}
    base = rng.random((5, 40))
    scores = {
        (a, b): dict(enumerate(base + 0.1 * int(a) + 0.2 * int(b) + 0.01 * rng.normal(size=(5, 40))))
        for a, b in product("01", "01")
    }
    a, b, both = factorial_effects(scores, factors)
    assert (a.interval.estimate, b.interval.estimate) == pytest.approx((0.1, 0.2), abs=0.005)
    assert max(a.p_adjusted, b.p_adjusted) < 0.01
    assert both.interval.low < 0 < both.interval.high


def test_only_seeds_that_every_cell_finished_are_used():
    scores = a_grid(FACTORS)
    expected = factorial_effects({cell: {s: runs[s] for s in (1, 3)} for cell, runs in scores.items()}, FACTORS)
    del scores["vit", "none"][0]
    del scores["resnet", "learned"][2]
    found = factorial_effects(scores, FACTORS)
    assert found == expected
    assert {effect.num_pairs for effect in found} == {2}


def test_p_values_are_adjusted_over_all_effects_of_the_grid():
    effects = factorial_effects(a_grid(FACTORS, seed=2), FACTORS)
    assert tuple(e.p_adjusted for e in effects) == holm([e.interval.p for e in effects])


def test_a_grid_with_holes_is_refused_and_the_holes_are_named():
    scores = a_grid(FACTORS)
    del scores["vit", "none"]
    scores["resnet", "learned"] = {}
    with pytest.raises(ValueError, match=r"\('resnet', 'learned'\), \('vit', 'none'\)"):
        factorial_effects(scores, FACTORS)


def test_a_grid_without_a_common_seed_is_refused():
    scores = a_grid(FACTORS)
    scores["vit", "none"] = {9: scores["vit", "none"][0]}
    with pytest.raises(ValueError, match="no seed"):
        factorial_effects(scores, FACTORS)

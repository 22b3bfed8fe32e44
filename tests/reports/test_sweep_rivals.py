"""Is the best trial told apart from its rivals by a test that is known to be right?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

from ablation_suite.reports.sweep_rivals import find_rivals
from ablation_suite.sweeps.trial import Trial
from tests.core.tracked_run import BARE_RECORD

NUM_IMAGES = 200


def make_trial(store, number, correct):
    """A complete trial with one run per row of `correct`, which says what it got right of 200 images."""
    runs = []
    for seed, right in enumerate(np.atleast_2d(correct)):
        runs.append(f"{number}-{seed}")
        (store / runs[-1]).mkdir()
        labels = np.zeros(NUM_IMAGES, np.int64)
        names = np.array([f"img{k}" for k in range(NUM_IMAGES)])
        outputs = {"val_probabilities": np.eye(2)[np.where(right, 0, 1)], "val_labels": labels, "val_names": names}
        np.savez(store / runs[-1] / "outputs.npz", **outputs)
        (store / runs[-1] / "record.json").write_text(json.dumps({**BARE_RECORD, "classes": ["right", "wrong"]}))
    return Trial(number=number, outcome="complete", values={}, score=float(np.mean(correct)), runs=tuple(runs))


def test_rivals_are_the_trials_that_mcnemars_exact_test_cannot_tell_apart(tmp_path):
    """Trials with more and more images wrong: those with p of 0.05 or more by statsmodels are counted, no others."""
    rng = np.random.default_rng(0)
    top = rng.random(NUM_IMAGES) < 0.97
    others = [top & (rng.random(NUM_IMAGES) < share) for share in (1.0, 0.99, 0.98, 0.97, 0.96, 0.95, 0.9, 0.5)]
    trials = [make_trial(tmp_path, number, right) for number, right in enumerate([top, *others])]
    found = find_rivals(trials[0], trials, tmp_path)
    tables = [[[0, np.sum(top & ~right)], [np.sum(right & ~top), 0]] for right in others]
    expected = [mcnemar(table, exact=True).pvalue >= 0.05 for table in tables]
    assert 0 < sum(expected) < len(others)
    assert (found.num_rivals, found.num_others, found.num_images) == (sum(expected), len(others), NUM_IMAGES)
    assert f"by the {NUM_IMAGES} images alone, {sum(expected)} of them may be as good" in found.sentence


def test_one_seed_a_trial_tells_nothing_apart(tmp_path):
    """Whatever the images say: a trial that got half of them wrong is not called worse."""
    trials = [make_trial(tmp_path, number, np.arange(NUM_IMAGES) >= 100 * number) for number in range(2)]
    found = find_rivals(trials[0], trials, tmp_path)
    assert found.num_rivals == 0
    assert "nothing tells it apart from the other complete trial; as the best of many" in found.sentence


def test_trials_of_several_seeds_are_compared_over_all_of_them(tmp_path):
    """A trial that errs on the same 40 images at each of five seeds is no rival; one that errs once is."""
    top = np.ones((5, NUM_IMAGES), bool)
    worse, alike = top.copy(), top.copy()
    worse[:, :40] = False
    alike[2, 7] = False
    trials = [make_trial(tmp_path, number, right) for number, right in enumerate([top, worse, alike])]
    found = find_rivals(trials[0], trials, tmp_path)
    assert (found.num_rivals, found.num_others) == (1, 2)
    assert "apart from the other complete trial" in find_rivals(trials[0], [trials[0], trials[2]], tmp_path).sentence
    assert "tell it apart from the other complete trial." in find_rivals(trials[0], trials[:2], tmp_path).sentence


@pytest.mark.parametrize("damage", ["missing", "other images"])
def test_trials_that_cannot_be_compared_are_left_out(tmp_path, damage):
    """A run without its outputs or on other images is no rival and no loser; without any there is nothing to say."""
    trials = [make_trial(tmp_path, number, np.ones(NUM_IMAGES, bool)) for number in range(2)]
    path = tmp_path / "1-0" / "outputs.npz"
    if damage == "missing":
        path.unlink()
    else:
        with np.load(path) as outputs:
            changed = dict(outputs)
        changed["val_names"] = np.array([f"other{k}" for k in range(NUM_IMAGES)])
        np.savez(path, **changed)
    assert find_rivals(trials[0], trials, tmp_path) is None
    assert find_rivals(None, trials, tmp_path) is None

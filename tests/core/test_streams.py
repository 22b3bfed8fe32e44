"""Are the named streams pure functions of what they serve?"""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import numpy as np
import torch
from scipy import stats

from ablation_suite.core.training import streams


def test_the_order_of_an_epoch_is_a_permutation_that_another_process_draws_too():
    """(seed, epoch) is all that it depends on, whatever was drawn before."""
    np.random.seed(1)  # noqa: NPY002 (global randomness is what must not matter)
    program = "from ablation_suite.core.training import streams; print(streams.order(7, 3, 100).tolist())"
    other = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    streams.order(7, 2, 100)
    mine = streams.order(7, 3, 100)
    assert sorted(mine) == list(range(100))
    assert other.stdout.strip() == str(mine.tolist())


def test_orders_of_other_epochs_and_seeds_are_other_orders():
    """No two of nine (seed, epoch) pairs share an order, or even a tenth of its places."""
    orders = [streams.order(seed, epoch, 1000) for seed in range(3) for epoch in range(3)]
    for one, other in itertools.combinations(orders, 2):
        assert np.mean(one == other) < 0.1


def test_the_draws_of_an_image_do_not_depend_on_how_many_images_follow_it():
    """Row i is a function of (seed, name, epoch, i)."""
    assert np.array_equal(streams.uniforms(1, "x", 2, 10, 3), streams.uniforms(1, "x", 2, 1000, 3)[:10])


def test_draws_are_uniform_and_uncorrelated_between_names_epochs_and_seeds():
    """Kolmogorov-Smirnov against the uniform, and correlations within five standard errors of zero."""
    keys = [(0, "a", 1), (0, "b", 1), (0, "a", 2), (1, "a", 1)]
    draws = [streams.uniforms(*key, 20_000, 1)[:, 0] for key in keys]
    for draw in draws:
        assert stats.kstest(draw, "uniform").pvalue > 1e-4
    for one, other in itertools.combinations(draws, 2):
        assert abs(np.corrcoef(one, other)[0, 1]) < 5 / 20_000**0.5


def test_names_are_kept_apart_and_each_one_counts():
    """Moving a letter from one name to the next gives another stream."""
    keys = [streams.key(1, "ab", "c"), streams.key(1, "a", "bc"), streams.key(1, "ab"), streams.key(11, "b", "c")]
    assert len(set(keys)) == len(keys)


def test_a_torch_stream_is_reproducible_and_leaves_the_global_one_alone():
    """The same name gives the same draws; torch's global generator does not move."""
    before = torch.get_rng_state()
    first = torch.rand(5, generator=streams.torch_generator(3, "init", "w"))
    second = torch.rand(5, generator=streams.torch_generator(3, "init", "w"))
    other = torch.rand(5, generator=streams.torch_generator(3, "init", "b"))
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    assert torch.equal(before, torch.get_rng_state())


def test_a_balanced_order_takes_all_classes_alike_and_images_of_a_class_alike():
    """Of 30,000 images in classes of 29,000, 900 and 100, a third each; chi-square over images of the small ones."""
    labels = np.repeat([0, 2, 3], (29_000, 900, 100))
    order = streams.balanced_order(labels, 5, 2)
    counts = np.bincount(labels[order], minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]]).pvalue > 1e-4
    for label in (2, 3):
        rows = np.flatnonzero(labels == label)
        assert stats.chisquare(np.bincount(order, minlength=len(labels))[rows]).pvalue > 1e-4
    assert np.array_equal(order, streams.balanced_order(labels, 5, 2))
    assert not np.array_equal(order, streams.balanced_order(labels, 5, 3))

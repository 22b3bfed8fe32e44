"""Which parameters does each image get, and on what do they depend?"""

from __future__ import annotations

import itertools
import subprocess
import sys

import numpy as np
import pytest
from pydantic import ValidationError
from scipy import stats

from ablation_suite.core.augment import Photo
from ablation_suite.core.augment.draws import ANGLE, FLIP_X, FLIP_Y, JITTERS, KINDS, SHARPNESS, SHIFT_X, SHIFT_Y, table
from ablation_suite.core.config import menu

FULL = Photo(
    horizontal_flip=0.5,
    vertical_flip=0.3,
    rotation=50.0,
    translate=0.1,
    brightness=0.2,
    contrast=0.3,
    saturation=0.4,
    hue=0.1,
    sharpness=2.0,
)


def test_draws_are_a_function_of_seed_epoch_and_image_index() -> None:
    """The same (seed, epoch) gives the same table, and more images only add rows below it."""
    draws = table(FULL, 3, 7, 50)
    np.testing.assert_array_equal(table(FULL, 3, 7, 50), draws)
    np.testing.assert_array_equal(table(FULL, 3, 7, 80)[:50], draws)


@pytest.mark.parametrize(("seed", "epoch"), [(4, 7), (3, 8)])
def test_another_seed_or_epoch_gives_other_draws(seed: int, epoch: int) -> None:
    """No column that varies repeats itself under another seed or epoch."""
    first, other = table(FULL, 3, 7, 50), table(FULL, seed, epoch, 50)
    assert (np.abs(first - other).max(axis=0) > 0.0).all()


@pytest.mark.parametrize(
    ("setting", "columns"),
    [
        ({"horizontal_flip": 0.0}, [FLIP_X]),
        ({"vertical_flip": 0.0}, [FLIP_Y]),
        ({"rotation": 0.0}, [ANGLE]),
        ({"translate": 0.0}, [SHIFT_X, SHIFT_Y]),
        ({"sharpness": 1.0}, [SHARPNESS]),
    ],
)
def test_removing_an_operation_shifts_no_other_draw(setting: dict[str, float], columns: list[int]) -> None:
    """All columns but those of the removed operation keep every value."""
    with_it, without = table(FULL, 0, 0, 200), table(FULL.model_copy(update=setting), 0, 0, 200)
    others = np.setdiff1d(np.arange(with_it.shape[1]), columns)
    np.testing.assert_array_equal(without[:, others], with_it[:, others])
    assert np.ptp(without[:, columns], axis=0).max() == 0.0


@pytest.mark.parametrize("removed", KINDS)
def test_removing_a_jitter_keeps_the_others_in_their_order(removed: str) -> None:
    """Each row without the jitter is the row with it, less its pair (kind, factor)."""
    with_it, without = table(FULL, 0, 0, 200), table(FULL.model_copy(update={removed: 0.0}), 0, 0, 200)
    pairs = with_it[:, JITTERS:].reshape(200, 4, 2)
    kept = pairs[pairs[:, :, 0] != KINDS[removed]].reshape(200, 6)
    np.testing.assert_array_equal(without[:, JITTERS:], kept)
    np.testing.assert_array_equal(without[:, :JITTERS], with_it[:, :JITTERS])


def test_draws_are_distributed_as_the_settings_say() -> None:
    """Rates of flips and sharpness, even spread of angles, shifts and factors, even choice of the 24 orders."""
    num_images = 20_000
    draws = table(FULL, 1, 0, num_images)
    for happened, probability in [
        (draws[:, FLIP_X], 0.5),
        (draws[:, FLIP_Y], 0.3),
        (draws[:, SHARPNESS] == 2.0, 0.5),
    ]:
        assert stats.binomtest(int(happened.sum()), num_images, probability).pvalue > 1e-4
    assert set(np.unique(draws[:, SHARPNESS])) == {1.0, 2.0}
    pairs = draws[:, JITTERS:].reshape(num_images, 4, 2)
    spreads = {"rotation": (draws[:, ANGLE], 0.0, 50.0), "across": (draws[:, SHIFT_X], 0.0, 0.1)}
    spreads["down"] = (draws[:, SHIFT_Y], 0.0, 0.1)
    for name, radius in {"brightness": 0.2, "contrast": 0.3, "saturation": 0.4}.items():
        spreads[name] = (pairs[pairs[:, :, 0] == KINDS[name]][:, 1], 1.0, radius)
    spreads["hue"] = (pairs[pairs[:, :, 0] == KINDS["hue"]][:, 1], 0.0, 0.1)
    for name, (values, middle, radius) in spreads.items():
        assert stats.kstest(values, stats.uniform(middle - radius, 2 * radius).cdf).pvalue > 1e-4, name
    counts = [(pairs[:, :, 0] == order).all(axis=1).sum() for order in itertools.permutations(range(4))]
    assert sum(counts) == num_images
    assert stats.chisquare(counts).pvalue > 1e-4


def test_operations_are_drawn_independently() -> None:
    """No two columns of single parameters are correlated beyond chance."""
    draws = table(FULL, 2, 0, 20_000)[:, :JITTERS]
    correlations = np.corrcoef(draws, rowvar=False) - np.eye(JITTERS)
    assert np.abs(correlations).max() < 5.0 / np.sqrt(len(draws))


def test_the_menu_can_be_read_without_torch_or_numba() -> None:
    """Importing the menu imports neither, since plans and help must not wait for them."""
    check = "import ablation_suite.core.augment, sys; assert not {'torch', 'numba', 'torchvision'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("setting", [{"horizontal_flip": 1.5}, {"rotation": -1.0}, {"contrast": 2.0}, {"blur": 1.0}])
def test_impossible_settings_are_refused(setting: dict[str, float]) -> None:
    """Probabilities above one, negative angles, factors below zero and unknown operations raise."""
    with pytest.raises(ValidationError):
        Photo(**setting)


def test_the_built_object_gives_the_table_as_a_float_tensor() -> None:
    """`draw` is the table itself, float32 on the CPU."""
    draws = menu.build(FULL).draw(0, 0, 5)
    np.testing.assert_array_equal(draws.numpy(), table(FULL, 0, 0, 5))
    assert draws.numpy().dtype == np.float32

"""Are the digits scikit-learn's digits, divided fairly and fingerprinted for nothing?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from ablation_suite.core.config import menu
from ablation_suite.core.data import Data, Digits, Folder
from ablation_suite.core.data.dataset import Dataset
from ablation_suite.core.data.splits import stratified


def load(**settings: int) -> Dataset:
    return menu.build(Digits(**settings), data_root=Path("nowhere"), cache=Path("nowhere")).load()


def test_digits_are_those_of_scikit_learn_scaled_to_a_byte() -> None:
    """Each of the 1,797 images is load_digits' image times 255/16, rounded half up, in three equal channels."""
    from sklearn.datasets import load_digits

    expected = load_digits()
    seen = 0
    for split in load().splits.values():
        rows = np.array([int(name) for name in split.names])
        images = split.images[np.arange(len(split))]
        assert images.dtype == np.uint8
        grey = np.floor(expected.images[rows] * 255 / 16 + 0.5)
        np.testing.assert_array_equal(images, np.repeat(grey[..., None], 3, axis=3))
        np.testing.assert_array_equal(split.labels, expected.target[rows])
        seen += len(rows)
    assert seen == 1797


def test_digits_are_divided_60_20_20_with_every_class_in_its_share() -> None:
    """No image is in two splits, and each class has 20 % of its images, rounded, in val and as many in test."""
    splits = load().splits
    assert list(splits) == ["train", "val", "test"]
    names = [name for split in splits.values() for name in split.names]
    assert len(set(names)) == len(names) == 1797
    counts = {name: np.bincount(split.labels) for name, split in splits.items()}
    total = sum(counts.values())
    for name in ("val", "test"):
        np.testing.assert_array_equal(counts[name], np.floor(0.2 * total + 0.5))


def test_the_division_depends_on_its_seed_alone() -> None:
    """The same split seed gives the same images, another one gives others."""
    assert load().splits["val"].names == load(size=16).splits["val"].names
    assert load().splits["val"].names != load(split_seed=1).splits["val"].names


def test_resized_digits_equal_pil() -> None:
    """size: 20 is PIL's bilinear resize of the 8 x 8 image."""
    small, large = load().splits["val"], load(size=20).splits["val"]
    expected = Image.fromarray(small.images[3]).resize((20, 20), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(large.images[3], np.asarray(expected))


def test_the_menu_and_the_fingerprint_import_nothing_heavy() -> None:
    """Planning a grid over the digits needs neither torch nor numpy nor scikit-learn."""
    code = (
        "import sys; from pathlib import Path; from ablation_suite.core.config import menu; "
        "from ablation_suite.core.data import Digits;"
        "print(menu.build(Digits(), data_root=Path('x'), cache=Path('x')).fingerprint());"
        "print([name for name in ('torch', 'numpy', 'sklearn', 'PIL', 'scipy') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    fingerprint, heavy = run.stdout.split("\n")[:2]
    assert heavy == "[]"
    assert fingerprint == load().fingerprint
    assert len(fingerprint) == 64


def test_a_bare_name_is_a_data_set_and_a_wrong_setting_is_refused() -> None:
    """`data: digits` is the digits; a split of 1 or an unknown fault to allow is no folder."""
    data = TypeAdapter(Data)
    assert data.validate_python("digits") == Digits()
    for wrong in ({"split": 1.0}, {"allow": ("blurred",)}, {"size": 0}, {"path": ""}):
        with pytest.raises(ValidationError):
            data.validate_python({"name": "folder", "path": "x", **wrong})
    assert data.validate_python({"name": "folder", "path": "x", "allow": ("leaked",)}) == Folder(
        path="x", allow=("leaked",)
    )


def test_a_stratified_draw_keeps_each_class_on_both_sides_and_moves_no_other() -> None:
    """Every class with two images is validated, one image stays in train, and a class that grows moves only itself."""
    labels = np.repeat([0, 1, 2, 3], [20, 2, 1, 7])
    train, val = stratified(labels, (0.1,), seed=3)
    assert np.bincount(labels[val], minlength=4).tolist() == [2, 1, 0, 1]
    assert np.bincount(labels[train]).tolist() == [18, 1, 1, 6]
    np.testing.assert_array_equal(np.sort(np.concatenate([train, val])), np.arange(30))
    grown = np.concatenate([labels, [3, 3, 3]])
    _, again = stratified(grown, (0.1,), seed=3)
    np.testing.assert_array_equal(val[labels[val] < 3], again[grown[again] < 3])

"""Is what a data set cannot give said before anything is trained?"""

from __future__ import annotations

import numpy as np
import pytest

from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.training.fit import misfits

CLASSES = ("newt", "toad", "frog")


def images(*sizes):
    """Black images, so many of each class."""
    labels = np.repeat(np.arange(len(sizes)), sizes)
    names = tuple(map(str, range(len(labels))))
    return Split(images=np.zeros((len(labels), 8, 8, 3), np.uint8), labels=labels, names=names)


def dataset(*sizes, test=None):
    splits = {"train": images(*sizes), "val": images(2, 2, 2)} | ({"test": test} if test else {})
    return Dataset(classes=CLASSES, splits=splits, fingerprint="d")


def test_a_class_of_one_image_cannot_be_paired(make_config):
    """Cross-entropy can learn from it, and the contrastive loss would pair it with itself."""
    pairs = make_config(loss={"name": "contrastive"})
    (told,) = misfits(pairs, dataset(30, 1, 30))
    assert "toad have a single training image" in told
    assert list(misfits(pairs, dataset(30, 2, 30))) == []
    assert list(misfits(make_config(), dataset(30, 1, 30))) == []


def test_a_share_of_the_images_is_what_batches_are_made_of(make_config):
    """Half of 132 images fill one batch of 64 and leave two, of which pieces are single images; all leave four."""
    whole = make_config(accumulate=2, batch_size=64)
    half = make_config(accumulate=2, batch_size=64, data={"name": "digits", "share": 0.5})
    assert list(misfits(whole, dataset(44, 44, 44))) == []
    (told,) = misfits(half, dataset(44, 44, 44))
    assert "66 images in batches of 64 leave a last one of 2" in told


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("test/macro_f1", "no test split; label its images, or ask for val/macro_f1"),
        ("val/top_3", "of 3 classes the true one is always among the first 3"),
        ("val/recall/fox", "there is no class 'fox'"),
    ],
)
def test_a_metric_that_the_data_does_not_have_is_told(make_config, metric, told):
    """For each split and each kind of metric; what it has is not told."""
    (found,) = misfits(make_config(), dataset(30, 30, 30), (metric,))
    assert told in found
    assert list(misfits(make_config(), dataset(30, 30, 30), ("val/macro_f1", "val/recall/toad"))) == []

"""Is what a data set cannot give said before anything is trained?"""

from __future__ import annotations

import numpy as np
import pytest

from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.training.first_step import first_step
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
    assert "there is a single training image of toad; add images" in told
    assert list(misfits(pairs, dataset(30, 2, 30))) == []
    assert list(misfits(make_config(), dataset(30, 1, 30))) == []


def test_a_share_of_the_images_is_what_batches_are_made_of(make_config):
    """Half of 132 images fill one batch of 64 and leave two, of which pieces are single images; all leave four."""
    whole = make_config(accumulate=2, batch_size=64)
    half = make_config(accumulate=2, batch_size=64, data={"name": "digits", "share": 0.5})
    assert list(misfits(whole, dataset(44, 44, 44))) == []
    (told,) = misfits(half, dataset(44, 44, 44))
    assert "66 images in batches of 64 leave a last one of 2" in told


def test_a_batch_of_one_image_is_refused_where_batch_norm_is_trained(make_config):
    """Group norm takes no statistics over images, and a frozen backbone keeps those that it has."""
    for settings, refused in (
        ({}, True),
        ({"model.backbone.norm": "group"}, False),
        ({"model.freeze": "backbone"}, False),
        ({"model.freeze": "layer1"}, True),
    ):
        config = make_config({"model.backbone": {"name": "resnet18"}, **settings}, batch_size=1)
        told = list(misfits(config, dataset(30, 30, 30)))
        assert [each.startswith("batch_size: a batch of 1 gives batch norm a single image") for each in told] == (
            [True] if refused else []
        )


def test_an_average_that_cannot_move_is_told_with_its_own_decay(make_config):
    """Of 0.9999999 it is neither 1, nor all of the average."""
    (told,) = misfits(make_config(epochs=2, batch_size=30, ema_decay=0.9999999), dataset(30, 30, 30))
    assert "after 6 steps, 99.9 % of the average with 0.9999999 are the weights of the first step" in told


@pytest.mark.parametrize("accumulate", [4, 35])
def test_more_pieces_than_a_first_step_has_images_are_tried(make_config, runtime, accumulate):
    """The step is one of a few images on maps of one pixel, and no piece of it may be a single image."""
    network = {"name": "bottleneck", "planes": [16] * 5, "blocks": [1] * 5, "groups": 4, "width_per_group": 16}
    config = make_config(
        batch_size=72, accumulate=accumulate, data={"name": "digits", "size": 2}, model={"backbone": network}
    )
    assert first_step(config, dataset(30, 30, 30), runtime).loss > 0


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

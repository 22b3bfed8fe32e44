"""Is what cannot be trained told in one line each, before anything is?"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.training.fit import misfits


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"augment": {"name": "photo", "random_crop": {"size": 9}}}, "size 9 is larger than images of 8 pixels"),
        ({"augment": {"name": "random_crop", "size": 13, "padding": 2}}, "8 pixels and 2 of padding on each side"),
        (
            {"augment": {"name": "random_crop", "padding": 8, "padding_mode": "reflect"}},
            "mirrors more than images of 8",
        ),
        ({"augment": {"name": "gaussian_blur", "kernel_size": 17}}, "kernel_size is at most 15 for images of 8"),
        ({"augment": {"name": "gaussian_blur", "kernel_size": 4}}, "is even; take 5"),
        ({"augment": {"name": "random_erasing", "scale": (0.5, 0.1)}}, r"should be \(smallest, largest\)"),
        ({"augment": {"name": "rand_augment", "magnitude": 31}}, "magnitude 31 is none of 31 steps"),
        ({"augment": {"name": "photo", "rand_augment": True, "aug_mix": True}}, "not rand_augment and aug_mix"),
        ({"data": {"name": "digits", "preprocess": "clahe"}}, "take at most 2 tiles"),
        ({"data": {"name": "digits", "eval_crop": 9}}, "eval_crop 9 is larger than the evaluated images of 8"),
        ({"swa": {"start_epoch": 3}}, "start_epoch 3 comes after the last of 2 epochs"),
        ({"swa": {"start_epoch": 2}, "ema_decay": 0.9}, "two averages of the weights"),
        ({"mix": "either", "loss": "triplet"}, "mix needs a loss of single images"),
        ({"model.pooling": "gem", "model.backbone": {"name": "vgg11"}}, "no global pooling of its own"),
        ({"model.backbone": "vit_b_16"}, "takes images of 224 pixels only"),
    ],
)
def test_settings_that_contradict_each_other_are_one_line(changes, words, make_config):
    """Each is a fault of the spec, with its place, and nothing is loaded for it."""
    with pytest.raises(SchemaError, match=words) as caught:
        make_config(changes)
    assert len(str(caught.value).splitlines()) == 1


def test_what_the_images_cannot_give_is_one_line(make_config, digits, runtime):
    """One class for a balanced sampler; no labelled validation images for a schedule that follows them."""
    train, val = digits.splits["train"], digits.splits["val"]
    one_class = replace(digits, splits={**digits.splits, "train": replace(train, labels=np.zeros_like(train.labels))})
    no_labels = replace(digits, splits={**digits.splits, "val": replace(val, labels=None)})
    balanced = make_config({"data": {"name": "digits", "sampler": "balanced"}})
    plateau = make_config({"schedule": "plateau"})
    told = [*misfits(balanced, one_class, runtime=runtime)], [*misfits(plateau, no_labels, runtime=runtime)]
    assert any("balanced has one class only among the training images" in line for line in told[0])
    assert any("plateau watches the validation loss, which needs labelled images" in line for line in told[1])
    assert not any("\n" in line for lines in told for line in lines)
    for config in (balanced, plateau):
        assert [*misfits(config, digits, runtime=runtime)] == []

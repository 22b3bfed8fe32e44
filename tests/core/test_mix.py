"""Does mixing do what torchvision's MixUp and CutMix do, from a stream of its own?"""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from ablation_suite.core.config import menu
from ablation_suite.core.mix import CutMix, Either, MixUp, NoMix

SEED = 11
IMAGES = torch.rand(6, 3, 16, 16, generator=torch.Generator().manual_seed(0)).contiguous(
    memory_format=torch.channels_last
)
LABELS = torch.tensor([0, 1, 2, 3, 0, 1])
both = pytest.mark.parametrize(
    ("entry", "transform"),
    [(MixUp(alpha=0.4), v2.MixUp(alpha=0.4, num_classes=4)), (CutMix(alpha=2.0), v2.CutMix(alpha=2.0, num_classes=4))],
    ids=["mixup", "cutmix"],
)


@both
def test_mixing_equals_torchvision_under_the_same_seed(entry: MixUp | CutMix, transform: v2.Transform) -> None:
    """Images and shares of classes equal those of torchvision's transform, and each row of shares sums to one."""
    images, targets = menu.build(entry)(IMAGES, LABELS, 4, torch.Generator().manual_seed(SEED))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        images_there, targets_there = transform(IMAGES, LABELS)
    assert torch.equal(images, images_there)
    assert torch.equal(targets, targets_there)
    torch.testing.assert_close(targets.sum(dim=1), torch.ones(6))


@both
def test_mixing_draws_from_the_given_generator_only(entry: MixUp | CutMix, transform: v2.Transform) -> None:
    """torch's global state stays, the generator moves on, and the same generator state gives the same mix."""
    state = torch.get_rng_state()
    generator = torch.Generator().manual_seed(SEED)
    first, _ = menu.build(entry)(IMAGES, LABELS, 4, generator)
    second, _ = menu.build(entry)(IMAGES, LABELS, 4, generator)
    again, _ = menu.build(entry)(IMAGES, LABELS, 4, torch.Generator().manual_seed(SEED))
    assert torch.equal(torch.get_rng_state(), state)
    assert not torch.equal(first, second)
    assert torch.equal(first, again)


def test_without_mixing_images_and_labels_stay() -> None:
    """The very tensors come back."""
    images, labels = menu.build(NoMix())(IMAGES, LABELS, 4, torch.Generator())
    assert images is IMAGES
    assert labels is LABELS


def test_either_mixes_each_batch_by_the_one_or_the_other() -> None:
    """Of 400 batches 0.4 stay, a quarter of the others are cut; each equals its own transform from there on."""
    built = menu.build(Either(mixup_alpha=0.4, cutmix_alpha=2.0, probability=0.6, switch_probability=0.25))
    counts = {"stays": 0, "mixup": 0, "cutmix": 0}
    for seed in range(400):
        generator = torch.Generator().manual_seed(seed)
        images, targets = built(IMAGES, LABELS, 4, generator)
        if targets is LABELS:
            assert images is IMAGES
            counts["stays"] += 1
            continue
        after = torch.Generator().manual_seed(seed)
        torch.rand(2, generator=after)
        for name, entry in {"mixup": MixUp(alpha=0.4), "cutmix": CutMix(alpha=2.0)}.items():
            state = after.get_state()
            counts[name] += torch.equal(menu.build(entry)(IMAGES, LABELS, 4, after)[0], images)
            after.set_state(state)
    assert sum(counts.values()) == 400
    assert abs(counts["stays"] / 400 - 0.4) < 0.08
    assert abs(counts["cutmix"] / 240 - 0.25) < 0.08

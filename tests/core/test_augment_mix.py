"""Does mixing do what torchvision's MixUp and CutMix do, from a stream of its own?"""

from __future__ import annotations

import pytest
import torch
from torchvision.transforms import v2

from ablation_suite.core.augment import CutMix, MixUp, NoMix
from ablation_suite.core.config import menu

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

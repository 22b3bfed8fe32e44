"""Do crops, policies, grey, blur and erasing do what torchvision does to each image, for the same parameters?"""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chisquare, ks_2samp
from torch import Tensor
from torchvision.transforms import v2
from torchvision.transforms.autoaugment import AutoAugmentPolicy
from torchvision.transforms.v2 import functional as reference

from ablation_suite.core.augment import (
    AugMix,
    AutoAugment,
    GaussianBlur,
    Photo,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    TrivialAugmentWide,
    crops,
)
from ablation_suite.core.augment import operations as ours
from ablation_suite.core.augment.found_policies import FOUND
from ablation_suite.core.augment.policies import _MILD, _USUAL, _WIDE, build_policy, strengths_of
from ablation_suite.core.config import menu
from tests.core.test_augment import photos

pytestmark = pytest.mark.usefixtures("one_thread")
TORCHVISION = v2.AutoAugment()
SPACES = [
    (v2.TrivialAugmentWide._AUGMENTATION_SPACE, _WIDE, 31),
    (v2.RandAugment._AUGMENTATION_SPACE, _USUAL, 31),
    (v2.AutoAugment._AUGMENTATION_SPACE, _USUAL, 10),
    (v2.AugMix._AUGMENTATION_SPACE, _MILD, 10),
]


def channels_first(num_images: int, height: int, width: int) -> Tensor:
    """Photos that reach neither black nor white, so that every operation has something to do."""
    return (photos(num_images, height, width) * 0.7 + 20).to(torch.uint8).permute(0, 3, 1, 2)


def is_nearly(one: Tensor, other: Tensor, share: float = 1e-3) -> bool:
    """Equal but for a share of the values, which are one of 255 levels apart."""
    apart = (one.int() - other.int()).abs()
    return apart.max() <= 1 and (apart > 0).float().mean() <= share


@pytest.mark.parametrize(("space", "reach", "bins"), SPACES, ids=["trivial", "rand", "auto", "mix"])
def test_the_strengths_are_torchvisions(space, reach, bins):
    """Every operation of every list, at every step, for an image of 40 x 64; the lists have the same operations."""
    for name, (strengths, signed) in space.items():
        theirs, mine = strengths(bins, 40, 64), strengths_of(name, reach, bins, 40, 64)
        assert (theirs is None) == (mine is None)
        if theirs is not None:
            np.testing.assert_array_equal(mine, theirs.numpy())
        assert (name in ours.SIGNED) == signed
    assert set(space) <= set(ours.NAMES)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("name", ours.NAMES)
def test_every_operation_equals_torchvisions_on_bytes(name, interpolation):
    """A batch in which every image has a strength of its own, against one image after the other.

    Of the values, one in a thousand may be one level of 255 off; of the pixels that are moved, one in two hundred may
    come from the neighbour where both are as near.
    """
    images = channels_first(24, 40, 33)
    table = strengths_of(name, _WIDE, 31, 40, 33)
    source = np.random.default_rng(0)
    strengths = np.zeros(24, np.float32) if table is None else table[source.integers(0, 31, 24)]
    if name in ours.SIGNED:
        strengths = strengths * source.choice([-1, 1], 24).astype(np.float32)
    if name == "Rotate":  # at a right angle every place lies between two pixels here: the processor chooses
        strengths[np.abs(strengths) == 90.0] = 89.0
    kinds = np.full(24, ours.NAMES.index(name))
    result = ours.apply(images, kinds, strengths, interpolation)
    mode = v2.InterpolationMode(interpolation)
    theirs = torch.stack(
        [
            TORCHVISION._apply_image_or_video_transform(image, name, float(strength), mode, TORCHVISION._fill)
            for image, strength in zip(images, strengths, strict=True)
        ]
    )
    if name in ours.MOVES and interpolation == "nearest":
        assert (result != theirs).any(dim=1).float().mean() < 5e-3
    else:
        assert is_nearly(result, theirs)
    assert (name == "Identity") == torch.equal(result, images)


def test_each_image_of_a_batch_has_its_own_operation():
    """Mixed kinds in one batch give what each gives alone, and the batch that was given stays."""
    images, kinds = channels_first(15, 16, 16), np.arange(15)
    before, strengths = images.clone(), np.full(15, 0.5, np.float32)
    strengths[ours.NAMES.index("Posterize")] = 3
    together = ours.apply(images, kinds, strengths)
    for at in range(15):
        alone = ours.apply(images[at : at + 1], kinds[at : at + 1], strengths[at : at + 1])
        assert torch.equal(alone[0], together[at])
    assert torch.equal(images, before)


@pytest.mark.parametrize("policy", list(FOUND))
def test_the_found_pairs_are_torchvisions(policy):
    """25 pairs for each data set, in torchvision's order."""
    theirs = v2.AutoAugment()._get_policies(AutoAugmentPolicy(policy))
    assert [[(name, share, step or 0) for name, share, step in pair] for pair in theirs] == [
        list(pair) for pair in FOUND[policy]
    ]


def test_operations_steps_and_signs_are_drawn_evenly():
    """20,000 images of TrivialAugment: 14 operations and 31 steps alike, and half of the signed ones turned round."""
    rows = build_policy(TrivialAugmentWide()).draw(0, 1, 20_000)
    assert chisquare(np.bincount(rows[:, 0].astype(int), minlength=14)).pvalue > 1e-3
    assert chisquare(np.bincount(rows[:, 1].astype(int), minlength=31)).pvalue > 1e-3
    signed = np.isin(rows[:, 0], [ours.NAMES.index(name) for name in ours.SIGNED])
    assert abs((rows[signed, 2] < 0).mean() - 0.5) < 0.02
    assert (rows[~signed, 2] > 0).all()
    assert len(np.bincount(rows[:, 0].astype(int))) == 14  # Invert, the fifteenth, is none of them


def test_auto_augment_uses_each_operation_as_often_as_its_pairs_say():
    """The expected count of every operation, from the published table, is met by 20,000 images."""
    rows = build_policy(AutoAugment(policy="svhn")).draw(0, 1, 20_000).reshape(-1, 3)
    expected = dict.fromkeys(ours.NAMES, 0.0)
    for pair in FOUND["svhn"]:
        for name, share, _ in pair:
            expected[name] += share / 25
    for name, share in expected.items():
        if name != "Identity":
            found = (rows[:, 0] == ours.NAMES.index(name)).sum() / 20_000
            assert found == pytest.approx(share, abs=4 * (2 * share / 20_000) ** 0.5 + 1e-9), name


@pytest.mark.parametrize(
    ("entry", "theirs"),
    [
        (TrivialAugmentWide(), v2.TrivialAugmentWide()),
        (RandAugment(num_ops=2, magnitude=12), v2.RandAugment(num_ops=2, magnitude=12)),
        (AutoAugment(policy="cifar10"), v2.AutoAugment(AutoAugmentPolicy.CIFAR10)),
        (AugMix(), v2.AugMix()),
        (AugMix(chain_depth=1, mixture_width=2, all_ops=False, alpha=0.5, severity=6),
         v2.AugMix(chain_depth=1, mixture_width=2, all_ops=False, alpha=0.5, severity=6)),
    ],
    ids=["trivial", "rand", "auto", "mix", "mild mix"],
)  # fmt: skip
def test_policies_agree_in_distribution_with_torchvision(entry, theirs):
    """500 draws for one image: the brightness, detail and distance of the result are spread alike."""
    num_draws = 500
    image = channels_first(1, 24, 24)
    built = build_policy(entry)
    mine = built(image.expand(num_draws, -1, -1, -1), built.draw(3, 1, num_draws)).float()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        reference_images = torch.stack([theirs(image[0]) for _ in range(num_draws)]).float()
    for statistic in (
        lambda batch: batch.mean(dim=(1, 2, 3)),
        lambda batch: (batch - image).abs().mean(dim=(1, 2, 3)),
        lambda batch: batch.diff(dim=3).abs().mean(dim=(1, 2, 3)),
    ):
        assert ks_2samp(statistic(mine).numpy(), statistic(reference_images).numpy()).pvalue > 1e-3


def test_a_mixture_is_its_published_formula():
    """One chain of one operation: share x image + (1 - share) x the operation, cut to whole levels."""
    built = build_policy(AugMix(mixture_width=1, chain_depth=1))
    images, rows = channels_first(32, 20, 20), built.draw(0, 1, 32)
    for image, row in zip(images, rows, strict=True):
        name = ours.NAMES[int(row[2])]
        table = strengths_of(name, _MILD, 10, 20, 20)
        strength = 0.0 if table is None else float(table[int(row[3])] * row[4])
        bilinear = v2.InterpolationMode.BILINEAR
        done = TORCHVISION._apply_image_or_video_transform(image, name, strength, bilinear, TORCHVISION._fill)
        mixed = (row[0] * image.double() + row[1] * done.double()).floor()
        assert row[0] + row[1] == pytest.approx(1.0)
        assert (built(image[None], row[None])[0].double() - mixed).abs().max() <= 1


@pytest.mark.parametrize("size", [24, 40])
def test_resized_parts_equal_torchvisions_resized_crop(size):
    """The products that CUDA devices use round what torchvision gives for floats, shrunk or enlarged.

    For bytes torchvision rounds after each side, so that those are one level off now and then.
    """
    images = channels_first(12, 48, 56)
    draws = menu.build(RandomResizedCrop(scale=(0.05, 1.0))).draw(0, 1, 12)[:, -4:].numpy()
    boxes = np.stack([*crops._along(draws[:, 1], draws[:, 3], 48), *crops._along(draws[:, 0], draws[:, 2], 56)], axis=1)
    result = crops.resized_parts(images, torch.from_numpy(boxes), size)
    for image, (top, high, left, wide), mine in zip(images, boxes.tolist(), result, strict=True):
        theirs = reference.resized_crop(image, top, left, high, wide, [size, size])
        assert is_nearly(mine, theirs, share=0.3)
        exact = reference.resized_crop(image.float(), top, left, high, wide, [size, size])
        assert (mine - exact).abs().max() < 0.501
    assert result.is_contiguous(memory_format=torch.channels_last)


def test_parts_are_drawn_as_torchvision_draws_them():
    """Sides and places of 4,000 parts of a square are spread alike, and all lie inside."""
    num_draws, side = 4000, 50
    rows = menu.build(RandomResizedCrop(scale=(0.3, 1.0), ratio=(0.5, 2.0))).draw(0, 1, num_draws)[:, -4:].numpy()
    top, high = crops._along(rows[:, 1], rows[:, 3], side)
    left, wide = crops._along(rows[:, 0], rows[:, 2], side)
    transform = v2.RandomResizedCrop(8, scale=(0.3, 1.0), ratio=(0.5, 2.0))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        theirs = [transform.make_params([torch.empty(3, side, side)]) for _ in range(num_draws)]
    for name, mine in {"top": top, "height": high, "left": left, "width": wide}.items():
        assert ks_2samp(mine, [each[name] for each in theirs]).pvalue > 1e-3, name
    assert min(top.min(), left.min()) == 0
    assert max((top + high).max(), (left + wide).max()) == side


def test_an_image_for_which_no_rectangle_fits_is_taken_as_torchvision_takes_it():
    """Ratios from 3 on of areas from 0.9 on fit into no square: the middle third of the height is taken."""
    rows = menu.build(RandomResizedCrop(scale=(0.9, 1.0), ratio=(3.0, 4.0))).draw(0, 1, 5)[:, -4:].numpy()
    theirs = v2.RandomResizedCrop(8, scale=(0.9, 1.0), ratio=(3.0, 4.0)).make_params([torch.empty(3, 30, 30)])
    top, high = crops._along(rows[:, 1], rows[:, 3], 30)
    left, wide = crops._along(rows[:, 0], rows[:, 2], 30)
    assert {*zip(top, left, high, wide, strict=True)} == {tuple(theirs[k] for k in ("top", "left", "height", "width"))}


@pytest.mark.parametrize("way", [crops._cut_out, crops._looked_up])
@pytest.mark.parametrize("mode", ["constant", "reflect"])
def test_a_crop_after_padding_equals_torchvisions(mode, way, monkeypatch):
    """Every place from the first to the last occurs, and each gives torchvision's padded image from there on."""
    monkeypatch.setattr(crops, "_cut_out", way)
    images = channels_first(200, 9, 9)
    built = menu.build(RandomCrop(padding=2, padding_mode=mode, size=7))
    rows = built.draw(0, 1, 200)
    result = built(images.permute(0, 2, 3, 1), rows)
    starts = np.floor(rows[:, -2:].numpy().astype(np.float64) * 7).astype(int)
    assert {*starts[:, 0]} == {*starts[:, 1]} == set(range(7))
    for image, (top, left), mine in zip(images, starts.tolist(), result, strict=True):
        padded = reference.pad(image, 2, padding_mode=mode)
        expected = reference.to_dtype(reference.crop(padded, top, left, 7, 7), torch.float32, scale=True)
        assert torch.equal(mine, expected)


def test_grey_and_blur_equal_torchvisions():
    """Chosen images to 2e-6, the others to the bit."""
    images = photos(40, 20, 17)
    plain = images.permute(0, 3, 1, 2) / 255.0
    for entry, change in (
        (RandomGrayscale(p=0.5), lambda image, row: reference.rgb_to_grayscale(image, 3) if row[-1] else image),
        (
            GaussianBlur(p=0.5, kernel_size=7),
            lambda image, row: reference.gaussian_blur(image, [7, 7], [float(row[-1])]) if row[-1] else image,
        ),
    ):
        built = menu.build(entry)
        rows = built.draw(0, 1, 40)
        result = built(images, rows)
        chosen = rows[:, -1] > 0
        assert 8 < chosen.sum() < 32
        expected = torch.stack([change(image, row.tolist()) for image, row in zip(plain, rows, strict=True)])
        torch.testing.assert_close(result, expected, rtol=0.0, atol=2e-6)
        assert not torch.equal(result[chosen], plain[chosen])


def test_erasing_is_torchvisions_erase_of_rectangles_drawn_as_there():
    """Each erased image equals torchvision's; shares and sides of the rectangles are spread alike."""
    num_draws, side = 3000, 40
    built = menu.build(RandomErasing(p=0.5, value=0.25))
    rows = built.draw(0, 1, num_draws)
    result = built(torch.full((num_draws, side, side, 3), 255, dtype=torch.uint8), rows)
    erased = (result[:, 0] == 0.25).numpy()
    high, wide = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    np.testing.assert_array_equal(erased.sum(axis=(1, 2)), high * wide)  # one rectangle each
    assert abs((high > 0).mean() - 0.5) < 0.04
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transform = v2.RandomErasing(p=1.0)
        theirs = [transform.make_params([torch.empty(3, side, side)]) for _ in range(num_draws // 2)]
    for mine, name in ((high[high > 0], "h"), (wide[high > 0], "w")):
        assert ks_2samp(mine, [each[name] for each in theirs]).pvalue > 1e-3
    top = erased.any(axis=2).argmax(axis=1)[high > 0]
    assert ks_2samp(top, [each["i"] for each in theirs]).pvalue > 1e-3


WHOLE = Photo(
    horizontal_flip=0.5,
    brightness=0.4,
    contrast=0.4,
    saturation=0.4,
    hue=0.1,
    jitter_probability=0.8,
    random_resized_crop=RandomResizedCrop(size=20),
    trivial_augment_wide=TrivialAugmentWide(),
    random_grayscale=RandomGrayscale(p=0.2),
    gaussian_blur=GaussianBlur(),
    random_erasing=RandomErasing(),
)


def test_an_image_does_not_depend_on_its_batch_nor_on_other_epochs() -> None:
    """All operations at once: another order, or a batch of its own, gives the same bits; an epoch gives others."""
    images, built = photos(9, 28, 28), menu.build(WHOLE)
    draws = built.draw(0, 1, 9)
    together = built(images, draws)
    order = torch.tensor([3, 6, 0, 2, 8, 5, 1, 4, 7])
    assert torch.equal(built(images[order], draws[order]), together[order])
    assert torch.equal(built(images[4:5], draws[4:5]), together[4:5])
    assert torch.equal(menu.build(WHOLE).draw(0, 1, 9), draws)
    assert not torch.equal(built.draw(0, 2, 9), draws)
    assert together.shape == (9, 3, 20, 20)
    assert together.is_contiguous(memory_format=torch.channels_last)
    assert together.min() >= 0.0
    assert together.max() < 1.0 + 1e-6


def test_removing_an_operation_shifts_the_draws_of_no_other() -> None:
    """Without the policy, the remaining columns are the same bits."""
    whole = menu.build(WHOLE).draw(0, 1, 9)
    less = menu.build(WHOLE.model_copy(update={"trivial_augment_wide": None})).draw(0, 1, 9)
    kept = [at for at in range(whole.shape[1]) if at not in range(whole.shape[1] - 9, whole.shape[1] - 6)]
    assert torch.equal(whole[:, kept], less)


def test_a_jitter_that_does_not_happen_changes_nothing() -> None:
    """With probability 0.3, seven images in ten keep their colours, and the others change all."""
    images = photos(200, 8, 8)
    built = menu.build(Photo(brightness=0.4, contrast=0.4, saturation=0.4, hue=0.2, jitter_probability=0.3))
    change = built(images, built.draw(0, 1, 200)) - images.permute(0, 3, 1, 2) / 255.0
    changed = change.abs().flatten(1).amax(1)
    assert abs((changed > 1e-6).float().mean() - 0.3) < 0.1
    assert (changed[changed > 1e-6] > 0.02).all()

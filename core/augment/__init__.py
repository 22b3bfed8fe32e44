"""How are training images changed at random? Menu of the augmentations and of the mixing of images."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, tagged
from ablation_suite.core.config.own import Own


class NoAugment(Entry):
    """Every image as it is."""

    builds = "ablation_suite.core.augment.photo:Plain"
    name: Literal["none"] = "none"


class Photo(Entry):
    """Flips, rotation and shift in one resampling, then colour jitter in random order, then sharpness.

    Each image has draws of its own. Every operation does what torchvision's of that name does; those that are left at
    their default do nothing.
    """

    builds = "ablation_suite.core.augment.photo:Photo"
    name: Literal["photo"] = "photo"
    horizontal_flip: float = Field(0.0, ge=0.0, le=1.0)
    """Probability that left and right are exchanged."""
    vertical_flip: float = Field(0.0, ge=0.0, le=1.0)
    """Probability that top and bottom are exchanged."""
    rotation: float = Field(0.0, ge=0.0, le=180.0)
    """Largest angle in degrees, drawn evenly from [-r, r]; nearest neighbour, black corners."""
    translate: float = Field(0.0, ge=0.0, le=1.0)
    """Largest shift along each axis, a fraction of the side, drawn evenly from [-t, t]; whole pixels, black borders."""
    brightness: float = Field(0.0, ge=0.0, le=1.0)
    """Largest change of the brightness factor, drawn evenly from [1 - x, 1 + x]."""
    contrast: float = Field(0.0, ge=0.0, le=1.0)
    """Largest change of the contrast factor, drawn evenly from [1 - x, 1 + x]."""
    saturation: float = Field(0.0, ge=0.0, le=1.0)
    """Largest change of the saturation factor, drawn evenly from [1 - x, 1 + x]."""
    sharpness: float = Field(1.0, ge=0.0)
    """Sharpness factor: 0 blurs, 1 leaves the image as it is, 2 sharpens."""
    sharpness_probability: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that the sharpness factor is applied."""


class NoMix(Entry):
    """Every image and label by itself."""

    builds = "ablation_suite.core.augment.mix:NoMix"
    name: Literal["none"] = "none"


class MixUp(Entry):
    """Each image and label of a batch is blended with the one before it (Zhang et al. 2018)."""

    builds = "ablation_suite.core.augment.mix:Mix"
    name: Literal["mixup"] = "mixup"
    alpha: float = Field(1.0, gt=0.0)
    """Both parameters of the Beta distribution that the share of the blend is drawn from, once per batch."""


class CutMix(Entry):
    """A box of each image of a batch comes from the one before it, and labels are blended by area (Yun et al. 2019)."""

    builds = "ablation_suite.core.augment.mix:Mix"
    name: Literal["cutmix"] = "cutmix"
    alpha: float = Field(1.0, gt=0.0)
    """Both parameters of the Beta distribution that the area outside the box is drawn from, once per batch."""


class OwnAugment(Own):
    """An augmentation of your own: called on batches with draws of the run's, or on one image at a time.

    Called as augment(images, draws) where it takes two arguments: images float32 (N, 3, H, W) in [0, 1], and
    draws (N, P), even in [0, 1), each row a function of (seed, epoch, image); P is its attribute `num_draws`, or 16.
    Called as augment(image) where it takes one: an image (3, H, W) by itself, while torch's generators, from which
    torchvision's transforms draw, are seeded by (seed, epoch, image). It returns what it was given, changed, in its
    shape; training images alone are augmented.
    """

    builds = "ablation_suite.core.augment.own:own_augment"
    called = ("images", "draws", "image")


class OwnMix(Own):
    """A mixing of your own: called as mix(images, labels) on each training batch, after the augmentation.

    Images are float32 (N, 3, H, W), labels classes (N,). It returns images of that shape, and classes (N,) or shares of
    classes (N, K). Torch's generators are seeded by (seed, epoch, step) while it runs.
    Given, where its arguments have this name: num_classes (K).
    """

    builds = "ablation_suite.core.augment.own:own_mix"
    given = ("num_classes",)
    called = ("images", "labels")


Augment = tagged(NoAugment, Photo, own=OwnAugment)
Mix = tagged(NoMix, MixUp, CutMix, own=OwnMix)

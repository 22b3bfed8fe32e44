"""How are the images and labels of a training batch mixed? Menu of the mixings."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, tagged
from ablation_suite.core.config.own import Own


class NoMix(Entry):
    """Every image and label by itself."""

    builds = "ablation_suite.core.mix.mixing:Unmixed"
    name: Literal["none"] = "none"


class MixUp(Entry):
    """Each image and label of a batch is blended with the one before it (Zhang et al. 2018)."""

    builds = "ablation_suite.core.mix.mixing:TorchvisionMix"
    name: Literal["mixup"] = "mixup"
    alpha: float = Field(1.0, gt=0.0)
    """Both parameters of the Beta distribution that the share of the blend is drawn from, once per batch."""


class CutMix(Entry):
    """A box of each image of a batch comes from the one before it, and labels are blended by area (Yun et al. 2019)."""

    builds = "ablation_suite.core.mix.mixing:TorchvisionMix"
    name: Literal["cutmix"] = "cutmix"
    alpha: float = Field(1.0, gt=0.0)
    """Both parameters of the Beta distribution that the area outside the box is drawn from, once per batch."""


class Either(Entry):
    """Mixup or cutmix, drawn for each batch, as timm and torchvision's recipes have it."""

    builds = "ablation_suite.core.mix.mixing:EitherMix"
    name: Literal["either"] = "either"
    mixup_alpha: float = Field(0.2, gt=0.0)
    """Both parameters of mixup's Beta distribution."""
    cutmix_alpha: float = Field(1.0, gt=0.0)
    """Both parameters of cutmix's Beta distribution."""
    probability: float = Field(1.0, ge=0.0, le=1.0)
    """Probability that a batch is mixed at all."""
    switch_probability: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that what is mixed is mixed by cutmix."""


class OwnMix(Own):
    """A mixing of your own: called as mix(images, labels) on each training batch, after the augmentation.

    Images are float32 (N, 3, H, W), labels classes (N,). It returns images of that shape, and classes (N,) or shares of
    classes (N, K). Torch's generators are seeded by (seed, epoch, step) while it runs.
    Given, where its arguments have this name: num_classes (K).
    """

    builds = "ablation_suite.core.augment.own:own_mix"
    given = ("num_classes",)
    called = ("images", "labels")


Mix = tagged(NoMix, MixUp, CutMix, Either, own=OwnMix)

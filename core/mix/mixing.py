"""How are the images and labels of a batch mixed? By torchvision's MixUp and CutMix, under a named random stream."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.transforms import v2

from ablation_suite.core.mix import CutMix, Either, MixUp, NoMix


class Unmixed:
    """Leaves images and labels as they are."""

    def __init__(self, entry: NoMix):
        self.entry = entry

    def __call__(
        self, images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """The same images and the same labels (N,); cross-entropy takes classes as it takes shares of them."""
        return images, labels


class TorchvisionMix:
    """Mixes each image of a batch, and its label, with the one before it."""

    def __init__(self, entry: MixUp | CutMix):
        self.entry = entry
        self.transform = v2.MixUp if isinstance(entry, MixUp) else v2.CutMix

    def __call__(
        self, images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Mixed images (N, C, H, W), and the share of each class in them (N, K), float32.

        torchvision draws from torch's global CPU generator; `generator`, a CPU generator too, stands in for it.
        """
        transform = self.transform(alpha=self.entry.alpha, num_classes=num_classes)
        with torch.random.fork_rng(devices=[]):
            torch.set_rng_state(generator.get_state())
            mixed = transform(images, labels)
            generator.set_state(torch.get_rng_state())
        return mixed


class EitherMix:
    """Mixes a batch by the one or the other, or leaves it as it is."""

    def __init__(self, entry: Either):
        self.entry = entry
        self.mixup, self.cutmix = (
            TorchvisionMix(MixUp(alpha=entry.mixup_alpha)),
            TorchvisionMix(CutMix(alpha=entry.cutmix_alpha)),
        )

    def __call__(
        self, images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) with shares (N, K) of classes, or with labels (N,) where the batch is not mixed."""
        happens, switch = torch.rand(2, generator=generator).tolist()
        if happens >= self.entry.probability:
            return images, labels
        chosen = self.cutmix if switch < self.entry.switch_probability else self.mixup
        return chosen(images, labels, num_classes, generator)

"""What must a part of a run do? One protocol for each family that meets the training step.

Shapes: N images of a batch, V views of each, C H W an image, D features, K classes, P draws. Nothing here draws from
global randomness: what a part needs at random is given to it, seeded by whom its docstring says.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn


class Loss(Protocol):
    """What is minimised."""

    num_views: int
    """V, the images that every training image brings: 1, or 2 where each comes with a partner."""
    joins_views: bool
    """Whether all V N images go through the network at once; else each view goes by itself (batch norm tells)."""

    def partners(self, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray | None:
        """The second view (N,) of each image of the split, as image indices; None for a loss of single images.

        Seeded by the loss itself: a pure function of (seed, epoch, image), through a named stream of `streams`.
        """
        ...

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """A scalar, the mean over N images, from logits (V N, K), pooled features (V N, D) and targets.

        Targets are classes (V N,), or shares of classes (N, K) where images were mixed. The first N rows are the first
        views, in the order of the batch. Draws nothing.
        """
        ...


class Augment(Protocol):
    """How training images are changed."""

    ran: str
    """By which way the last batch really was changed, in words for the record; empty before the first."""

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """The draws float32 (N, P) of all images of the split in one epoch, on the CPU.

        Seeded by the augmentation itself: row i is a pure function of (seed, epoch, i), through named streams.
        """
        ...

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images uint8 (N, H, W, 3) with their rows (N, P) of the draws, as float32 (N, 3, H, W) in [0, 1].

        The rows lie beside the images, or on the CPU where an attribute `draws_on_host` is true.
        Each image is a function of its own row alone, so that the order of the batch does not matter.
        """
        ...


class Mix(Protocol):
    """How the images and labels of one batch are mixed."""

    def __call__(
        self, images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W) and the classes (N,), or shares of classes (N, K), that belong to them.

        Whatever is drawn comes from `generator`, on the CPU, which the session seeds by (seed, epoch, step).
        """
        ...


class Head(Protocol):
    """A module that turns encoded features into logits."""

    def __call__(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        """Features (N, D) to logits (N, K).

        Whatever is drawn in training comes from `generator`, on the device of the features, which the session seeds by
        (seed, epoch, step); in evaluation it is None. Initial values are seeded by tensor name in `core.models`.
        """
        ...

    def parameters(self, recurse: bool = True) -> Iterator[nn.Parameter]:
        """As every torch module has them; they count as the head's in the costs."""
        ...

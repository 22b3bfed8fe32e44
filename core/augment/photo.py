"""What does an entry of the menu do to training images? Draws a table per epoch, and augments batches by its rows."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from ablation_suite.core.augment import NoAugment, batch, draws
from ablation_suite.core.augment import Photo as PhotoEntry

Batched = Callable[[Tensor, Tensor], Tensor]


class Plain:
    """Images as they are."""

    def __init__(self, entry: NoAugment, *, compile: Callable[[Batched], Batched] | None = None):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """An empty table (N, 0), for there is nothing to draw."""
        return torch.empty(num_images, 0)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [0, 1], channels last in memory."""
        return batch.to_float(images)


class Photo:
    """Augments each image by its own parameters: on the CPU by fused loops, elsewhere by torch.

    `compile` is put around the torch path, whose first batch then takes some seconds.
    """

    def __init__(self, entry: PhotoEntry, *, compile: Callable[[Batched], Batched] | None = None):
        self.entry = entry
        self.on_device: Batched = compile(batch.augment) if compile is not None else batch.augment

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """The parameters float32 (N, D) of one epoch on the CPU; row i belongs to image i of the split."""
        return torch.from_numpy(draws.table(self.entry, seed, epoch, num_images))

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Augment images uint8 (N, H, W, 3) by their rows (N, D) of the epoch's table, on the device of the images.

        Gives float32 (N, 3, H, W) in [0, 1], channels last in memory.
        """
        if images.device.type == "cpu":
            from ablation_suite.core.augment import fused  # imports numba, which other devices need not wait for

            return fused.augment(images, rows)
        return self.on_device(images, rows.to(images.device, non_blocking=True))

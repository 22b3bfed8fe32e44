"""What does an entry of the menu do to training images? Draws a table per epoch, and augments batches by its rows."""

from __future__ import annotations

import torch
from torch import Tensor

from core.augment import NoAugment
from core.augment import Photo as PhotoEntry
from core.augment import batch, draws


class Plain:
    """Images as they are."""

    def __init__(self, entry: NoAugment, *, compile: bool = False):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """An empty table (N, 0), for there is nothing to draw."""
        return torch.empty(num_images, 0)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [0, 1], channels last in memory."""
        return batch.to_float(images)


class Photo:
    """Augments each image by its own parameters: on the CPU by a fused kernel, elsewhere by torch.

    `compile` puts torch.compile around the torch path; its first batch then takes some seconds.
    """

    def __init__(self, entry: PhotoEntry, *, compile: bool = False):
        self.entry = entry
        self.torch_path = torch.compile(batch.augment) if compile else batch.augment

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """The parameters float32 (N, D) of one epoch on the CPU; row i belongs to image i of the split."""
        return torch.from_numpy(draws.table(self.entry, seed, epoch, num_images))

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Augment images uint8 (N, H, W, 3) by their rows (N, D) of the epoch's table, on the device of the images.

        Gives float32 (N, 3, H, W) in [0, 1], channels last in memory.
        """
        return self.torch_path(images, rows)

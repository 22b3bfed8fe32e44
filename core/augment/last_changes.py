"""What is done to images last of all? Grey, blur and erasing, on float32 in [0, 1]."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ablation_suite.core.augment import GaussianBlur, RandomErasing, RandomGrayscale
from ablation_suite.core.augment.batch import GREY
from ablation_suite.core.augment.crops import rectangles, start
from ablation_suite.core.training import streams


class Grayscale:
    """Some images lose their colours."""

    num_draws = 1

    def __init__(self, entry: RandomGrayscale):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Whether an image is made grey (N, 1)."""
        draws = streams.uniforms(seed, f"augment.{self.entry.name}", epoch, num_images, 1)
        return (draws < self.entry.p).astype(np.float32)

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Images (N, 3, H, W), the chosen ones in grey."""
        chosen = _rows(rows[:, 0] > 0, images)
        if len(chosen):
            red, green, blue = images[chosen].split(1, dim=1)
            grey = red * GREY[0] + green * GREY[1] + blue * GREY[2]
            images.index_copy_(0, chosen, grey.expand(-1, 3, -1, -1))
        return images


class Blur:
    """Some images are blurred, each by its own width."""

    num_draws = 1

    def __init__(self, entry: GaussianBlur):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Standard deviations (N, 1) in pixels; 0 leaves an image as it is."""
        name, (low, high) = f"augment.{self.entry.name}", self.entry.sigma
        happens = streams.uniforms(seed, f"{name}.happens", epoch, num_images, 1) < self.entry.p
        sigma = low + (high - low) * streams.uniforms(seed, f"{name}.sigma", epoch, num_images, 1)
        return np.where(happens, sigma, 0.0).astype(np.float32)

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Images (N, 3, H, W), the chosen ones blurred along one side and then the other."""
        chosen = _rows(rows[:, 0] > 0, images)
        if not len(chosen):
            return images
        size = self.entry.kernel_size
        places = np.linspace(-(size - 1) / 2, (size - 1) / 2, size)
        sigma = rows[rows[:, 0] > 0, 0, None].astype(np.float64)
        weights = np.exp(-0.5 * (places / sigma) ** 2)
        weights /= weights.sum(axis=1, keepdims=True)
        kernels = torch.from_numpy(weights.astype(np.float32)).to(images.device, non_blocking=True)  # (n, S)
        kernels = kernels.repeat_interleave(3, dim=0)[:, None]  # (3 n, 1, S)
        shape, half = (len(chosen), *images.shape[1:]), size // 2
        flat = functional.pad(images[chosen], (half, half, half, half), mode="reflect").flatten(0, 1)[None]
        flat = functional.conv2d(flat, kernels[:, :, :, None], groups=len(kernels))
        flat = functional.conv2d(flat, kernels[:, :, None, :], groups=len(kernels))
        return images.index_copy_(0, chosen, flat.reshape(shape))


class Erasing:
    """Some images lose a rectangle."""

    num_draws = 4

    def __init__(self, entry: RandomErasing):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Height, width and place (N, 4) as fractions; nothing is erased where they are 0, or where none fitted."""
        name = f"augment.{self.entry.name}"
        happens = streams.uniforms(seed, f"{name}.happens", epoch, num_images, 1)[:, 0] < self.entry.p
        high, wide, fits = rectangles(self.entry, name, seed, epoch, num_images, most=math.nextafter(1.0, 0.0))
        place = streams.uniforms(seed, f"{name}.place", epoch, num_images, 2)
        draws = np.stack([high, wide, place[:, 0], place[:, 1]], axis=1)
        return np.where((happens & fits)[:, None], draws, 0.0).astype(np.float32)

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Images (N, 3, H, W) with one grey in the rectangle of each."""
        inside = []
        for at, side in enumerate(images.shape[2:]):
            length = np.minimum(np.rint(rows[:, at].astype(np.float64) * side), side - 1)
            first = start(rows[:, 2 + at], side - length)
            ends = torch.from_numpy(np.stack([first, first + length])).to(images.device, non_blocking=True)  # (2, N)
            place = torch.arange(side, device=images.device)
            inside.append((place >= ends[0, :, None]) & (place < ends[1, :, None]))
        erased = inside[0][:, None, :, None] & inside[1][:, None, None, :]
        return images.masked_fill_(erased, self.entry.value)


def _rows(chosen: np.ndarray, images: Tensor) -> Tensor:
    """The places of the chosen images, beside them."""
    return torch.from_numpy(np.flatnonzero(chosen)).to(images.device, non_blocking=True)

"""Which part of each image is seen, and how large? Random crops, drawn as fractions of the image."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as torchvision

from ablation_suite.core.augment import RandomCrop, RandomErasing, RandomResizedCrop
from ablation_suite.core.training import streams

Mode = Literal["constant", "reflect"]
TRIES = 10
"""Rectangles that are drawn until one fits, as in torchvision."""


class ResizedCrop:
    """A part of random area and aspect, resized."""

    num_draws = 4

    def __init__(self, entry: RandomResizedCrop):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Width, height and place (N, 4), as fractions; an image for which no rectangle fits is taken whole."""
        name = f"augment.{self.entry.name}"
        wide, high, fits = rectangles(self.entry, name, seed, epoch, num_images, most=1.0)
        least, most = self.entry.ratio
        wide = np.where(fits, wide, min(1.0, most))
        high = np.where(fits, high, min(1.0, 1.0 / least))
        place = np.where(fits[:, None], streams.uniforms(seed, f"{name}.place", epoch, num_images, 2), 0.4999)
        return np.stack([wide, high, place[:, 0], place[:, 1]], axis=1).astype(np.float32)

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """The parts (N, 3, S, S) of bytes (N, 3, H, W)."""
        height, width = images.shape[2:]
        size = self.entry.size or height
        boxes = np.stack([*_along(rows[:, 1], rows[:, 3], height), *_along(rows[:, 0], rows[:, 2], width)], axis=1)
        if images.device.type == "cpu":
            # Each by itself is ten times as fast here as products with matrices that are mostly zeros.
            parts = [
                torchvision.resized_crop(image, top, left, high, wide, [size, size])
                for image, (top, high, left, wide) in zip(images, boxes.tolist(), strict=True)
            ]
            return torch.stack(parts).contiguous(memory_format=torch.channels_last)
        there = torch.from_numpy(boxes).to(images.device, non_blocking=True)
        return resized_parts(images, there, size)


class Crop:
    """A square at a random place, after padding."""

    num_draws = 2

    def __init__(self, entry: RandomCrop):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Places (N, 2), as fractions."""
        return streams.uniforms(seed, f"augment.{self.entry.name}", epoch, num_images, 2).astype(np.float32)

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Squares (N, 3, S, S) of bytes (N, 3, H, W)."""
        height, width = images.shape[2:]
        size, padding = self.entry.size or height, self.entry.padding
        top, left = (start(rows[:, at], side + 2 * padding - size) for at, side in enumerate((height, width)))
        pixels = images.permute(0, 2, 3, 1)
        cut = _cut_out if images.device.type == "cpu" else _looked_up
        return cut(pixels, top, left, size, padding, self.entry.padding_mode).permute(0, 3, 1, 2)


def _cut_out(pixels: Tensor, top: np.ndarray, left: np.ndarray, size: int, padding: int, mode: Mode) -> Tensor:
    """Squares (N, S, S, 3) of bytes (N, H, W, 3) on the host, one after the other: eight times as fast there."""
    sides = (padding, padding)
    around = np.pad(pixels.numpy(), ((0, 0), sides, sides, (0, 0)), mode=mode)
    corners = zip(around, top, left, strict=True)
    return torch.from_numpy(np.stack([image[y : y + size, x : x + size] for image, y, x in corners]))


def _looked_up(pixels: Tensor, top: np.ndarray, left: np.ndarray, size: int, padding: int, mode: Mode) -> Tensor:
    """Squares (N, S, S, 3) of bytes (N, H, W, 3) on any device, by one look-up for all."""
    num_images, height, width, _ = pixels.shape
    places, inside = [], []
    for first, side in ((top, height), (left, width)):
        steps = torch.arange(size, device=pixels.device)
        place = torch.from_numpy(first).to(pixels.device, non_blocking=True)[:, None] + steps - padding  # (N, S)
        inside.append((place >= 0) & (place < side))
        if mode == "reflect":
            place = side - 1 - (side - 1 - place.abs()).abs()
        places.append(place.clamp(0, side - 1))
    image = torch.arange(num_images, device=pixels.device)[:, None, None]
    found = pixels[image, places[0][:, :, None], places[1][:, None, :]]  # (N, S, S, 3)
    within = inside[0][:, :, None] & inside[1][:, None, :]
    return found * within[..., None] if mode == "constant" else found


def resized_parts(images: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Parts of bytes (N, 3, H, W), given as top, height, left, width (N, 4), resized to (N, 3, S, S).

    Bilinear with antialiasing, as products with a matrix for each side: no step depends on a value on the host.
    """
    down = _weights(boxes[:, 0], boxes[:, 1], images.shape[2], size)  # (N, S, H)
    across = _weights(boxes[:, 2], boxes[:, 3], images.shape[3], size)  # (N, S, W)
    resized = down[:, None] @ images.float() @ across.transpose(1, 2)[:, None]
    return resized.round_().clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def _weights(start: Tensor, length: Tensor, side: int, size: int) -> Tensor:
    """How much each pixel of a side counts (N, S, side) for each of the S pixels that a part is resized to.

    A triangle as wide as the part is shrunk, cut off at the ends of the part, its weights scaled to a sum of 1.
    """
    scale = length.float()[:, None, None] / size
    middle = start[:, None, None] + scale * (torch.arange(size, device=start.device)[:, None] + 0.5)
    pixel = torch.arange(side, device=start.device)
    weights = (1.0 - ((pixel + 0.5 - middle) / scale.clamp_min(1.0)).abs()).clamp_min(0.0)
    first = start[:, None, None]
    weights = weights * ((pixel >= first) & (pixel < first + length[:, None, None]))
    return weights / weights.sum(2, keepdim=True)


def rectangles(
    entry: RandomResizedCrop | RandomErasing, name: str, seed: int, epoch: int, num_images: int, most: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two sides as fractions of the image's, and whether one of ten draws kept both of them up to `most`.

    The first side over the second is the ratio. Areas are drawn evenly, and so are logarithms of ratios.
    """
    area = streams.uniforms(seed, f"{name}.area", epoch, num_images, TRIES)
    aspect = streams.uniforms(seed, f"{name}.ratio", epoch, num_images, TRIES)
    area = entry.scale[0] + (entry.scale[1] - entry.scale[0]) * area
    low, high = map(math.log, entry.ratio)
    root = np.exp(0.5 * (low + (high - low) * aspect))
    sides = np.sqrt(area) * root, np.sqrt(area) / root  # (N, tries) each
    fits = (sides[0] <= most) & (sides[1] <= most)
    first = fits.argmax(axis=1)[:, None]
    one, other = (np.take_along_axis(each, first, axis=1)[:, 0] for each in sides)
    return one, other, np.asarray(fits.any(axis=1))


def _along(share: np.ndarray, place: np.ndarray, side: int) -> tuple[np.ndarray, np.ndarray]:
    """Start and length (N,) in pixels along one side, of a share of it at a place in [0, 1)."""
    length = np.clip(np.rint(share.astype(np.float64) * side), 1, side)
    return start(place, side - length), length.astype(np.int64)


def start(place: np.ndarray, most: int | np.ndarray) -> np.ndarray:
    """Whole pixels (N,) from 0 to `most`, evenly, for places in [0, 1); rounded to float32 they reach 1."""
    return np.minimum(np.floor(place.astype(np.float64) * (most + 1)), most).astype(np.int64)

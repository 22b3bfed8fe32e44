"""How is a batch of images augmented, each with its own parameters? In plain torch, on any device."""

from __future__ import annotations

import torch
from torch import Tensor

from ablation_suite.core.augment.draws import (
    ANGLE,
    CONTRAST,
    FLIP_X,
    FLIP_Y,
    HUE,
    JITTERS,
    SATURATION,
    SHARPNESS,
    SHIFT_X,
    SHIFT_Y,
)

GREY = (0.2989, 0.587, 0.114)
"""Weights of red, green and blue in torchvision's grey image."""


def to_float(images: Tensor) -> Tensor:
    """Images uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [0, 1], channels last in memory."""
    return images.to(torch.float32).mul_(1.0 / 255.0).permute(0, 3, 1, 2)


def augment(images: Tensor, draws: Tensor, *, with_hue: bool = False) -> Tensor:
    """Augment images uint8 (N, H, W, 3) by their rows (N, D) of the table of `core.augment.draws`.

    Gives float32 (N, 3, H, W) in [0, 1], channels last in memory, as `torchvision.transforms.v2.functional` gives it
    for each image of float32 by itself. No step depends on a value on the host, so nothing waits for the device. Hues
    are turned only `with_hue`, which costs as much as all the rest.
    """
    pixels = _resample(images, draws)  # (N, H, W, 3)
    for column in range(JITTERS, draws.shape[1], 2):
        kind, factor = draws[:, column, None, None, None], draws[:, column + 1, None, None, None]
        jittered = _jitter(pixels, kind, factor)
        pixels = torch.where(kind == HUE, _turn_hue(pixels, factor), jittered) if with_hue else jittered
    return _sharpen(pixels, draws[:, SHARPNESS]).permute(0, 3, 1, 2)


def _resample(images: Tensor, draws: Tensor) -> Tensor:
    """Flips, then rotation and shift about the centre, in one look-up of nearest neighbours; black outside.

    Coordinates are normalised to [-1, 1] and back as `grid_sample` does it, so that ties round to the same pixels.
    """
    num_images, height, width, _ = images.shape
    column = draws[:, :, None, None]
    angle = torch.deg2rad(column[:, ANGLE].double())
    cos, sin = angle.cos().float(), angle.sin().float()  # (N, 1, 1)
    across = torch.arange(width, device=images.device) - 0.5 * (width - 1)
    down = torch.arange(height, device=images.device) - 0.5 * (height - 1)
    x = across[None, None, :] - torch.round(column[:, SHIFT_X] * width)  # (N, 1, W)
    y = down[None, :, None] - torch.round(column[:, SHIFT_Y] * height)  # (N, H, 1)
    half_width, half_height = 0.5 * width, 0.5 * height
    source_x = torch.round((x * (cos / half_width) + y * (-sin / half_width) + 1.0) * half_width - 0.5)
    source_y = torch.round((x * (sin / half_height) + y * (cos / half_height) + 1.0) * half_height - 0.5)
    inside = (source_x >= 0) & (source_x < width) & (source_y >= 0) & (source_y < height)  # (N, H, W)
    source_x = torch.where(column[:, FLIP_X] > 0, width - 1 - source_x, source_x).clamp(0, width - 1)
    source_y = torch.where(column[:, FLIP_Y] > 0, height - 1 - source_y, source_y).clamp(0, height - 1)
    first = torch.arange(num_images, device=images.device)[:, None, None] * (height * width)
    source = first + source_y.long() * width + source_x.long()
    pixels = images.reshape(-1, 3)[source]  # (N, H, W, 3)
    return torch.where(inside[..., None], pixels, 0).to(torch.float32) * (1.0 / 255.0)


def _jitter(pixels: Tensor, kind: Tensor, factor: Tensor) -> Tensor:
    """Blend each image with black, its mean grey or its grey image, as its kind of jitter (N, 1, 1, 1) says."""
    red, green, blue = pixels.unbind(3)
    grey = (GREY[0] * red + GREY[1] * green + GREY[2] * blue)[..., None]  # (N, H, W, 1)
    mean = grey.mean(dim=(1, 2, 3), keepdim=True)
    other = torch.where(kind == SATURATION, grey, torch.where(kind == CONTRAST, mean, 0.0))
    return (pixels * factor + other * (1.0 - factor)).clamp(0.0, 1.0)


def _turn_hue(pixels: Tensor, turn: Tensor) -> Tensor:
    """Turn the hue of each pixel, by way of hue, saturation and value; the channels as functions of the hue.

    The usual six cases are one formula: channel n of (5, 3, 1) is v - v s max(0, min(k, 4 - k, 1)), k = n + 6 h mod 6.
    """
    least, value = torch.aminmax(pixels, dim=3, keepdim=True)
    reach = value - least
    red, green, blue = pixels.split(1, dim=3)
    some = torch.where(reach > 0, reach, 1.0)
    by_blue = torch.where(value == green, 2.0 + (blue - red) / some, 4.0 + (red - green) / some)
    sixths = torch.where(value == red, (green - blue) / some, by_blue)
    k = (torch.arange(5.0, 0.0, -2.0, device=pixels.device) + sixths + 6.0 * turn).remainder(6.0)
    turned = value - reach * torch.minimum(k, 4.0 - k).clamp(0.0, 1.0)
    return torch.where(turn == 0.0, pixels, turned)


def _sharpen(pixels: Tensor, factor: Tensor) -> Tensor:
    """Move each image away from its smoothed self (3x3, ones around a five); the outermost pixels stay."""
    if min(pixels.shape[1:3]) < 3:
        return pixels
    inner = pixels[:, 1:-1, 1:-1]
    rows = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    smooth = (rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4.0 * inner) * (1.0 / 13.0)
    sharp = (inner + (1.0 - factor[:, None, None, None]) * (smooth - inner)).clamp(0.0, 1.0)
    result = pixels.clone()
    result[:, 1:-1, 1:-1] = sharp
    return result

"""What do the operations of RandAugment and its kin do? Each to a batch of bytes, every image with its own strength.

They are torchvision's, as `torchvision.transforms.v2.functional` has them for bytes; a test holds each to it.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample
from torchvision.transforms.v2 import functional as torchvision

from ablation_suite.core.augment.batch import GREY

NAMES = (
    "Identity",
    "ShearX",
    "ShearY",
    "TranslateX",
    "TranslateY",
    "Rotate",
    "Brightness",
    "Color",
    "Contrast",
    "Sharpness",
    "Posterize",
    "Solarize",
    "AutoContrast",
    "Equalize",
    "Invert",
)
"""The operations by number, as tables of draws hold them; Identity is 0."""
MOVES = NAMES[1:6]
SIGNED = NAMES[1:10]
"""Operations whose strength may be turned into its opposite."""


def apply(images: Tensor, kinds: np.ndarray, strengths: np.ndarray, interpolation: str = "nearest") -> Tensor:
    """One operation for each image: bytes (N, 3, H, W), the number (N,) of its operation and its strength (N,).

    Kinds and strengths lie on the host, so that the images of one kind are taken together without a wait.
    """
    result = images.clone()
    for kind in np.unique(kinds[kinds > 0]):
        rows = np.flatnonzero(kinds == kind)
        there = _on(torch.from_numpy(rows), images)
        chosen = images if len(rows) == len(images) else images[there]
        name = NAMES[kind]
        if name in MOVES:
            done = _move(chosen, _matrices(name, strengths[rows], *images.shape[2:]), interpolation)
        else:
            done = COLOURS[name](chosen, strengths[rows].astype(np.float64))
        result.index_copy_(0, there, done)
    return result


def _matrices(name: str, strength: np.ndarray, height: int, width: int) -> Tensor:
    """The maps (N, 2, 3), float32, from places of the result to those of the image, around the middle, in pixels.

    A shear leaves the upper left corner where it is; shifts are whole pixels.
    """
    maps = np.tile(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), (len(strength), 1, 1))
    strength = strength.astype(np.float64)
    if name == "ShearX":
        maps[:, 0, 1], maps[:, 0, 2] = strength, strength * height / 2
    elif name == "ShearY":
        maps[:, 1, 0], maps[:, 1, 2] = strength, strength * width / 2
    elif name in ("TranslateX", "TranslateY"):
        maps[:, int(name == "TranslateY"), 2] = -np.trunc(strength)
    else:
        angle = np.radians(strength)
        maps[:, 0, 0] = maps[:, 1, 1] = np.cos(angle)
        maps[:, 0, 1], maps[:, 1, 0] = -np.sin(angle), np.sin(angle)
    return torch.from_numpy(maps.astype(np.float32))


def _move(images: Tensor, maps: Tensor, interpolation: str) -> Tensor:
    """Images looked up at the places that maps (N, 2, 3) lead to; black outside."""
    height, width = images.shape[2:]
    across = torch.linspace((1.0 - width) * 0.5, (width - 1.0) * 0.5, width, device=images.device)
    down = torch.linspace((1.0 - height) * 0.5, (height - 1.0) * 0.5, height, device=images.device)
    ones = torch.ones(height, width, device=images.device)
    places = torch.stack([*torch.meshgrid(across, down, indexing="xy"), ones])  # (3, H, W)
    half = torch.tensor([0.5 * width, 0.5 * height])
    scaled = _on(maps.transpose(1, 2) / half, images)  # (N, 3, 2)
    grid = (places.flatten(1).T @ scaled).unflatten(1, (height, width))  # (N, H, W, 2)
    found = grid_sample(images.float(), grid, mode=interpolation, padding_mode="zeros", align_corners=False)
    return found.round_().to(torch.uint8)


def _brightness(images: Tensor, strength: np.ndarray) -> Tensor:
    return images.float().mul_(_each(1.0 + strength, images)).clamp_(0, 255).to(torch.uint8)


def _color(images: Tensor, strength: np.ndarray) -> Tensor:
    return _blended(images, _grey(images), strength)


def _contrast(images: Tensor, strength: np.ndarray) -> Tensor:
    return _blended(images, _grey(images).mean(dim=(1, 2, 3), keepdim=True), strength)


def _blended(images: Tensor, other: Tensor, strength: np.ndarray) -> Tensor:
    kept = images.float().mul_(_each(1.0 + strength, images))
    return kept.add_(other * _each(-strength, images)).clamp_(0, 255).to(torch.uint8)


def _grey(images: Tensor) -> Tensor:
    """Grey (N, 1, H, W), whole numbers as float32."""
    red, green, blue = images.float().split(1, dim=1)
    return (red * GREY[0]).add_(green, alpha=GREY[1]).add_(blue, alpha=GREY[2]).floor_()


def _sharpness(images: Tensor, strength: np.ndarray) -> Tensor:
    if min(images.shape[2:]) < 3:
        return images
    result = images.float()
    kernel = torch.full((3, 3), 1.0 / 13.0)
    kernel[1, 1] = 5.0 / 13.0
    smooth = torch.nn.functional.conv2d(result, _on(kernel, images).expand(3, 1, 3, 3), groups=3).round_()
    inner = result[:, :, 1:-1, 1:-1]
    inner.add_((smooth - inner) * _each(-strength, images))
    return result.clamp_(0, 255).to(torch.uint8)


def _posterize(images: Tensor, strength: np.ndarray) -> Tensor:
    masks = 256 - (1 << (8 - strength.astype(np.int64)))
    return images & _each(masks, images, torch.uint8)


def _solarize(images: Tensor, strength: np.ndarray) -> Tensor:
    return torch.where(images >= _each(255.0 * strength, images), 255 - images, images)


COLOURS: dict[str, Callable[[Tensor, np.ndarray], Tensor]] = {
    "Brightness": _brightness,
    "Color": _color,
    "Contrast": _contrast,
    "Sharpness": _sharpness,
    "Posterize": _posterize,
    "Solarize": _solarize,
    "AutoContrast": lambda images, strength: torchvision.autocontrast(images),
    "Equalize": lambda images, strength: torchvision.equalize(images),
    "Invert": lambda images, strength: 255 - images,
}
"""What acts on colours alone, by its name; those whose strength is none are torchvision's own, which take batches."""


def _each(values: np.ndarray, images: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
    """A value per image as (N, 1, 1, 1) beside the images."""
    return _on(torch.from_numpy(values).to(dtype), images)[:, None, None, None]


def _on(values: Tensor, images: Tensor) -> Tensor:
    return values.to(images.device, non_blocking=True)

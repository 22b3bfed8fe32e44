"""What happens to each image in one epoch? A table of parameters, one row per image of the split."""

from __future__ import annotations

import numpy as np

from core import streams
from core.augment import Photo

FLIP_X, FLIP_Y, ANGLE, SHIFT_X, SHIFT_Y, SHARPNESS, JITTERS = range(7)
"""Columns of the table: flips 0 or 1, the angle in degrees (counter-clockwise), shifts as fractions of the side, the
sharpness factor; from JITTERS on, one pair (kind, factor) for each jitter, in the order in which they are applied."""

BRIGHTNESS, CONTRAST, SATURATION = range(3)
"""Kinds of jitter, as they stand in the table."""


def table(entry: Photo, seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The parameters of every image in one epoch, float32 (N, D) with the columns above.

    A row is a function of (seed, epoch, image index), and each operation draws from a stream of its own name, so
    that removing an operation shifts no other's draws.
    """

    def uniforms(operation: str, num_draws: int) -> np.ndarray:
        return streams.uniforms(seed, f"augment.{operation}", epoch, num_images, num_draws)

    def happens(operation: str, probability: float) -> np.ndarray:
        return uniforms(operation, 1)[:, 0] < probability

    draws = np.zeros((num_images, JITTERS), dtype=np.float32)
    draws[:, FLIP_X] = happens("horizontal_flip", entry.horizontal_flip)
    draws[:, FLIP_Y] = happens("vertical_flip", entry.vertical_flip)
    draws[:, ANGLE] = _between(uniforms("rotation", 1)[:, 0], 0.0, entry.rotation)
    draws[:, [SHIFT_X, SHIFT_Y]] = _between(uniforms("translate", 2), 0.0, entry.translate)
    draws[:, SHARPNESS] = np.where(happens("sharpness", entry.sharpness_probability), entry.sharpness, 1.0)
    return np.concatenate([draws, _jitters(entry, uniforms)], axis=1)


def _jitters(entry: Photo, uniforms) -> np.ndarray:  # type: ignore[no-untyped-def]
    """Pairs (kind, factor) of the jitters that the entry has, (N, 2J), each row in an order of its own.

    Each jitter draws its factor and its place in the order; sorting by place makes every order equally likely.
    """
    kinds = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION}
    used = [name for name in kinds if getattr(entry, name) > 0.0]
    pairs = [uniforms(name, 2) for name in used]  # (N, 2) each
    num_images = len(uniforms("order", 0))
    places = np.empty((num_images, len(used)))
    jitters = np.empty((num_images, len(used), 2), dtype=np.float32)
    for column, (name, draw) in enumerate(zip(used, pairs, strict=True)):
        places[:, column] = draw[:, 1]
        jitters[:, column, 0] = kinds[name]
        jitters[:, column, 1] = _between(draw[:, 0], 1.0, getattr(entry, name))
    ordered = np.take_along_axis(jitters, places.argsort(axis=1)[:, :, None], axis=1)
    return ordered.reshape(num_images, 2 * len(used))


def _between(uniform: np.ndarray, middle: float, radius: float) -> np.ndarray:
    """Draws in [0, 1) as draws in [middle - radius, middle + radius)."""
    return middle + radius * (2.0 * uniform - 1.0)

"""What happens to each image in one epoch? A table of parameters, one row per image of the split."""

from __future__ import annotations

import numpy as np

from ablation_suite.core.augment import Photo
from ablation_suite.core.training import streams

FLIP_X, FLIP_Y, ANGLE, SHIFT_X, SHIFT_Y, SHARPNESS, JITTERS = range(7)
"""Columns of the table: flips 0 or 1, the angle in degrees (counter-clockwise), shifts as fractions of the side, the
sharpness factor; from JITTERS on, one pair (kind, factor) for each jitter, in the order in which they are applied."""

BRIGHTNESS, CONTRAST, SATURATION, HUE = range(4)
KINDS = {"brightness": BRIGHTNESS, "contrast": CONTRAST, "saturation": SATURATION, "hue": HUE}
"""Kinds of jitter, as they stand in the table."""
NEUTRAL = (1.0, 1.0, 1.0, 0.0)
"""The factor of each kind that changes nothing."""


def table(entry: Photo, seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The parameters of every image in one epoch, float32 (N, D) with the columns above.

    A row is a function of (seed, epoch, image index), and each operation draws from a stream of its own name, so
    that removing an operation shifts no other's draws.
    """

    def uniforms(operation: str, num_draws: int) -> np.ndarray:
        return streams.uniforms(seed, f"augment.{operation}", epoch, num_images, num_draws)

    def happens(operation: str, probability: float) -> np.ndarray:
        return uniforms(operation, 1)[:, 0] < probability

    draws = np.empty((num_images, JITTERS), dtype=np.float32)
    draws[:, FLIP_X] = happens("horizontal_flip", entry.horizontal_flip)
    draws[:, FLIP_Y] = happens("vertical_flip", entry.vertical_flip)
    draws[:, ANGLE] = _between(uniforms("rotation", 1)[:, 0], 0.0, entry.rotation)
    draws[:, [SHIFT_X, SHIFT_Y]] = _between(uniforms("translate", 2), 0.0, entry.translate)
    draws[:, SHARPNESS] = np.where(happens("sharpness", entry.sharpness_probability), entry.sharpness, 1.0)
    radii = {name: getattr(entry, name) for name in KINDS}
    jitters = [(KINDS[name], radius, uniforms(name, 2)) for name, radius in radii.items() if radius > 0.0]
    pairs = _in_random_order(jitters)
    if entry.jitter_probability < 1.0:
        still = ~happens("jitter", entry.jitter_probability)
        for pair in pairs:
            pair[still, 1] = np.array(NEUTRAL)[pair[still, 0].astype(int)]
    return np.concatenate([draws, *pairs], axis=1)


def _in_random_order(jitters: list[tuple[int, float, np.ndarray]]) -> list[np.ndarray]:
    """Pairs (kind, factor) of the jitters, (N, 2) for each place, where each image has an order of its own.

    Each jitter brings two draws per image: its factor and its place; sorting by place makes every order equally
    likely, and leaves the others in their order where one is removed.
    """
    if not jitters:
        return []
    places = np.stack([uniform[:, 1] for _, _, uniform in jitters], axis=1)  # (N, J)
    kinds = np.array([kind for kind, _, _ in jitters])  # (J,)
    factors = [_between(uniform[:, 0], NEUTRAL[kind], radius) for kind, radius, uniform in jitters]
    order = places.argsort(axis=1)  # (N, J)
    in_order = np.take_along_axis(np.stack(factors, axis=1), order, axis=1)  # (N, J)
    pairs = np.stack([kinds[order], in_order], axis=2).astype(np.float32)
    return [pairs[:, place] for place in range(len(jitters))]


def _between(uniform: np.ndarray, middle: float, radius: float) -> np.ndarray:
    """Draws in [0, 1) as draws in [middle - radius, middle + radius)."""
    return middle + radius * (2.0 * uniform - 1.0)

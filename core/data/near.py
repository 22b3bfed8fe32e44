"""Which images are the same picture in other bytes: in another format, at another quality, at another size?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ablation_suite.core.runs.files import sha256

SIDE = 16
"""Height and width, in cells, of the grey sketch by which pictures are compared."""
MAX_DIFFERENCE = 0.15
"""Root mean square difference of two sketches, as a share of the smaller spread of grey within them.

Photographs saved as JPEG at quality 30 to 95 differ by 0.003 to 0.011, halved in size by 0.014, noise of 32 pixels at
quality 75 by 0.105; the nearest two of the 7,000 different photographs of a part of CIFAR-10 by 0.20.
"""
MIN_SPREAD = 1.0
"""Standard deviation of grey below which a sketch is flat: such pictures are the same only to the pixel."""
BLOCK = 1024


class Sketch(NamedTuple):
    """What is kept of an image to find its likes."""

    grey: np.ndarray  # SIDE * SIDE, float32, the mean of each cell in [0, 255]
    pixels: str  # SHA-256 of size and pixels


def sketch(image: Image.Image) -> Sketch:
    """The sketch of an RGB image."""
    grey = np.asarray(image.convert("L").resize((SIDE, SIDE), Image.Resampling.BOX), np.float32).ravel()
    return Sketch(grey, sha256(f"{image.size}".encode() + image.tobytes()))


def groups(sketches: Sequence[Sketch]) -> list[list[int]]:
    """Indices of images that are the same picture, through whatever chain of pairs; groups of two and more, in order.

    Brightness is compared first: sketches that differ by d in root mean square differ by at most d in their means.
    """
    if not sketches:
        return []
    first = {each.pixels: i for i, each in reversed(list(enumerate(sketches)))}
    ends = [(np.arange(len(sketches)), np.array([first[each.pixels] for each in sketches]))]
    grey = np.stack([each.grey for each in sketches])  # N SIDE*SIDE
    mean, spread = grey.mean(axis=1), grey.std(axis=1)
    limit = MAX_DIFFERENCE * spread
    order = np.array(sorted(first.values(), key=lambda i: mean[i]))
    order = order[spread[order] >= MIN_SPREAD]
    for start in range(0, len(order), BLOCK):
        rows = order[start : start + BLOCK]
        farthest = mean[rows[-1]] + limit[rows].max()
        others = order[start : np.searchsorted(mean[order], farthest, side="right")]
        squares = (grey[rows] ** 2).sum(1)[:, None] + (grey[others] ** 2).sum(1) - 2.0 * grey[rows] @ grey[others].T
        # Where two sketches are equal, the rounding of the large squares is left.
        near = squares / grey.shape[1] <= np.minimum(limit[rows][:, None], limit[others]) ** 2 + 1e-2
        i, j = np.nonzero(near)
        ends.append(_spanning(rows[i], others[j], len(sketches)))
    i, j = (np.concatenate(side) for side in zip(*ends, strict=True))
    found: dict[int, list[int]] = {}
    for index, label in enumerate(_components(i, j, len(sketches))):
        found.setdefault(int(label), []).append(index)
    return [group for group in found.values() if len(group) > 1]


def _spanning(i: np.ndarray, j: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """As few pairs as connect the same indices: a thousand copies are half a million pairs."""
    touched = np.unique(np.concatenate([i, j]))
    labels = _components(i, j, count)[touched]
    _, first, which = np.unique(labels, return_index=True, return_inverse=True)
    return touched, touched[first][which]


def _components(i: np.ndarray, j: np.ndarray, count: int) -> np.ndarray:
    """The number of the group that each index belongs to, where the pairs are connected."""
    pairs = coo_array((np.ones(len(i), bool), (i, j)), shape=(count, count))
    return connected_components(pairs, directed=False)[1]

"""What is contrast-limited adaptive equalisation of a grey image? OpenCV's, in NumPy (Zuiderveld 1994)."""

from __future__ import annotations

import numpy as np

LEVELS = 256


def equalized(grey: np.ndarray, clip_limit: float, tiles: int) -> np.ndarray:
    """A grey image (H, W) uint8, each pixel mapped by the four nearest of `tiles` x `tiles` equalisations."""
    height, width = grey.shape
    # As OpenCV pads, where the tiles do not come out even: a whole number of tiles, mirrored at the edge.
    below, right = (tiles - side % tiles for side in (height, width)) if height % tiles or width % tiles else (0, 0)
    padded = np.pad(grey, ((0, below), (0, right)), mode="reflect")
    tile_height, tile_width = padded.shape[0] // tiles, padded.shape[1] // tiles
    maps = _maps(padded, tile_height, tile_width, clip_limit, tiles)  # (T, T, 256), float32
    upper, lower, down = _between(height, tile_height, tiles)
    left, after, across = _between(width, tile_width, tiles)
    corners = [[maps[row[:, None], column, grey] for column in (left, after)] for row in (upper, lower)]
    rows = [one * (1.0 - across) + other * across for one, other in corners]
    blended = rows[0] * (1.0 - down[:, None]) + rows[1] * down[:, None]
    return np.rint(blended).clip(0, LEVELS - 1).astype(np.uint8)


def _maps(padded: np.ndarray, tile_height: int, tile_width: int, clip_limit: float, tiles: int) -> np.ndarray:
    """What each level becomes in each tile: its share of the clipped histogram below it."""
    area = tile_height * tile_width
    tile = np.arange(padded.shape[0])[:, None] // tile_height * tiles + np.arange(padded.shape[1]) // tile_width
    counts = np.bincount((tile * LEVELS + padded).ravel(), minlength=tiles * tiles * LEVELS).reshape(-1, LEVELS)
    most = max(1, int(clip_limit * area / LEVELS))
    over = np.maximum(counts - most, 0).sum(axis=1)  # (T T,)
    counts = np.minimum(counts, most) + over[:, None] // LEVELS
    for row, rest in zip(counts, over % LEVELS, strict=True):
        if rest:  # one more for every so many levels
            row[:: max(1, LEVELS // rest)][:rest] += 1
    shares = np.rint(counts.cumsum(axis=1).astype(np.float32) * np.float32((LEVELS - 1) / area))
    return shares.clip(0, LEVELS - 1).astype(np.float32).reshape(tiles, tiles, LEVELS)


def _between(side: int, tile: int, tiles: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each pixel along a side, the tiles whose middles lie before and after it, and how near the latter is."""
    place = np.arange(side, dtype=np.float32) * np.float32(1.0 / tile) - np.float32(0.5)
    before = np.floor(place).astype(int)
    share = (place - before).astype(np.float32)
    return before.clip(0), (before + 1).clip(None, tiles - 1), share

"""Which images are held out? A stratified draw that depends on the labels and its own seed alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from core import streams


def stratified(labels: np.ndarray, held_out: Sequence[float], seed: int) -> list[np.ndarray]:
    """Divide images by class: the rest first, then one part per share held out; each part is sorted (int64).

    A class gives each part its share, rounded, but at least one image, and keeps at least one in the rest. Every class
    has a stream of its own, so more images in one class move no image of another.
    """
    parts: list[list[np.ndarray]] = [[] for _ in range(len(held_out) + 1)]
    for label in np.unique(labels):
        rows = streams.generator(seed, "split", int(label)).permutation(np.flatnonzero(labels == label))
        for part, share in zip(parts[1:], held_out, strict=True):
            count = max(1, int(share * np.count_nonzero(labels == label) + 0.5))
            count = min(count, len(rows) - 1)
            part.append(rows[:count])
            rows = rows[count:]
        parts[0].append(rows)
    return [np.sort(np.concatenate(part)) for part in parts]

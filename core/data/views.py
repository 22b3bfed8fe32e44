"""What stands in for an array of images that is not one? A choice of its rows, or files decoded on the fly."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np

from ablation_suite.core.data import Form, parallel
from ablation_suite.core.data.dataset import Images


class Decoder(Protocol):
    """The images of one split, decoded one at a time, from any thread."""

    form: Form

    def __len__(self) -> int: ...

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        """Pixels of that form, uint8 (H, W, 3), and label (-1: none) of one image; raises Unreadable."""


class Rows:
    """Chosen rows of other images, without a copy."""

    def __init__(self, images: Images, rows: np.ndarray):
        self.images, self.rows = images, rows
        self.shape = (len(rows), *images.shape[1:])

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.images[self.rows[index]]


class Middle:
    """The middle of other images, a square, without a copy of the rest."""

    def __init__(self, images: Images, side: int):
        self.images = images
        height, width = images.shape[1:3]
        top, left = round((height - side) / 2), round((width - side) / 2)  # as torchvision's center_crop
        self.box = (Ellipsis, slice(top, top + side), slice(left, left + side), slice(None))
        self.shape = (len(images), side, side, 3)

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: Any) -> np.ndarray:
        return self.images[index][self.box]


def middle(images: Images, side: int | None) -> Images:
    """The middle of images, or the images where no side is given."""
    return images if side is None else Middle(images, side)


class OnTheFly:
    """Images that are decoded anew each time they are asked for, on all cores."""

    def __init__(self, decoder: Decoder):
        self.decoder = decoder
        self.shape = (len(decoder), decoder.form.size, decoder.form.size, 3)

    def __len__(self) -> int:
        return len(self.decoder)

    def __getitem__(self, index: Any) -> np.ndarray:
        rows = np.arange(len(self))[index]
        if rows.ndim == 0:
            return self.decoder(int(rows))[0]
        images = parallel.each(lambda i: self.decoder(int(rows[i]))[0], len(rows))
        return np.stack(images) if images else np.empty((0, *self.shape[1:]), np.uint8)

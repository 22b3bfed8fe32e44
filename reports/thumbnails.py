"""What do the images look like that a report names? Small PNG files, from the data set of the baseline."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite.core.config.menu import build

if TYPE_CHECKING:
    from ablation_suite.core.config.runtime import Runtime
    from ablation_suite.core.data import Data
    from ablation_suite.core.data.dataset import Split

SMALLEST, LARGEST = 64, 96
"""Pixels: the shorter side is enlarged to at least, the longer one reduced to at most."""


def thumbnails(data: Data, runtime: Runtime) -> Callable[[str, str], bytes | None]:
    """(split, name of an image) -> its PNG; the data is opened when the first image is asked for.

    None for an image that is not there, and for all of them where the data cannot be read: a report does without.
    """

    @cache
    def splits() -> Mapping[str, tuple[Split, dict[str, int]]]:
        try:
            source = build(data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
            found = source.load().splits
        except (OSError, ValueError, ImportError):
            return {}
        return {name: (split, {image: row for row, image in enumerate(split.names)}) for name, split in found.items()}

    def image(split: str, name: str) -> bytes | None:
        images, rows = splits().get(split, (None, {}))
        return png(images.images[rows[name]]) if images is not None and name in rows else None

    return image


def png(pixels: Any) -> bytes:
    """One image, uint8 (H, W, 3), as a PNG of a size to look at; small ones are enlarged pixel by pixel."""
    import numpy as np
    from PIL import Image

    image = Image.fromarray(np.asarray(pixels))
    times = -(-SMALLEST // min(image.size))
    if times > 1:
        image = image.resize((times * image.width, times * image.height), Image.Resampling.NEAREST)
    else:
        image.thumbnail((LARGEST, LARGEST))
    file = io.BytesIO()
    image.save(file, "png")
    return file.getvalue()

"""A data set of my own: drawn stripes, upright, lying and slanted. Yours may read files below `root` instead."""

import numpy as np

CLASSES = ["upright", "lying", "slanted"]


def stripes(num_images: int = 300, size: int = 16) -> dict[str, object]:
    """Train, validation and test images with their labels, as arrays; a sequence of (image, label) would do as well.

    An argument `root`, or one that is annotated with Path, names files, whose content then counts as the data's.
    """
    draws = np.random.default_rng(0)  # one with a fixed seed: every process has to see the same images
    down, across = np.mgrid[:size, :size]
    labels = draws.integers(len(CLASSES), size=num_images)
    lines = np.stack([across, down, across + down])[labels]  # (N, H, W)
    phases = draws.uniform(0.0, 2.0 * np.pi, (num_images, 1, 1))
    grey = 128 + 60 * np.sin(1.5 * lines + phases) + draws.normal(0.0, 20.0, lines.shape)
    images = np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=3)  # (N, H, W, 3)
    parts = np.split(np.arange(num_images), [num_images * 6 // 10, num_images * 8 // 10])
    splits = {name: (images[rows], labels[rows]) for name, rows in zip(("train", "val", "test"), parts, strict=True)}
    return {**splits, "classes": CLASSES}

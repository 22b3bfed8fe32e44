"""How is a batch augmented fastest on the CPU? Image by image in compiled loops, each in the core's own cache.

The arithmetic is that of `core.augment.batch`, which a test holds it to; each image is computed by one thread, so that
the result does not depend on their number.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numba import njit
from torch import Tensor

# numba's cache notices a change of this file only: delete core/augment/__pycache__ when one of these moves.
from ablation_suite.core.augment.batch import GREY
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

RED, GREEN, BLUE = map(np.float32, GREY)
ZERO, HALF, ONE, FIVE, SCALE, THIRTEENTH = map(np.float32, (0.0, 0.5, 1.0, 5.0, 1.0 / 255.0, 1.0 / 13.0))

exact = njit(nogil=True, cache=True)
"""Compiles as written: each product is rounded before it is added, as torchvision's coordinates are."""

fast = njit(nogil=True, cache=True, fastmath=True)
"""Compiles with sums in any order, for colours are never NaN."""


def augment(images: Tensor, draws: Tensor) -> Tensor:
    """What `core.augment.batch.augment` gives, for images uint8 (N, H, W, 3) and draws float32 (N, D) on the CPU.

    Works on `torch.get_num_threads()` threads.
    """
    num_images, height, width, _ = images.shape
    # NumPy asks for huge pages where torch does not: a third of the time would go into faults of small ones.
    result = np.empty((num_images, height, width, 3), dtype=np.float32)
    arrays = images.contiguous().numpy(), draws.contiguous().numpy(), result
    num_threads = min(torch.get_num_threads(), num_images)
    if num_threads <= 1:
        _augment(*arrays)
    else:
        with ThreadPoolExecutor(num_threads) as pool:
            list(pool.map(_augment, *(np.array_split(array, num_threads) for array in arrays)))
    return torch.from_numpy(result).permute(0, 3, 1, 2)


@exact
def _augment(images, draws, result):  # type: ignore[no-untyped-def]
    """Augment images (N, H, W, 3) by their draws (N, D) into result (N, H, W, 3)."""
    num_images, height, width, _ = images.shape
    planes = np.empty((3, height, width), dtype=np.float32)
    words = np.empty(1 + height * width, dtype=np.uint32)
    for index in range(num_images):
        row = draws[index]
        _pack(images[index].reshape(-1), words)
        _resample(words, row, planes)
        for column in range(JITTERS, len(row), 2):
            _jitter(planes, row[column], row[column + 1])
        _sharpen(planes, row[SHARPNESS], result[index])


@exact
def _pack(values, words):  # type: ignore[no-untyped-def]
    """Pixels (3 H W,) as one word each, after a first word that is black: what lies outside the image."""
    words[0] = 0
    for pixel in range(len(words) - 1):
        at = 3 * pixel
        red, green, blue = np.uint32(values[at]), np.uint32(values[at + 1]), np.uint32(values[at + 2])
        words[1 + pixel] = red | green << np.uint32(8) | blue << np.uint32(16)


@exact
def _resample(words, row, planes):  # type: ignore[no-untyped-def]
    """Flips, rotation and shift of words (1 + H W,) into planes (3, H, W) in [0, 1].

    Three loops for each row of pixels, since the first and the last can use vector instructions and the look-up cannot.
    """
    _, height, width = planes.shape
    angle = math.radians(np.float64(row[ANGLE]))
    cos, sin = np.float32(math.cos(angle)), np.float32(math.sin(angle))
    half_width, half_height = np.float32(0.5 * width), np.float32(0.5 * height)
    x_by_x, x_by_y, y_by_x, y_by_y = cos / half_width, -sin / half_width, sin / half_height, cos / half_height
    left = np.float32(-0.5 * (width - 1)) - np.rint(row[SHIFT_X] * np.float32(width))
    top = np.float32(-0.5 * (height - 1)) - np.rint(row[SHIFT_Y] * np.float32(height))
    flip_x, flip_y = row[FLIP_X] > 0, row[FLIP_Y] > 0
    first = np.int32(1 + (width - 1 if flip_x else 0) + (width * (height - 1) if flip_y else 0))
    step_x, step_y = np.int32(-1 if flip_x else 1), np.int32(-width if flip_y else width)
    limit_x, limit_y = np.float32(width), np.float32(height)
    source = np.empty(width, dtype=np.uint32)
    found = np.empty(width, dtype=np.uint32)
    for line in range(height):
        y = np.float32(line) + top
        for column in range(width):
            x = np.float32(np.int32(column)) + left
            source_x = np.rint((x * x_by_x + y * x_by_y + ONE) * half_width - HALF)
            source_y = np.rint((x * y_by_x + y * y_by_y + ONE) * half_height - HALF)
            inside = (source_x >= 0) & (source_x < limit_x) & (source_y >= 0) & (source_y < limit_y)
            word = first + np.int32(source_x) * step_x + np.int32(source_y) * step_y
            source[column] = np.uint32(word if inside else 0)
        for column in range(width):
            found[column] = words[source[column]]
        red, green, blue = planes[0, line], planes[1, line], planes[2, line]
        for column in range(width):
            word = found[column]
            red[column] = np.float32(np.int32(word & np.uint32(255))) * SCALE
            green[column] = np.float32(np.int32(word >> np.uint32(8) & np.uint32(255))) * SCALE
            blue[column] = np.float32(np.int32(word >> np.uint32(16))) * SCALE


@fast
def _jitter(planes, kind, factor):  # type: ignore[no-untyped-def]
    """Blend planes (3, H, W), in place, with black, their mean grey or their grey image."""
    if kind == SATURATION:
        _blend_with_grey(planes, factor)
        return
    if kind == HUE:
        if factor != ZERO:
            _turn_hue(planes, factor)
        return
    other = _mean_grey(planes) if kind == CONTRAST else ZERO
    flat = planes.reshape(-1)
    rest = other * (ONE - factor)
    for pixel in range(len(flat)):
        flat[pixel] = _clamp(flat[pixel] * factor + rest)


@fast
def _mean_grey(planes):  # type: ignore[no-untyped-def]
    _, height, width = planes.shape
    total = np.float64(0.0)
    for line in range(height):
        red, green, blue = planes[0, line], planes[1, line], planes[2, line]
        line_total = ZERO
        for column in range(width):
            line_total += RED * red[column] + GREEN * green[column] + BLUE * blue[column]
        total += line_total
    return np.float32(total / (height * width))


@fast
def _blend_with_grey(planes, factor):  # type: ignore[no-untyped-def]
    red, green, blue = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    for pixel in range(len(red)):
        rest = (RED * red[pixel] + GREEN * green[pixel] + BLUE * blue[pixel]) * (ONE - factor)
        red[pixel] = _clamp(red[pixel] * factor + rest)
        green[pixel] = _clamp(green[pixel] * factor + rest)
        blue[pixel] = _clamp(blue[pixel] * factor + rest)


@fast
def _turn_hue(planes, turn):  # type: ignore[no-untyped-def]
    red, green, blue = planes[0].reshape(-1), planes[1].reshape(-1), planes[2].reshape(-1)
    for pixel in range(len(red)):
        r, g, b = red[pixel], green[pixel], blue[pixel]
        value = max(r, g, b)
        reach = value - min(r, g, b)
        some = reach if reach > ZERO else ONE
        if value == r:
            sixths = (g - b) / some
        elif value == g:
            sixths = np.float32(2.0) + (b - r) / some
        else:
            sixths = np.float32(4.0) + (r - g) / some
        sixths += np.float32(6.0) * turn
        red[pixel] = value - reach * _channel(FIVE + sixths)
        green[pixel] = value - reach * _channel(np.float32(3.0) + sixths)
        blue[pixel] = value - reach * _channel(ONE + sixths)


@fast
def _channel(place):  # type: ignore[no-untyped-def]
    """What a channel lacks of the largest, as a share of the reach, at its place on the circle of six."""
    k = place - np.float32(6.0) * np.floor(place / np.float32(6.0))
    return _clamp(min(k, np.float32(4.0) - k))


@fast
def _sharpen(planes, factor, result):  # type: ignore[no-untyped-def]
    """Planes (3, H, W), sharpened or as they are, into result (H, W, 3)."""
    _, height, width = planes.shape
    changes = factor != ONE and height > 2 and width > 2
    sharp = np.empty((3, width), dtype=np.float32)
    for line in range(height):
        source = planes[:, line]
        if changes and 0 < line < height - 1:
            for channel in range(3):
                _sharpen_line(planes[channel], line, factor, sharp[channel])
            source = sharp
        target = result[line].reshape(-1)
        red, green, blue = source[0], source[1], source[2]
        for column in range(width):
            at = 3 * column
            target[at], target[at + 1], target[at + 2] = red[column], green[column], blue[column]


@fast
def _sharpen_line(plane, line, factor, sharp):  # type: ignore[no-untyped-def]
    above, here, below = plane[line - 1], plane[line], plane[line + 1]
    last = len(here) - 1
    sharp[0], sharp[last] = here[0], here[last]
    for at in range(1, last):
        total = FIVE * here[at] + here[at - 1] + here[at + 1]
        total += above[at - 1] + above[at] + above[at + 1] + below[at - 1] + below[at] + below[at + 1]
        sharp[at] = _clamp(here[at] + (ONE - factor) * (total * THIRTEENTH - here[at]))


@fast
def _clamp(value):  # type: ignore[no-untyped-def]
    return min(max(value, ZERO), ONE)

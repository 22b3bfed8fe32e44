"""How is a batch augmented fastest on a CUDA device? In two kernels, each pixel from the bytes it comes from.

The arithmetic is that of `core.augment.batch`, which launches 120 kernels for it, and a test holds it to that. Written
in Triton, which comes with torch on Linux; its compiler needs a C compiler and Python's headers.
"""

from __future__ import annotations

import functools
import subprocess

import torch
import triton
import triton.language as tl
from torch import Tensor

from ablation_suite.core.augment import batch, draws

FLIP_X, FLIP_Y, ANGLE = tl.constexpr(draws.FLIP_X), tl.constexpr(draws.FLIP_Y), tl.constexpr(draws.ANGLE)
SHIFT_X, SHIFT_Y = tl.constexpr(draws.SHIFT_X), tl.constexpr(draws.SHIFT_Y)
SHARPNESS, JITTERS = tl.constexpr(draws.SHARPNESS), tl.constexpr(draws.JITTERS)
CONTRAST, SATURATION, HUE = tl.constexpr(draws.CONTRAST), tl.constexpr(draws.SATURATION), tl.constexpr(draws.HUE)
RED, GREEN, BLUE = map(tl.constexpr, batch.GREY)
DEGREE = tl.constexpr(torch.pi / 180.0)
TO_EVEN = tl.constexpr(1.5 * 2.0**23)
"""A float32 below 2^22 that this is added to, and taken from again, is rounded to a whole number, ties to even."""
BLOCK = 512


@functools.cache
def obstacle() -> str | None:
    """Why these kernels cannot be compiled here, in one line; None where they can."""
    try:
        triton.runtime.driver.active.get_current_device()
    except (ImportError, OSError, RuntimeError, AssertionError, subprocess.CalledProcessError) as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return None


def augment(images: Tensor, rows: Tensor) -> Tensor:
    """What `core.augment.batch.augment` gives, for images uint8 (N, H, W, 3) and rows (N, D) of the table of draws."""
    num_images, height, width, _ = images.shape
    images, rows = images.contiguous(), rows.contiguous()
    result = torch.empty(num_images, height, width, 3, device=images.device)
    num_blocks = triton.cdiv(height * width, BLOCK)
    sums = torch.empty(num_images, num_blocks, device=images.device)
    num_jitters = (rows.shape[1] - draws.JITTERS) // 2
    # Products are not fused with sums: the coordinates would round to other pixels.
    common = {"H": height, "W": width, "J": num_jitters, "BLOCK": BLOCK, "enable_fp_fusion": False}
    grid = (num_blocks, num_images)
    if num_jitters:
        _sum_grey[grid](images, rows, sums, **common)
    _paint[grid](images, rows, sums, result, **common)
    return result.permute(0, 3, 1, 2)


@triton.jit
def _sum_grey(images, rows, sums, H: tl.constexpr, W: tl.constexpr, J: tl.constexpr, BLOCK: tl.constexpr):
    """The sum of the grey values of each block of each image as its change of contrast meets them, into sums (N, B)."""
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    pixels, row = images + image * (H * W * 3), rows + image * (JITTERS + 2 * J)
    at = block * BLOCK + tl.arange(0, BLOCK)
    red, green, blue = _colours(pixels, row, at // W, at % W, 0.0, True, H, W, J)
    grey = tl.where(at < H * W, _grey(red, green, blue), 0.0)
    tl.store(sums + image * tl.num_programs(0) + block, tl.sum(grey))


@triton.jit
def _paint(images, rows, sums, result, H: tl.constexpr, W: tl.constexpr, J: tl.constexpr, BLOCK: tl.constexpr):
    """The pixels of one block of one image, in all their colours, sharpened, into result (N, H, W, 3)."""
    block, image = tl.program_id(0), tl.program_id(1).to(tl.int64)
    pixels, row = images + image * (H * W * 3), rows + image * (JITTERS + 2 * J)
    at = block * BLOCK + tl.arange(0, BLOCK)
    y, x = at // W, at % W
    mean = 0.0
    if J > 0:
        total = 0.0
        for each in range(tl.num_programs(0)):
            total += tl.load(sums + image * tl.num_programs(0) + each)
        mean = tl.div_rn(total, H * W * 1.0)
    red, green, blue = _colours(pixels, row, y, x, mean, False, H, W, J)
    factor = tl.load(row + SHARPNESS)
    if factor != 1.0 and H > 2 and W > 2:
        red_sum, green_sum, blue_sum = red * 0.0, green * 0.0, blue * 0.0
        for across in tl.static_range(-1, 2):
            # The outermost pixels have no neighbours on one side, and stay as they are.
            near_x = tl.minimum(tl.maximum(x + across, 0), W - 1)
            above, below = tl.maximum(y - 1, 0), tl.minimum(y + 1, H - 1)
            red_1, green_1, blue_1 = _colours(pixels, row, above, near_x, mean, False, H, W, J)
            red_2, green_2, blue_2 = _colours(pixels, row, y, near_x, mean, False, H, W, J)
            red_3, green_3, blue_3 = _colours(pixels, row, below, near_x, mean, False, H, W, J)
            red_sum += red_1 + red_2 + red_3
            green_sum += green_1 + green_2 + green_3
            blue_sum += blue_1 + blue_2 + blue_3
        is_inner = (x > 0) & (x < W - 1) & (y > 0) & (y < H - 1)
        red = tl.where(is_inner, _sharpened(red, red_sum, factor), red)
        green = tl.where(is_inner, _sharpened(green, green_sum, factor), green)
        blue = tl.where(is_inner, _sharpened(blue, blue_sum, factor), blue)
    there, is_pixel = result + image * (H * W * 3) + at * 3, at < H * W
    tl.store(there, red, mask=is_pixel)
    tl.store(there + 1, green, mask=is_pixel)
    tl.store(there + 2, blue, mask=is_pixel)


@triton.jit
def _colours(pixels, row, y, x, mean, before_contrast: tl.constexpr, H: tl.constexpr, W: tl.constexpr, J: tl.constexpr):
    """Red, green and blue of the places (y, x) of an image, as they are after all jitters, or before the contrast's."""
    red, green, blue = _found(pixels, row, y, x, H, W)
    goes_on = True
    for place in tl.static_range(J):
        kind, factor = tl.load(row + JITTERS + 2 * place), tl.load(row + JITTERS + 2 * place + 1)
        if before_contrast:
            goes_on = goes_on & (kind != CONTRAST)
        if goes_on:
            if kind == HUE:
                red, green, blue = _turned(red, green, blue, factor)
            else:
                grey = _grey(red, green, blue)
                other = tl.where(kind == SATURATION, grey, tl.where(kind == CONTRAST, mean, 0.0)) * (1.0 - factor)
                red = _clamped(red * factor + other)
                green = _clamped(green * factor + other)
                blue = _clamped(blue * factor + other)
    return red, green, blue


@triton.jit
def _found(pixels, row, y, x, H: tl.constexpr, W: tl.constexpr):
    """Flips, rotation and shift: the colours in [0, 1] of the pixels that come to the places (y, x); black outside."""
    angle = tl.load(row + ANGLE).to(tl.float64) * DEGREE
    cos, sin = tl.cos(angle).to(tl.float32), tl.sin(angle).to(tl.float32)
    half_width, half_height = 0.5 * W, 0.5 * H
    to_x = x.to(tl.float32) - 0.5 * (W - 1) - _rounded(tl.load(row + SHIFT_X) * W)
    to_y = y.to(tl.float32) - 0.5 * (H - 1) - _rounded(tl.load(row + SHIFT_Y) * H)
    x_share = to_x * tl.div_rn(cos, half_width) + to_y * tl.div_rn(-sin, half_width)
    y_share = to_x * tl.div_rn(sin, half_height) + to_y * tl.div_rn(cos, half_height)
    from_x = _rounded((x_share + 1.0) * half_width - 0.5)
    from_y = _rounded((y_share + 1.0) * half_height - 0.5)
    inside = (from_x >= 0) & (from_x < W) & (from_y >= 0) & (from_y < H)
    from_x = tl.where(tl.load(row + FLIP_X) > 0, W - 1 - from_x, from_x)
    from_y = tl.where(tl.load(row + FLIP_Y) > 0, H - 1 - from_y, from_y)
    source = tl.where(inside, (from_y.to(tl.int32) * W + from_x.to(tl.int32)) * 3, 0)
    red = tl.load(pixels + source, mask=inside, other=0).to(tl.float32) * (1.0 / 255.0)
    green = tl.load(pixels + source + 1, mask=inside, other=0).to(tl.float32) * (1.0 / 255.0)
    blue = tl.load(pixels + source + 2, mask=inside, other=0).to(tl.float32) * (1.0 / 255.0)
    return red, green, blue


@triton.jit
def _turned(red, green, blue, turn):
    """The colours with another hue, by the one formula of `core.augment.batch`."""
    value = tl.maximum(tl.maximum(red, green), blue)
    reach = value - tl.minimum(tl.minimum(red, green), blue)
    some = tl.where(reach > 0, reach, 1.0)
    by_blue = tl.where(value == green, 2.0 + tl.div_rn(blue - red, some), 4.0 + tl.div_rn(red - green, some))
    sixths = tl.where(value == red, tl.div_rn(green - blue, some), by_blue) + 6.0 * turn
    moves = turn != 0.0
    return (
        tl.where(moves, _channel(5.0 + sixths, value, reach), red),
        tl.where(moves, _channel(3.0 + sixths, value, reach), green),
        tl.where(moves, _channel(1.0 + sixths, value, reach), blue),
    )


@triton.jit
def _channel(sixths, value, reach):
    k = sixths - 6.0 * tl.floor(sixths / 6.0)
    return value - reach * _clamped(tl.minimum(k, 4.0 - k))


@triton.jit
def _sharpened(value, total, factor):
    """Moved away from its smoothed self: 3 x 3, ones around a five."""
    smooth = (total + 4.0 * value) * (1.0 / 13.0)
    return _clamped(value + (1.0 - factor) * (smooth - value))


@triton.jit
def _grey(red, green, blue):
    return RED * red + GREEN * green + BLUE * blue


@triton.jit
def _clamped(value):
    return tl.minimum(tl.maximum(value, 0.0), 1.0)


@triton.jit
def _rounded(value):
    return value + TO_EVEN - TO_EVEN

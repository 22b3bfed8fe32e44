"""What are the pixels of an image file? Upright RGB in 8 bits, resized, or the reason why it cannot be read."""

from __future__ import annotations

import ctypes
import threading
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from os import PathLike
from typing import IO

import numpy as np
from PIL import Image, ImageOps

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.menu import build
from ablation_suite.core.data import Clahe, Equalize, Form, NoPreprocess
from ablation_suite.core.runs.files import open_regular

RECIPE = 1
"""Raised when the same file gives other pixels; decoded caches of another recipe are other caches."""
MAX_PIXELS = 100_000_000
"""A header that claims more is refused before anything is decoded; also what all threads decode at a time."""
LARGE_PIXELS = 25_000_000
"""Of images above this, memory that was freed is given back to the system at once."""
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF", "PPM", "AVIF")
"""What a file may be, whatever its extension says; the JPEG of a stereo camera (MPO) counts as JPEG."""

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# PIL only warns where we refuse.
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)


class Unreadable(UserError):
    """The file holds no image that can be decoded whole; the text is the reason."""


class _Budget:
    """Pixels that the threads of this process may hold decoded at a time; whoever needs more than are free waits."""

    def __init__(self, pixels: int):
        self.free = pixels
        self.changed = threading.Condition()

    @contextmanager
    def share(self, pixels: int) -> Iterator[None]:
        with self.changed:
            self.changed.wait_for(lambda: pixels <= self.free)
            self.free -= pixels
        if pixels > LARGE_PIXELS:
            _give_back()
        try:
            yield
        finally:
            with self.changed:
                self.free += pixels
                self.changed.notify_all()


def _give_back() -> None:
    """Have the C library return what threads have freed: each keeps some hundred megabytes of a large image."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc's alone
    if trim is not None:
        trim(0)


_IN_HAND = _Budget(MAX_PIXELS)


def read(file: str | PathLike[str] | IO[bytes], form: Form) -> np.ndarray:
    """Decode one file into its form, (size, size, 3) uint8; raises Unreadable."""
    with whole(file) as image:
        return in_form(image, form)


@contextmanager
def whole(file: str | PathLike[str] | IO[bytes]) -> Iterator[Image.Image]:
    """One file decoded at its own size, upright and RGB, until the end of the block; raises Unreadable.

    All threads together hold at most MAX_PIXELS: the memory that it takes depends neither on cores nor on images.
    """
    with ExitStack() as stack:
        try:
            data = stack.enter_context(open_regular(file)) if isinstance(file, str | PathLike) else file
            image: Image.Image = stack.enter_context(Image.open(data, formats=FORMATS))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise Unreadable(f"{width} x {height} pixels are more than {MAX_PIXELS:,}; make it smaller")
            stack.enter_context(_IN_HAND.share(width * height))
            image.load()
            image = to_rgb(_upright(image))
        except (Unreadable, MemoryError):
            raise
        except Image.DecompressionBombError:  # Pillow looks at the header before we can
            raise Unreadable(f"its header says more than {MAX_PIXELS:,} pixels; make it smaller") from None
        except Exception as error:  # on a malformed file PIL raises nearly anything, struct.error to SyntaxError
            raise Unreadable(_reason(error, file)) from error
        yield image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any mode to 8-bit RGB: 16 bits are scaled (PIL would clip), transparency lies on white."""
    if image.mode == "RGB" and not image.has_transparency_data:
        return image
    if image.mode == "F":
        raise Unreadable("its pixels are floating-point numbers, which have no white; convert it to 8 or 16 bits")
    if image.mode.startswith("I"):
        wide = np.asarray(image).astype(np.int64)
        image = Image.fromarray(((wide.clip(0, 65535) + 128) // 257).astype(np.uint8))
    if image.has_transparency_data:
        # The colours below full transparency are arbitrary; nobody ever saw them.
        image = image.convert("RGBA")
        return Image.alpha_composite(Image.new("RGBA", image.size, "white"), image).convert("RGB")
    return image.convert("RGB")


def in_form(image: Image.Image, form: Form) -> np.ndarray:
    """RGB of any size as (size, size, 3) uint8: resized bilinearly with antialiasing, then preprocessed."""
    size = form.size
    if form.resize == "crop":
        image = _middle(image, size)
    elif image.size != (size, size):
        image = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(build(form.preprocess, image))


def untouched(entry: NoPreprocess, image: Image.Image) -> Image.Image:
    """The image."""
    return image


def equalize(entry: Equalize, image: Image.Image) -> Image.Image:
    """The image with the histogram of each colour made flat."""
    return ImageOps.equalize(image)


def clahe(entry: Clahe, image: Image.Image) -> Image.Image:
    """The image with its brightness (Y of YCbCr) equalised tile by tile."""
    from ablation_suite.core.data.clahe import equalized

    brightness, *colours = image.convert("YCbCr").split()
    equal = Image.fromarray(equalized(np.asarray(brightness), entry.clip_limit, entry.tiles))
    return Image.merge("YCbCr", (equal, *colours)).convert("RGB")


def _middle(image: Image.Image, size: int) -> Image.Image:
    """The shorter side resized to `size`, and a square cut from the middle: torchvision's Resize and CenterCrop."""
    short = min(image.size)
    width, height = (size if side == short else int(size * side / short) for side in image.size)
    image = image if short == size else image.resize((width, height), Image.Resampling.BILINEAR)
    left, top = round((width - size) / 2), round((height - size) / 2)
    return image.crop((left, top, left + size, top + size))


def _upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(0x0112)
    except Exception:  # broken EXIF says nothing about sound pixels
        return image
    method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    return image if method is None else image.transpose(method)


def _reason(error: Exception, file: object) -> str:
    if isinstance(error, Image.UnidentifiedImageError):
        if str(file).lower().endswith((".heic", ".heif")):
            return "HEIC is not read here; convert it to JPEG or PNG"
        return "not an image that can be identified"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return " ".join(str(error).split()) or type(error).__name__

"""Do files of every kind become the right pixels, and broken ones a reason?"""

from __future__ import annotations

import contextlib
import io
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from ablation_suite.core.data import Form, decode


def photo(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A smooth picture with something different in each corner."""
    y, x = np.mgrid[0:height, 0:width]
    red, green, blue = 255 * x / width, 255 * y / height, 127 + 100 * np.sin(x / 7) * np.cos(y / 5)
    return Image.fromarray(np.stack([red, green, blue], axis=2).astype(np.uint8)).convert(mode)


def reference(image: Image.Image, size: int) -> np.ndarray:
    """What PIL alone makes of an image that is upright and RGB."""
    return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))


def png(width: int, height: int, depth: int, colour: int, rows: bytes) -> bytes:
    """A PNG file written by hand."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def whole(file) -> np.ndarray:
    """The pixels of a file at its own size."""
    with decode.whole(file) as image:
        return np.asarray(image)


@pytest.mark.parametrize(("mode", "extension"), [
    ("RGB", "jpg"), ("RGB", "png"), ("RGB", "webp"), ("RGB", "bmp"),
    ("L", "jpg"), ("L", "png"), ("P", "png"), ("P", "bmp"), ("1", "png"), ("CMYK", "jpg"),
    ("RGB", "tif"), ("L", "tif"), ("P", "tif"), ("1", "tif"), ("CMYK", "tif"), ("RGB", "ppm"), ("L", "ppm"),
    ("RGB", "avif"), ("P", "gif"),
])  # fmt: skip
def test_every_mode_and_format_equals_what_pil_converts_and_resizes(tmp_path: Path, mode: str, extension: str) -> None:
    """Grey, palette, two-level and CMYK images of every format have the pixels of PIL's own conversion."""
    photo(50, 40, mode).save(tmp_path / f"x.{extension}")
    with Image.open(tmp_path / f"x.{extension}") as image:
        assert image.mode == mode
        expected = reference(image.convert("RGB"), 24)
    found = decode.read(tmp_path / f"x.{extension}", Form(24))
    assert found.dtype == np.uint8
    assert found.shape == (24, 24, 3)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["GIF", "MPO", "PNG", "TIFF"])
def test_a_wrong_extension_does_not_matter(tmp_path: Path, kind: str) -> None:
    """A picture of another kind that is named .jpg, even one of several frames, gives its (first) frame."""
    frames = {} if kind == "PNG" else {"save_all": True, "append_images": [photo(50, 40).rotate(180)]}
    photo(50, 40).save(tmp_path / "x.jpg", format=kind, **frames)
    with Image.open(tmp_path / "x.jpg") as image:
        assert image.format == kind
        expected = reference(image.convert("RGB"), 24)
    np.testing.assert_array_equal(decode.read(tmp_path / "x.jpg", Form(24)), expected)


@pytest.mark.parametrize("extension", ["jpg", "tif", "avif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_each_exif_orientation_is_turned_upright(tmp_path: Path, orientation: int, extension: str) -> None:
    """All eight orientations equal PIL's ImageOps.exif_transpose before resizing, once where PIL turns it itself."""
    exif, path = Image.Exif(), tmp_path / f"x.{extension}"
    exif[0x0112] = orientation
    photo(50, 40).save(path, exif=exif)
    with Image.open(path) as image:
        upright = ImageOps.exif_transpose(image)
    assert whole(path).shape[1::-1] == upright.size == ((40, 50) if orientation > 4 else (50, 40))
    np.testing.assert_array_equal(decode.read(path, Form(24)), reference(upright, 24))


def test_a_photo_turned_by_exif_has_its_sky_on_top(tmp_path: Path) -> None:
    """Orientation 6 (turn right to view): the left column of the stored pixels becomes the top row."""
    stored = np.zeros((8, 8, 3), np.uint8)
    stored[:, 0] = (0, 0, 255)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(stored).save(tmp_path / "x.png", exif=exif)
    found = decode.read(tmp_path / "x.png", Form(8))
    assert (found[0] == (0, 0, 255)).all()
    assert (found[1:] == 0).all()


@pytest.mark.fault("broken EXIF in a sound image", injected="bytes that are no EXIF", promised="the image is as it is")
def test_broken_exif_leaves_a_sound_image_as_it_is(tmp_path: Path) -> None:
    """An EXIF block of garbage neither raises nor turns the image."""
    photo(30, 20).save(tmp_path / "x.png", exif=b"Exif\0\0nonsense that is no TIFF header")
    np.testing.assert_array_equal(decode.read(tmp_path / "x.png", Form(16)), reference(photo(30, 20), 16))


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path: Path) -> None:
    """Grey of 16 bits is divided by 257 and rounded to the nearest, also where EXIF turns it by 180 degrees."""
    wide = np.array([[0, 257, 300, 128 * 257 + 128, 128 * 257 + 129, 40_000, 65_535, 255]], np.uint16)
    exif = Image.Exif()
    exif[0x0112] = 3
    Image.fromarray(wide).save(tmp_path / "x.png", exif=exif)
    found = whole(tmp_path / "x.png")
    assert found[0, ::-1, 0].tolist() == [0, 1, 1, 128, 129, 156, 255, 1]
    assert (found == found[..., :1]).all()


def test_sixteen_bits_of_colour_keep_their_brightness() -> None:
    """RGB of 16 bits is within one step of its value divided by 257."""
    wide = np.array([[(0, 30_000, 65_535), (257, 128 * 257, 50_000)]], np.uint16)
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in wide)
    found = whole(io.BytesIO(png(2, 1, 16, 2, rows)))
    assert np.abs(found - wide / 257).max() < 1.0


def test_transparency_lies_on_white(tmp_path: Path) -> None:
    """A clear pixel is white whatever colour it hides, a half clear red one is pink, an opaque one is itself."""
    pixels = np.array([[(10, 20, 30, 0), (255, 0, 0, 128), (1, 2, 3, 255)]], np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.png")
    found = whole(tmp_path / "x.png")
    np.testing.assert_array_equal(found, [[(255, 255, 255), (255, 127, 127), (1, 2, 3)]])


def test_a_transparent_palette_entry_lies_on_white(tmp_path: Path) -> None:
    """A palette image whose entry 0 is transparent shows white there."""
    image = Image.frombytes("P", (2, 1), bytes([0, 1]))
    image.putpalette([200, 0, 0, 0, 150, 0])
    image.save(tmp_path / "x.png", transparency=0)
    found = whole(tmp_path / "x.png")
    np.testing.assert_array_equal(found, [[(255, 255, 255), (0, 150, 0)]])


@pytest.mark.fault(
    "a photograph of 200 megapixels and a bomb of 400",
    injected="headers that claim them",
    promised="refused before it is decoded, in our own words",
)
@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
def test_a_header_bomb_is_refused_before_it_is_decoded() -> None:
    """A small file that claims 400 or 200 megapixels is unreadable, and so is one just above our own limit."""
    for side in (20_000, 14_143, 10_001):
        with pytest.raises(decode.Unreadable, match=r"more than 100,000,000( pixels)?; make it smaller"):
            decode.read(io.BytesIO(png(side, side, 8, 2, b"")), Form(8))


SIDE_BY_SIDE = """
import re, sys
from concurrent.futures import ThreadPoolExecutor
from ablation_suite.core.data import Form, decode
with ThreadPoolExecutor(4) as pool:
    found = list(pool.map(lambda _: int(decode.read(sys.argv[1], Form(8))[0, 0, 0]), range(4)))
# Of this program alone: ru_maxrss begins with what the process that started it had.
print(*found, re.search(r"VmHWM:\\s+(\\d+) kB", open("/proc/self/status").read())[1])
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
@pytest.mark.fault(
    "many small files that become huge images",
    injected="PNG of 97 kB and 9,990 pixels a side, decoded by four threads",
    promised="one budget of pixels for all threads: memory as for one or two of them",
)
def test_threads_that_decode_huge_images_share_one_budget_of_memory(tmp_path: Path) -> None:
    """Grey becomes RGB on the way, some 500 MB each: four at once would take 2.2 GB, and less than 1.6 are taken."""
    Image.new("L", (9_990, 9_990)).save(tmp_path / "x.png")
    assert (tmp_path / "x.png").stat().st_size < 100_000
    command = [sys.executable, "-c", SIDE_BY_SIDE, str(tmp_path / "x.png")]
    *values, kilobytes = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert values == ["0"] * 4
    assert int(kilobytes) < 1_600_000


@pytest.mark.fault(
    "a pipe or a device in the place of an image",
    injected="mkfifo, a link to /dev/zero",
    promised="unreadable at once: no regular file",
)
@pytest.mark.parametrize("kind", ["pipe", "device", "folder"])
def test_what_is_no_regular_file_is_unreadable_at_once(tmp_path: Path, kind: str) -> None:
    """Reading a pipe without a writer would wait for ever, and /dev/zero never ends."""
    path = tmp_path / "x.jpg"
    {"pipe": os.mkfifo, "device": lambda path: path.symlink_to("/dev/zero"), "folder": os.mkdir}[kind](path)
    with pytest.raises(decode.Unreadable, match="a pipe, a device or a folder"):
        decode.read(path, Form(8))


@pytest.mark.fault("a truncated image", injected="half of the bytes", promised="unreadable, with the reason")
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp"])
def test_a_truncated_file_is_unreadable(tmp_path: Path, extension: str) -> None:
    """Half a file of any format gives a reason, never half an image."""
    path = tmp_path / f"x.{extension}"
    photo(60, 60).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(decode.Unreadable) as caught:
        decode.read(path, Form(8))
    assert str(caught.value)


@pytest.mark.fault(
    "a flipped byte in a PNG", injected="one byte of its data", promised="unreadable, never other pixels"
)
def test_a_flipped_byte_in_a_png_is_unreadable(tmp_path: Path) -> None:
    """The checksum of a PNG's pixels is verified."""
    path = tmp_path / "x.png"
    photo(60, 60).save(path)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(decode.Unreadable):
        decode.read(path, Form(8))


@pytest.mark.fault(
    "damage anywhere in an image",
    injected="random bytes at random places",
    promised="pixels or a reason, and no other error",
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("extension", ["jpg", "png", "webp", "bmp", "gif", "tif", "ppm", "avif"])
def test_damage_anywhere_gives_pixels_or_a_reason_and_nothing_else(tmp_path: Path, extension: str) -> None:
    """Whatever three bytes of a file are overwritten, no other exception comes out of it."""
    rng = np.random.default_rng(0)
    path = tmp_path / f"x.{extension}"
    photo(24, 24).save(path)
    for _ in range(150):
        data = bytearray(path.read_bytes())
        for place in rng.integers(0, len(data), 3):
            data[place] = rng.integers(0, 256)
        with contextlib.suppress(decode.Unreadable):
            assert decode.read(io.BytesIO(data), Form(8)).shape == (8, 8, 3)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "not an image"), (b"<html>404</html>", "not an image"), (b"%!PS-Adobe-3.0 EPSF-3.0\n", "not an image"),
])  # fmt: skip
def test_what_is_no_image_is_unreadable(tmp_path: Path, content: bytes, reason: str) -> None:
    """Empty files, saved error pages and formats outside the list have a plain reason."""
    (tmp_path / "x.jpg").write_bytes(content)
    with pytest.raises(decode.Unreadable, match=reason):
        decode.read(tmp_path / "x.jpg", Form(8))


def test_heic_is_told_what_to_do_and_floating_point_is_refused(tmp_path: Path) -> None:
    """Neither is guessed: HEIC has to be converted, and what is white in floating point nobody says."""
    (tmp_path / "x.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")
    with pytest.raises(decode.Unreadable, match="HEIC is not read here; convert it to JPEG or PNG"):
        decode.read(tmp_path / "x.HEIC", Form(8))
    Image.fromarray(np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8)).save(tmp_path / "x.tif")
    with pytest.raises(decode.Unreadable, match="floating-point"):
        decode.read(tmp_path / "x.tif", Form(8))


def test_a_missing_file_is_unreadable_with_the_system_s_reason(tmp_path: Path) -> None:
    """A link that leads nowhere is reported like any other broken image."""
    (tmp_path / "x.jpg").symlink_to(tmp_path / "gone")
    with pytest.raises(decode.Unreadable, match="No such file"):
        decode.read(tmp_path / "x.jpg", Form(8))

"""Is a thumbnail the image of that name, and does a report do without where there is none?"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import Digits, Folder
from ablation_suite.reports.thumbnails import png, thumbnails


def test_a_thumbnail_is_the_image_of_its_name_enlarged_pixel_by_pixel(tmp_path):
    """An 8 x 8 digit becomes 64 x 64, every pixel a block of eight."""
    runtime = Runtime(cache=str(tmp_path))
    split = build(Digits(), data_root=tmp_path, cache=tmp_path).load().splits["test"]
    content = thumbnails(Digits(), runtime)("test", split.names[5])
    pixels = np.asarray(Image.open(io.BytesIO(content)))
    assert pixels.shape == (64, 64, 3)
    assert np.array_equal(pixels, np.repeat(np.repeat(split.images[5], 8, axis=0), 8, axis=1))


def test_large_images_are_reduced():
    """300 x 200 pixels become 96 x 64, so that a page stays small."""
    assert Image.open(io.BytesIO(png(np.zeros((200, 300, 3), np.uint8)))).size == (96, 64)


def test_what_cannot_be_read_is_left_out(tmp_path):
    """An unknown name, an unknown split, data that is gone."""
    runtime = Runtime(cache=str(tmp_path), data_root=str(tmp_path))
    images = thumbnails(Digits(), runtime)
    assert images("test", "no such image") is None
    assert images("other", "0001") is None
    assert thumbnails(Folder(path="gone"), runtime)("test", "0001") is None

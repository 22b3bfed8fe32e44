"""How do images become squares of pixels? Squashed or cropped, equalised, of one size or two."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from pydantic import ValidationError
from torchvision.transforms import v2

from ablation_suite.core.config import menu
from ablation_suite.core.data import Clahe, Digits, Equalize, Folder, Form, NoPreprocess
from ablation_suite.core.data.clahe import equalized
from ablation_suite.core.data.decode import in_form


def photo(width: int, height: int, seed: int = 0) -> Image.Image:
    """Smooth colours of low contrast with noise."""
    source = np.random.default_rng(seed)
    coarse = Image.fromarray((source.random((5, 5, 3)) * 120 + 60).astype(np.uint8))
    smooth = np.asarray(coarse.resize((width, height), Image.Resampling.BICUBIC)).astype(int)
    return Image.fromarray((smooth + source.integers(-9, 10, smooth.shape)).clip(0, 255).astype(np.uint8))


@pytest.mark.parametrize(("width", "height"), [(60, 40), (33, 71), (20, 20), (24, 24)])
def test_crop_is_torchvisions_resize_of_the_shorter_side_and_center_crop(width, height):
    """The same bytes; `squash` gives both sides the size."""
    image = photo(width, height)
    theirs = v2.Compose([v2.Resize(24, antialias=True), v2.CenterCrop(24)])(image)
    np.testing.assert_array_equal(in_form(image, Form(24, "crop")), np.asarray(theirs))
    squashed = np.asarray(image.resize((24, 24), Image.Resampling.BILINEAR))
    np.testing.assert_array_equal(in_form(image, Form(24)), squashed)


def test_equalize_is_torchvisions():
    """The same bytes as for a tensor."""
    image = photo(24, 24)
    theirs = v2.functional.equalize(torch.from_numpy(np.asarray(image).copy()).permute(2, 0, 1)).permute(1, 2, 0)
    np.testing.assert_array_equal(in_form(image, Form(24, preprocess=Equalize())), theirs.numpy())


@pytest.mark.parametrize(("side", "tiles", "clip_limit"), [(64, 8, 2.0), (64, 1, 4.0), (50, 8, 3.0), (224, 8, 40.0)])
def test_clahe_is_opencvs(side, tiles, clip_limit):
    """Every pixel of a grey image to one level, and 99 in 100 the same; also where tiles do not come out even."""
    cv2 = pytest.importorskip("cv2")
    grey = np.asarray(photo(side, side).convert("L"))
    theirs = cv2.createCLAHE(clipLimit=clip_limit, tileGridSize=(tiles, tiles)).apply(grey)
    apart = np.abs(equalized(grey, clip_limit, tiles).astype(int) - theirs.astype(int))
    assert apart.max() <= 1
    assert (apart > 0).mean() < 0.01
    assert np.abs(theirs.astype(int) - grey).mean() > 5  # there was something to do


def test_clahe_changes_the_brightness_of_colours_alone():
    """Y of YCbCr is what changes; the rounding on the way there and back moves the others by two levels at most."""
    image = photo(64, 64)
    before = np.asarray(image.convert("YCbCr")).astype(int)
    after = np.asarray(Image.fromarray(in_form(image, Form(64, preprocess=Clahe()))).convert("YCbCr")).astype(int)
    inside = (after[..., 0] > 40) & (after[..., 0] < 215)  # elsewhere RGB has no room for the colour
    assert np.abs(after - before)[inside][:, 1:].max() <= 2
    assert np.abs(after - before)[inside][:, 0].mean() > 5


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Photographs of 60 x 40 pixels in two classes, with a test split and one for validation."""
    number = 0
    for split, count in (("train", 3), ("val", 2), ("test", 1)):
        for name in ("a", "b"):
            (tmp_path / "data" / split / name).mkdir(parents=True)
            for index in range(count):
                number += 1
                photo(60, 40, number).save(tmp_path / "data" / split / name / f"{index}.png")
    return tmp_path


def load(folder: Path, **settings):
    entry = Folder(path="data", size=20, **settings)
    return menu.build(entry, data_root=folder, cache=folder / "cache").load()


def test_evaluated_images_have_a_size_and_crop_of_their_own(folder):
    """Training at 20 squashed; validation and test at 32, of which the middle 28 are seen: torchvision's CenterCrop."""
    found = load(folder, eval_size=32, eval_crop=28)
    assert found.splits["train"].images.shape == (6, 20, 20, 3)
    for name, count in (("val", 4), ("test", 2)):
        images = found.splits[name].images
        assert images.shape == (count, 28, 28, 3)
        split = {"val": "val", "test": "test"}[name]
        files = sorted((folder / "data" / split).rglob("*.png"))
        for pixels, path in zip(images[np.arange(count)], files, strict=True):
            whole = Image.open(path).resize((32, 32), Image.Resampling.BILINEAR)
            np.testing.assert_array_equal(pixels, np.asarray(v2.CenterCrop(28)(whole)))
    plain = load(folder)
    assert plain.fingerprint == found.fingerprint
    np.testing.assert_array_equal(plain.splits["train"].images[[0, 3]], found.splits["train"].images[[0, 3]])


def test_validation_images_held_out_of_train_are_decoded_in_their_own_form(folder):
    """One folder for both: the training images at 20, the held-out ones at 16, and no image in both."""
    (folder / "data" / "val").rename(folder / "unused")
    found = load(folder, split=0.34, eval_size=16)
    assert found.splits["train"].images.shape == (4, 20, 20, 3)
    assert found.splits["val"].images.shape == (2, 16, 16, 3)
    assert not {*found.splits["train"].names} & {*found.splits["val"].names}


def test_caches_of_other_forms_are_other_caches(folder):
    """Squashed, cropped and equalised images of one size do not stand in for each other, in whatever order."""
    forms = [{}, {"resize": "crop"}, {"preprocess": Equalize()}, {"preprocess": Clahe(tiles=2)}, {}]
    first = [load(folder, **form).splits["train"].images[0].tobytes() for form in forms]
    assert first[0] == first[-1]
    assert len({*first}) == 4


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"size": 8, "eval_crop": 9}, "eval_crop 9 is larger than the evaluated images of 8 pixels"),
        ({"size": 8, "eval_size": 6, "eval_crop": 7}, "eval_crop 7 is larger than the evaluated images of 6"),
        ({"size": 8, "preprocess": Clahe()}, "take at most 2 tiles"),
        ({"size": 64, "eval_size": 30, "preprocess": Clahe()}, "tiles of images of 30 pixels"),
    ],
)
def test_forms_that_cannot_be_are_refused(settings, words):
    """A crop larger than its image, and tiles of too few pixels."""
    with pytest.raises(ValidationError, match=words):
        Digits(**settings)


def test_digits_have_forms_too():
    """Trained at 8 and evaluated at 12, of which 10 are seen; without settings they are as they were."""
    made = menu.build(Digits(eval_size=12, eval_crop=10), data_root=Path("unused"), cache=Path("unused")).load()
    plain = menu.build(Digits(), data_root=Path("unused"), cache=Path("unused")).load()
    np.testing.assert_array_equal(made.splits["train"].images, plain.splits["train"].images)
    assert made.splits["val"].images.shape[1:] == (10, 10, 3)
    assert plain.splits["val"].images.shape[1:] == (8, 8, 3)
    assert Digits().form(evaluated=True) == Form(8, "squash", NoPreprocess())

"""Do all paths of augmentation compute what torchvision computes, image by image, for the same parameters?"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.stats import ks_2samp
from torch import Tensor
from torchvision.transforms.v2 import functional as reference

from ablation_suite.core.augment import NoAugment, Photo, batch, fused, photo
from ablation_suite.core.augment.draws import ANGLE, FLIP_X, FLIP_Y, JITTERS, KINDS, SHARPNESS, SHIFT_X, SHIFT_Y
from ablation_suite.core.config import menu
from tests.benchmarks.reference import train_transform
from tests.core.interpreted import Interpreter

REPORT = Photo(
    horizontal_flip=0.5,
    vertical_flip=0.5,
    rotation=50.0,
    brightness=0.2,
    contrast=0.2,
    saturation=0.2,
    sharpness=2.0,
)
Path = Callable[[Tensor, Tensor], Tensor]
pytestmark = pytest.mark.usefixtures("one_thread")
each_path = pytest.mark.parametrize("path", ["torch", "numba", "triton"], indirect=True)
gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]


@pytest.fixture(scope="module")
def interpreter():
    """Triton's kernels, in its interpreter."""
    pytest.importorskip("triton", reason="Triton comes with torch on Linux")
    interpreter = Interpreter()
    yield interpreter
    interpreter.close()


@pytest.fixture
def path(request) -> Path:
    """One of the ways to augment."""
    if request.param == "triton":
        return request.getfixturevalue("interpreter")
    return fused.augment if request.param == "numba" else partial(batch.augment, with_hue=True)


def photos(num_images: int, height: int, width: int) -> Tensor:
    """Smooth colours with noise, uint8 (N, H, W, 3), that reach both ends of the range."""
    generator = torch.Generator().manual_seed(0)
    coarse = torch.rand(num_images, 3, 4, 4, generator=generator)
    smooth = torch.nn.functional.interpolate(coarse, (height, width), mode="bicubic")
    noisy = 1.4 * smooth - 0.2 + 0.1 * torch.randn(num_images, 3, height, width, generator=generator)
    return (noisy.clamp(0.0, 1.0) * 255.0).to(torch.uint8).permute(0, 2, 3, 1).contiguous()


def by_torchvision(images: Tensor, draws: Tensor) -> Tensor:
    """The same augmentation with torchvision's functions on one image after the other."""
    results = []
    for pixels, row in zip(images.permute(0, 3, 1, 2), draws.tolist(), strict=True):
        image = reference.to_dtype(pixels, torch.float32, scale=True)
        image = reference.horizontal_flip(image) if row[FLIP_X] else image
        image = reference.vertical_flip(image) if row[FLIP_Y] else image
        height, width = image.shape[1:]
        shift = [round(row[SHIFT_X] * width), round(row[SHIFT_Y] * height)]
        if any(shift):
            image = reference.affine(image, -row[ANGLE], shift, 1.0, [0.0, 0.0])
        else:
            image = reference.rotate(image, row[ANGLE])
        for kind, factor in zip(row[JITTERS::2], row[JITTERS + 1 :: 2], strict=True):
            image = ADJUST[int(kind)](image, factor)
        results.append(reference.adjust_sharpness(image, row[SHARPNESS]))
    return torch.stack(results)


ADJUST = {kind: getattr(reference, f"adjust_{name}") for name, kind in KINDS.items()}

ALONE = [
    Photo(horizontal_flip=0.5),
    Photo(vertical_flip=0.5),
    Photo(rotation=180.0),
    Photo(translate=0.3),
    Photo(brightness=1.0),
    Photo(contrast=1.0),
    Photo(saturation=1.0),
    Photo(hue=0.5),
    Photo(sharpness=0.0),
    Photo(sharpness=5.0),
]


@each_path
@pytest.mark.parametrize("entry", [*ALONE, REPORT], ids=lambda entry: "+".join(sorted(entry.model_fields_set)))
@pytest.mark.parametrize(("height", "width"), [(32, 32), (37, 23)])
def test_every_operation_equals_torchvision(path: Path, entry: Photo, height: int, width: int) -> None:
    """Each operation alone, and the report's recipe, equal torchvision's functions to 2e-6 on every pixel."""
    images, draws = photos(24, height, width), menu.build(entry).draw(0, 0, 24)
    torch.testing.assert_close(path(images, draws), by_torchvision(images, draws), rtol=0.0, atol=2e-6)


@pytest.mark.parametrize(("path", "num_images"), [("torch", 24), ("numba", 24), ("triton", 4)], indirect=["path"])
def test_rotated_images_show_the_same_pixels_as_torchvision(path: Path, num_images: int) -> None:
    """Of 1.2 million pixels turned by any angle, those that differ lie on a tie of two neighbours, and are under 1e-5.

    Of 200,000 in Triton's interpreter, which is slow. A tie is a source within 1e-4 pixels of the middle between two
    pixels; torchvision's own float32 coordinates are no closer to the truth than that. On the machine that this was
    written on no pixel differs.
    """
    side = 224
    draws = menu.build(Photo(horizontal_flip=0.5, vertical_flip=0.5, rotation=180.0)).draw(0, 0, num_images)
    places = torch.arange(1, side * side + 1)  # no two pixels are alike, and none is black
    images = torch.stack([places & 255, places >> 8, torch.zeros_like(places)], dim=1).to(torch.uint8)
    images = images.reshape(1, side, side, 3).expand(num_images, -1, -1, -1)
    differs = ((path(images, draws) - by_torchvision(images, draws)).abs() > 1e-3).any(dim=1).numpy()
    assert differs.mean() < 1e-5
    image, line, column = np.nonzero(differs)
    angle, middle = np.radians(draws[image, ANGLE].double().numpy()), (side - 1) / 2
    x = np.cos(angle) * (column - middle) - np.sin(angle) * (line - middle) + middle
    y = np.sin(angle) * (column - middle) + np.cos(angle) * (line - middle) + middle
    to_tie = np.minimum(np.abs(x - np.floor(x) - 0.5), np.abs(y - np.floor(y) - 0.5))
    assert (to_tie < 1e-4).all()


@each_path
def test_rotation_and_shift_together_equal_one_affine_map_of_torchvision(path: Path) -> None:
    """Shifted and turned images differ from torchvision's in at most 1e-4 of their pixels, which lie on ties."""
    images, draws = photos(40, 96, 80), menu.build(Photo(rotation=50.0, translate=0.2)).draw(0, 0, 40)
    differs = (path(images, draws) - by_torchvision(images, draws)).abs() > 1e-5
    assert differs.float().mean() < 1e-4


def test_the_fused_loops_equal_the_torch_path() -> None:
    """The report's recipe at 224 pixels gives the same images to 2e-6 on both paths."""
    images, draws = photos(16, 224, 224), menu.build(REPORT).draw(5, 2, 16)
    torch.testing.assert_close(fused.augment(images, draws), batch.augment(images, draws), rtol=0.0, atol=2e-6)


def test_the_recipe_agrees_in_distribution_with_the_plain_script() -> None:
    """Over 600 draws of one photo, four statistics of the image are spread as by torchvision's PIL transforms."""
    num_draws, side = 600, 48
    images = photos(1, side, side)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        transform, photo = train_transform(side), Image.fromarray(images[0].numpy())
        theirs = torch.stack([transform(photo) for _ in range(num_draws)])
    built = menu.build(REPORT)
    ours = built(images.expand(num_draws, -1, -1, -1), built.draw(0, 0, num_draws))
    statistics = {
        "brightness": lambda batch: batch.mean(dim=(1, 2, 3)),
        "contrast": lambda batch: batch.std(dim=(1, 2, 3)),
        "colour": lambda batch: batch.std(dim=1).mean(dim=(1, 2)),
        "detail": lambda batch: batch.diff(dim=3).abs().mean(dim=(1, 2, 3)),
    }
    for name, statistic in statistics.items():
        assert ks_2samp(statistic(theirs).numpy(), statistic(ours).numpy()).pvalue > 1e-3, name


@each_path
def test_an_image_does_not_depend_on_its_batch(path: Path) -> None:
    """Another order, and a batch of its own, give the same bits."""
    images, draws = photos(7, 40, 40), menu.build(REPORT).draw(0, 0, 7)
    together = path(images, draws)
    order = torch.tensor([3, 6, 0, 2, 5, 1, 4])
    assert torch.equal(path(images[order], draws[order]), together[order])
    assert torch.equal(path(images[4:5], draws[4:5]), together[4:5])


def test_the_number_of_threads_does_not_change_a_bit() -> None:
    """The fused loops give the same images on one, two and three threads."""
    images, draws = photos(7, 40, 40), menu.build(REPORT).draw(0, 0, 7)
    results = []
    for num_threads in (1, 2, 3):
        torch.set_num_threads(num_threads)
        results.append(fused.augment(images, draws))
    assert torch.equal(results[0], results[1])
    assert torch.equal(results[0], results[2])


@pytest.mark.parametrize("entry", [NoAugment(), Photo(), REPORT], ids=["none", "photo", "report"])
def test_augmented_images_are_channels_last_and_within_range(entry: NoAugment | Photo) -> None:
    """Results are float32 (N, 3, H, W) in [0, 1], channels last in memory; the bytes given are left as they were."""
    images, built = photos(4, 32, 24), menu.build(entry)
    before = images.clone()
    result = built(images, built.draw(0, 0, 4))
    assert (result.shape, result.dtype) == ((4, 3, 32, 24), torch.float32)
    assert result.is_contiguous(memory_format=torch.channels_last)
    assert result.min() >= 0.0
    assert result.max() <= 1.0
    assert torch.equal(images, before)


@pytest.mark.parametrize(
    ("entry", "way"),
    [
        (NoAugment(), "none"),
        (Photo(horizontal_flip=0.5), "fused (numba)"),
        (Photo(random_erasing=True), "eager (torch)"),
        (Photo(random_erasing=True, horizontal_flip=0.5), "eager (torch), flips and colours fused (numba)"),
    ],
    ids=["none", "flips", "erasing", "both"],
)
def test_an_augmentation_says_how_it_ran(entry: NoAugment | Photo, way: str) -> None:
    """The same words after each batch, and none of a way that was not taken."""
    built = menu.build(entry)
    for _ in range(2):
        built(photos(4, 8, 8), built.draw(0, 1, 4))
        assert built.ran == way


@pytest.mark.parametrize("entry", [NoAugment(), Photo()], ids=["none", "photo"])
def test_settings_at_their_defaults_leave_images_as_they_are(entry: NoAugment | Photo) -> None:
    """Without an operation, training images are to the bit those of evaluation, and these are torchvision's."""
    images, built = photos(4, 32, 24), menu.build(entry)
    plain = batch.to_float(images)
    assert torch.equal(built(images, built.draw(0, 0, 4)), plain)
    assert torch.equal(plain, reference.to_dtype(images.permute(0, 3, 1, 2), torch.float32, scale=True))


@each_path
@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 5), (3, 3)])
def test_the_smallest_images_are_augmented_too(path: Path, height: int, width: int) -> None:
    """Images without an inner pixel keep their sharpness, as in torchvision."""
    images, draws = photos(6, height, width), menu.build(Photo(contrast=0.5, sharpness=2.0)).draw(0, 0, 6)
    torch.testing.assert_close(path(images, draws), by_torchvision(images, draws), rtol=0.0, atol=2e-6)


def test_the_torch_path_is_one_graph_without_a_look_at_values() -> None:
    """It can be captured whole, which a branch on data or a wait for the device would prevent."""
    images, draws = photos(4, 32, 32), menu.build(REPORT).draw(0, 0, 4)
    captured = torch.compile(batch.augment, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(captured(images, draws), batch.augment(images, draws), rtol=0.0, atol=1e-6)


@pytest.mark.parametrize("obstacle", [None, "none is wanted"], ids=["kernels", "torch"])
@pytest.mark.parametrize("mark", [pytest.param(None, marks=gpu)], ids=["cuda"])
def test_a_cuda_device_gives_the_same_images_without_a_wait(obstacle: str | None, mark: None, monkeypatch) -> None:
    """The CUDA paths equal the CPU path but for ties of the rotation, and synchronise nothing once they are warm."""
    assert photo.no_kernels() is None
    monkeypatch.setattr(photo, "no_kernels", lambda: obstacle)
    images = photos(16, 224, 224)
    built = menu.build(REPORT)
    draws = built.draw(0, 0, 16)
    images_there, draws_there = images.cuda(), draws.cuda()
    built(images_there, draws_there)
    torch.cuda.set_sync_debug_mode("error")
    try:
        result = built(images_there, draws_there)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert result.is_contiguous(memory_format=torch.channels_last)
    apart = (result.cpu() - built(images, draws)).abs() > 1e-5
    assert apart.float().mean() < 1e-4

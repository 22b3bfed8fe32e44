"""How many training images a second reach the network, beside the plain script that decodes and augments each anew?

    python -m tests.benchmarks.input [--rounds 5] [--images 768]        about a minute on two cores

Reference and suite take turns in each round, so that a busy machine slows both; a ratio is the median over rounds of
the two rates of one round. Photos are synthetic: smooth fields with edges and grain, about 500 x 400, 30 to 60 KB.
"""

from __future__ import annotations

import argparse
import functools
import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image, ImageDraw
from torchvision.transforms import v2

from ablation_suite.core.augment import (
    AugMix,
    AutoAugment,
    GaussianBlur,
    Operation,
    Photo,
    RandAugment,
    RandomCrop,
    RandomErasing,
    RandomGrayscale,
    RandomResizedCrop,
    TrivialAugmentWide,
)
from ablation_suite.core.config import menu
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import Clahe, Equalize, Folder
from ablation_suite.core.training import streams
from ablation_suite.core.training.device import prepare
from ablation_suite.core.training.feed import Feed, Host
from tests.benchmarks import reference

SIZE, BATCH_SIZE, CPU = 224, 64, torch.device("cpu")
CORES = len(os.sched_getaffinity(0))
REPORT = Photo(
    horizontal_flip=0.5, vertical_flip=0.5, rotation=50.0, brightness=0.2, contrast=0.2, saturation=0.2, sharpness=2.0
)

JITTERS = {
    "brightness": (Photo(brightness=0.2), v2.ColorJitter(brightness=0.2)),
    "contrast": (Photo(contrast=0.2), v2.ColorJitter(contrast=0.2)),
    "saturation": (Photo(saturation=0.2), v2.ColorJitter(saturation=0.2)),
    "hue": (Photo(hue=0.1), v2.ColorJitter(hue=0.1)),
    "sharpness": (Photo(sharpness=2.0, sharpness_probability=1.0), v2.RandomAdjustSharpness(2.0, p=1.0)),
    "flips": (
        Photo(horizontal_flip=0.5, vertical_flip=0.5),
        v2.Compose([v2.RandomHorizontalFlip(), v2.RandomVerticalFlip()]),
    ),
    "rotation": (Photo(rotation=50.0), v2.RandomRotation(50.0)),
}
OPERATIONS: dict[str, tuple[Photo | Operation, v2.Transform]] = {
    entry.name: (entry, transform)
    for entry, transform in (
        (RandomResizedCrop(), v2.RandomResizedCrop(SIZE, antialias=True)),
        (RandomCrop(padding=28), v2.RandomCrop(SIZE, padding=28)),
        (TrivialAugmentWide(), v2.TrivialAugmentWide()),
        (RandAugment(), v2.RandAugment()),
        (AutoAugment(), v2.AutoAugment()),
        (AugMix(), v2.AugMix()),
        (RandomGrayscale(p=1.0), v2.RandomGrayscale(p=1.0)),
        (GaussianBlur(kernel_size=23, p=1.0), v2.GaussianBlur(23)),
        (RandomErasing(p=1.0), v2.RandomErasing(p=1.0)),
    )
} | JITTERS
PREPROCESSES = (Equalize(), Clahe())


class Row(NamedTuple):
    """One line of the table: medians in images/s, the median ratio, its lowest and highest value, the bar if any."""

    name: str
    reference: float
    ours: float
    ratio: float
    lowest: float
    highest: float
    bar: float | None


def rows(num_rounds: int, num_images: int) -> list[Row]:
    """All rows, which are the CPU's; those of a CUDA device are `tests.benchmarks.cuda`'s."""
    before = torch.get_num_threads()
    prepare(Runtime(device="cpu", threads=CORES), "float32")  # as a run does; else malloc maps each batch anew
    with tempfile.TemporaryDirectory() as folder:
        write_photos(Path(folder) / "train", num_images)
        found = [from_the_cache(Path(folder), num_rounds), first_epoch(Path(folder), num_rounds)]
    found += [an_operation(name, *pair, num_rounds) for name, pair in OPERATIONS.items()]
    found += [a_preprocess(entry, num_rounds) for entry in PREPROCESSES]
    torch.set_num_threads(before)
    return found


def from_the_cache(folder: Path, num_rounds: int) -> Row:
    """Epochs from the decoded cache beside epochs of the reference's loader, its start-up left out."""
    loader = reference.train_loader(folder / "train", BATCH_SIZE, CORES, SIZE)
    with tempfile.TemporaryDirectory() as cache:
        images = cached_images(folder, Path(cache))
        drain(epoch_batches(images, 0))  # compiles, and brings the cache into memory
        return _row(
            f"training input, {SIZE} px, report augmentation, {CORES} CPU cores, from the cache",
            num_rounds,
            lambda: _warm_rate(iter(loader)),
            lambda: rate(lambda: [drain(epoch_batches(images, epoch)) for epoch in range(15)]),
            bar=8.0,
        )


def first_epoch(folder: Path, num_rounds: int) -> Row:
    """A first epoch with hashing, decoding and writing the cache beside one of the reference, start-up and all."""

    def ours() -> int:
        with tempfile.TemporaryDirectory() as cache:
            return drain(epoch_batches(cached_images(folder, Path(cache)), 0))

    return _row(
        "first epoch including the cache build",
        num_rounds,
        lambda: rate(lambda: [drain(iter(reference.train_loader(folder / "train", BATCH_SIZE, CORES, SIZE)))]),
        lambda: rate(lambda: [ours()]),
        bar=1.0,
    )


def an_operation(name: str, entry: Photo | Operation, transform: v2.Transform, num_rounds: int) -> Row:
    """One operation on batches of bytes, beside torchvision's transform of it on one tensor after the other."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(0, 256, (4 * BATCH_SIZE, SIZE, SIZE, 3), dtype=torch.uint8, generator=generator)
    singles = images.permute(0, 3, 1, 2).contiguous()
    whole = v2.Compose([transform, v2.ToDtype(torch.float32, scale=True)])
    built = menu.build(entry)

    def ours() -> int:
        draws = built.draw(0, 1, len(images))
        pairs = zip(images.split(BATCH_SIZE), draws.split(BATCH_SIZE), strict=True)
        return drain(built(*pair) for pair in pairs)

    def theirs() -> int:
        return drain(torch.stack([whole(image) for image in batch]) for batch in singles.split(BATCH_SIZE))

    return _row(
        f"{name}, {SIZE} px, bytes in memory, {CORES} CPU cores",
        num_rounds,
        lambda: rate(lambda: [theirs()]),
        lambda: rate(lambda: [ours()]),
        bar=1.0,
    )


def a_preprocess(entry: Equalize | Clahe, num_rounds: int) -> Row:
    """What is done once to an image when the cache is built, beside the decoding that it joins; both in one thread."""
    photo = io.BytesIO()
    _photo(np.random.default_rng(0)).save(photo, "JPEG", quality=87)
    decoded = Image.open(photo).convert("RGB").resize((SIZE, SIZE))

    def repeated(work: Callable[[], Any], num_images: int = 100) -> float:
        return rate(lambda: [1 for _ in range(num_images) if work()])

    return _row(
        f"preprocess {entry.name}, {SIZE} px, one thread, beside decoding a photo",
        num_rounds,
        lambda: repeated(lambda: Image.open(photo).convert("RGB").resize((SIZE, SIZE))),
        lambda: repeated(lambda: menu.build(entry, decoded)),
        bar=None,
    )


def host_memory(num_images: int = 25_000) -> int:
    """The most bytes that this process holds, beside the mapped cache, in an epoch over that many images."""
    most = 0
    with tempfile.NamedTemporaryFile() as file:
        file.truncate(num_images * SIZE * SIZE * 3)  # a hole, which reads as black
        images = np.memmap(file.name, dtype=np.uint8, mode="r", shape=(num_images, SIZE, SIZE, 3))
        for _ in epoch_batches(images, 0):
            status = Path("/proc/self/status").read_text()
            most = max(most, int(status.partition("RssAnon:")[2].split()[0]) * 1024)
    return most


def write_photos(folder: Path, num_images: int, num_classes: int = 4) -> None:
    """Write JPEGs of about 500 x 400 pixels into class folders below `folder`."""
    rng = np.random.default_rng(0)
    for index in range(num_images):
        place = folder / f"class{index % num_classes}"
        place.mkdir(parents=True, exist_ok=True)
        _photo(rng).save(place / f"{index:05d}.jpg", quality=87)


def _photo(rng: np.random.Generator) -> Image.Image:
    """Smooth colours, some shapes with edges, and the grain of a camera."""
    width, height = (int(side) for side in rng.integers((450, 360), (550, 440)))
    field = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8)).resize((width, height), Image.BICUBIC)
    draw = ImageDraw.Draw(field)
    for _ in range(25):
        x, y, w, h = rng.uniform(0, (width, height, 120, 120))
        draw.ellipse((x, y, x + w, y + h), fill=tuple(int(value) for value in rng.integers(0, 256, 3)))
    grain = rng.normal(0.0, 5.0, (height, width, 1))
    return Image.fromarray((np.asarray(field) + grain).clip(0, 255).astype(np.uint8))


def cached_images(folder: Path, cache: Path) -> Any:
    """The training images as the suite keeps them, uint8 (N, H, W, 3) mapped from disk."""
    source = menu.build(Folder(path=str(folder), size=SIZE), data_root=folder, cache=cache)
    return source.decoded()["train"].images  # `load` would ask for validation images, too


def epoch_batches(
    images: Any, epoch: int, feed: Feed | None = None, device: torch.device = CPU
) -> Iterator[torch.Tensor]:
    """The augmented batches (N, 3, H, W) of one epoch, in a random order, as the training loop makes them."""
    augment = _built(device.type)
    draws = augment.draw(0, epoch, len(images)).to(device)
    order = streams.order(0, epoch, len(images))
    batches = np.split(order, range(BATCH_SIZE, len(order), BATCH_SIZE))
    for there, indices in (feed or Host(images)).batches(batches):
        yield augment(there, draws[indices])


@functools.cache
def _built(kind: str) -> Any:
    """The augmentation for a kind of device, compiled once."""
    return menu.build(REPORT)


def drain(batches: Iterator[Any]) -> int:
    """The number of images in all batches; waits until the last is there."""
    num_images, last = 0, None
    for batch in batches:
        last = batch if isinstance(batch, torch.Tensor) else batch[0]
        num_images += len(last)
    assert last is not None
    last[0, 0, 0, 0].item()
    return num_images


def _warm_rate(batches: Iterator[Any]) -> float:
    """Images per second from the first batch on, which leaves out the start of the workers."""
    next(batches)
    return rate(lambda: [drain(batches)])


def rate(work: Callable[[], list[int]]) -> float:
    start = time.perf_counter()
    num_images = sum(work())
    return num_images / (time.perf_counter() - start)


def _row(name: str, num_rounds: int, theirs: Callable[[], float], ours: Callable[[], float], bar: float | None) -> Row:
    """Measure both in turn, `num_rounds` times."""
    pairs = [(theirs(), ours()) for _ in range(num_rounds)]
    ratios = [our / their for their, our in pairs]
    medians = (statistics.median(column) for column in zip(*pairs, strict=True))
    return Row(name, *medians, statistics.median(ratios), min(ratios), max(ratios), bar)


def main() -> None:
    """Print the rows as a table."""
    parser = argparse.ArgumentParser(description="Benchmark of the training input.")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, default=768)
    given = parser.parse_args()
    print("| what | reference | ours | ratio (lowest to highest) | bar |\n| --- | --- | --- | --- | --- |")
    for row in rows(given.rounds, given.images):
        ratio = f"{row.ratio:.1f}x ({row.lowest:.1f} to {row.highest:.1f})"
        bar = "" if row.bar is None else f"{row.bar:g}x"
        print(f"| {row.name} | {row.reference:,.0f} images/s | {row.ours:,.0f} images/s | {ratio} | {bar} |")
    print(f"| peak host memory of 25,000 images beside the mapped cache | | {host_memory() / 1e9:.2f} GB | | 2 GB |")


if __name__ == "__main__":
    main()

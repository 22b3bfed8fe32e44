"""What does a run see of a data set that torchvision knows? Its own splits, read by torchvision's own class."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ablation_suite.core.config.paths import typed
from ablation_suite.core.data import file_hashes, parallel
from ablation_suite.core.data.dataset import DataError, Dataset, refuse_wrong_split
from ablation_suite.core.runs.files import sha256

if TYPE_CHECKING:
    import numpy as np

    from ablation_suite.core.data import Form, Torchvision
    from ablation_suite.core.data.cache import Decoded


class Published(NamedTuple):
    """Where a data set lies below the data root once unpacked, and how torchvision's class is asked for each split."""

    lies_in: tuple[str, ...]
    splits: dict[str, dict[str, Any]]
    root: str = ""


def _by_split(**names: str) -> dict[str, dict[str, Any]]:
    return {split: {"split": name} for split, name in names.items()}


_FLAG: dict[str, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
_TWO = _by_split(train="train", test="test")
_THREE = _by_split(train="train", val="val", test="test")
_ONE: dict[str, dict[str, Any]] = {"train": {}}

PUBLISHED = {
    "CIFAR10": Published(("cifar-10-batches-py",), _FLAG),
    "CIFAR100": Published(("cifar-100-python",), _FLAG),
    "CLEVRClassification": Published(("clevr",), _by_split(train="train", val="val")),
    "Caltech101": Published(("caltech101/101_ObjectCategories",), _ONE),
    "Caltech256": Published(("caltech256/256_ObjectCategories",), _ONE),
    "Country211": Published(("country211",), _by_split(train="train", val="valid", test="test")),
    "DTD": Published(("dtd/dtd",), _THREE),
    "EMNIST": Published(("EMNIST/raw",), {name: {"split": "balanced"} | flag for name, flag in _FLAG.items()}),
    "EuroSAT": Published(("eurosat/2750",), _ONE),
    "FER2013": Published(("fer2013",), _TWO),
    "FGVCAircraft": Published(("fgvc-aircraft-2013b/data",), _THREE),
    "FashionMNIST": Published(("FashionMNIST/raw",), _FLAG),
    "Flowers102": Published(("flowers-102",), _THREE),
    "Food101": Published(("food-101",), _TWO),
    "GTSRB": Published(("gtsrb",), _TWO),
    "ImageNet": Published(("imagenet/train", "imagenet/val"), _by_split(train="train", val="val"), "imagenet"),
    "Imagenette": Published(("imagenette2",), _by_split(train="train", val="val")),
    "KMNIST": Published(("KMNIST/raw",), _FLAG),
    "MNIST": Published(("MNIST/raw",), _FLAG),
    "OxfordIIITPet": Published(("oxford-iiit-pet",), _by_split(train="trainval", test="test")),
    "PCAM": Published(("pcam",), _THREE),
    "Places365": Published(
        ("places365/data_large_standard", "places365/val_large"),
        _by_split(train="train-standard", val="val"),
        "places365",
    ),
    "QMNIST": Published(("QMNIST/raw",), {"train": {"what": "train"}, "test": {"what": "test"}}),
    "RenderedSST2": Published(("rendered-sst2",), _THREE),
    "SEMEION": Published(("semeion.data",), _ONE),
    "STL10": Published(("stl10_binary",), _TWO),
    "SUN397": Published(("SUN397",), _ONE),
    "SVHN": Published(("train_32x32.mat", "test_32x32.mat"), _TWO),
    "StanfordCars": Published(("stanford_cars",), _TWO),
    "USPS": Published(("usps.bz2", "usps.t.bz2"), _FLAG),
}
"""Every classification data set of torchvision that has one label per image."""

ARCHIVES = (".gz", ".tgz", ".tar", ".zip")
"""What torchvision unpacks and then needs no more; keeping or removing it changes nothing."""


class PublishedSource:
    """One of PUBLISHED, in the folder that torchvision itself would use below the data root."""

    def __init__(self, entry: Torchvision, *, data_root: Path, cache: Path):
        self.entry, self.cache = entry, cache
        self.data_root = typed(data_root).resolve()
        self.published = PUBLISHED[entry.dataset]

    def fingerprint(self) -> str:
        """SHA-256 (hex) of the files' contents; downloads them if they are not there, DataError where that fails."""
        refuse_wrong_split(self.entry.dataset, self.entry.split, "val" in self.published.splits)
        return self._content

    def load(self, progress: parallel.Progress | None = None) -> Dataset:
        """The splits, decoded once into the cache; DataError lists every unreadable image."""
        from ablation_suite.core.data.cache import decoded
        from ablation_suite.core.data.splits import as_splits, readable_rows

        fingerprint = self.fingerprint()
        sets = self._open(download=False)

        def decode(form: Form, splits: Collection[str]) -> dict[str, Decoded]:
            decoders = {split: ItemDecoder(items, form) for split, items in sets.items() if split in splits}
            return decoded(self.cache, fingerprint, decoders, title=self.entry.dataset, progress=progress)

        found = decode(self.entry.form(evaluated=False), sets)
        faults = [
            f"{self.data_root}: {self.entry.dataset}: {split} image {row} is unreadable: {reason}; remove "
            f"{self._places()} and run again to download it anew"
            for split, every in found.items()
            for row, reason in every.unreadable.items()
        ]
        if faults:
            raise DataError(faults)
        rows = readable_rows(found, self.entry.split, self.entry.split_seed)
        return Dataset(
            classes=_classes(sets["train"], int(found["train"].labels.max()) + 1),
            fingerprint=fingerprint,
            splits=as_splits(
                self.entry, rows, found, decode, lambda origin, kept: [f"{origin}/{row:06d}" for row in kept]
            ),
        )

    @cached_property
    def _content(self) -> str:
        if not all(any(_files(self.data_root, place)) for place in self.published.lies_in):
            self._open(download=True)
        names = sorted(name for place in self.published.lies_in for name in _files(self.data_root, place))
        digests = file_hashes.digests(self.data_root, names, self.cache, title=self.entry.dataset)
        lines = [f"{name}\0{digest}\n" for name, digest in zip(names, digests, strict=True)]
        return sha256("".join([self.entry.dataset, "\n", *lines]))

    def _open(self, *, download: bool) -> dict[str, Any]:
        """Torchvision's own objects, by split."""
        import torchvision

        make = getattr(torchvision.datasets, self.entry.dataset)
        root = self.data_root / self.published.root
        fetch = {"download": True} if download else {}
        if self.entry.dataset == "SEMEION":
            fetch = {"download": download}  # the only one that downloads unasked
        try:
            return {split: make(root=root, **arguments, **fetch) for split, arguments in self.published.splits.items()}
        except Exception as error:  # RuntimeError, URLError, OSError, TypeError, each set has its own
            reason = " ".join(str(error).split()) or type(error).__name__
            problem = "could not be downloaded" if download else "is incomplete; remove it to download it anew"
            raise DataError(
                f"{self.entry.dataset}: {self._places()} {problem} ({reason}); where there is no network, put it there "
                "by hand, or name the folder that has it with --data-root DIR or ABLATE_DATA"
            ) from error

    def _places(self) -> str:
        return " and ".join(str(self.data_root / place) for place in self.published.lies_in)


class ItemDecoder:
    """The images of one of torchvision's data sets."""

    def __init__(self, items: Any, form: Form):
        self.items, self.form = items, form

    def __len__(self) -> int:
        return len(self.items)

    def __call__(self, index: int) -> tuple[np.ndarray, int]:
        """Pixels (H, W, 3) uint8 and label (-1: none); raises Unreadable."""
        from ablation_suite.core.data.decode import Unreadable, in_form, to_rgb

        try:
            image, label = self.items[index]
            return in_form(to_rgb(image), self.form), -1 if label is None else int(label)
        except MemoryError:
            raise
        except Exception as error:  # whatever a data set's own reader meets
            raise Unreadable(" ".join(str(error).split()) or type(error).__name__) from error


def _files(root: Path, place: str) -> Iterator[str]:
    """Files at or below a place, as paths below root, without archives."""
    if (root / place).is_file():
        yield place
    for folder, _, names in os.walk(root / place):
        below = os.path.relpath(folder, root)
        yield from (f"{below}/{name}" for name in names if not name.endswith(ARCHIVES))


def _classes(items: Any, count: int) -> tuple[str, ...]:
    """The names that torchvision gives the classes (a list of synonyms in one line), else their numbers."""
    names = getattr(items, "classes", None) or getattr(items, "categories", None) or range(count)
    return tuple(", ".join(name) if isinstance(name, tuple) else str(name) for name in names)

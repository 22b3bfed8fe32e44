"""Which images does a run see? Menu of the data sets."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, tagged
from ablation_suite.core.config.own import Own


class Digits(Entry):
    """The 1,797 handwritten digits that ship with scikit-learn: ten classes, 8 x 8 grey, 60/20/20 stratified."""

    builds = "ablation_suite.core.data.digits:DigitsSource"
    name: Literal["digits"] = "digits"
    size: int = Field(8, ge=1)
    """Height and width in pixels; 8 leaves the digits as they are."""
    split_seed: int = Field(0, ge=0)
    """Seed of the division into train, val and test."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""


class Folder(Entry):
    """Your own photographs: train/<class>/, val/<class>/ and test/, as JPEG, PNG, WebP or BMP."""

    builds = "ablation_suite.core.data.folder:FolderSource"
    name: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """The folder that holds train/, from here or else below the data root (--data-root, ABLATE_DATA)."""
    size: int = Field(224, ge=1)
    """Height and width in pixels to which every image is resized (the aspect is not kept)."""
    split: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of train/ held out for validation, by class; only where there is no validation folder."""
    split_seed: int = Field(0, ge=0)
    """Seed of that division."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""
    allow: tuple[Literal["leaked", "unreadable"], ...] = ()
    """Faults to train with: `leaked` keeps an image that is in two splits, `unreadable` leaves broken files out."""


class Torchvision(Entry):
    """A classification data set of torchvision, with its own test split; downloaded once into the data root."""

    builds = "ablation_suite.core.data.torchvision_sets:PublishedSource"
    name: Literal["torchvision"] = "torchvision"
    dataset: Literal[
        "CIFAR10",
        "CIFAR100",
        "CLEVRClassification",
        "Caltech101",
        "Caltech256",
        "Country211",
        "DTD",
        "EMNIST",
        "EuroSAT",
        "FER2013",
        "FGVCAircraft",
        "FashionMNIST",
        "Flowers102",
        "Food101",
        "GTSRB",
        "ImageNet",
        "Imagenette",
        "KMNIST",
        "MNIST",
        "OxfordIIITPet",
        "PCAM",
        "Places365",
        "QMNIST",
        "RenderedSST2",
        "SEMEION",
        "STL10",
        "SUN397",
        "SVHN",
        "StanfordCars",
        "USPS",
    ]
    """Its class in torchvision.datasets (EMNIST is the `balanced` one)."""
    size: int = Field(224, ge=1)
    """Height and width in pixels to which every image is resized (the aspect is not kept)."""
    split: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of its training images held out for validation, by class; only where it has no validation split."""
    split_seed: int = Field(0, ge=0)
    """Seed of that division."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""


class OwnData(Own):
    """A data set of your own: gives {"train": items, "val": items, "test": items}, of which train is needed alone.

    Items are a sequence of (image, label), with images of PIL or uint8 arrays (H, W, 3) or (H, W), or a pair of arrays,
    images (N, H, W, 3) or (N, H, W) and labels (N,). Labels are whole numbers from 0 on, None in a test split that
    nobody labelled. Names of the classes may stand under "classes". Every image is decoded once, into a cache, by
    several threads.
    An argument that is called root, or annotated with Path, is a file or a folder, from here or else below the data
    root; its content counts as the data's. All else that an image depends on has to be in the arguments or the code.
    Given, where its arguments have these names: size, split, split_seed.
    """

    builds = "ablation_suite.core.data.own:OwnSource"
    size: int = Field(224, ge=1)
    """Height and width in pixels to which every image is resized (the aspect is not kept)."""
    split: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of its training images held out for validation, by class; only where it gives no validation images."""
    split_seed: int = Field(0, ge=0)
    """Seed of that division."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""


Data = tagged(Digits, Folder, Torchvision, own=OwnData)

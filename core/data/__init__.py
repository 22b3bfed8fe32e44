"""Which images does a run see? Menu of the data sets."""

from __future__ import annotations

from typing import Literal, NamedTuple

from pydantic import Field, model_validator

from ablation_suite.core.config.menu import Entry, later, tagged
from ablation_suite.core.config.own import Own

SMALLEST_TILE = 4
"""Pixels of a side: a histogram of fewer than sixteen pixels says nothing."""


class NoPreprocess(Entry):
    """Pixels as they are."""

    builds = "ablation_suite.core.data.decode:untouched"
    name: Literal["none"] = "none"


class Equalize(Entry):
    """The histogram of each colour made flat (PIL's and torchvision's equalize)."""

    builds = "ablation_suite.core.data.decode:equalize"
    name: Literal["equalize"] = "equalize"


class Clahe(Entry):
    """Contrast-limited equalisation of the brightness, tile by tile (Zuiderveld 1994; as OpenCV computes it)."""

    builds = "ablation_suite.core.data.decode:clahe"
    name: Literal["clahe"] = "clahe"
    clip_limit: float = Field(2.0, gt=0.0)
    """Largest bin of a tile's histogram, as a multiple of the average one."""
    tiles: int = Field(8, ge=1)
    """Tiles along each side."""


class Form(NamedTuple):
    """How an image file becomes a square of pixels."""

    size: int
    resize: str = "squash"
    preprocess: NoPreprocess | Equalize | Clahe = NoPreprocess()

    @property
    def suffix(self) -> str:
        """What tells caches of other forms apart; nothing for images that are squashed and otherwise as they are."""
        settings = self.preprocess.model_dump(exclude={"name"}).values()
        words = ["crop"] * (self.resize == "crop") + [self.preprocess.name] * (self.preprocess.name != "none")
        return "".join(f"-{word}" for word in [*words, *settings])


class Pictures(Entry):
    """What every data set of the menu has beside the place of its images."""

    resize: Literal["squash", "crop"] = later("squash")
    """`squash` gives both sides the size; `crop` gives it to the shorter one, and cuts what is over at both ends."""
    preprocess: tagged(NoPreprocess, Equalize, Clahe) = later(NoPreprocess())  # type: ignore[valid-type]
    """What is done to the pixels of every image, once, after it is resized."""
    eval_size: int | None = later(None, ge=1)
    """Height and width of validation and test images; null takes `size`."""
    eval_crop: int | None = later(None, ge=1)
    """Height and width of what is evaluated of them, their middle; null takes them whole."""
    sampler: Literal["shuffled", "balanced"] = later("shuffled")
    """`shuffled` takes every image once an epoch; `balanced` draws as many, all classes alike, with replacement."""

    @model_validator(mode="after")
    def _parts_fit(self) -> Pictures:
        size = self.form(evaluated=True).size
        if self.eval_crop is not None and self.eval_crop > size:
            raise ValueError(f"eval_crop {self.eval_crop} is larger than the evaluated images of {size} pixels")
        clahe: NoPreprocess | Equalize | Clahe = self.preprocess
        for each in {self.form(evaluated=False).size, size}:
            if isinstance(clahe, Clahe) and each < SMALLEST_TILE * clahe.tiles:
                raise ValueError(
                    f"preprocess: clahe in {clahe.tiles} x {clahe.tiles} tiles of images of {each} pixels: a tile "
                    f"needs {SMALLEST_TILE} pixels a side; take at most {each // SMALLEST_TILE} tiles"
                )
        return self

    def form(self, *, evaluated: bool) -> Form:
        """The form of training images, or of those that are evaluated."""
        size: int = self.size  # type: ignore[attr-defined]  # every data set has its own
        return Form((self.eval_size if evaluated else None) or size, self.resize, self.preprocess)

    @property
    def evaluated_size(self) -> int:
        """Height and width of the images that the network is evaluated on."""
        return self.eval_crop or self.form(evaluated=True).size


class Digits(Pictures):
    """The 1,797 handwritten digits that ship with scikit-learn: ten classes, 8 x 8 grey, 60/20/20 stratified."""

    builds = "ablation_suite.core.data.digits:DigitsSource"
    name: Literal["digits"] = "digits"
    size: int = Field(8, ge=1)
    """Height and width in pixels; 8 leaves the digits as they are."""
    split_seed: int = Field(0, ge=0)
    """Seed of the division into train, val and test."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""


class Folder(Pictures):
    """Your own photographs: train/<class>/, val/<class>/ and test/, as JPEG, PNG, WebP, BMP, GIF, TIFF, PPM or AVIF."""

    builds = "ablation_suite.core.data.folder:FolderSource"
    name: Literal["folder"] = "folder"
    path: str = Field(min_length=1)
    """The folder that holds train/, from here or else below the data root (--data-root, ABLATE_DATA)."""
    size: int = Field(224, ge=1)
    """Height and width in pixels to which every image is resized."""
    split: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of train/ held out for validation, by class; only where there is no validation folder."""
    split_seed: int = Field(0, ge=0)
    """Seed of that division."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""
    groups: str | None = later(None)
    """Which images belong together, so that `split` holds out whole groups: by their names, as `{plant}_*.jpg`; by a
    table with the columns file and group, as `groups.csv`; or `near_duplicates`, as `ablate data check` finds them."""
    allow: tuple[Literal["leaked", "unreadable", "conflicting"], ...] = ()
    """Faults to train with: `leaked` keeps an image that is in two splits, `conflicting` one that has two labels in a
    split; `unreadable` leaves broken files out."""

    @model_validator(mode="after")
    def _groups_are_divided(self) -> Folder:
        from ablation_suite.core.data.groups import is_told, rule_fault

        if self.groups is None or is_told(self.groups):
            return self
        if fault := rule_fault(self.groups):
            raise ValueError(f"groups {fault}; else it is a table, as groups.csv, or near_duplicates")
        if self.split is None:
            raise ValueError("groups says how `split` divides train/; without `split` it belongs to the spec")
        return self


class Torchvision(Pictures):
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
    """Height and width in pixels to which every image is resized."""
    split: float | None = Field(None, gt=0.0, lt=1.0)
    """Share of its training images held out for validation, by class; only where it has no validation split."""
    split_seed: int = Field(0, ge=0)
    """Seed of that division."""
    share: float = Field(1.0, gt=0.0, le=1.0)
    """Share of each class's training images that are trained on; a smaller share is a part of every larger one."""


class OwnData(Pictures, Own):
    """A data set of your own: gives {"train": items, "val": items, "test": items}, of which train is needed alone.

    Items are a sequence of (image, label), with images of PIL or uint8 arrays (H, W, 3) or (H, W), or a pair of arrays,
    images (N, H, W, 3) or (N, H, W) and labels (N,). Labels are whole numbers from 0 on, None in a test split that
    nobody labelled. Names of the classes may stand under "classes". Every image is decoded once, into a cache, by
    several threads.
    An argument that is called root, or annotated with Path, is a file or a folder, from here or else below the data
    root; its content counts as the data's. All else that an image depends on has to be in the arguments or the code.
    Given, where its arguments have these names: size, split, split_seed, and the further settings of a data set.
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

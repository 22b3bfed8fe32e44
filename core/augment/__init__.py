"""How is each training image changed at random? Menu of the augmentations."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, Field, model_validator

from ablation_suite.core.config.menu import Entry, later, optional, tagged
from ablation_suite.core.config.own import Own


def _in_order(pair: tuple[float, float]) -> tuple[float, float]:
    if pair[0] > pair[1]:
        raise ValueError(f"should be (smallest, largest), not {list(pair)}")
    return pair


Share = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[float, Field(gt=0.0)]
Shares = Annotated[tuple[Share, Share], AfterValidator(_in_order)]
Range = Annotated[tuple[Positive, Positive], AfterValidator(_in_order)]


class Operation(Entry):
    """One of torchvision's transforms under its own name, as a setting of `photo` or as the whole augmentation."""

    builds = "ablation_suite.core.augment.photo:alone"

    @property
    def crop(self) -> RandomResizedCrop | RandomCrop | None:
        """Itself, where it cuts something out of an image."""
        return self if isinstance(self, RandomResizedCrop | RandomCrop) else None

    def misfit(self, size: int) -> str:
        """Why images of this height and width cannot be changed so, or nothing."""
        return ""


class RandomResizedCrop(Operation):
    """A part of random area and aspect, resized (bilinear, antialiased); it is cut from the image as it is stored."""

    name: Literal["random_resized_crop"] = "random_resized_crop"
    size: int | None = Field(None, ge=1)
    """Height and width that the network is trained on; null takes data.size."""
    scale: Shares = (0.08, 1.0)
    """Share of the image's area that is kept, drawn evenly."""
    ratio: Range = (3 / 4, 4 / 3)
    """Width over height of the part, its logarithm drawn evenly."""


class RandomCrop(Operation):
    """A square at a random place, after padding on all sides."""

    name: Literal["random_crop"] = "random_crop"
    size: int | None = Field(None, ge=1)
    """Height and width that the network is trained on; null takes data.size."""
    padding: int = Field(0, ge=0)
    """Pixels that are added to each side before."""
    padding_mode: Literal["constant", "reflect"] = "constant"
    """`constant` adds black, `reflect` the image mirrored at its edge."""

    def misfit(self, size: int) -> str:
        if self.size is not None and self.size > size + 2 * self.padding:
            padded = f" and {self.padding} of padding on each side" if self.padding else ""
            return f"random_crop.size {self.size} is larger than images of {size} pixels{padded}"
        if self.padding_mode == "reflect" and self.padding >= size:
            return f"random_crop.padding {self.padding} mirrors more than images of {size} pixels have; take a smaller"
        return ""


class RandomErasing(Operation):
    """A rectangle in one colour (Zhong et al. 2020), after all other changes."""

    name: Literal["random_erasing"] = "random_erasing"
    p: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that an image loses a rectangle."""
    scale: Shares = (0.02, 0.33)
    """Share of the image's area, drawn evenly."""
    ratio: Range = (0.3, 3.3)
    """Height over width of the rectangle, its logarithm drawn evenly."""
    value: float = Field(0.0, ge=0.0, le=1.0)
    """Its grey: 0 is black, 1 white, before `model.normalize`."""


class GaussianBlur(Operation):
    """A Gaussian blur of random width, mirrored at the edges."""

    name: Literal["gaussian_blur"] = "gaussian_blur"
    p: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that an image is blurred."""
    kernel_size: int = Field(5, ge=1)
    """Pixels that the blur reaches over, an odd number."""
    sigma: Range = (0.1, 2.0)
    """Standard deviation in pixels, drawn evenly."""

    @model_validator(mode="after")
    def _has_a_middle(self) -> GaussianBlur:
        if self.kernel_size % 2 == 0:
            raise ValueError(f"kernel_size {self.kernel_size} is even; take {self.kernel_size + 1}")
        return self

    def misfit(self, size: int) -> str:
        most = 2 * size - 1
        return f"gaussian_blur.kernel_size is at most {most} for images of {size}" if self.kernel_size > most else ""


class RandomGrayscale(Operation):
    """The image in grey."""

    name: Literal["random_grayscale"] = "random_grayscale"
    p: float = Field(0.1, ge=0.0, le=1.0)
    """Probability that an image loses its colours."""


class TrivialAugmentWide(Operation):
    """One random operation of random strength (Mueller and Hutter 2021)."""

    name: Literal["trivial_augment_wide"] = "trivial_augment_wide"
    num_magnitude_bins: int = Field(31, ge=2)
    """Steps of strength."""


class RandAugment(Operation):
    """Some random operations of one strength (Cubuk et al. 2020)."""

    name: Literal["rand_augment"] = "rand_augment"
    num_ops: int = Field(2, ge=1, le=16)
    """Operations, one after the other."""
    magnitude: int = Field(9, ge=0)
    """Strength, a step below num_magnitude_bins."""
    num_magnitude_bins: int = Field(31, ge=2)
    """Steps of strength."""

    @model_validator(mode="after")
    def _the_step_exists(self) -> RandAugment:
        if self.magnitude >= self.num_magnitude_bins:
            raise ValueError(f"magnitude {self.magnitude} is none of {self.num_magnitude_bins} steps from 0 on")
        return self


class AutoAugment(Operation):
    """One of 25 pairs of operations that were found for a data set (Cubuk et al. 2019)."""

    name: Literal["auto_augment"] = "auto_augment"
    policy: Literal["imagenet", "cifar10", "svhn"] = "imagenet"
    """The data set that they were found for."""


class AugMix(Operation):
    """A blend of the image with chains of operations on it (Hendrycks et al. 2020), without the consistency loss."""

    name: Literal["aug_mix"] = "aug_mix"
    severity: int = Field(3, ge=1, le=10)
    """Largest strength of an operation, of 10."""
    mixture_width: int = Field(3, ge=1, le=8)
    """Chains that are blended."""
    chain_depth: int = Field(-1, ge=-1, le=8)
    """Operations of a chain; -1 draws one, two or three."""
    alpha: float = Field(1.0, gt=0.0)
    """Parameter of the Dirichlet and Beta distributions of the shares."""
    all_ops: bool = True
    """Whether brightness, colour, contrast and sharpness are among the operations."""

    @model_validator(mode="after")
    def _chains_have_operations(self) -> AugMix:
        if self.chain_depth == 0:
            raise ValueError("chain_depth 0 has no operation; -1 draws one, two or three")
        return self


class NoAugment(Entry):
    """Every image as it is."""

    builds = "ablation_suite.core.augment.photo:Unaugmented"
    name: Literal["none"] = "none"


class Photo(Entry):
    """Flips, rotation and shift in one resampling, then colour jitter in random order, then sharpness.

    Each image has draws of its own. Every operation does what torchvision's of that name does; those that are left at
    their default do nothing. A crop and one of the policies (trivial_augment_wide, rand_augment, auto_augment, aug_mix)
    come before all that; grey, blur and erasing come after.
    """

    builds = "ablation_suite.core.augment.photo:PhotoAugment"
    name: Literal["photo"] = "photo"
    horizontal_flip: float = Field(0.0, ge=0.0, le=1.0)
    """Probability that left and right are exchanged."""
    vertical_flip: float = Field(0.0, ge=0.0, le=1.0)
    """Probability that top and bottom are exchanged."""
    rotation: float = Field(0.0, ge=0.0, le=180.0)
    """Largest angle in degrees, drawn evenly from [-r, r]; nearest neighbour, black corners."""
    translate: float = Field(0.0, ge=0.0, le=1.0)
    """Largest shift along each axis, a fraction of the side, drawn evenly from [-t, t]; whole pixels, black borders."""
    brightness: float = Field(0.0, ge=0.0, le=1.0)
    """Largest change of the brightness factor, drawn evenly from [1 - x, 1 + x]."""
    contrast: float = Field(0.0, ge=0.0, le=1.0)
    """Largest change of the contrast factor, drawn evenly from [1 - x, 1 + x]."""
    saturation: float = Field(0.0, ge=0.0, le=1.0)
    """Largest change of the saturation factor, drawn evenly from [1 - x, 1 + x]."""
    sharpness: float = Field(1.0, ge=0.0)
    """Sharpness factor: 0 blurs, 1 leaves the image as it is, 2 sharpens."""
    sharpness_probability: float = Field(0.5, ge=0.0, le=1.0)
    """Probability that the sharpness factor is applied."""
    hue: float = later(0.0, ge=0.0, le=0.5)
    """Largest turn of the colours, in whole turns, drawn evenly from [-h, h]; one more of the colour jitters."""
    jitter_probability: float = later(1.0, ge=0.0, le=1.0)
    """Probability that brightness, contrast, saturation and hue are changed, all of them or none."""
    random_resized_crop: optional(RandomResizedCrop) = later(None)  # type: ignore[valid-type]
    """A part of random area and aspect, resized; true for its defaults, null for none, as all that follow."""
    random_crop: optional(RandomCrop) = later(None)  # type: ignore[valid-type]
    """A square at a random place, after padding."""
    trivial_augment_wide: optional(TrivialAugmentWide) = later(None)  # type: ignore[valid-type]
    """One random operation of random strength."""
    rand_augment: optional(RandAugment) = later(None)  # type: ignore[valid-type]
    """Some random operations of one strength."""
    auto_augment: optional(AutoAugment) = later(None)  # type: ignore[valid-type]
    """A pair of operations that was found for a data set."""
    aug_mix: optional(AugMix) = later(None)  # type: ignore[valid-type]
    """A blend of the image with chains of operations on it."""
    random_grayscale: optional(RandomGrayscale) = later(None)  # type: ignore[valid-type]
    """The image in grey."""
    gaussian_blur: optional(GaussianBlur) = later(None)  # type: ignore[valid-type]
    """A blur of random width."""
    random_erasing: optional(RandomErasing) = later(None)  # type: ignore[valid-type]
    """A rectangle in one colour."""

    @model_validator(mode="after")
    def _one_of_a_kind(self) -> Photo:
        for kind in (("random_resized_crop", "random_crop"), POLICIES):
            given = [name for name in kind if getattr(self, name) is not None]
            if len(given) > 1:
                raise ValueError(f"takes one of {', '.join(kind)}, not {' and '.join(given)}")
        return self

    @property
    def crop(self) -> RandomResizedCrop | RandomCrop | None:
        """What is cut out of an image, if anything is."""
        return self.random_resized_crop or self.random_crop  # type: ignore[no-any-return]

    def misfit(self, size: int) -> str:
        """Why images of this height and width cannot be changed so, or nothing."""
        cut = self.crop.misfit(size) if self.crop else ""
        trained = (self.crop and self.crop.size) or size
        return cut or (self.gaussian_blur.misfit(trained) if self.gaussian_blur else "")


POLICIES = ("trivial_augment_wide", "rand_augment", "auto_augment", "aug_mix")
"""What draws its operations from a list; an image goes through one of them at most."""


class OwnAugment(Own):
    """An augmentation of your own: called on batches with draws of the run's, or on one image at a time.

    Called as augment(images, draws) where it takes two arguments: images float32 (N, 3, H, W) in [0, 1], and
    draws (N, P), even in [0, 1), each row a function of (seed, epoch, image); P is its attribute `num_draws`, or 16.
    Called as augment(image) where it takes one: an image (3, H, W) by itself, while torch's generators, from which
    torchvision's transforms draw, are seeded by (seed, epoch, image). It returns what it was given, changed, in its
    shape; training images alone are augmented.
    """

    builds = "ablation_suite.core.augment.own:own_augment"
    called = ("images", "draws", "image")


Augment = tagged(
    NoAugment,
    Photo,
    RandomResizedCrop,
    RandomCrop,
    TrivialAugmentWide,
    RandAugment,
    AutoAugment,
    AugMix,
    RandomGrayscale,
    GaussianBlur,
    RandomErasing,
    own=OwnAugment,
)

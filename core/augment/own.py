"""How do a user's own augmentation and mixing run? On draws of the run's, or under torch's generators, seeded."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.augment import OwnAugment
from ablation_suite.core.augment.batch import to_float
from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.mix import OwnMix
from ablation_suite.core.own.loading import make, takes
from ablation_suite.core.training import streams

NUM_DRAWS = 16
"""Draws of each image where an augmentation does not say how many it wants."""
BELOW_ONE = np.nextafter(np.float32(1), np.float32(0))


class Batched:
    """A user's callable of a batch of images and their draws."""

    ran = "own code"

    def __init__(self, name: str, change: Callable[[Tensor, Tensor], Tensor]):
        self.name, self.change = name, change
        self.num_draws = int(getattr(change, "num_draws", NUM_DRAWS))

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """Draws float32 (N, P), even in [0, 1)."""
        draws = streams.uniforms(seed, "augment.own", epoch, num_images, self.num_draws).astype(np.float32)
        return torch.from_numpy(np.minimum(draws, BELOW_ONE))

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images uint8 (N, H, W, 3) with their draws (N, P), as float32 (N, 3, H, W)."""
        return _checked(self.name, self.change(to_float(images), rows.to(images.device)), to_float(images))


class OneByOne:
    """A user's callable of one image, such as a transform of torchvision."""

    draws_on_host = True
    ran = "own code, image by image"

    def __init__(self, name: str, change: Callable[[Tensor], Tensor]):
        self.name, self.change = name, change

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """A seed int64 (N, 1) for each image."""
        return torch.from_numpy(streams.generator(seed, "augment.own", epoch).integers(2**63 - 1, size=(num_images, 1)))

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images uint8 (N, H, W, 3) with their seeds (N, 1), as float32 (N, 3, H, W)."""
        inputs = to_float(images).contiguous()
        with _given_back(images.device) as generators:
            changed = []
            for image, seed in zip(inputs, rows[:, 0].tolist(), strict=True):
                for generator in generators:
                    generator.manual_seed(seed)
                changed.append(_checked(self.name, self.change(image), image))
        return torch.stack(changed)


class Mixed:
    """A user's callable that mixes a batch."""

    def __init__(self, entry: OwnMix):
        self.entry = entry
        self.mix: Any = None

    def __call__(
        self, images: Tensor, labels: Tensor, num_classes: int, generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Images (N, C, H, W), and classes (N,) or shares of classes (N, K)."""
        if self.mix is None:
            self.mix = make(self.entry, num_classes=num_classes)
            takes(self.mix, ("images", "labels"))
        with _given_back(images.device) as generators:
            seed = int(torch.randint(2**62, (), generator=generator))
            for each in generators:
                each.manual_seed(seed)
            mixed = self.mix(images, labels)
        if not isinstance(mixed, tuple | list) or len(mixed) != 2:
            raise OwnPartError(f"{self.entry.name}: gives {_kind(mixed)}; a mixing gives images and labels")
        inputs, targets = mixed
        shapes = ((len(labels),), (len(labels), num_classes))
        if not isinstance(targets, Tensor) or tuple(targets.shape) not in shapes:
            wanted = " or ".join(map(str, shapes))
            raise OwnPartError(f"{self.entry.name}: gives labels as {_kind(targets)}; they should be {wanted}")
        return _checked(self.entry.name, inputs, images), targets


def own_augment(entry: OwnAugment) -> Batched | OneByOne:
    """The augmentation that a user's name leads to."""
    change = make(entry)
    form = takes(change, ("image",), ("images", "draws"))
    if "image" in form and len(form) > 1:
        raise OwnPartError(f"{entry.name}: takes ({', '.join(form)}); either (image), or (images, draws)")
    return OneByOne(entry.name, change) if form == ("image",) else Batched(entry.name, change)


def own_mix(entry: OwnMix) -> Mixed:
    """The mixing that a user's name leads to."""
    return Mixed(entry)


@contextmanager
def _given_back(device: torch.device) -> Iterator[list[torch.Generator]]:
    """Torch's generators for a device, which get their state back."""
    generators = [torch.default_generator]
    if device.type == "cuda":
        generators.append(torch.cuda.default_generators[device.index or 0])
    states = [each.get_state() for each in generators]
    try:
        yield generators
    finally:
        for generator, state in zip(generators, states, strict=True):
            generator.set_state(state)


def _checked(name: str, changed: Any, before: Tensor) -> Tensor:
    if not isinstance(changed, Tensor) or changed.shape != before.shape or not changed.is_floating_point():
        raise OwnPartError(f"{name}: gives {_kind(changed)} for images {tuple(before.shape)} of float32")
    return changed


def _kind(value: Any) -> str:
    if not isinstance(value, Tensor):
        return f"a {type(value).__name__}"
    return f"{tuple(value.shape)} of {str(value.dtype).removeprefix('torch.')}"

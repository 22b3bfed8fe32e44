"""What does an entry of the menu do to training images? Draws a table per epoch, and augments batches by its rows."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.augment import POLICIES, NoAugment, Operation, Photo, RandomResizedCrop, batch, draws
from ablation_suite.core.augment.crops import Crop, ResizedCrop
from ablation_suite.core.augment.last_changes import Blur, Erasing, Grayscale
from ablation_suite.core.augment.policies import build_policy


class Stage(Protocol):
    """One change before or after the flips and colours; its draws lie on the host."""

    num_draws: int
    """P, the columns of its table."""

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Float32 (N, P), a row per image of the split; row i is a function of (seed, epoch, i)."""
        ...

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Images (N, 3, H, W), changed by their rows (N, P): bytes before, float32 after."""
        ...


class Unaugmented:
    """Images as they are."""

    draws_on_host = False
    ran = "none"

    def __init__(self, entry: NoAugment):
        self.entry = entry

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """An empty table (N, 0), for there is nothing to draw."""
        return torch.empty(num_images, 0)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Images uint8 (N, H, W, 3) as float32 (N, 3, H, W) in [0, 1], channels last in memory."""
        return batch.to_float(images)


class PhotoAugment:
    """Augments each image by its own parameters: flips and colours by fused loops on CPU and CUDA, elsewhere by torch.

    What comes before and after is plain torch, grouped by what happens to each image; for that, the whole table stays
    on the host.
    """

    def __init__(self, entry: Photo):
        self.entry = entry
        self.before, self.after = _before(entry), _after(entry)
        self.draws_on_host = bool(self.before or self.after)
        stages = {
            "name",
            "jitter_probability",
            *(name for name in vars(entry) if isinstance(getattr(entry, name), Operation)),
        }
        self.only_stages = entry.model_dump(exclude=stages) == Photo().model_dump(exclude=stages)
        self.ends = np.cumsum([stage.num_draws for stage in (*self.before, *self.after)])
        self.ran = ""

    def draw(self, seed: int, epoch: int, num_images: int) -> Tensor:
        """The parameters float32 (N, D) of one epoch on the CPU; row i belongs to image i of the split."""
        table = draws.table(self.entry, seed, epoch, num_images)
        parts = [each.draw(seed, epoch, num_images) for each in (*self.before, *self.after)]
        return torch.from_numpy(np.concatenate([table, *parts], axis=1) if parts else table)

    def __call__(self, images: Tensor, rows: Tensor) -> Tensor:
        """Augment images uint8 (N, H, W, 3) by their rows (N, D) of the epoch's table, on the device of the images.

        Gives float32 (N, 3, H, W) in [0, 1], channels last in memory.
        """
        if not self.draws_on_host:
            return self._flips_and_colours(images, rows)
        self.ran = "eager (torch)"
        core = rows.shape[1] - self.ends[-1]
        parts = np.split(rows[:, core:].numpy(), self.ends[:-1], axis=1)
        pixels = images.permute(0, 3, 1, 2)
        for stage, part in zip(self.before, parts, strict=False):
            pixels = stage(pixels, part)
        pixels = pixels.permute(0, 2, 3, 1).contiguous()
        if self.only_stages:
            result = batch.to_float(pixels)
        else:
            result = self._flips_and_colours(pixels, rows[:, :core])
            self.ran = f"eager (torch), flips and colours {self.ran}"
        for stage, part in zip(self.after, parts[len(self.before) :], strict=True):
            result = stage(result, part)
        return result

    def _flips_and_colours(self, images: Tensor, rows: Tensor) -> Tensor:
        if images.device.type == "cpu":
            from ablation_suite.core.augment import fused  # imports numba, which other devices need not wait for

            self.ran = "fused (numba)"
            return fused.augment(images, rows)
        rows = rows.to(images.device, non_blocking=True)
        obstacle = no_kernels() if images.device.type == "cuda" else f"kernels for {images.device.type} are not written"
        if obstacle is None:
            from ablation_suite.core.augment import gpu

            self.ran = "fused (Triton)"
            return gpu.augment(images, rows)
        self.ran = f"eager (torch; {obstacle})"
        return batch.augment(images, rows, with_hue=self.entry.hue > 0.0)


def alone(entry: Operation) -> PhotoAugment:
    """One operation and nothing else."""
    return PhotoAugment(Photo.model_validate({entry.name: entry}))


def no_kernels() -> str | None:
    """Why flips and colours are not computed by kernels of our own on a CUDA device, in one line, or None."""
    if find_spec("triton") is None:
        return "Triton is not installed"
    from ablation_suite.core.augment import gpu

    return gpu.obstacle()


def _before(entry: Photo) -> list[Stage]:
    crop, policies = entry.crop, [getattr(entry, name) for name in POLICIES]
    cut: list[Stage] = [ResizedCrop(crop) if isinstance(crop, RandomResizedCrop) else Crop(crop)] if crop else []
    return [*cut, *(build_policy(policy) for policy in policies if policy is not None)]


def _after(entry: Photo) -> list[Stage]:
    made = {"random_grayscale": Grayscale, "gaussian_blur": Blur, "random_erasing": Erasing}
    return [make(getattr(entry, name)) for name, make in made.items() if getattr(entry, name) is not None]

"""Where does each random number come from? From a named stream: a pure function of the seed and of what it serves."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.runs.files import sha256

if TYPE_CHECKING:
    import torch


def key(seed: int, *names: str | int) -> int:
    """128 bits that depend on the seed and on every name, so that streams of different names are independent."""
    text = "/".join([str(seed), *map(str, names)])
    return int.from_bytes(bytes.fromhex(sha256(text)[:32]), "little")


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A NumPy generator for one named stream (Philox; Salmon et al. 2011, "Parallel random numbers")."""
    return np.random.Generator(np.random.Philox(key=key(seed, *names)))


def torch_generator(seed: int, *names: str | int, device: torch.device | str = "cpu") -> torch.Generator:
    """A torch generator on `device` for one named stream."""
    import torch

    return torch.Generator(device).manual_seed(key(seed, *names) & (2**63 - 1))


@contextmanager
def as_torchs_own(seed: int, *names: str | int, device: torch.device | str = "cpu") -> Iterator[None]:
    """Let a named stream stand in for torch's global generators, from which code of other hands draws.

    That of the CPU is given back as it was; OwnPartError where somebody seeded it meanwhile.
    """
    import torch

    before, named = torch.get_rng_state(), key(seed, *names) & (2**63 - 1)
    torch.default_generator.manual_seed(named)
    if torch.device(device).type == "cuda":
        torch.cuda.default_generators[torch.device(device).index or 0].manual_seed(named)
    try:
        yield
        if torch.initial_seed() != named:
            raise OwnPartError("an own part calls torch.manual_seed; what it draws is seeded by the run")
    finally:
        torch.set_rng_state(before)


def order(seed: int, epoch: int, num_images: int) -> np.ndarray:
    """The order in which one epoch visits the images: a permutation (N,) of int64, a function of (seed, epoch)."""
    return generator(seed, "order", epoch).permutation(num_images)


def balanced_order(labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
    """As many images (N,) as there are, drawn with replacement: first a class, all alike, then one of its images.

    A function of (seed, epoch); `torch.utils.data.WeightedRandomSampler` with weights of 1 / class size draws so.
    """
    draws = generator(seed, "order", epoch).random((len(labels), 2))
    by_class = np.argsort(labels, kind="stable")
    sizes = np.bincount(labels)
    present = np.flatnonzero(sizes)
    chosen = present[np.floor(draws[:, 0] * len(present)).astype(int)]
    starts = np.cumsum(sizes) - sizes
    return by_class[starts[chosen] + np.floor(draws[:, 1] * sizes[chosen]).astype(int)]


def uniforms(seed: int, name: str, epoch: int, num_images: int, num_draws: int) -> np.ndarray:
    """Draws in [0, 1) of float64, shape (N, num_draws); row i belongs to image i, whatever the batch order.

    Each operation asks under its own name, so removing one operation shifts the draws of no other.
    """
    return generator(seed, name, epoch).random((num_images, num_draws))

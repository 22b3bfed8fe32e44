"""Which operations does each image get? Drawn on the host as torchvision's AutoAugment and its kin draw them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.augment import AugMix, AutoAugment, RandAugment, TrivialAugmentWide
from ablation_suite.core.augment.found_policies import FOUND
from ablation_suite.core.augment.operations import NAMES, SIGNED, apply
from ablation_suite.core.training import streams

KIND, STEP, SIGN = range(3)
"""What a table holds for each operation: its number, the step of its strength, and 1 or -1."""


class Policy(Protocol):
    """Draws operations for an epoch, and applies them to a batch."""

    num_draws: int
    """P, the columns of its table."""

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Float32 (N, P), a row per image of the split; row i is a function of (seed, epoch, i)."""
        ...

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        """Bytes (N, 3, H, W), changed by their rows (N, P)."""
        ...


class OneAfterTheOther:
    """Operations in a row, drawn evenly from a list or from pairs that were found."""

    def __init__(self, entry: TrivialAugmentWide | RandAugment | AutoAugment):
        self.entry = entry
        self.bins = 10 if isinstance(entry, AutoAugment) else entry.num_magnitude_bins
        self.slots = {TrivialAugmentWide: 1, AutoAugment: 2}.get(type(entry), getattr(entry, "num_ops", 0))
        self.num_draws = 3 * self.slots

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        def uniforms(what: str, num_draws: int) -> np.ndarray:
            return streams.uniforms(seed, f"augment.{self.entry.name}.{what}", epoch, num_images, num_draws)

        if isinstance(self.entry, AutoAugment):
            return _pairs(self.entry, uniforms)
        kinds = np.floor(uniforms("kind", self.slots) * (len(NAMES) - 1))  # all but Invert
        if isinstance(self.entry, TrivialAugmentWide):
            steps = np.floor(uniforms("step", self.slots) * self.bins)
        else:
            steps = np.full_like(kinds, self.entry.magnitude)
        return _rows(kinds, steps, uniforms("sign", self.slots))

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        reach = _WIDE if isinstance(self.entry, TrivialAugmentWide) else _USUAL
        for slot in np.split(rows, self.slots, axis=1):
            images = apply(images, slot[:, KIND].astype(int), _strengths(slot, reach, self.bins, images))
        return images


class Mixture:
    """AugMix: the image, and chains of operations on it, blended."""

    bins = 10

    def __init__(self, entry: AugMix):
        self.entry = entry
        self.depth = entry.chain_depth if entry.chain_depth > 0 else 3
        names = [name for name in NAMES[1:-1] if entry.all_ops or name not in NAMES[6:10]]
        self.kinds = np.array([NAMES.index(name) for name in names])
        self.num_draws = 1 + entry.mixture_width * (1 + 3 * self.depth)

    def draw(self, seed: int, epoch: int, num_images: int) -> np.ndarray:
        """Shares of the image and of each chain, then the operations of each chain; those beyond its end are 0."""
        width, entry = self.entry.mixture_width, self.entry

        def uniforms(what: str, num_draws: int) -> np.ndarray:
            return streams.uniforms(seed, f"augment.aug_mix.{what}", epoch, num_images, num_draws)

        own = streams.generator(seed, "augment.aug_mix.own", epoch).beta(entry.alpha, entry.alpha, (num_images, 1))
        among = streams.generator(seed, "augment.aug_mix.chains", epoch).dirichlet([entry.alpha] * width, num_images)
        chains = among * (1.0 - own)
        slots = width * self.depth
        kinds = self.kinds[np.floor(uniforms("kind", slots) * len(self.kinds)).astype(int)]
        steps = np.floor(uniforms("step", slots) * entry.severity)
        if entry.chain_depth < 0:
            lengths = 1 + np.floor(uniforms("depth", width) * 3).astype(int)  # (N, W)
            place = np.arange(slots) % self.depth
            kinds = np.where(place < np.repeat(lengths, self.depth, axis=1), kinds, 0)
        return np.concatenate([own, chains, _rows(kinds, steps, uniforms("sign", slots))], axis=1).astype(np.float32)

    def __call__(self, images: Tensor, rows: np.ndarray) -> Tensor:
        width = self.entry.mixture_width
        shares = torch.from_numpy(rows[:, : 1 + width].copy()).to(images.device, non_blocking=True)
        shares = shares[:, :, None, None, None]  # (N, 1 + chains, 1, 1, 1)
        mixed = shares[:, 0] * images
        slots = np.split(rows[:, 1 + width :], width * self.depth, axis=1)
        for chain in range(width):
            changed = images
            for slot in slots[chain * self.depth : (chain + 1) * self.depth]:
                strengths = _strengths(slot, _MILD, self.bins, images)
                changed = apply(changed, slot[:, KIND].astype(int), strengths, "bilinear")
            mixed.add_(shares[:, 1 + chain] * changed)
        return mixed.to(torch.uint8)


def build_policy(entry: TrivialAugmentWide | RandAugment | AutoAugment | AugMix) -> Policy:
    """What draws and applies the operations of an entry."""
    return Mixture(entry) if isinstance(entry, AugMix) else OneAfterTheOther(entry)


def _pairs(entry: AutoAugment, uniforms: Callable[[str, int], np.ndarray]) -> np.ndarray:
    """The rows of one pair for each image, of whose operations each happens by its own probability."""
    pairs = FOUND[entry.policy]
    chosen = np.floor(uniforms("pair", 1)[:, 0] * len(pairs)).astype(int)
    kinds = np.array([[NAMES.index(name) for name, _, _ in pair] for pair in pairs])[chosen]  # (N, 2)
    steps = np.array([[step for _, _, step in pair] for pair in pairs])[chosen]
    happens = uniforms("happens", 2) <= np.array([[share for _, share, _ in pair] for pair in pairs])[chosen]
    return _rows(np.where(happens, kinds, 0), steps, uniforms("sign", 2))


def _rows(kinds: np.ndarray, steps: np.ndarray, sign: np.ndarray) -> np.ndarray:
    """Kinds, steps and draws of signs (N, S) as rows (N, 3 S), slot by slot."""
    signed = np.isin(kinds, [NAMES.index(name) for name in SIGNED])
    signs = np.where(signed & (sign <= 0.5), -1.0, 1.0)
    return np.stack([kinds, steps, signs], axis=2).reshape(len(kinds), -1).astype(np.float32)


_Reach = dict[str, float]
_WIDE: _Reach = {"Shear": 0.99, "Rotate": 135.0, "colour": 0.99, "bits": 8.0, "steps": 6.0}
_USUAL: _Reach = {"Shear": 0.3, "Rotate": 30.0, "colour": 0.9, "bits": 8.0, "steps": 4.0}
_MILD: _Reach = {**_USUAL, "bits": 4.0}
"""The largest strengths: of TrivialAugmentWide, of RandAugment and AutoAugment, of AugMix (posterize from 4 bits)."""


def _strengths(slot: np.ndarray, reach: _Reach, bins: int, images: Tensor) -> np.ndarray:
    """The strength (N,) of each image's operation, as torchvision's tables have it for images of this size."""
    height, width = images.shape[2:]
    strengths = np.zeros(len(slot), np.float32)
    for kind in np.unique(slot[:, KIND]).astype(int):
        chosen = slot[:, KIND] == kind
        steps = slot[chosen, STEP].astype(int)
        table = strengths_of(NAMES[kind], reach, bins, height, width)
        strengths[chosen] = 0.0 if table is None else table[steps] * slot[chosen, SIGN]
    return strengths


def strengths_of(name: str, reach: _Reach, bins: int, height: int, width: int) -> np.ndarray | None:
    """The strengths of an operation from the first step to the last, or None for one that has none."""
    if name == "Posterize":
        return (reach["bits"] - (torch.arange(bins) / ((bins - 1) / reach["steps"]))).round().numpy()
    if name == "Solarize":
        return torch.linspace(1.0, 0.0, bins).numpy()
    if name.startswith("Translate"):
        side = width if name == "TranslateX" else height
        most = 32.0 if reach is _WIDE else side / 3.0 if reach is _MILD else 150.0 / 331.0 * side
    elif name.startswith("Shear") or name == "Rotate":
        most = reach["Rotate" if name == "Rotate" else "Shear"]
    elif name in SIGNED:
        most = reach["colour"]
    else:
        return None
    return torch.linspace(0.0, most, bins).numpy()

"""What happens to pooled features before the head? Nothing, or sines and cosines of them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablation_suite.core.models import NoEncoding as NoEncodingEntry
from ablation_suite.core.models import SinusoidalEncoding as SinusoidalEntry


class NoEncoding(nn.Module):
    """The identity, which keeps the number of features."""

    def __init__(self, entry: NoEncodingEntry):
        super().__init__()

    def num_outputs(self, num_features: int) -> int:
        return num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


class SinusoidalEncoding(nn.Module):
    """[sin(x), cos(x), sin(2x), cos(2x), ...] of features x, as Mildenhall et al. (2020), eq. 4, but without pi."""

    def __init__(self, entry: SinusoidalEntry):
        super().__init__()
        self.levels = entry.levels
        self.include_input = entry.include_input

    def num_outputs(self, num_features: int) -> int:
        return num_features * (2 * self.levels + self.include_input)

    def forward(self, features: Tensor) -> Tensor:
        x = features.to(torch.promote_types(features.dtype, torch.float32))  # (N, D): sin(32 x) of 16 bits is noise
        parts = [x] if self.include_input else []
        for level in range(self.levels):
            parts += [torch.sin(2**level * x), torch.cos(2**level * x)]
        return torch.cat(parts, dim=1)  # (N, 2 L D)

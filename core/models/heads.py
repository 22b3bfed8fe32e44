"""What turns pooled features into logits? An encoding of them or none, and a head: dropout and a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablation_suite.core.models import LinearHead, NoEncoding, SinusoidalEncoding


class IdentityEncoder(nn.Module):
    """The identity, which keeps the number of features."""

    def __init__(self, entry: NoEncoding):
        super().__init__()

    def num_outputs(self, num_features: int) -> int:
        return num_features

    def forward(self, features: Tensor) -> Tensor:
        return features


class SinusoidalEncoder(nn.Module):
    """[sin(x), cos(x), sin(2x), cos(2x), ...] of features x, as Mildenhall et al. (2020), eq. 4, but without pi."""

    def __init__(self, entry: SinusoidalEncoding):
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


class LinearClassifier(nn.Module):
    """Dropout and a linear layer; the mask comes from `generator`, never from global randomness."""

    def __init__(self, entry: LinearHead, num_inputs: int, num_classes: int):
        super().__init__()
        self.dropout = entry.dropout
        self.linear = nn.Linear(num_inputs, num_classes)

    def forward(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        """Features (N, D) to logits (N, K); needs the generator only in training mode with dropout above 0."""
        if self.training and self.dropout > 0.0:
            keep = torch.empty_like(features).bernoulli_(1.0 - self.dropout, generator=generator)
            features = features * keep / (1.0 - self.dropout)
        return self.linear(features)

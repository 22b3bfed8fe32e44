"""An encoding of my own: random Fourier features (Rahimi and Recht 2007)."""

import math

import torch
from torch import Tensor, nn


class FourierFeatures(nn.Module):
    """Cosines of random projections of the features."""

    def __init__(self, num_features: int, num_waves: int = 128, scale: float = 1.0):
        super().__init__()
        self.register_buffer("waves", scale * torch.randn(num_features, num_waves))
        self.register_buffer("phases", 2.0 * math.pi * torch.rand(num_waves))

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to the inputs of the head (N, num_waves)."""
        return torch.cos(features @ self.waves + self.phases)  # type: ignore[operator]

"""A head of my own: scaled cosines between the features and a direction of each class."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class CosineHead(nn.Module):
    """Logits between -scale and scale."""

    def __init__(self, num_inputs: int, num_classes: int, scale: float = 16.0):
        super().__init__()
        self.directions = nn.Parameter(torch.randn(num_classes, num_inputs))
        self.scale = scale

    def forward(self, features: Tensor) -> Tensor:
        """Features (N, D) to logits (N, K)."""
        return self.scale * functional.linear(functional.normalize(features), functional.normalize(self.directions))

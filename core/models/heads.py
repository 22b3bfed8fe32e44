"""What turns features into logits? Dropout, drawn from a named stream, and a linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablation_suite.core.models import LinearHead as LinearHeadEntry


class LinearHead(nn.Module):
    """Dropout and a linear layer; the mask comes from `generator`, never from global randomness."""

    def __init__(self, entry: LinearHeadEntry, num_inputs: int, num_classes: int):
        super().__init__()
        self.dropout = entry.dropout
        self.linear = nn.Linear(num_inputs, num_classes)

    def forward(self, features: Tensor, generator: torch.Generator | None) -> Tensor:
        """Features (N, D) to logits (N, K); needs the generator only in training mode with dropout above 0."""
        if self.training and self.dropout > 0.0:
            keep = torch.empty_like(features).bernoulli_(1.0 - self.dropout, generator=generator)
            features = features * keep / (1.0 - self.dropout)
        return self.linear(features)

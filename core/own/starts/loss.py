"""A loss of my own: the cross-entropy with its first polynomial coefficient moved (Leng et al. 2022, PolyLoss)."""

import torch
from torch import Tensor, nn
from torch.nn import functional


class PolyLoss(nn.Module):
    """Cross-entropy + epsilon (1 - p), p being the probability of the image's class."""

    def __init__(self, epsilon: float = 1.0):
        super().__init__()
        self.epsilon = epsilon

    def forward(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Logits (N, K) of float32 and classes (N,), or shares of classes (N, K), to the mean over the batch."""
        cross_entropy = functional.cross_entropy(logits, targets, reduction="none")  # (N,)
        return (cross_entropy + self.epsilon * (1.0 - torch.exp(-cross_entropy))).mean()

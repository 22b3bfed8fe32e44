"""What does plain classification minimise? The cross-entropy of each image."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ablation_suite.core.losses import CrossEntropy as CrossEntropyEntry


class CrossEntropy:
    """One view per image."""

    num_views = CrossEntropyEntry.num_views
    joins_views = True

    def __init__(self, entry: CrossEntropyEntry):
        self.label_smoothing = entry.label_smoothing

    def partners(self, labels: np.ndarray, seed: int, epoch: int) -> None:
        """A loss of single images pairs nothing."""
        return None

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """The mean over N images, from logits (N, K) and targets (N,) or soft (N, K)."""
        return functional.cross_entropy(wide(logits), targets, label_smoothing=self.label_smoothing)


def wide(values: Tensor) -> Tensor:
    """Values of 16 bits in float32, since sums and logarithms of them would be noise; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))

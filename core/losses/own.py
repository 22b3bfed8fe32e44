"""How is a loss of the user's own called? With float32 logits, and with features where it takes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.losses import OwnLoss
from ablation_suite.core.losses.cross_entropy import SingleImages, wide
from ablation_suite.core.models.initial import Construction
from ablation_suite.core.own.loading import make, takes


class OwnLossOfImages(SingleImages):
    """A user's callable in the place of a loss of single images."""

    def __init__(self, entry: OwnLoss, class_sizes: np.ndarray, num_features: int, seed: int):
        self.name = entry.name
        with Construction(seed) as construction:
            self.loss = make(entry, num_classes=len(class_sizes), class_sizes=class_sizes, num_features=num_features)
        self.takes = takes(self.loss, ("logits", "targets"), ("logits", "features", "targets"))
        self.beside: nn.Module | None = None
        """The loss itself, where it has parameters to train."""
        if isinstance(self.loss, nn.Module):
            construction.replay(self.loss, "loss.")
            self.beside = self.loss if any(True for _ in self.loss.parameters()) else None

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """What the user's callable makes of logits (N, K), features (N, D) and targets (N,) or (N, K)."""
        if isinstance(self.loss, nn.Module):
            self.loss.to(logits.device)
        values = {"logits": wide(logits), "features": wide(features), "targets": targets}
        loss = self.loss(*(values[name] for name in self.takes))
        if not isinstance(loss, Tensor) or loss.dim():
            gives = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise OwnPartError(f"{self.name}: a loss gives one number (a tensor without dimensions), not {gives}")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise OwnPartError(f"{self.name}: gives a number through which no gradient flows to the network")
        return loss


def own_loss(entry: OwnLoss, class_sizes: np.ndarray, num_features: int, seed: int) -> OwnLossOfImages:
    """The loss that a user's name leads to."""
    return OwnLossOfImages(entry, class_sizes, num_features, seed)

"""How is a loss of the user's own called? With float32 logits, with features or partners where it takes them."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.losses import OwnLoss
from ablation_suite.core.losses.contrastive import draw_partners
from ablation_suite.core.losses.cross_entropy import wide
from ablation_suite.core.models.initial import Construction
from ablation_suite.core.own.loading import make, takes

OF_IMAGES = (("logits", "targets"), ("logits", "features", "targets"))
OF_PAIRS = (("logits", "features", "targets", "partner_logits", "partner_features", "partner_targets"),)


class CallableLoss:
    """A user's callable in the place of a loss, of single images or of images and their partners."""

    def __init__(self, entry: OwnLoss, class_sizes: np.ndarray, num_features: int, seed: int):
        self.entry = entry
        self.num_views = entry.num_views
        self.joins_views = not entry.pairs or entry.views == "joint"
        with Construction(seed) as construction:
            self.loss = make(entry, num_classes=len(class_sizes), class_sizes=class_sizes, num_features=num_features)
        self.takes = takes(self.loss, *(OF_PAIRS if entry.pairs else OF_IMAGES))
        if any(name.startswith("partner_") for name in self.takes) != entry.pairs:
            word = "no argument of a partner" if entry.pairs else self.takes[-1]
            raise OwnPartError(f"{entry.name}: takes {word}; `pairs: true` is for a loss of images and their partners")
        self.beside: nn.Module | None = None
        """The loss itself, where it has parameters to train."""
        if isinstance(self.loss, nn.Module):
            construction.replay(self.loss, "loss.")
            self.beside = self.loss if any(True for _ in self.loss.parameters()) else None

    def partners(self, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray | None:
        """The partner (N,) of each image, drawn as those of `contrastive`; None without pairs."""
        if not self.entry.pairs:
            return None
        return draw_partners(labels, self.entry.positive_fraction, seed, epoch)

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """What the user's callable makes of logits (V N, K), features (V N, D) and targets (V N,) or (N, K)."""
        if isinstance(self.loss, nn.Module):
            self.loss.to(logits.device)
        values = {"logits": wide(logits), "features": wide(features), "targets": targets}
        if self.entry.pairs:
            views = {name: each.split(num_images) for name, each in values.items()}
            values = {name: first for name, (first, _) in views.items()}
            values |= {f"partner_{name}": second for name, (_, second) in views.items()}
        loss = self.loss(*(values[name] for name in self.takes))
        if not isinstance(loss, Tensor) or loss.dim():
            gives = f"a tensor {tuple(loss.shape)}" if isinstance(loss, Tensor) else f"a {type(loss).__name__}"
            raise OwnPartError(f"{self.entry.name}: a loss gives one number (a tensor without dimensions), not {gives}")
        if torch.is_grad_enabled() and not loss.requires_grad:
            raise OwnPartError(f"{self.entry.name}: gives a number through which no gradient flows to the network")
        return loss


def own_loss(entry: OwnLoss, class_sizes: np.ndarray, num_features: int, seed: int) -> CallableLoss:
    """The loss that a user's name leads to."""
    return CallableLoss(entry, class_sizes, num_features, seed)

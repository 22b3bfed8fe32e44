"""What pulls images of a class together? A loss of features, pair by pair or over a batch, beside the cross-entropy."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from ablation_suite.core.losses import Contrastive, SupervisedContrastive, Triplet
from ablation_suite.core.losses.cross_entropy import SingleImages, wide
from ablation_suite.core.training import streams


class ContrastiveLoss:
    """Two views per image: itself and its partner."""

    num_views = 2

    def __init__(self, entry: Contrastive):
        self.entry = entry
        self.joins_views = entry.views == "joint"

    def partners(self, labels: np.ndarray, seed: int, epoch: int) -> np.ndarray:
        """The partner (N,) of each image of the split, a function of (seed, epoch, image index)."""
        return draw_partners(labels, self.entry.positive_fraction, seed, epoch)

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """CE(first) + CE(second) + weight x cosine embedding loss, each a mean over the N pairs.

        Logits (2N, K), features (2N, D) and targets (2N,) hold the first images, then their partners. The last term is
        torch's `cosine_embedding_loss`: 1 - cos for a pair of one class, max(0, cos - margin) for others.
        """
        first, second = targets[:num_images], targets[num_images:]
        smoothing = self.entry.label_smoothing
        classification = 2.0 * functional.cross_entropy(wide(logits), targets, label_smoothing=smoothing)
        if self.entry.weight == 0.0:
            return classification
        sign = (first == second).float() * 2.0 - 1.0
        one, other = wide(features).split(num_images)
        pull = functional.cosine_embedding_loss(one, other, sign, margin=self.entry.margin)
        return classification + self.entry.weight * pull


def draw_partners(labels: np.ndarray, positive_fraction: float, seed: int, epoch: int) -> np.ndarray:
    """The partner (N,) of each image of labels (N,), a function of (seed, epoch, image index).

    Drawn from per-class index tables. An image that is alone in its class is paired with one of another class, and one
    whose class is the only one with an image of its own.
    """
    tables = Tables(labels)
    draws = streams.uniforms(seed, "pairs", epoch, len(labels), 2)
    alone = tables.sizes[labels] == 1
    same = (draws[:, 0] < positive_fraction) & ~alone
    same |= tables.sizes[labels] == len(labels)
    return np.where(same, tables.same(draws[:, 1]), tables.other(draws[:, 1]))


class SupervisedContrastiveLoss(SingleImages):
    """The other images of its class, in the batch, are the positives of an image."""

    def __init__(self, entry: SupervisedContrastive):
        self.entry = entry
        self.projection: nn.Module = nn.Identity()

    def make_beside(self, num_features: int) -> nn.Module:
        """The projection of features (N, D), without initial values; it is used from then on."""
        hidden = [nn.Linear(num_features, num_features), nn.ReLU()] if self.entry.projection == "mlp" else []
        self.projection = nn.Sequential(*hidden, nn.Linear(num_features, self.entry.projection_dim))
        return self.projection

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """CE + weight x the mean over N images of -1/|P| sum over positives p of log softmax(z z' / temperature)[p].

        Features (N, D), or their projections z, are scaled to length 1; the softmax runs over all other images
        of the batch. An image without positives adds nothing, as in the authors' code.
        """
        classification = functional.cross_entropy(wide(logits), targets, label_smoothing=self.entry.label_smoothing)
        if self.entry.weight == 0.0:
            return classification
        directions = functional.normalize(wide(self.projection(features)))
        itself = torch.eye(num_images, dtype=torch.bool, device=targets.device)
        similarities = (directions @ directions.T / self.entry.temperature).masked_fill(itself, -torch.inf)
        positives = (targets[:, None] == targets) & ~itself  # (N, N)
        log_p = similarities.log_softmax(1).masked_fill(~positives, 0.0)
        pull = -(log_p.sum(1) / positives.sum(1).clamp_min(1)).mean()
        return classification + self.entry.weight * pull


class TripletLoss(SingleImages):
    """The farthest image of its class in the batch, and the nearest of the others, are the triplet of an image."""

    def __init__(self, entry: Triplet):
        self.entry = entry

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """CE + weight x the mean over N images of max(0, margin + farthest positive - nearest negative).

        An image that is alone in its class, or whose class is alone, adds nothing.
        """
        classification = functional.cross_entropy(wide(logits), targets, label_smoothing=self.entry.label_smoothing)
        if self.entry.weight == 0.0:
            return classification
        points = wide(features)
        squares = (points[:, None] - points).square().sum(2)  # (N, N)
        distances = squares.clamp_min(1e-12).sqrt()  # a root has no slope at 0
        same = targets[:, None] == targets
        itself = torch.eye(num_images, dtype=torch.bool, device=targets.device)
        farthest = distances.masked_fill(~same | itself, -torch.inf).amax(1)
        nearest = distances.masked_fill(same, torch.inf).amin(1)
        return classification + self.entry.weight * (self.entry.margin + farthest - nearest).clamp_min(0.0).mean()


class Tables:
    """The images of each class, side by side in one array, so that a partner is one look-up."""

    def __init__(self, labels: np.ndarray):
        self.by_class = np.argsort(labels, kind="stable")
        self.sizes = np.bincount(labels)  # (K,)
        self.starts = np.cumsum(self.sizes) - self.sizes  # (K,)
        self.start, self.size = self.starts[labels], self.sizes[labels]  # (N,)
        self.rank = np.empty_like(self.by_class)  # the place of each image in `by_class`
        self.rank[self.by_class] = np.arange(len(labels))

    def same(self, draw: np.ndarray) -> np.ndarray:
        """Another image of the class of each image, evenly; the image itself where it is alone."""
        others = np.maximum(self.size - 1, 1)
        step = 1 + np.floor(draw * others).astype(np.int64)
        return self.by_class[self.start + (self.rank - self.start + step) % self.size]

    def other(self, draw: np.ndarray) -> np.ndarray:
        """An image of another class, evenly over all such images."""
        num_images = len(self.rank)
        step = np.floor(draw * (num_images - self.size)).astype(np.int64)
        return self.by_class[(self.start + self.size + step) % num_images]

"""What does plain classification minimise? The cross-entropy of each image, all alike or not, taught or not."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ablation_suite.core.losses import (
    BinaryCrossEntropy,
    ClassWeighted,
    CrossEntropy,
    Distillation,
    Focal,
    LogitAdjustment,
)


class SingleImages:
    """One view per image, and no partners."""

    num_views = 1
    joins_views = True

    def partners(self, labels: np.ndarray, seed: int, epoch: int) -> None:
        """A loss of single images pairs nothing."""
        return None


class CrossEntropyLoss(SingleImages):
    """All images alike."""

    def __init__(self, entry: CrossEntropy):
        self.label_smoothing = entry.label_smoothing

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """The mean over N images, from logits (N, K) and targets (N,) or soft (N, K)."""
        return functional.cross_entropy(wide(logits), targets, label_smoothing=self.label_smoothing)


class ClassWeightedLoss(SingleImages):
    """Each image weighted by its class; over the training images of `balanced`, the weights have a mean of 1."""

    def __init__(self, entry: ClassWeighted, class_sizes: np.ndarray):
        self.label_smoothing = entry.label_smoothing
        self.weights = torch.from_numpy(class_weights(entry, class_sizes))  # (K,)

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """The sum over N images of weight x cross-entropy, divided by N, so that pieces of a batch add up to it."""
        values = wide(logits)
        if self.weights.device != values.device or self.weights.dtype != values.dtype:
            self.weights = self.weights.to(values)  # once
        return functional.cross_entropy(
            values, targets, weight=self.weights, label_smoothing=self.label_smoothing, reduction="none"
        ).mean()


class FocalLoss(SingleImages):
    """Images that are classified well count less."""

    def __init__(self, entry: Focal):
        self.gamma = entry.gamma

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """The mean over N images of -sum over classes of q (1 - p)^gamma log p, with the target's share q (N, K)."""
        log_p = wide(logits).log_softmax(1)
        shares = shares_of(targets, log_p.shape[1])
        missing = (-torch.expm1(log_p)).clamp_min(1e-12)  # powers below 1 have no slope at 0
        return -(shares * missing**self.gamma * log_p).sum(1).mean()


class LogitAdjustedLoss(SingleImages):
    """Cross-entropy that expects classes as often as they are in training."""

    def __init__(self, entry: LogitAdjustment, class_sizes: np.ndarray):
        self.label_smoothing = entry.label_smoothing
        shares = np.maximum(class_sizes, 1) / class_sizes.sum()  # a class without images counts as one of one image
        self.shift = torch.from_numpy(entry.tau * np.log(shares))  # (K,)

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """The mean over N images of the cross-entropy of logits + tau log(share of the class)."""
        values = wide(logits)
        if self.shift.device != values.device or self.shift.dtype != values.dtype:
            self.shift = self.shift.to(values)  # once
        return functional.cross_entropy(values + self.shift, targets, label_smoothing=self.label_smoothing)


class BinaryCrossEntropyLoss(SingleImages):
    """Each class by itself."""

    def __init__(self, entry: BinaryCrossEntropy):
        self.entry = entry

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """The mean over N images, and over or of the sum of K classes, of the binary cross-entropy of each logit."""
        values, entry = wide(logits), self.entry
        num_classes = values.shape[1]
        shares = shares_of(targets, num_classes).to(values.dtype)
        shares = shares * (1.0 - entry.label_smoothing) + entry.label_smoothing / num_classes
        if entry.target_threshold is not None:
            shares = (shares > entry.target_threshold).to(values.dtype)
        loss = functional.binary_cross_entropy_with_logits(values, shares)
        return loss * num_classes if entry.sum_classes else loss


def shares_of(targets: Tensor, num_classes: int) -> Tensor:
    """The share (N, K) of each class in each image, from classes (N,) or from shares."""
    return targets if targets.is_floating_point() else functional.one_hot(targets, num_classes)


def class_weights(entry: ClassWeighted, class_sizes: np.ndarray) -> np.ndarray:
    """The weight (K,) of each class from its training images (K,); a class without images has 0 and is not counted."""
    present = class_sizes > 0
    sizes = class_sizes[present].astype(np.float64)
    weights = np.zeros(len(class_sizes))
    if entry.weights == "balanced":
        weights[present] = sizes.sum() / (len(sizes) * sizes)
    else:
        inverse = (1.0 - entry.beta) / (1.0 - entry.beta**sizes)
        weights[present] = inverse / inverse.mean()
    return weights


def wide(values: Tensor) -> Tensor:
    """Values of 16 bits in float32, since sums and logarithms of them would be noise; others as they are."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


class DistillationLoss(SingleImages):
    """The labels, and what the teacher said of the same images."""

    def __init__(self, entry: Distillation):
        self.entry = entry

    def teach(self, logits: Tensor) -> None:
        """Take the teacher's logits (N, K) of the images for which the loss is asked next."""
        self.teachers = wide(logits)

    def __call__(self, logits: Tensor, features: Tensor, targets: Tensor, num_images: int) -> Tensor:
        """(1 - w) CE + w T^2 KL(teacher || student), both at temperature T, the means over N images."""
        values, weight, heat = wide(logits), self.entry.weight, self.entry.temperature
        labels = functional.cross_entropy(values, targets, label_smoothing=self.entry.label_smoothing)
        ours, theirs = (values / heat).log_softmax(1), (self.teachers / heat).log_softmax(1)
        divergence = functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
        return (1.0 - weight) * labels + weight * heat**2 * divergence

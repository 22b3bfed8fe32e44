"""How well does a network classify a split? Logits of every image, and means over images."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from ablation_suite.core.augment.batch import to_float
from ablation_suite.core.models.network import Network
from ablation_suite.core.training.device import autocast
from ablation_suite.core.training.feed import Feed


@torch.inference_mode()
def predict_logits(network: Network, feed: Feed, num_images: int, batch_size: int, precision: str) -> Tensor:
    """The logits (N, K) of all images of a feed in float32 on the device, in evaluation mode."""
    was_training = network.training
    network.eval()
    rows = np.split(np.arange(num_images), range(batch_size, num_images, batch_size))
    parts = []
    for images, _ in feed.batches(rows):
        with autocast(images.device, precision):
            parts.append(network(to_float(images))[0].float())
    network.train(was_training)
    return torch.cat(parts)


def metrics(logits: Tensor, labels: Tensor) -> dict[str, float]:
    """Mean cross-entropy and accuracy over the images, from logits (N, K) and labels (N,).

    The class is read from the probabilities, which is what a run keeps; logits can differ where these are equal.
    """
    return {
        "loss": functional.cross_entropy(logits, labels).item(),
        "accuracy": (logits.softmax(1).argmax(1) == labels).double().mean().item(),
    }

"""A mixing of my own: each image is blended with another of its batch, and its label with it (Zhang et al. 2018)."""

import torch
from torch import Tensor
from torch.nn import functional


class Blend:
    """One share of the blend is drawn for each batch, evenly from 0 to `most`."""

    def __init__(self, num_classes: int, most: float = 0.5):
        self.num_classes, self.most = num_classes, most

    def __call__(self, images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) and classes (N,), as images and shares of classes (N, K)."""
        share = self.most * float(torch.rand(()))  # torch's generator is seeded by (seed, epoch, step)
        other = torch.randperm(len(images)).to(images.device)
        shares = functional.one_hot(labels, self.num_classes).to(images.dtype)
        return torch.lerp(images, images[other], share), torch.lerp(shares, shares[other], share)

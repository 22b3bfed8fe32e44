"""An augmentation of my own: squares of grey over parts of images (DeVries and Taylor 2017, Cutout)."""

import torch
from torch import Tensor


class Cutout:
    """One square of each image is grey, with a probability."""

    num_draws = 3
    """Draws in [0, 1) that each image gets in each epoch."""

    def __init__(self, probability: float = 0.5, share: float = 0.25):
        self.probability, self.share = probability, share

    def __call__(self, images: Tensor, draws: Tensor) -> Tensor:
        """Images (N, 3, H, W) in [0, 1] with their draws (N, 3), as images of the same shape."""
        height, width = images.shape[2:]
        side = max(1, round(self.share * min(height, width)))
        top, left = (draws[:, 1] * (height - side + 1)).floor(), (draws[:, 2] * (width - side + 1)).floor()  # (N,)
        down = torch.arange(height, device=images.device) - top[:, None]  # (N, H)
        across = torch.arange(width, device=images.device) - left[:, None]  # (N, W)
        inside = ((down >= 0) & (down < side))[:, :, None] & ((across >= 0) & (across < side))[:, None, :]
        cut = inside & (draws[:, 0] < self.probability)[:, None, None]  # (N, H, W)
        return torch.where(cut[:, None], 0.5, images)

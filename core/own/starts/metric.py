"""A metric of my own: what the decisions on these images cost, where mistakes are not alike."""

import numpy as np


class Cost:
    """1 for every mistake, and `rare` for every image of a class that has fewer images than the mean of the classes."""

    def __init__(self, rare: float = 3.0):
        self.rare = rare

    def __call__(self, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Probabilities (N, K) and classes (N,) to the cost of each image (N,), of which the metric is the mean."""
        sizes = np.bincount(labels, minlength=probabilities.shape[1])  # (K,)
        price = np.where(sizes < sizes.mean(), self.rare, 1.0)  # (K,)
        return price[labels] * (probabilities.argmax(axis=1) != labels)

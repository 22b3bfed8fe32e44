"""What does a network learn from another one? Its probabilities, softened by a temperature, beside the labels."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional

from ablation_suite.core.losses import Distillation as DistillationEntry
from ablation_suite.core.losses.cross_entropy import SingleImages, wide


class Distillation(SingleImages):
    """The labels, and what the teacher said of the same images."""

    def __init__(self, entry: DistillationEntry):
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

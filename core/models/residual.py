"""Which norms do residual blocks have, how do they begin, and when are they skipped?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models.resnet import BasicBlock, Bottleneck

from ablation_suite.core.models import Residual

GROUPS = 32


def norm_layer(entry: Residual) -> Callable[[int], nn.Module]:
    """What makes the norm of so many channels."""
    layers: dict[str, Callable[[int], nn.Module]] = {
        "batch": nn.BatchNorm2d,
        "group": _group_norm,
        "none": nn.Identity,
    }
    return layers[entry.norm]


def finish_blocks(network: nn.Module, entry: Residual) -> None:
    """Mark the norms that begin at zero, and let images skip blocks in training.

    Names in the state dict stay as they are, so that published weights fit.
    """
    blocks = [each for each in network.modules() if isinstance(each, BasicBlock | Bottleneck)]
    for number, block in enumerate(blocks):
        last: Any = block.bn3 if isinstance(block, Bottleneck) else block.bn2
        last.begins_at_zero = entry.zero_init_residual
        probability = entry.stochastic_depth * number / max(1, len(blocks) - 1)
        if probability > 0.0:
            last.drop = Drop(probability, by_row=True)
            last.register_forward_hook(_skip)


class Drop(nn.Module):
    """Dropout of single values or, `by_row`, of whole images (stochastic depth), from a given stream in training."""

    generator: torch.Generator | None = None

    def __init__(self, probability: float, *, by_row: bool):
        super().__init__()
        self.probability, self.by_row = probability, by_row

    def forward(self, values: Tensor) -> Tensor:
        """Values (N, ...), of which the kept ones are divided by the share that is kept."""
        if not self.training or self.probability == 0.0:
            return values
        shape = [len(values)] + [1] * (values.dim() - 1) if self.by_row else list(values.shape)
        kept = 1.0 - self.probability
        return values * values.new_empty(shape).bernoulli_(kept, generator=self.generator) / kept


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(math.gcd(GROUPS, channels), channels)


def _skip(norm: Any, inputs: tuple[Tensor, ...], outputs: Tensor) -> Tensor:
    """What a block adds to its input, or nothing."""
    skipped: Tensor = norm.drop(outputs)
    return skipped

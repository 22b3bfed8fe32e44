"""How do a user's own modules stand in a network? As they are; what they give is found by one pass over two zeros."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.own import Own
from ablation_suite.core.models.backbones import make_pooling
from ablation_suite.core.own.loading import blamed, make


class Pool(nn.Module):
    """A map (N, D, h, w) as features (N, D), by the pooling of a name."""

    def __init__(self, pooling: str):
        super().__init__()
        self.pooling = make_pooling(pooling)

    def forward(self, maps: Tensor) -> Tensor:
        return torch.flatten(self.pooling(maps), 1)


def own_module(entry: Own, **given: Any) -> nn.Module:
    """The module that a user's name leads to."""
    module = make(entry, **given)
    if not isinstance(module, nn.Module):
        raise OwnPartError(f"{entry.name}: gives {type(module).__name__}; it should give a torch.nn.Module")
    return module


def tried(entry: Own, module: nn.Module, inputs: Tensor, *, wanted: str, num_dims: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of what a module gives for inputs (2, ...) in evaluation; OwnPartError where it is not `wanted`."""
    was_training = module.training
    with blamed(entry, f"called on {tuple(inputs.shape)}"), torch.no_grad():
        outputs = module.eval()(inputs)
    module.train(was_training)
    good = isinstance(outputs, Tensor) and outputs.dim() in num_dims and len(outputs) == len(inputs)
    if not good or not outputs.is_floating_point():
        shape = tuple(outputs.shape) if isinstance(outputs, Tensor) else f"a {type(outputs).__name__}"
        kind = f" of {str(outputs.dtype).removeprefix('torch.')}" if isinstance(outputs, Tensor) else ""
        raise OwnPartError(f"{entry.name}: gives {shape}{kind} for {tuple(inputs.shape)}; it should give {wanted}")
    return tuple(outputs.shape)

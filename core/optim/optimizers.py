"""How do the weights move? torch's own optimizers, in the fused form."""

from __future__ import annotations

from collections.abc import Iterable

from torch import nn, optim

from ablation_suite.core.optim import SGD, Adam, AdamW

Parameters = Iterable[nn.Parameter]


def adam(entry: Adam, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.Adam."""
    return optim.Adam(parameters, **entry.model_dump(exclude={"name"}), fused=True)


def adamw(entry: AdamW, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.AdamW."""
    return optim.AdamW(parameters, **entry.model_dump(exclude={"name"}), fused=True)


def sgd(entry: SGD, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.SGD."""
    return optim.SGD(parameters, **entry.model_dump(exclude={"name"}), fused=True)

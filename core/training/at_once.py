"""What does a pass over a network do for all its tensors in one kernel, rather than in one kernel each?

On a CUDA device each kernel costs the host 5 us and more, and batch norm's counters and the casts of the weights are a
sixth of the launches of resnet50's step in bf16. The values are those of torch's own way, to the bit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ablation_suite.core.training.device import AUTOCAST


class AtOnce:
    """Batch norm's counters and the casts of the weights of one network, in training."""

    def __init__(self, network: nn.Module, precision: str):
        self.norms = [each for each in network.modules() if isinstance(each, _BatchNorm)]
        self.num_passes = 0
        network.register_forward_pre_hook(self._begins)
        # No subclass, which may use its weight in another way than autocast casts it for.
        layers = [each for each in network.modules() if type(each) in (nn.Conv2d, nn.Linear)]
        self.places = [(each, name) for each in layers for name, _ in each.named_parameters(recurse=False)]
        self.places = self.places if precision in AUTOCAST else []
        self.weights: list[nn.Parameter] = [module.get_parameter(name) for module, name in self.places]
        self.casts = [
            torch.empty_like(each, dtype=AUTOCAST[precision]).requires_grad_(each.requires_grad)
            for each in self.weights
        ]

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """While it is open, layers have their weights in the type that autocast would cast to, and norms do not count.

        `collect` has to be called after each backward pass.
        """
        counting = [each for each in self.norms if _counts(each)]
        counters = [each.num_batches_tracked for each in counting if each.num_batches_tracked is not None]
        self.num_passes = 0
        if self.casts:
            with torch.no_grad():
                torch._foreach_copy_(self.casts, list[Tensor](self.weights))
        for (module, name), cast in zip(self.places, self.casts, strict=True):
            module._parameters[name] = cast  # type: ignore[assignment]
        for norm in counting:
            norm._buffers["num_batches_tracked"] = None
        try:
            yield
        finally:
            for (module, name), weight in zip(self.places, self.weights, strict=True):
                module._parameters[name] = weight
            for norm, counter in zip(counting, counters, strict=True):
                norm._buffers["num_batches_tracked"] = counter
            if counting and self.num_passes:
                torch._foreach_add_(counters, self.num_passes)

    @torch.no_grad()
    def collect(self) -> None:
        """Add the gradients of the casts to those of the weights, in their type."""
        moved = [(weight, cast, cast.grad) for weight, cast in zip(self.weights, self.casts, strict=True)]
        moves = [(weight, cast, gradient) for weight, cast, gradient in moved if gradient is not None]
        if not moves:
            return
        gradients = [torch.empty_like(weight) for weight, _, _ in moves]
        torch._foreach_copy_(gradients, [gradient for _, _, gradient in moves])
        before = [weight.grad for weight, _, _ in moves if weight.grad is not None]
        if before:
            torch._foreach_add_(before, gradients)
        else:
            for (weight, _, _), gradient in zip(moves, gradients, strict=True):
                weight.grad = gradient
        for _, cast, _ in moves:
            cast.grad = None

    def _begins(self, network: nn.Module, inputs: object) -> None:
        self.num_passes += network.training


def _counts(norm: _BatchNorm) -> bool:
    """Whether a pass adds one to a norm's counter, and does nothing else with it."""
    tracked = norm.training and norm.track_running_stats and norm.num_batches_tracked is not None
    return tracked and norm.momentum is not None

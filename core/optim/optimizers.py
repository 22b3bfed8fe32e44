"""How do the weights move? torch's own optimizers, in the fused form where there is one, and sharpness-aware steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn, optim

from ablation_suite.core.config.menu import Entry
from ablation_suite.core.optim import SAM, SGD, Adam, AdamW, Muon, RMSprop

Parameters = Iterable[nn.Parameter] | Iterable[dict[str, Any]]
"""Parameters, or groups of them as `core.optim.groups` makes them."""


def adam(entry: Adam, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.Adam."""
    return optim.Adam(parameters, **_settings(entry), fused=True)


def adamw(entry: AdamW, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.AdamW."""
    return optim.AdamW(parameters, **_settings(entry), fused=True)


def sgd(entry: SGD, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.SGD."""
    return optim.SGD(parameters, **_settings(entry), fused=True)


def rmsprop(entry: RMSprop, parameters: Parameters) -> optim.Optimizer:
    """torch.optim.RMSprop, which has no fused form."""
    return optim.RMSprop(parameters, **_settings(entry))


def muon(entry: Muon, parameters: Parameters) -> optim.Optimizer:
    """Muon for the groups that are marked with `is_hidden`, AdamW for the others."""
    return MuonAndAdamW(entry, parameters)


def sam(entry: SAM, parameters: Parameters) -> optim.Optimizer:
    """SGD with a climb to the worst point nearby."""
    return SharpnessAware(entry, parameters)


class SharpnessAware(optim.SGD):
    """torch.optim.SGD that is given its gradient at a point that `climb` went to and `back` leaves."""

    def __init__(self, entry: SAM, parameters: Parameters):
        super().__init__(parameters, **_settings(entry, "rho", "adaptive"), fused=True)
        self.rho, self.adaptive = entry.rho, entry.adaptive
        self.left: list[Tensor] = []

    @torch.no_grad()
    def climb(self) -> None:
        """Go up the gradient by a step of length rho, over all parameters together."""
        moved = [each for group in self.param_groups for each in group["params"] if each.grad is not None]
        sizes = [each.abs() if self.adaptive else torch.ones_like(each) for each in moved]
        scaled = [size * each.grad for size, each in zip(sizes, moved, strict=True)]
        length = self.rho / (nn.utils.get_total_norm(scaled) + 1e-12)
        self.left = [each.detach().clone() for each in moved]
        for each, size, gradient in zip(moved, sizes, scaled, strict=True):
            each.add_(size * gradient * length)

    @torch.no_grad()
    def back(self) -> None:
        """Return to where `climb` began, to the bit; the gradients stay."""
        moved = [each for group in self.param_groups for each in group["params"] if each.grad is not None]
        torch._foreach_copy_(moved, self.left)
        self.left = []


class MuonAndAdamW(optim.Optimizer):
    """Two optimizers of torch as one, each for its own groups.

    Muon takes matrices alone: it is given views of the filters (O, I, h, w) as matrices (O, I h w).
    """

    def __init__(self, entry: Muon, groups: Parameters):
        super().__init__(groups, {"lr": entry.lr, "weight_decay": entry.weight_decay})
        hidden = [group for group in self.param_groups if group["is_hidden"]]
        rest = [group for group in self.param_groups if not group["is_hidden"]]
        views = [
            {**group, "params": [nn.Parameter(_matrix(each.data, each)) for each in group["params"]]}
            for group in hidden
        ]
        settings = {name: getattr(entry, name) for name in ("momentum", "nesterov", "ns_steps", "adjust_lr_fn")}
        self.muon = optim.Muon(views, lr=entry.lr, **settings)
        self.adamw = optim.AdamW(rest, lr=entry.lr, betas=entry.betas, eps=entry.eps, fused=True)
        self.pairs = self._pairs()

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """One step of both, at the learning rates of this optimizer's groups."""
        for ours, theirs in self.pairs:
            theirs["lr"] = ours["lr"]
            for each, view in zip(ours["params"], theirs["params"], strict=True):
                if view is not each:
                    view.grad = None if each.grad is None else _matrix(each.grad, each)
        self.muon.step()
        self.adamw.step()

    def state_dict(self) -> dict[str, Any]:
        """Both states."""
        return {"muon": self.muon.state_dict(), "adamw": self.adamw.state_dict()}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go back to both states."""
        self.muon.load_state_dict(state_dict["muon"])
        self.adamw.load_state_dict(state_dict["adamw"])
        self.pairs = self._pairs()

    def _pairs(self) -> list[tuple[dict[str, Any], dict[str, Any]]]:
        """Each group with the one that its optimizer keeps, which a load replaces."""
        hidden = [group for group in self.param_groups if group["is_hidden"]]
        rest = [group for group in self.param_groups if not group["is_hidden"]]
        return list(zip(hidden + rest, self.muon.param_groups + self.adamw.param_groups, strict=True))


def _matrix(values: Tensor, parameter: Tensor) -> Tensor:
    """Values (O, ...) as (O, rest), in the order in which the parameter lies in memory, so that it needs no copy."""
    if parameter.dim() == 4 and not parameter.is_contiguous():  # channels last
        values = values.permute(0, 2, 3, 1)
    return values.reshape(len(values), -1)


def _settings(entry: Entry, *besides: str) -> dict[str, Any]:
    """What torch's optimizer of that name takes."""
    return entry.model_dump(exclude={"name", "decay_norms_and_biases", *besides})

"""Which optimizer, and how does its learning rate move? Menus of torch's optimizers and schedules."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, tagged


class Adam(Entry):
    """torch.optim.Adam (Kingma and Ba 2015)."""

    builds = "ablation_suite.core.optim.optimizers:adam"
    name: Literal["adam"] = "adam"
    lr: float = Field(1e-3, gt=0.0)
    """Learning rate, before the schedule."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to the denominator."""
    weight_decay: float = Field(0.0, ge=0.0)
    """L2 penalty, added to the gradient."""


class AdamW(Entry):
    """torch.optim.AdamW (Loshchilov and Hutter 2019)."""

    builds = "ablation_suite.core.optim.optimizers:adamw"
    name: Literal["adamw"] = "adamw"
    lr: float = Field(1e-3, gt=0.0)
    """Learning rate, before the schedule."""
    betas: tuple[float, float] = (0.9, 0.999)
    """Decay rates of the two moments."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to the denominator."""
    weight_decay: float = Field(0.01, ge=0.0)
    """Decoupled weight decay."""


class SGD(Entry):
    """torch.optim.SGD with momentum."""

    builds = "ablation_suite.core.optim.optimizers:sgd"
    name: Literal["sgd"] = "sgd"
    lr: float = Field(0.1, gt=0.0)
    """Learning rate, before the schedule."""
    momentum: float = Field(0.9, ge=0.0, lt=1.0)
    """Share of the last update that is kept."""
    nesterov: bool = False
    """Nesterov's form of momentum."""
    weight_decay: float = Field(0.0, ge=0.0)
    """L2 penalty, added to the gradient."""


class Constant(Entry):
    """The learning rate stays where it starts."""

    builds = "ablation_suite.core.optim.schedules:constant"
    name: Literal["constant"] = "constant"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""


class Cosine(Entry):
    """Half a cosine from the learning rate down to `final_fraction` of it (Loshchilov and Hutter 2017)."""

    builds = "ablation_suite.core.optim.schedules:cosine"
    name: Literal["cosine"] = "cosine"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""
    final_fraction: float = Field(0.0, ge=0.0, le=1.0)
    """Learning rate after the last step, as a fraction of the highest."""


Optimizer = tagged(Adam, AdamW, SGD)
Schedule = tagged(Constant, Cosine)

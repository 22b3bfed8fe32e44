"""Which optimizer, and how does its learning rate move? Menus of torch's optimizers and schedules."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ablation_suite.core.config.menu import Entry, later, tagged
from ablation_suite.core.config.own import Own


class OptimizerEntry(Entry):
    """What every optimizer has."""

    decay_norms_and_biases: bool = later(True)
    """Whether weight decay acts on them too; false spares all tensors of one dimension."""


class Adam(OptimizerEntry):
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


class AdamW(OptimizerEntry):
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


class SGD(OptimizerEntry):
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


class RMSprop(OptimizerEntry):
    """torch.optim.RMSprop (Tieleman and Hinton 2012)."""

    builds = "ablation_suite.core.optim.optimizers:rmsprop"
    name: Literal["rmsprop"] = "rmsprop"
    lr: float = Field(1e-2, gt=0.0)
    """Learning rate, before the schedule."""
    alpha: float = Field(0.99, ge=0.0, lt=1.0)
    """Decay rate of the mean of squares."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to the denominator."""
    momentum: float = Field(0.0, ge=0.0, lt=1.0)
    """Share of the last update that is kept."""
    centered: bool = False
    """Whether the square of the mean gradient is subtracted from the mean of squares."""
    weight_decay: float = Field(0.0, ge=0.0)
    """L2 penalty, added to the gradient."""


class Muon(OptimizerEntry):
    """torch.optim.Muon for matrices and filters of the backbone, AdamW for the rest (Jordan et al. 2024).

    A filter counts as a matrix of its outputs and all else. Head, norms and biases are AdamW's.
    """

    builds = "ablation_suite.core.optim.optimizers:muon"
    name: Literal["muon"] = "muon"
    lr: float = Field(1e-3, gt=0.0)
    """Learning rate of both, before the schedule."""
    momentum: float = Field(0.95, ge=0.0, lt=1.0)
    """Share of the last direction that is kept."""
    nesterov: bool = True
    """Nesterov's form of momentum."""
    ns_steps: int = Field(5, ge=1, le=99)
    """Steps of Newton and Schulz towards an orthogonal direction."""
    adjust_lr_fn: Literal["match_rms_adamw", "original"] = "match_rms_adamw"
    """How the shape of a matrix counts: so that AdamW's learning rates fit, or as first published."""
    weight_decay: float = Field(0.1, ge=0.0)
    """Decoupled weight decay."""
    betas: tuple[float, float] = (0.9, 0.999)
    """AdamW's decay rates of the two moments."""
    eps: float = Field(1e-8, gt=0.0)
    """Added to AdamW's denominator."""


class SAM(OptimizerEntry):
    """SGD by the gradient at the worst point nearby (Foret et al. 2021), which takes two passes a step."""

    builds = "ablation_suite.core.optim.optimizers:sam"
    name: Literal["sam"] = "sam"
    lr: float = Field(0.1, gt=0.0)
    """Learning rate, before the schedule."""
    rho: float = Field(0.05, gt=0.0)
    """How far that point lies."""
    adaptive: bool = False
    """Whether distances are measured relative to each weight (Kwon et al. 2021)."""
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


class Step(Entry):
    """The learning rate is multiplied by `gamma` every so many epochs after the warm-up (torch's StepLR)."""

    builds = "ablation_suite.core.optim.schedules:step"
    name: Literal["step"] = "step"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""
    every_epochs: float = Field(30.0, gt=0.0)
    """Epochs from one drop to the next."""
    gamma: float = Field(0.1, gt=0.0, le=1.0)
    """Factor of each drop."""


class MultiStep(Entry):
    """The learning rate is multiplied by `gamma` at the end of each listed epoch after the warm-up (MultiStepLR)."""

    builds = "ablation_suite.core.optim.schedules:multi_step"
    name: Literal["multi_step"] = "multi_step"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""
    milestones: tuple[Annotated[float, Field(gt=0.0)], ...] = Field(min_length=1)
    """Epochs after which the learning rate drops, counted from the end of the warm-up."""
    gamma: float = Field(0.1, gt=0.0, le=1.0)
    """Factor of each drop."""


class Exponential(Entry):
    """The learning rate is multiplied by `gamma` per epoch after the warm-up, by a part of it at each step."""

    builds = "ablation_suite.core.optim.schedules:exponential"
    name: Literal["exponential"] = "exponential"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""
    gamma: float = Field(0.95, gt=0.0, le=1.0)
    """Factor of one epoch."""


class Linear(Entry):
    """A straight line from the learning rate, after the warm-up, down to `final_fraction` of it (LinearLR)."""

    builds = "ablation_suite.core.optim.schedules:linear"
    name: Literal["linear"] = "linear"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""
    final_fraction: float = Field(0.0, ge=0.0, le=1.0)
    """Learning rate after the last step, as a fraction of the highest."""


class OneCycle(Entry):
    """Up to the learning rate and down again, each along half a cosine (OneCycleLR; Smith and Topin 2018)."""

    builds = "ablation_suite.core.optim.schedules:one_cycle"
    name: Literal["one_cycle"] = "one_cycle"
    pct_start: float = Field(0.3, gt=0.0, lt=1.0)
    """Share of the steps on the way up."""
    div_factor: float = Field(25.0, ge=1.0)
    """The highest learning rate is this many times the first."""
    final_div_factor: float = Field(1e4, ge=1.0)
    """The first learning rate is this many times the last."""


class Plateau(Entry):
    """The learning rate is multiplied by `factor` when validation gets no better (ReduceLROnPlateau)."""

    builds = "ablation_suite.core.optim.schedules:Reduction"
    name: Literal["plateau"] = "plateau"
    warmup_epochs: float = Field(0.0, ge=0.0)
    """Epochs over which the learning rate rises linearly from one hundredth."""
    metric: Literal["loss", "accuracy"] = "loss"
    """What is watched, at the end of every epoch, on the validation images."""
    factor: float = Field(0.1, gt=0.0, lt=1.0)
    """Factor of each drop."""
    patience: int = Field(10, ge=0)
    """Epochs without a better value that are let pass; after one more the learning rate drops."""
    threshold: float = Field(1e-4, ge=0.0)
    """Share of the best value by which another has to be better to count."""
    cooldown: int = Field(0, ge=0)
    """Epochs after a drop that are not counted."""
    final_fraction: float = Field(0.0, ge=0.0, lt=1.0)
    """Least learning rate, as a fraction of the highest."""


class OwnOptimizer(Own):
    """An optimizer of your own: a torch.optim.Optimizer, such as `torch.optim:Adagrad`; its state is saved and resumed.

    It needs the argument `lr`, its learning rate before the schedule, which is set anew before every step; step() is
    called without a closure.
    Given, where its arguments have this name: params, the parameters that are trained.
    """

    builds = "ablation_suite.core.optim.own:own_optimizer"
    given = ("params",)
    needs = ("lr",)


class OwnSchedule(Own):
    """A schedule of your own: called as schedule(step), it gives the factor of the learning rate in that step.

    Steps count from 0 over all epochs. It is a pure function of the step, so that a resumed run needs no state.
    Given, where its arguments have these names: num_steps, of the whole run, and steps_per_epoch.
    """

    builds = "ablation_suite.core.optim.own:own_schedule"
    given = ("num_steps", "steps_per_epoch")
    called = ("step",)


Optimizer = tagged(Adam, AdamW, SGD, RMSprop, Muon, SAM, own=OwnOptimizer)
Schedule = tagged(Constant, Cosine, Step, MultiStep, Exponential, Linear, OneCycle, Plateau, own=OwnSchedule)

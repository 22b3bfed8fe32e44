"""What takes part in a training run? The network, and everything that acts on it, in their initial state."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.losses import Distillation, OwnLoss
from ablation_suite.core.models import Timm
from ablation_suite.core.models.network import Network, build_network, initialise
from ablation_suite.core.models.teacher import load_teacher
from ablation_suite.core.models.weights import load_weights
from ablation_suite.core.optim.groups import parameter_groups
from ablation_suite.core.optim.schedules import Reduction, Schedule
from ablation_suite.core.training import streams
from ablation_suite.core.training.at_once import AtOnce
from ablation_suite.core.training.compile import Choice, choose, compile_backbone
from ablation_suite.core.training.device import memory_format
from ablation_suite.core.training.protocols import Augment, Loss, Mix


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The network and everything that acts on it."""

    network: Network
    num_classes: int
    averaged: AveragedModel | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: Schedule
    loss: Loss
    augment: Augment
    mix: Mix
    parameters: list[nn.Parameter]
    at_once: AtOnce | None
    """What is done for all tensors of the network in one kernel, on a CUDA device."""
    beside: nn.Module | None
    """What the loss trains beside the network, and no evaluation sees."""
    teacher: Callable[[Tensor], Tensor] | None
    """What the loss is told by another network: logits (N, K) of images (N, C, H, W)."""
    generator: torch.Generator
    """Draws the dropout; seeded anew for every step."""
    compiling: Choice
    """Whether anything is compiled, and why."""
    has_own: bool
    """Whether any of them, the user's own or timm's, may draw from torch's generators."""
    compiled: tuple[str, ...]
    """What torch compiles for whole batches: `backbone`, or nothing."""

    @property
    def evaluated(self) -> Network:
        """The network whose accuracy counts: the average of the weights where there is one by now."""
        has_begun = self.averaged is not None and self.averaged.n_averaged > 0
        return cast(Network, cast(AveragedModel, self.averaged).module) if has_begun else self.network

    def update_average(self) -> None:
        """`AveragedModel.update_parameters`, which would wait for the device twice, with its counter on the host.

        Integers, such as batch norm's count of batches, are copied: an average of them would be cut at every step.
        """
        if self.averaged is None:
            return
        assert self.averaged.multi_avg_fn is not None
        pairs = list(zip(_values(self.averaged.module), _values(self.network), strict=True))
        for dtype in {ours.dtype for ours, _ in pairs}:
            ours = [our for our, _ in pairs if our.dtype == dtype]
            theirs = [their for our, their in pairs if our.dtype == dtype]
            if self.averaged.n_averaged == 0 or not dtype.is_floating_point:
                torch._foreach_copy_(ours, theirs)
            else:
                self.averaged.multi_avg_fn(ours, theirs, self.averaged.n_averaged)
        self.averaged.n_averaged += 1

    def state_dict(self) -> dict[str, Any]:
        """All values that a step changes."""
        return {
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict() if self.averaged is not None else None,
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            **({"beside": self.beside.state_dict()} if self.beside is not None else {}),
            **({"schedule": self.schedule.state_dict()} if isinstance(self.schedule, Reduction) else {}),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a saved state, to the bit."""
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])
        if self.beside is not None:
            self.beside.load_state_dict(state["beside"])
        if isinstance(self.schedule, Reduction):
            self.schedule.load_state_dict(state["schedule"])


def assemble(
    config: RunConfig,
    *,
    num_classes: int,
    steps_per_epoch: int,
    device: torch.device,
    runtime: Runtime,
    class_sizes: np.ndarray | None = None,
) -> Parts:
    """Every part of a run in its initial state, on the device; WeightsError where pretrained weights do not fit.

    `class_sizes` (K,) are the training images of each class, for a loss that weighs classes.
    """
    network = build_network(config.model, num_classes, config.seed, config.train_size)
    load_weights(network, config.model)
    network.to(device)
    network.memory_format = memory_format(runtime)
    network.to(memory_format=network.memory_format)
    network.train()
    averaged = None
    if config.swa is not None:
        averaged = AveragedModel(network, multi_avg_fn=get_swa_multi_avg_fn(), use_buffers=True)
        averaged.n_averaged = averaged.n_averaged.cpu()
    elif config.ema_decay is not None:
        # Buffers too, since batch norm's statistics have to belong to the averaged weights.
        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        averaged.n_averaged = averaged.n_averaged.cpu()
    parameters = [each for each in network.parameters() if each.requires_grad]
    loss, beside = _make_loss(config, network.num_features, class_sizes)
    teaches = isinstance(config.loss, Distillation)
    if beside is not None:
        parameters += beside.to(device).parameters()
    num_images = loss.num_views * config.batch_size
    has_own = any(own_parts(config)) or isinstance(config.model.backbone, Timm)
    compiling = choose(config, steps_per_epoch * config.epochs * num_images, device, runtime)
    compiled: list[str] = []
    if compiling.compiles and not network.is_frozen:
        images_a_pass = num_images if loss.joins_views else config.batch_size
        compile_backbone(network.backbone, images_a_pass // config.accumulate, runtime)
        compiled.append("backbone")

    with streams.as_torchs_own(config.seed, "init", "augment"):
        augment = build(config.augment)
    return Parts(
        network=network,
        num_classes=num_classes,
        averaged=averaged,
        optimizer=build(config.optimizer, parameter_groups(config, network, beside)),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        schedule=build(config.schedule, config.epochs * steps_per_epoch, steps_per_epoch),
        loss=loss,
        augment=augment,
        mix=build(config.mix),
        parameters=parameters,
        at_once=AtOnce(network, config.precision) if device.type == "cuda" and not has_own else None,
        beside=beside,
        teacher=load_teacher(config.loss, num_classes, runtime, device) if teaches else None,
        generator=torch.Generator(device),
        compiling=compiling,
        has_own=has_own,
        compiled=tuple(compiled),
    )


def _make_loss(config: RunConfig, num_features: int, class_sizes: np.ndarray | None) -> tuple[Loss, nn.Module | None]:
    """The loss, and what it trains beside the network, with its initial values."""
    entry = config.loss
    if isinstance(entry, OwnLoss):
        own = build(entry, class_sizes, num_features, config.seed)
        return own, own.beside
    loss = build(entry, class_sizes) if entry.weighs_classes else build(entry)
    if not entry.trains_beside:
        return loss, None
    beside = loss.make_beside(num_features)
    initialise(beside, config.seed, "loss.")
    return loss, beside


def _values(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, without their history."""
    return [each.detach() for each in (*network.parameters(), *network.buffers())]

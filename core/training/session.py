"""What takes part in a training run? Built from the config, once, and saved and restored together."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.models.network import Network, build_network
from ablation_suite.core.models.weights import load_weights
from ablation_suite.core.optim.schedules import Schedule
from ablation_suite.core.training.compile import Choice, choose, compile_backbone
from ablation_suite.core.training.device import memory_format


@dataclass(frozen=True, kw_only=True)
class Parts:
    """The network and everything that acts on it."""

    network: Network
    averaged: AveragedModel | None
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    schedule: Schedule
    loss: Any
    augment: Any
    mix: Any
    parameters: list[nn.Parameter]
    generator: torch.Generator
    """Draws the dropout; seeded anew for every step."""
    compiling: Choice
    """Whether the backbone is compiled, and why."""

    @property
    def evaluated(self) -> Network:
        """The network whose accuracy counts: the moving average where there is one."""
        return cast(Network, self.averaged.module) if self.averaged is not None else self.network

    def update_average(self) -> None:
        """`AveragedModel.update_parameters`, which would wait for the device twice, with its counter on the host."""
        if self.averaged is None:
            return
        assert self.averaged.multi_avg_fn is not None
        pairs = list(zip(_values(self.averaged.module), _values(self.network), strict=True))
        for dtype in {ours.dtype for ours, _ in pairs}:
            ours = [our for our, _ in pairs if our.dtype == dtype]
            theirs = [their for our, their in pairs if our.dtype == dtype]
            if self.averaged.n_averaged == 0:
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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a saved state, to the bit."""
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])


def assemble(
    config: RunConfig, *, num_classes: int, steps_per_epoch: int, device: torch.device, runtime: Runtime
) -> Parts:
    """Every part of a run in its initial state, on the device; WeightsError where pretrained weights do not fit."""
    network = build_network(config.model, num_classes, config.seed)
    load_weights(network, config.model)
    network.to(device)
    network.to(memory_format=memory_format(runtime, device))
    network.train()
    averaged = None
    if config.ema_decay is not None:
        # Buffers too, since batch norm's statistics have to belong to the averaged weights.
        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        averaged.n_averaged = averaged.n_averaged.cpu()
    parameters = list(network.parameters())
    loss = build(config.loss)
    num_images = loss.num_views * config.batch_size
    compiling = choose(config, steps_per_epoch * config.epochs * num_images, device, runtime)
    if compiling.compiles:
        compile_backbone(network.backbone, num_images // config.accumulate, runtime)
    return Parts(
        network=network,
        averaged=averaged,
        optimizer=build(config.optimizer, parameters),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        schedule=build(config.schedule, config.epochs * steps_per_epoch, steps_per_epoch),
        loss=loss,
        augment=build(config.augment, compile=device.type == "cuda" and runtime.compile != "off"),
        mix=build(config.mix),
        parameters=parameters,
        generator=torch.Generator(device),
        compiling=compiling,
    )


def _values(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, without their history."""
    return [each.detach() for each in (*network.parameters(), *network.buffers())]

"""What takes part in a training run, and what does an epoch draw? Shared by the loop, the probe, the first step."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, get_swa_multi_avg_fn

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.data.splits import part_of
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
from ablation_suite.core.training.device import memory_format, pick_device, prepare, reset_peak_memory
from ablation_suite.core.training.evaluate import predict_logits
from ablation_suite.core.training.feed import Feed, Feeds
from ablation_suite.core.training.protocols import Augment, Loss, Mix
from ablation_suite.core.training.step import step


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


@dataclass(frozen=True, kw_only=True)
class Epoch:
    """What an epoch draws before its first step."""

    number: int
    """From 1 on."""
    views: list[np.ndarray]
    """The image indices (V N,) of each batch: the first views, then their partners where the loss has any."""
    sizes: Tensor
    """The images N of each batch, on the CPU."""
    rates: list[float]
    """The learning rate of each step."""
    draw_rows: list[np.ndarray]
    """The rows (V N,) of the draws for each batch: its indices, unless an image may stand twice in an epoch."""
    draws: Tensor
    """The augmentation (images of the split, P), on the device, or on the host where that is what it needs."""
    labels: Tensor
    """The class (images of the split,) of each image, on the device."""

    def draws_of(self, at: int, rows: Tensor) -> Tensor:
        """The draws (V N, P) of batch number `at`, whose indices on the device are rows (V N,), without a wait."""
        if self.draw_rows[at] is self.views[at] and self.draws.device == rows.device:
            return self.draws[rows]
        on_host = torch.from_numpy(self.draw_rows[at])
        return self.draws[on_host.to(self.draws.device, non_blocking=True)]


@dataclass(frozen=True, kw_only=True)
class StepTaken:
    """One step that was taken, for whoever watches a run."""

    epoch: int
    number: int
    """From 1 on, in its epoch."""
    num_steps: int
    """Steps of the epoch."""
    parts: Parts
    images: Tensor
    draws: Tensor
    labels: Tensor
    tally: Tensor
    """(loss, gradient norm, number of correct first views), on the device."""


@dataclass(frozen=True, kw_only=True)
class Session:
    """A run that is set up: its parts, and the feeds of its images, on one device."""

    config: RunConfig
    device: torch.device
    parts: Parts
    dataset: Dataset
    split: Split
    """The training images."""
    feed: Feed
    """Theirs."""
    feed_of: Callable[[Any], Feed]
    """The feed of other images."""
    steps_per_epoch: int

    def draw(self, epoch: int) -> Epoch:
        """The order, pairs, augmentation and learning rates of an epoch: functions of (seed, epoch), not of a state."""
        seed, labels = self.config.seed, self.split.labels
        assert labels is not None
        partners = self.parts.loss.partners(labels, seed, epoch)

        def batches_of(order: np.ndarray) -> list[np.ndarray]:
            batches = _batches(order, self.config.batch_size)
            return [np.concatenate([each, partners[each]]) for each in batches] if partners is not None else batches

        if getattr(self.config.data, "sampler", "shuffled") == "balanced":  # own data sets have no such setting
            # Draws belong to places in the order here: an image that is drawn twice is changed in two ways.
            order = streams.balanced_order(labels, seed, epoch)
            views, draw_rows = batches_of(order), batches_of(np.arange(len(order)))
        else:
            views = draw_rows = batches_of(streams.order(seed, epoch, len(self.split)))
        draws = self.parts.augment.draw(seed, epoch, len(self.split))
        first = (epoch - 1) * len(views)
        return Epoch(
            number=epoch,
            views=views,
            draw_rows=draw_rows,
            sizes=torch.tensor([len(each) / self.parts.loss.num_views for each in views], dtype=torch.float64),
            rates=[self._rate(epoch, first + at) for at in range(len(views))],
            draws=draws if getattr(self.parts.augment, "draws_on_host", False) else draws.to(self.device),
            labels=torch.from_numpy(labels).to(self.device),
        )

    def predict(self, name: str) -> Tensor:
        """The logits (N, K) of all images of a split by the network that counts, on the device."""
        split, config = self.dataset.splits[name], self.config
        feed = self.feed_of(split.images)
        return predict_logits(self.parts.evaluated, feed, len(split), config.batch_size, config.precision)

    def _rate(self, epoch: int, step: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs."""
        swa = self.config.swa
        if swa is not None and swa.lr is not None and epoch >= swa.start_epoch:
            return swa.lr
        return float(self.config.optimizer.lr * self.parts.schedule(step))

    def step(self, epoch: Epoch, at: int, images: Tensor, rows: Tensor, tally: Tensor) -> StepTaken:
        """Step number `at` (from 0) of an epoch, on images uint8 (V N, H, W, 3) of indices (V N,); fills `tally` (3,).

        Dropout and mixing are seeded here, by (seed, epoch, step).
        """
        names = (epoch.number, at)
        self.parts.generator.manual_seed(streams.key(self.config.seed, "dropout", *names) & (2**63 - 1))
        for group in self.parts.optimizer.param_groups:
            group["lr"] = epoch.rates[at] * group.get("lr_scale", 1.0)
        mixing = streams.torch_generator(self.config.seed, "mix", *names)
        labels = epoch.labels[rows]
        draws = epoch.draws_of(at, rows)
        # Own parts draw from torch's generators, as dropout in a module of torch does.
        own_draws = streams.as_torchs_own(self.config.seed, "dropout", *names, device=self.device)
        with own_draws if self.parts.has_own else nullcontext():
            step(self.config, self.parts, images, draws, labels, mixing, tally)
        return StepTaken(
            epoch=epoch.number,
            number=at + 1,
            num_steps=len(epoch.views),
            parts=self.parts,
            images=images,
            draws=draws,
            labels=labels,
            tally=tally,
        )


def set_up(config: RunConfig, dataset: Dataset, runtime: Runtime, feeds: Feeds | None = None) -> Session:
    """Prepare torch and the device for a run, and build its parts; DeviceError, WeightsError where that fails.

    `feeds` are those of the run before, whose resident images this one takes over.
    """
    device = pick_device(runtime)
    prepare(runtime, config.precision)
    reset_peak_memory(device)
    split = part_of(dataset.splits["train"], config.data.share, config.data.split_seed)
    num_steps = len(_batches(np.arange(len(split)), config.batch_size))
    assert split.labels is not None
    num_classes = len(dataset.classes)
    parts = assemble(
        config,
        num_classes=num_classes,
        steps_per_epoch=num_steps,
        device=device,
        runtime=runtime,
        class_sizes=np.bincount(split.labels, minlength=num_classes),
    )
    num_workers = runtime.jobs if runtime.jobs != "auto" else 1
    feed_of = partial((feeds or Feeds()).of, device=device, num_workers=num_workers)
    return Session(
        config=config,
        device=device,
        parts=parts,
        dataset=dataset,
        split=split,
        feed=feed_of(split.images),
        feed_of=feed_of,
        steps_per_epoch=num_steps,
    )


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


def _batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The order cut into batches; a last batch of one image is left out, since batch norm has no variance over it."""
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def _values(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, without their history."""
    return [each.detach() for each in (*network.parameters(), *network.buffers())]

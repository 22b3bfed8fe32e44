"""What takes part in a training run, and what is one step of it? Shared by the loop, the probe and the first step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.data.splits import part_of
from ablation_suite.core.models.network import Network, build_network
from ablation_suite.core.models.weights import load_weights
from ablation_suite.core.optim.schedules import Schedule
from ablation_suite.core.training import streams
from ablation_suite.core.training.compile import Choice, choose, compile_backbone, for_whole_batches
from ablation_suite.core.training.device import autocast, memory_format, pick_device, prepare, reset_peak_memory
from ablation_suite.core.training.evaluate import predict_logits
from ablation_suite.core.training.feed import Feed, Feeds
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
    generator: torch.Generator
    """Draws the dropout; seeded anew for every step."""
    compiling: Choice
    """Whether anything is compiled, and why."""
    compiled: tuple[str, ...]
    """What is compiled for whole batches: `backbone`, `augmentation`, both or nothing."""

    @property
    def evaluated(self) -> Network:
        """The network whose accuracy counts: the moving average where there is one."""
        return cast(Network, self.averaged.module) if self.averaged is not None else self.network

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
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go back to a saved state, to the bit."""
        self.network.load_state_dict(state["network"])
        if self.averaged is not None:
            self.averaged.load_state_dict(state["averaged"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scaler.load_state_dict(state["scaler"])


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
    draws: Tensor
    """The augmentation (images of the split, P), on the device."""
    labels: Tensor
    """The class (images of the split,) of each image, on the device."""


@dataclass(frozen=True, kw_only=True)
class Step:
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
        batches = _batches(streams.order(seed, epoch, len(self.split)), self.config.batch_size)
        partners = self.parts.loss.partners(labels, seed, epoch)
        first = (epoch - 1) * len(batches)
        return Epoch(
            number=epoch,
            views=[np.concatenate([each, partners[each]]) for each in batches] if partners is not None else batches,
            sizes=torch.tensor([len(each) for each in batches], dtype=torch.float64),
            rates=[self.config.optimizer.lr * self.parts.schedule(first + at) for at in range(len(batches))],
            draws=self.parts.augment.draw(seed, epoch, len(self.split)).to(self.device),
            labels=torch.from_numpy(labels).to(self.device),
        )

    def predict(self, name: str) -> Tensor:
        """The logits (N, K) of all images of a split by the network that counts, on the device."""
        split, config = self.dataset.splits[name], self.config
        feed = self.feed_of(split.images)
        return predict_logits(self.parts.evaluated, feed, len(split), config.batch_size, config.precision)

    def step(self, epoch: Epoch, at: int, images: Tensor, rows: Tensor, tally: Tensor) -> Step:
        """Step number `at` (from 0) of an epoch, on images uint8 (V N, H, W, 3) of indices (V N,); fills `tally` (3,).

        Dropout and mixing are seeded here, by (seed, epoch, step).
        """
        names = (epoch.number, at)
        self.parts.generator.manual_seed(streams.key(self.config.seed, "dropout", *names) & (2**63 - 1))
        for group in self.parts.optimizer.param_groups:
            group["lr"] = epoch.rates[at]
        mixing = streams.torch_generator(self.config.seed, "mix", *names)
        draws, labels = epoch.draws[rows], epoch.labels[rows]
        step(self.config, self.parts, images, draws, labels, mixing, tally)
        return Step(
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
    network = build_network(config.model, num_classes, config.seed)
    load_weights(network, config.model)
    network.to(device)
    network.memory_format = memory_format(runtime)
    network.to(memory_format=network.memory_format)
    network.train()
    averaged = None
    if config.ema_decay is not None:
        # Buffers too, since batch norm's statistics have to belong to the averaged weights.
        averaged = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(config.ema_decay), use_buffers=True)
        averaged.n_averaged = averaged.n_averaged.cpu()
    parameters = [each for each in network.parameters() if each.requires_grad]
    loss: Loss = build(config.loss, class_sizes) if config.loss.weighs_classes else build(config.loss)
    num_images = loss.num_views * config.batch_size
    compiling = choose(config, steps_per_epoch * config.epochs * num_images, device, runtime)
    compiled: list[str] = []
    if compiling.compiles and not network.is_frozen:
        images_a_pass = num_images if loss.joins_views else config.batch_size
        compile_backbone(network.backbone, images_a_pass // config.accumulate, runtime)
        compiled.append("backbone")

    def compile_augmentation(function: Callable[..., Tensor]) -> Callable[..., Tensor]:
        if not compiling.compiles or device.type == "cpu":  # where fused loops do it
            return function
        compiled.append("augmentation")
        return for_whole_batches(function, num_images // config.accumulate, runtime)

    augment = build(config.augment, compile=compile_augmentation)
    return Parts(
        network=network,
        num_classes=num_classes,
        averaged=averaged,
        optimizer=build(config.optimizer, parameters),
        scaler=torch.amp.GradScaler(device.type, enabled=config.precision == "fp16"),
        schedule=build(config.schedule, config.epochs * steps_per_epoch, steps_per_epoch),
        loss=loss,
        augment=augment,
        mix=build(config.mix),
        parameters=parameters,
        generator=torch.Generator(device),
        compiling=compiling,
        compiled=tuple(compiled),
    )


def step(
    config: RunConfig,
    parts: Parts,
    images: Tensor,
    draws: Tensor,
    labels: Tensor,
    mixing: torch.Generator,
    tally: Tensor,
) -> None:
    """One optimizer step on images (V N, H, W, 3) with draws (V N, P) and labels (V N,) of V views of N images.

    Writes (loss, gradient norm, number of correct first views) into `tally` (3,), on the device.
    """
    num_views, num_images = parts.loss.num_views, len(labels) // parts.loss.num_views
    parts.optimizer.zero_grad(set_to_none=True)
    for piece_images, piece_draws, piece_labels in _pieces(config.accumulate, num_views, images, draws, labels):
        size = len(piece_labels) // num_views
        inputs = parts.augment(piece_images, piece_draws)
        inputs, targets = parts.mix(inputs, piece_labels, parts.num_classes, mixing)
        with autocast(images.device, config.precision):
            logits, features = _forward(parts, inputs)
            loss = parts.loss(logits, features, targets, size) * (size / num_images)
        parts.scaler.scale(loss).backward()
        tally[0] += loss.detach()
        tally[2] += (logits[:size].argmax(1) == piece_labels[:size]).sum()
    parts.scaler.unscale_(parts.optimizer)
    norm = torch.nn.utils.get_total_norm([each.grad for each in parts.parameters if each.grad is not None])
    if config.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parts.parameters, config.clip_norm, norm)
    tally[1] += norm
    parts.scaler.step(parts.optimizer)
    parts.scaler.update()
    parts.update_average()


def _forward(parts: Parts, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (V N, K) and features (V N, D) of inputs (V N, C, H, W): view by view, unless the loss joins them.

    A view that goes by itself has batch norm over its own N images, and moves the running statistics once.
    """
    if parts.loss.joins_views:
        return parts.network(inputs, parts.generator)
    views = [parts.network(view, parts.generator) for view in inputs.chunk(parts.loss.num_views)]
    logits, features = zip(*views, strict=True)
    return torch.cat(logits), torch.cat(features)


def _batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The order cut into batches; a last batch of one image is left out, since batch norm has no variance over it."""
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def _pieces(accumulate: int, num_views: int, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Tensors (V N, ...) cut along N into `accumulate` pieces (V n, ...)."""
    if accumulate == 1:
        return [tensors]
    split = [each.unflatten(0, (num_views, -1)).tensor_split(accumulate, dim=1) for each in tensors]
    return [tuple(each.flatten(0, 1) for each in piece) for piece in zip(*split, strict=True) if piece[0].shape[1]]


def _values(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, without their history."""
    return [each.detach() for each in (*network.parameters(), *network.buffers())]

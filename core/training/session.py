"""What does an epoch draw, and what is a step? Shared by the loop, the probe and the first-step check."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.data.splits import part_of
from ablation_suite.core.models.network import Network
from ablation_suite.core.training import streams
from ablation_suite.core.training.device import autocast, pick_device, prepare, reset_peak_memory
from ablation_suite.core.training.evaluate import predict_logits
from ablation_suite.core.training.feed import Feed, Feeds
from ablation_suite.core.training.parts import Parts, assemble
from ablation_suite.core.training.step import step

Norm = nn.modules.batchnorm._BatchNorm


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

    def average_epoch(self, epoch: int) -> None:
        """Take the weights at the end of an epoch into the equal average, and give it the statistics that belong to it.

        As `torch.optim.swa_utils.update_bn`, on the images of the epoch as it saw them, but for mixing and for dropout:
        each norm averages over batches what it sees. A frozen part keeps its statistics.
        """
        parts = self.parts
        parts.update_average()
        assert parts.averaged is not None
        network = cast(Network, parts.averaged.module)
        network.train()
        norms = [each for each in network.modules() if isinstance(each, Norm) and each.training]
        network.eval()
        if not norms:
            return
        momenta = [each.momentum for each in norms]
        for norm in norms:
            norm.reset_running_stats()
            norm.train()
            norm.momentum = None  # the mean over all batches
        drawn = self.draw(epoch)
        num_views = parts.loss.num_views
        with torch.no_grad():
            for at, (images, rows) in enumerate(self.feed.batches(drawn.views)):
                size = len(rows) // num_views
                inputs = parts.augment(images[:size], drawn.draws_of(at, rows)[:size])
                with autocast(self.device, self.config.precision):
                    network(inputs)
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        network.train()

    def _rate(self, epoch: int, step: int) -> float:
        """The learning rate of a step, counted from 0 over all epochs."""
        swa = self.config.swa
        if swa is not None and swa.lr is not None and epoch >= swa.start_epoch:
            return swa.lr
        return float(self.config.optimizer.lr * self.parts.schedule(step))


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


def _batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The order cut into batches; a last batch of one image is left out, since batch norm has no variance over it."""
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches

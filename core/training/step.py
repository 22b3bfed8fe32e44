"""What is one step of training? Augmented and mixed pieces of a batch, their gradient, and the optimizer's move."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.optim.optimizers import SharpnessAware
from ablation_suite.core.training.device import autocast

if TYPE_CHECKING:
    from ablation_suite.core.training.parts import Parts

Piece = tuple[Tensor, Tensor, Tensor]
"""Inputs (V n, C, H, W), targets, which are classes (V n,) or shares of classes (V n, K), and classes (V n,)."""


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
    num_images = len(labels) // parts.loss.num_views
    pieces = _changed(config, parts, images, draws, labels, mixing)
    if not isinstance(parts.optimizer, SharpnessAware):
        _backward(config, parts, pieces, num_images, tally)
    else:
        twice, dropout = list(pieces), parts.generator.get_state()
        _backward(config, parts, twice, num_images, tally)
        parts.optimizer.climb()
        parts.generator.set_state(dropout)
        with _still_statistics(parts.network):
            _backward(config, parts, twice, num_images, torch.zeros_like(tally))
        parts.optimizer.back()
    parts.scaler.unscale_(parts.optimizer)
    norm = torch.nn.utils.get_total_norm([each.grad for each in parts.parameters if each.grad is not None])
    if config.clip_norm is not None:
        torch.nn.utils.clip_grads_with_norm_(parts.parameters, config.clip_norm, norm)
    tally[1] += norm
    parts.scaler.step(parts.optimizer)
    parts.scaler.update()
    if config.ema_decay is not None:
        parts.update_average()


def _changed(
    config: RunConfig, parts: Parts, images: Tensor, draws: Tensor, labels: Tensor, mixing: torch.Generator
) -> Iterator[Piece]:
    """The pieces of a batch, augmented and mixed: inputs (V n, C, H, W), targets and labels (V n,)."""
    for piece_images, piece_draws, piece_labels in _pieces(
        config.accumulate, parts.loss.num_views, images, draws, labels
    ):
        inputs = parts.augment(piece_images, piece_draws)
        yield *parts.mix(inputs, piece_labels, parts.num_classes, mixing), piece_labels


def _backward(config: RunConfig, parts: Parts, pieces: Iterable[Piece], num_images: int, tally: Tensor) -> None:
    """Put the gradient of a batch of N images, given in pieces, into the parameters; adds to the tally (3,)."""
    parts.optimizer.zero_grad(set_to_none=True)
    at_once = parts.at_once
    with at_once() if at_once is not None else nullcontext():
        for inputs, targets, labels in pieces:
            size = len(labels) // parts.loss.num_views
            with autocast(inputs.device, config.precision):
                if parts.teacher is not None:
                    cast(Any, parts.loss).teach(parts.teacher(inputs))
                logits, features = _forward(parts, inputs)
                loss = parts.loss(logits, features, targets, size)
                loss = loss if size == num_images else loss * (size / num_images)
            parts.scaler.scale(loss).backward()
            if at_once is not None:
                at_once.collect()
            tally[0] += loss.detach()
            tally[2] += (logits[:size].argmax(1) == labels[:size]).sum()


def _forward(parts: Parts, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits (V N, K) and features (V N, D) of inputs (V N, C, H, W): view by view, unless the loss joins them.

    A view that goes by itself has batch norm over its own N images, and moves the running statistics once.
    """
    if parts.loss.joins_views:
        return parts.network(inputs, parts.generator)
    views = [parts.network(view, parts.generator) for view in inputs.chunk(parts.loss.num_views)]
    logits, features = zip(*views, strict=True)
    return torch.cat(logits), torch.cat(features)


@contextmanager
def _still_statistics(network: nn.Module) -> Iterator[None]:
    """Batch norm by the images at hand, as in training, that leaves its running statistics as they are."""
    norms = [each for each in network.modules() if isinstance(each, nn.modules.batchnorm._BatchNorm) and each.training]
    tracked = [each.track_running_stats for each in norms]
    for each in norms:
        each.track_running_stats = False
    try:
        yield
    finally:
        for each, was in zip(norms, tracked, strict=True):
            each.track_running_stats = was


def _pieces(accumulate: int, num_views: int, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Tensors (V N, ...) cut along N into `accumulate` pieces (V n, ...)."""
    if accumulate == 1:
        return [tensors]
    split = [each.unflatten(0, (num_views, -1)).tensor_split(accumulate, dim=1) for each in tensors]
    return [tuple(each.flatten(0, 1) for each in piece) for piece in zip(*split, strict=True) if piece[0].shape[1]]

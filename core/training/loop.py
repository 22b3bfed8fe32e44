"""How does a run go? Each epoch trains on every image in a drawn order, validates, and keeps the best weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.runs.store import RunFolder
from ablation_suite.core.training import checkpoint, streams
from ablation_suite.core.training.device import autocast, peak_memory_bytes, pick_device, prepare, reset_peak_memory
from ablation_suite.core.training.evaluate import metrics, predict_logits
from ablation_suite.core.training.feed import Feed, make_feed
from ablation_suite.core.training.session import Parts, assemble

Watch = Callable[[int, int, int], None]
"""Called after every step with (epoch, step, steps of the epoch)."""


class NonFiniteLoss(RuntimeError):
    """The loss left the real numbers; the text says at which step, learning rate and gradient norm."""


class Preempted(RuntimeError):
    """The run was asked to stop and has saved its state."""


@dataclass(kw_only=True)
class Position:
    """How far the run is, and what it has found so far."""

    epoch: int = 1
    step: int = 0
    best_epoch: int = 0
    best_accuracy: float = -1.0
    seconds: float = 0.0
    """Training time of this epoch so far, in all attempts."""
    tally: Tensor | None = None


def train(
    config: RunConfig,
    dataset: Dataset,
    runtime: Runtime,
    folder: RunFolder,
    *,
    stop: Callable[[], bool] = lambda: False,
    watch: Watch = lambda epoch, step, num_steps: None,
    publish: Callable[[], None] = lambda: None,
) -> tuple[Parts, Position]:
    """Train to the last epoch, from the newest checkpoint if there is one; `best_path` has the kept weights.

    Raises NonFiniteLoss at the end of the epoch in which it arose, and Preempted at the step after `stop()` is true.
    """
    device = pick_device(runtime)
    prepare(runtime, config.precision)
    reset_peak_memory(device)
    train_split, val_split = dataset.splits["train"], dataset.splits["val"]
    num_steps = num_steps_of(config, len(train_split))
    parts = assemble(
        config, num_classes=len(dataset.classes), steps_per_epoch=num_steps, device=device, runtime=runtime
    )
    if runtime.compile == "auto":
        folder.ledger.append("event", event="compile", choice=parts.compiling.words)
    position = _restore(folder, parts, device)
    train_feed, val_feed = make_feed(train_split.images, device), make_feed(val_split.images, device)
    val_labels = torch.from_numpy(val_split.labels).to(device)
    saver = _Saver(folder, parts, position, runtime, stop)
    for epoch in range(position.epoch, config.epochs + 1):
        relied_on = {position.best_epoch}
        trained = train_epoch(config, parts, train_split, train_feed, position, saver, watch)
        begin = time.perf_counter()
        logits = predict_logits(parts.evaluated, val_feed, len(val_labels), config.batch_size, config.precision)
        validated = metrics(logits, val_labels)
        if validated["accuracy"] > position.best_accuracy or config.selection == "last":
            position.best_epoch, position.best_accuracy = epoch, validated["accuracy"]
            checkpoint.save_verified(best_path(folder, epoch), parts.evaluated.state_dict())
        folder.ledger.append(
            "epoch",
            epoch=epoch,
            **trained,
            **{f"val/{name}": value for name, value in validated.items()},
            **{
                "seconds": position.seconds + time.perf_counter() - begin,
                "seconds_train": position.seconds,
                "sys/images_per_second": trained["images_seen"] / position.seconds,
                "sys/memory_bytes": peak_memory_bytes(device),
            },
        )
        publish()
        position.epoch, position.step, position.seconds, position.tally = epoch + 1, 0, 0.0, None
        saver.save()
        _drop_best_but(folder, relied_on | {position.best_epoch})
    return parts, position


def train_epoch(
    config: RunConfig, parts: Parts, split: Split, feed: Feed, position: Position, saver: _Saver, watch: Watch
) -> dict[str, float]:
    """One pass over the training images from `position.step` on, without waiting for the device between steps."""
    begin = time.perf_counter() - position.seconds
    epoch, seed, device = position.epoch, config.seed, parts.generator.device
    num_images = len(split)
    batches = _batches(streams.order(seed, epoch, num_images), config.batch_size)
    views = _with_partners(batches, parts.loss.partners(split.labels, seed, epoch))
    draws = parts.augment.draw(seed, epoch, num_images).to(device)
    labels = torch.from_numpy(split.labels).to(device)
    if position.tally is None:
        position.tally = torch.zeros(3, len(batches), dtype=torch.float64, device=device)
    rates = [config.optimizer.lr * parts.schedule((epoch - 1) * len(batches) + i) for i in range(len(batches))]
    for images, rows in feed.batches(views[position.step :]):
        parts.generator.manual_seed(streams.key(seed, "dropout", epoch, position.step) & (2**63 - 1))
        for group in parts.optimizer.param_groups:
            group["lr"] = rates[position.step]
        mixing = streams.torch_generator(seed, "mix", epoch, position.step)
        step(config, parts, images, draws[rows], labels[rows], mixing, position.tally[:, position.step])
        position.step += 1
        position.seconds = time.perf_counter() - begin
        watch(epoch, position.step, len(batches))
        saver.after_step()
    losses, norms, correct = position.tally.cpu()
    position.seconds = time.perf_counter() - begin
    _require_finite(epoch, losses, norms, rates, skips_steps=parts.scaler.is_enabled())
    sizes = torch.tensor([len(batch) for batch in batches], dtype=torch.float64)
    return {
        "train/loss": float((losses * sizes).sum() / sizes.sum()),
        "train/accuracy": float(correct.sum() / sizes.sum()),
        "train/grad_norm": float(norms[norms.isfinite()].mean()),
        "lr": rates[-1],
        "num_steps": len(batches),
        "images_seen": parts.loss.num_views * int(sizes.sum()),
    }


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
        inputs, targets = parts.mix(inputs, piece_labels, parts.network.head.linear.out_features, mixing)
        with autocast(images.device, config.precision):
            logits, features = parts.network(inputs, parts.generator)
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


def num_steps_of(config: RunConfig, num_images: int) -> int:
    """Optimizer steps of one epoch over that many training images."""
    return len(_batches(np.arange(num_images), config.batch_size))


def views_of(config: RunConfig, loss: Any, labels: np.ndarray, epoch: int) -> list[np.ndarray]:
    """The image indices of each batch of an epoch: the first views (N,), then their partners where there are any."""
    batches = _batches(streams.order(config.seed, epoch, len(labels)), config.batch_size)
    return _with_partners(batches, loss.partners(labels, config.seed, epoch))


def best_path(folder: RunFolder, epoch: int) -> Path:
    """Where the weights of the best epoch lie."""
    return folder.path / f"best-{epoch:04d}.pt"


class _Saver:
    """Saves the run after an epoch, every few minutes inside one, and when it is asked to stop."""

    def __init__(self, folder: RunFolder, parts: Parts, position: Position, runtime: Runtime, stop: Callable[[], bool]):
        self.folder, self.parts, self.position, self.stop = folder, parts, position, stop
        self.seconds = 60.0 * runtime.checkpoint_minutes
        self.last = time.monotonic()

    def save(self) -> None:
        state = {"parts": self.parts.state_dict(), "position": vars(self.position)}
        checkpoint.save(self.folder.path / "checkpoints", self._number(), state)
        self.last = time.monotonic()

    def after_step(self) -> None:
        stopping = self.stop()
        if stopping or time.monotonic() - self.last > self.seconds:
            self.save()
        if stopping:
            raise Preempted(f"stopped in epoch {self.position.epoch} after step {self.position.step}")

    def _number(self) -> int:
        return self.position.epoch * 1_000_000 + self.position.step


def _restore(folder: RunFolder, parts: Parts, device: torch.device) -> Position:
    """Go on from the newest good checkpoint; begin anew where the weights or rows that it relies on are lost."""
    checkpoint.sweep(folder.path)
    state = checkpoint.load(folder.path / "checkpoints", device)
    if state is None:
        return Position()
    position = Position(**state["position"])
    epochs = [row["epoch"] for row in folder.ledger.history()]
    has_best = position.best_epoch == 0 or checkpoint.is_intact(best_path(folder, position.best_epoch))
    if epochs[: position.epoch - 1] != list(range(1, position.epoch)) or not has_best:
        checkpoint.clear(folder.path / "checkpoints")
        folder.ledger.append("event", event="begun_anew", epoch=position.epoch, step=position.step)
        return Position()
    parts.load_state_dict(state["parts"])
    folder.ledger.append("event", event="resumed", epoch=position.epoch, step=position.step)
    return position


def _drop_best_but(folder: RunFolder, epochs: set[int]) -> None:
    kept = [best_path(folder, epoch) for epoch in epochs]
    for path in folder.path.glob("best-*.pt"):
        if path not in kept:
            checkpoint.drop(path)


def _batches(order: np.ndarray, batch_size: int) -> list[np.ndarray]:
    """The order cut into batches; a last batch of one image is left out, since batch norm has no variance over it."""
    batches = np.split(order, range(batch_size, len(order), batch_size))
    return batches[:-1] if len(batches) > 1 and len(batches[-1]) == 1 else batches


def _with_partners(batches: list[np.ndarray], partners: np.ndarray | None) -> list[np.ndarray]:
    """The image indices of each batch: the first views, then their partners."""
    if partners is None:
        return batches
    return [np.concatenate([batch, partners[batch]]) for batch in batches]


def _pieces(accumulate: int, num_views: int, *tensors: Tensor) -> list[tuple[Tensor, ...]]:
    """Tensors (V N, ...) cut along N into `accumulate` pieces (V n, ...)."""
    if accumulate == 1:
        return [tensors]
    split = [each.unflatten(0, (num_views, -1)).tensor_split(accumulate, dim=1) for each in tensors]
    return [tuple(each.flatten(0, 1) for each in piece) for piece in zip(*split, strict=True) if piece[0].shape[1]]


def _require_finite(epoch: int, losses: Tensor, norms: Tensor, rates: list[float], *, skips_steps: bool) -> None:
    """NonFiniteLoss at the first bad step; a gradient scaler skips steps whose gradient alone is not finite."""
    bad = torch.nonzero(~losses.isfinite() | (~norms.isfinite() & (not skips_steps)))
    if len(bad):
        at = int(bad[0])
        before = f"{norms[at - 1]:.3g} at the step before" if at else "the first step of the epoch"
        what = "gradient" if losses[at].isfinite() else "loss"
        raise NonFiniteLoss(
            f"the {what} is not finite in epoch {epoch}, step {at + 1}, at learning rate {rates[at]:.3g}: loss "
            f"{losses[at]:.3g}, gradient norm {norms[at]:.3g} ({before}); lower optimizer.lr or set clip_norm"
        )

"""How does a run go? Each epoch trains on every image in a drawn order, validates, and keeps the best weights."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset
from ablation_suite.core.optim.schedules import Reduction
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.training import checkpoint
from ablation_suite.core.training.device import peak_memory_bytes
from ablation_suite.core.training.evaluate import metrics
from ablation_suite.core.training.feed import Feeds
from ablation_suite.core.training.parts import Parts
from ablation_suite.core.training.session import Session, StepTaken, set_up


class NonFiniteLoss(RuntimeError):
    """The loss left the real numbers; the text says at which step, learning rate and gradient norm."""


class Preempted(RuntimeError):
    """The run was asked to stop and has saved its state."""

    outcome = "interrupted"
    """What trackers are told."""


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
    on_step: Callable[[StepTaken], None] = lambda step: None,
    publish: Callable[[], None] = lambda: None,
    feeds: Feeds | None = None,
) -> tuple[Session, Position]:
    """Train to the last epoch, from the newest checkpoint if there is one; `best_path` has the kept weights.

    `on_step` is called after every step, before the run may be saved or stopped.
    Raises NonFiniteLoss at the end of the epoch in which it arose, and Preempted at the step after `stop()` is true.
    """
    session = set_up(config, dataset, runtime, feeds)
    parts, device = session.parts, session.device
    if runtime.compile != "off":
        compiled = list(parts.compiled)
        folder.ledger.append("event", event="compile", choice=parts.compiling.words, compiled=compiled)
    position = _restore(folder, parts, device)
    val_labels = torch.from_numpy(dataset.splits["val"].labels).to(device)
    saver = _Saver(folder, parts, position, runtime, stop)
    for epoch in range(position.epoch, config.epochs + 1):
        if config.early_stopping is not None and epoch - 1 - position.best_epoch >= config.early_stopping.patience:
            folder.ledger.append("event", event="stopped_early", epoch=epoch - 1, best_epoch=position.best_epoch)
            break
        relied_on = {position.best_epoch}
        trained = train_epoch(session, position, saver, on_step)
        begin = time.perf_counter()
        if config.swa is not None and epoch >= config.swa.start_epoch:
            session.average_epoch(epoch)
        validated = metrics(session.predict("val"), val_labels)
        if isinstance(parts.schedule, Reduction):
            parts.schedule.watch(validated)
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
    return session, position


def train_epoch(
    session: Session, position: Position, saver: _Saver, on_step: Callable[[StepTaken], None]
) -> dict[str, float]:
    """One pass over the training images from `position.step` on, without waiting for the device between steps."""
    begin = time.perf_counter() - position.seconds
    parts, epoch = session.parts, session.draw(position.epoch)
    num_steps = len(epoch.views)
    if position.tally is None:
        position.tally = torch.zeros(3, num_steps, dtype=torch.float64, device=session.device)
    for images, rows in session.feed.batches(epoch.views[position.step :]):
        step = session.step(epoch, position.step, images, rows, position.tally[:, position.step])
        position.step += 1
        position.seconds = time.perf_counter() - begin
        on_step(step)
        saver.after_step()
    losses, norms, correct = position.tally.cpu()
    position.seconds = time.perf_counter() - begin
    _require_finite(epoch.number, losses, norms, epoch.rates, skips_steps=parts.scaler.is_enabled())
    return {
        "train/loss": float((losses * epoch.sizes).sum() / epoch.sizes.sum()),
        "train/accuracy": float(correct.sum() / epoch.sizes.sum()),
        "train/grad_norm": float(norms[norms.isfinite()].mean()),
        "lr": epoch.rates[-1],
        "num_steps": num_steps,
        "images_seen": parts.loss.num_views * int(epoch.sizes.sum()),
    }


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
        state = {"run_id": self.folder.run_id, "parts": self.parts.state_dict(), "position": vars(self.position)}
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
    """Go on from the newest good checkpoint; begin anew where it is another run's, or what it relies on is lost."""
    checkpoint.sweep(folder.path)
    state = checkpoint.load(folder.path / "checkpoints", device)
    if state is None:
        return Position()
    position = Position(**state["position"])
    epochs = [row["epoch"] for row in folder.ledger.history()]
    has_best = position.best_epoch == 0 or checkpoint.is_intact(best_path(folder, position.best_epoch))
    is_own = state.get("run_id", folder.run_id) == folder.run_id  # older ones do not say
    if epochs[: position.epoch - 1] != list(range(1, position.epoch)) or not has_best or not is_own:
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

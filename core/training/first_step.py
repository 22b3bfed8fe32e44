"""What does one step of this config do? Digests of its data, initial values, loss and result."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np
import torch

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset
from ablation_suite.core.training import streams
from ablation_suite.core.training.device import pick_device, prepare
from ablation_suite.core.training.feed import make_feed
from ablation_suite.core.training.loop import num_steps_of, step, views_of
from ablation_suite.core.training.session import assemble

NUM_IMAGES = 4
"""Images of the batch: enough for batch norm, few enough for a large network on a CPU."""


@dataclass(frozen=True, kw_only=True)
class FirstStep:
    """Digests of what went in and what came out; tensors by name and shape."""

    order: str
    """The order of the first epoch's images, partners included."""
    draws: str
    """The augmentation of the first epoch."""
    initial: dict[str, str]
    """Name and shape of every tensor -> its value before the step."""
    loss: float
    after: dict[str, str]
    """The same after the step."""

    def has_effect_against(self, other: FirstStep) -> bool:
        """Whether anything at all differs."""
        return self != other

    def moved_against(self, other: FirstStep) -> list[str]:
        """What two arms should share and do not: batch order, augmentation draws, initial values of equal tensors."""
        moved = [name for name in ("order", "draws") if getattr(self, name) != getattr(other, name)]
        shared = self.initial.keys() & other.initial.keys()
        tensors = sorted(name for name in shared if self.initial[name] != other.initial[name])
        more = f" and {len(tensors) - 3} more" if len(tensors) > 3 else ""
        return moved + ([f"initial values of {', '.join(tensors[:3])}{more}"] if tensors else [])


def first_step(config: RunConfig, dataset: Dataset, runtime: Runtime) -> FirstStep:
    """Build the run as training would and take one step on a few of its first images; nothing is written.

    Raises WeightsError where pretrained weights are not there or do not fit.
    """
    device = pick_device(runtime)
    prepare(runtime, config.precision)
    split = dataset.splits["train"]
    assert split.labels is not None
    num_steps = num_steps_of(config, len(split))
    parts = assemble(
        config, num_classes=len(dataset.classes), steps_per_epoch=num_steps, device=device, runtime=runtime
    )
    initial = _digests(parts.network)
    views = views_of(config, parts.loss, split.labels, epoch=1)
    draws = parts.augment.draw(config.seed, 1, len(split))
    few = views[0].reshape(parts.loss.num_views, -1)[:, :NUM_IMAGES].reshape(-1)
    parts.generator.manual_seed(streams.key(config.seed, "dropout", 1, 0) & (2**63 - 1))
    mixing = streams.torch_generator(config.seed, "mix", 1, 0)
    labels = torch.from_numpy(split.labels).to(device)
    tally = torch.zeros(3, dtype=torch.float64, device=device)
    for images, rows in make_feed(split.images, device).batches([few]):
        step(config, parts, images, draws.to(device)[rows], labels[rows], mixing, tally)
    return FirstStep(
        order=_digest(np.concatenate([each.reshape(parts.loss.num_views, -1)[0] for each in views])),
        draws=_digest(draws.numpy()),
        initial=initial,
        loss=float(tally[0]),
        after=_digests(parts.network),
    )


def _digests(network: torch.nn.Module) -> dict[str, str]:
    values = network.state_dict().items()
    return {f"{name} {tuple(value.shape)}": _digest(value.cpu().contiguous().numpy()) for name, value in values}


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

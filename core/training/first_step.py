"""What does one step of this config do? Digests of its data, initial values, loss and result."""

from __future__ import annotations

import hashlib
from contextlib import nullcontext
from dataclasses import dataclass, replace

import numpy as np
import torch

from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset
from ablation_suite.core.own.randomness import undisturbed
from ablation_suite.core.training.session import set_up

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

    Raises WeightsError where pretrained weights are not there or do not fit, and OwnPartError where own code changes a
    global random state.
    """
    names = ", ".join(each.name for each in own_parts(config))
    with undisturbed(names) if names else nullcontext():
        return _first_step(config, dataset, runtime)


def _first_step(config: RunConfig, dataset: Dataset, runtime: Runtime) -> FirstStep:
    pieces = min(config.accumulate, max(1, min(NUM_IMAGES, len(dataset.splits["train"])) // 2))
    session = set_up(config.model_copy(update={"accumulate": pieces}), dataset, runtime)  # else of one image each
    network, num_views = session.parts.network, session.parts.loss.num_views
    initial = _digests(network)
    epoch = session.draw(1)
    columns = np.concatenate([each.reshape(num_views, -1) for each in epoch.views], axis=1)  # (V, N)
    assert session.split.labels is not None
    few = columns[:, _with_a_pair(session.split.labels[columns[0]])].reshape(-1)
    tally = torch.zeros(3, dtype=torch.float64, device=session.device)
    for images, rows in session.feed.batches([few]):
        session.step(replace(epoch, views=[few], draw_rows=[few]), 0, images, rows, tally)
    return FirstStep(
        order=_digest(np.concatenate([each.reshape(num_views, -1)[0] for each in epoch.views])),
        draws=_digest(epoch.draws.cpu().numpy()),
        initial=initial,
        loss=float(tally[0]),
        after=_digests(network),
    )


def _with_a_pair(labels: np.ndarray) -> list[int]:
    """Places of a few images of labels (N,), the first two of one class where there are such.

    A loss that compares images would else have nothing to compare, and its arm no effect.
    """
    pair = np.flatnonzero(labels == labels[0])[:2].tolist()
    others = [*np.flatnonzero(labels != labels[0])[:NUM_IMAGES], *range(len(labels))]
    return list(dict.fromkeys([*pair, *others]))[:NUM_IMAGES]


def _digests(network: torch.nn.Module) -> dict[str, str]:
    values = network.state_dict().items()
    return {f"{name} {tuple(value.shape)}": _digest(value.cpu().contiguous().numpy()) for name, value in values}


def _digest(array: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest()

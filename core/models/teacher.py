"""Who teaches a network? A finished run's kept weights, or a network of torchvision, which learns nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.losses import Distillation
from ablation_suite.core.models.backbones import classifier
from ablation_suite.core.models.network import IMAGENET_MEAN, IMAGENET_STD, Network
from ablation_suite.core.models.weights import WeightsError, read_classifier
from ablation_suite.core.own.kept import admit, require_trusted
from ablation_suite.core.runs import teachers
from ablation_suite.core.runs.damage import sum_in
from ablation_suite.core.training.checkpoint import read_kept


def load_teacher(
    loss: Distillation, num_classes: int, runtime: Runtime, device: torch.device
) -> Callable[[Tensor], Tensor]:
    """A function of images (N, 3, H, W) in [0, 1] that gives logits (N, K); WeightsError where there is no teacher."""
    with torch.random.fork_rng(devices=[]):  # initial values that are thrown away at once
        network = (
            _of_torchvision(loss, num_classes)
            if loss.teacher_model is not None
            else _of_run(loss, num_classes, runtime)
        )
    network.to(device).eval().requires_grad_(False)

    @torch.no_grad()
    def teach(images: Tensor) -> Tensor:
        logits = network(images)
        return logits[0] if isinstance(logits, tuple) else logits

    return teach


def _of_run(loss: Distillation, num_classes: int, runtime: Runtime) -> nn.Module:
    found = teachers.find(loss, runtime)
    if len(found.record["classes"]) != num_classes:
        classes = len(found.record["classes"])
        raise WeightsError(f"loss.teacher: run {loss.teacher} has {classes} classes, the data has {num_classes}")
    source = f"loss.teacher {loss.teacher}"
    stores = [runtime.store, *([Path(runtime.teachers) / "runs"] if runtime.teachers else [])]
    require_trusted(found.weights.parent, found.record["config"], stores)
    admit(found.weights.parent, found.record["config"])
    config = validate(RunConfig, Document(data=found.record["config"], source=source))
    network = Network(config.model, num_classes, config.train_size)
    read_kept(network, found.weights, torch.device("cpu"), sum_in(found.record, found.weights.name))
    return network


def _of_torchvision(loss: Distillation, num_classes: int) -> nn.Module:
    assert loss.teacher_model is not None
    network = classifier(loss.teacher, num_classes)
    try:
        values = read_classifier(loss.teacher_model, network)
        network.load_state_dict(values)
    except WeightsError as error:
        raise type(error)(str(error).replace("model.weights", "loss.teacher_weights")) from None
    except RuntimeError as error:
        reason = " ".join(str(error).split())
        raise WeightsError(
            f"loss.teacher_weights: do not fit {loss.teacher} with {num_classes} classes: {reason}"
        ) from None
    return nn.Sequential(_Normalize(), network)


class _Normalize(nn.Module):
    """As every published network of torchvision expects its images."""

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        return (images - self.mean) / self.std

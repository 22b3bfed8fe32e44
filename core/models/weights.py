"""Where do pretrained weights come from, and do they fit? A torchvision name or a file, for the backbone alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlparse

import torch
from torch import Tensor

from core.models import Model
from core.models.network import Network


class WeightsError(ValueError):
    """The weights are not there or do not fit; the text says which file, which folder and which setting."""


def load_weights(network: Network, model: Model) -> None:
    """Put pretrained values into the backbone; the classifier of the file is dropped, since the head is replaced.

    Raises WeightsError where the file is missing and cannot be downloaded, is damaged, or has other tensors.
    """
    if model.weights == "none":
        return
    values = read_weights(model)
    values = {name: value for name, value in values.items() if not name.startswith("fc.")}
    own = network.backbone.state_dict()
    faults = [f"missing {name}" for name in own.keys() - values.keys() if not name.endswith("num_batches_tracked")]
    faults += [f"unexpected {name}" for name in values.keys() - own.keys()]
    faults += [
        f"{name} is {tuple(values[name].shape)}, the network has {tuple(own[name].shape)}"
        for name in own.keys() & values.keys()
        if own[name].shape != values[name].shape
    ]
    if faults:
        raise WeightsError(f"model.weights: {model.weights} does not fit {model.backbone.name}: " + "; ".join(sorted(faults)))
    network.backbone.load_state_dict(values, strict=False)


def read_weights(model: Model) -> dict[str, Tensor]:
    """The state dict that `model.weights` names, on the CPU; only tensors are read, never code."""
    path = locate(model)
    if not path.exists():
        return _download(model, path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise WeightsError(f"model.weights: {path} cannot be read as a state dict: {error}") from None


def locate(model: Model) -> Path:
    """The file that `model.weights` stands for: a path as given, or the place in torch's cache of a torchvision name."""
    if _is_path(model.weights):
        path = Path(model.weights)
        if not path.exists():
            raise WeightsError(f"model.weights: no such file {path}")
        return path
    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(_entry(model).url).path).name


def _is_path(weights: str) -> bool:
    return "/" in weights or weights.endswith((".pth", ".pt", ".safetensors"))


def _entry(model: Model) -> Any:
    """torchvision's description of named weights; WeightsError lists the names where there is none such."""
    from torchvision.models import get_model_weights

    try:
        choices = get_model_weights(model.backbone.name)
    except ValueError:
        raise WeightsError(f"model.weights: {model.backbone.name} has no published weights; use `none`") from None
    if model.weights not in choices.__members__:
        names = ", ".join(choices.__members__)
        raise WeightsError(f"model.weights: no '{model.weights}' for {model.backbone.name}; use none, a path, or {names}")
    return choices[model.weights]


def _download(model: Model, path: Path) -> dict[str, Tensor]:
    try:
        return _entry(model).get_state_dict(progress=False, check_hash=True)
    except Exception as error:
        reason = getattr(error, "reason", error)
        raise WeightsError(
            f"model.weights: {model.weights} of {model.backbone.name} is not on this machine and cannot be downloaded "
            f"({reason}); put {path.name} into {path.parent}, or set model.weights=none"
        ) from None

"""Which networks does timm have, and with which weights? An extra: nothing else imports it."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from ablation_suite.core.config.errors import nearest
from ablation_suite.core.models import Model, Timm
from ablation_suite.core.models.weights import AbsentWeights, NetworkError, WeightsError


def timm_backbone(entry: Timm) -> nn.Module:
    """A network of timm without classifier, with `left_out`, the beginning of the classifier's names."""
    return _create(entry, entry.model)


def num_features(network: nn.Module, entry: Timm, image_size: int) -> int:
    """D, found by one pass over an image in evaluation; NetworkError where it takes no such image."""
    was_training = network.training
    device = next(network.parameters()).device
    try:
        with torch.no_grad():
            features = network.eval()(torch.zeros(1, 3, image_size, image_size, device=device))
    except Exception as error:  # each network has its own words for an image that is too small
        raise NetworkError(
            f"model.backbone: timm's {entry.model} cannot take images of {image_size} pixels ({_line(error)}); set "
            "another data.size, or img_size in its args"
        ) from None
    network.train(was_training)
    if features.dim() != 2:
        shape = tuple(features.shape)
        raise NetworkError(f"model.backbone: timm's {entry.model} gives {shape}, no pooled features; see its args")
    return int(features.shape[1])


def published(model: Model) -> Mapping[str, Tensor]:
    """The values of timm's weights with the tag `model.weights`; WeightsError where they cannot be had."""
    timm, entry = _timm(), model.backbone
    tags = [name.partition(".")[2] for name in timm.list_pretrained(f"{entry.model}.*")]
    if model.weights != "default" and model.weights not in tags:
        names = ", ".join(["none", "a path", "default", *tags])
        raise WeightsError(f"model.weights: no '{model.weights}' for timm's {entry.model}; take one of {names}")
    name = entry.model if model.weights == "default" else f"{entry.model}.{model.weights}"
    try:
        network = _create(entry, name, pretrained=True, **_from_cache(name))
    except NetworkError:
        raise
    except Exception as error:
        raise AbsentWeights(
            f"model.weights: {name} is not on this machine and cannot be downloaded ({_line(error)}); put it into the "
            "cache of the Hugging Face hub (HF_HOME), name a file, or set model.weights=none"
        ) from None
    return network.state_dict()


def _from_cache(name: str) -> dict[str, Any]:
    """Where the hub's cache has the weights, what reads them there; else the hub would be asked first, for a minute."""
    from huggingface_hub import try_to_load_from_cache

    config = _timm().get_pretrained_cfg(name)
    if config is None or not config.hf_hub_id:
        return {}
    found = try_to_load_from_cache(config.hf_hub_id, "model.safetensors")
    return {"pretrained_cfg_overlay": {"file": found}} if isinstance(found, str) else {}


def _create(entry: Timm, name: str, *, pretrained: bool = False, **more: Any) -> nn.Module:
    timm = _timm()
    if not timm.is_model(name):
        known = timm.list_models()
        raise NetworkError(f"model.backbone: timm has no model '{name}'{nearest(name, known)}")
    device = torch.get_default_device()
    try:
        with torch.device("cpu"):  # some compute their widths with tensors
            network: Any = timm.create_model(name, pretrained=pretrained, num_classes=0, **deepcopy(entry.args), **more)
    except Exception as error:
        if pretrained:
            raise
        raise NetworkError(f"model.backbone: timm's {name} cannot be made of its args: {_line(error)}") from None
    heads = (network.pretrained_cfg or {}).get("classifier") or "fc"
    network.left_out = tuple(f"{head}." for head in ([heads] if isinstance(heads, str) else heads))
    return network.to(device)


def _timm() -> ModuleType:
    try:
        import timm
    except ModuleNotFoundError:
        raise NetworkError(
            "model.backbone: timm needs a package that is not here: pip install 'ablation-suite[timm]'"
        ) from None
    return timm


def _line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Where do pretrained weights come from, and do they fit? A torchvision name or a file, for the backbone alone."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlparse

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.models import Model, Timm
from ablation_suite.core.runs.damage import Damaged
from ablation_suite.core.runs.files import file_sha256

if TYPE_CHECKING:
    from torch import Tensor, nn

    from ablation_suite.core.models.network import Network

    Values = Mapping[str, Tensor]


class WeightsError(UserError):
    """The weights are not there or do not fit; the text says which file, which folder and which setting."""


class AbsentWeights(WeightsError):
    """Published weights are neither on this machine nor to be downloaded from it; nothing is wrong with their name."""


class NetworkError(UserError):
    """A network cannot be built as it is asked for; the text says which setting, and what there is."""


def check_weights(model: Model, image_size: int = 224) -> None:
    """Make sure, before anything is trained, that the weights are on this machine, undamaged, and fit the backbone.

    A torchvision name that is not there is downloaded, once. Raises WeightsError, and NetworkError where the network
    cannot be built. Where neither can be, nothing is imported.
    """
    if not model.is_tried_early:
        return
    import torch

    from ablation_suite.core.models.network import Network

    with torch.device("cpu" if any(own_parts(model)) else "meta"), torch.random.fork_rng(devices=[]):
        backbone = Network(model, num_classes=1, image_size=image_size).backbone
    if model.weights != "none":
        _require_fit(_without_head(read_weights(model), backbone), backbone.state_dict(), model)


def load_weights(network: Network, model: Model) -> None:
    """Put pretrained values into the backbone; the classifier of the file is dropped, since the head is replaced.

    Raises WeightsError where the file is missing and cannot be downloaded, is damaged, or has other tensors.
    """
    if model.weights == "none":
        return
    values = _without_head(read_weights(model), network.backbone)
    own = network.backbone.state_dict()
    _require_fit(values, own, model)
    for name, value in values.items():
        own[name].copy_(value)  # load_state_dict would ask MNASNet for the version of its file


def read_weights(model: Model) -> Values:
    """The state dict that `model.weights` names, on the CPU; only tensors are read, never code."""
    import torch

    if isinstance(model.backbone, Timm) and model.weights_file is None:
        from ablation_suite.core.models.timm_networks import published

        return published(model)

    path = locate(model)
    if not path.exists():
        _download(model, path)
    elif model.weights_file is None:
        _require_hash(path)
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            values = load_file(path)
        else:
            from ablation_suite.core.training.checkpoint import read_plain

            values = read_plain(path, torch.device("cpu"))
    except ModuleNotFoundError:
        raise WeightsError(f"model.weights: {path} needs a package that is not here: pip install safetensors") from None
    except Damaged as error:
        raise WeightsError(f"model.weights: {error}; save the state dict of the network alone") from None
    except Exception as error:
        reason = str(error).partition("\n")[0]
        raise WeightsError(f"model.weights: {path} cannot be read as a state dict: {reason}") from None
    if not isinstance(values, Mapping) or not all(isinstance(each, torch.Tensor) for each in values.values()):
        raise WeightsError(f"model.weights: {path} is no state dict: it should hold tensors by name, and nothing else")
    return values


def locate(model: Model) -> Path:
    """The file that `model.weights` stands for: a path as given; of a torchvision name, its place in torch's cache."""
    path = model.weights_file
    if path is not None:
        if not path.is_file():
            raise WeightsError(f"model.weights: no such file {path}")
        return path
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urlparse(_entry(model).url).path).name


def _entry(model: Model) -> Any:
    """torchvision's description of named weights; WeightsError lists the names where there is none such."""
    from torchvision.models import get_model_weights

    try:
        choices = get_model_weights(model.backbone.name)
    except ValueError:
        raise WeightsError(f"model.weights: {model.backbone.name} has no published weights; use `none`") from None
    if model.weights not in choices.__members__:
        names = ", ".join(["none", "a path", *choices.__members__])
        raise WeightsError(f"model.weights: no '{model.weights}' for {model.backbone.name}; take one of {names}")
    return choices[model.weights]


def _download(model: Model, path: Path) -> None:
    from torch.hub import download_url_to_file

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        download_url_to_file(_entry(model).url, str(path), hash_prefix=_published_hash(path), progress=False)
    except Exception as error:
        reason = getattr(error, "reason", error)
        raise AbsentWeights(
            f"model.weights: {model.weights} of {model.backbone.name} is not on this machine and cannot be downloaded "
            f"({reason}); put {path.name} into {path.parent}, or set model.weights=none"
        ) from None


def _require_hash(path: Path) -> None:
    """torch checks a file when it downloads it, and never again."""
    found = file_sha256(path)
    if not found.startswith(_published_hash(path)):
        raise WeightsError(
            f"model.weights: {path} is damaged: its SHA-256 begins with {found[:8]}; remove it to have it downloaded "
            "again, or set model.weights=none"
        )


def _published_hash(path: Path) -> str:
    """The beginning of the SHA-256 that torchvision puts into a file's name: resnet50-0676ba61.pth."""
    found = re.search(r"-([a-f0-9]{8,})\.", path.name)
    return found.group(1) if found else ""


def _require_fit(values: Values, own: Values, model: Model) -> None:
    """WeightsError with every tensor that is missing, unexpected or of another shape."""
    missing = [each for each in own.keys() - values.keys() if not each.endswith(("num_batches_tracked", "gem_power"))]
    faults = [f"missing {name}" for name in missing]
    faults += [f"unexpected {name}" for name in values.keys() - own.keys()]
    faults += [
        f"{name} is {tuple(values[name].shape)}, the network has {tuple(own[name].shape)}"
        for name in own.keys() & values.keys()
        if own[name].shape != values[name].shape
    ]
    if faults:
        raise WeightsError(
            f"model.weights: {model.weights} does not fit {model.backbone.name}: " + "; ".join(sorted(faults))
        )


def read_classifier(model: Model, network: nn.Module) -> Values:
    """The state dict of a whole network of torchvision, its classifier included, that `model.weights` names.

    Values that the network has no name for, such as those of auxiliary classifiers, are left out.
    """
    own = network.state_dict()
    return {name: value for name, value in _renamed(read_weights(model)).items() if name in own}


def _without_head(values: Values, backbone: nn.Module) -> Values:
    """The values that a backbone has a use for; DenseNet's published names have a dot more, as torchvision tells."""
    left_out = cast("tuple[str, ...]", getattr(backbone, "left_out", ()))
    return {name: value for name, value in _renamed(values).items() if not name.startswith(left_out)}


def _renamed(values: Values) -> Values:
    dotted = re.compile(r"(denselayer\d+\.(?:norm|conv))\.([12]\.)")
    return {dotted.sub(r"\1\2", name): value for name, value in values.items()}

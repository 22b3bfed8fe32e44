"""What turns an image into pooled features? torchvision's networks without their last layer, and small twins."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import Bottleneck, ResNet
from torchvision.ops import StochasticDepth

from ablation_suite.core.models import BottleneckBackbone, TorchvisionBackbone, TorchvisionClassifier
from ablation_suite.core.models.residual import Drop, finish_blocks, norm_layer


def torchvision_backbone(entry: TorchvisionBackbone) -> ResNet:
    """A torchvision network whose classifier is the identity, with the attributes `num_features` and `left_out`.

    `left_out` are the beginnings of those names in a published state dict for which the network has no use.
    """
    network = get_model(entry.name, weights=None, norm_layer=norm_layer(entry))
    network.num_features = network.fc.in_features
    network.fc = nn.Identity()
    network.left_out = ("fc.",)
    if entry.stem == "small":
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    finish_blocks(network, entry)
    return network


def classifier(name: str, num_classes: int = 1000) -> nn.Module:
    """A whole network of torchvision without weights, as it is made for the published ones, without helpers."""
    settings: dict[str, Any] = {}
    if name in ("googlenet", "inception_v3"):
        # As torchvision makes them for their published weights, which rescale normalised images.
        settings = {"aux_logits": False, "init_weights": True, "transform_input": True}
    device = torch.get_default_device()
    with torch.device("cpu" if name.startswith("regnet") else device):  # it computes its widths with tensors
        return get_model(name, weights=None, num_classes=num_classes, **settings).to(device)


def torchvision_classifier(entry: TorchvisionClassifier) -> nn.Module:
    """A torchvision network whose last layer is the identity, with `num_features` and `left_out` as a ResNet here.

    What it draws at random in training is drawn by `Drop`, from the generator that the step gives.
    """
    network: Any = classifier(entry.name)
    name, network.num_features = _cut_last_layer(network)
    network.left_out = (f"{name}.", "aux1.", "aux2.", "AuxLogits.")
    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if isinstance(child, nn.Dropout):
                setattr(parent, name, Drop(child.p, by_row=False))
            elif isinstance(child, StochasticDepth):
                setattr(parent, name, Drop(child.p, by_row=child.mode == "row"))
    return network


class GeM(nn.Module):
    """The generalised mean of each channel, with a power that is learned."""

    def __init__(self) -> None:
        super().__init__()
        self.gem_power = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, D, H, W) to (N, D, 1, 1): (mean of x^p)^(1/p), for x of at least 1e-6."""
        wide = maps.to(torch.promote_types(maps.dtype, torch.float32)).clamp_min(1e-6)
        return wide.pow(self.gem_power).mean((2, 3), keepdim=True).pow(1.0 / self.gem_power)


class AverageMax(nn.Module):
    """The mean of each channel's average and its maximum (timm's `avgmax`)."""

    def forward(self, maps: Tensor) -> Tensor:
        """Maps (N, D, H, W) to (N, D, 1, 1)."""
        return 0.5 * (maps.mean((2, 3), keepdim=True) + maps.amax((2, 3), keepdim=True))


def make_pooling(pooling: str) -> nn.Module:
    """A global pooling of maps (N, D, H, W) to (N, D, 1, 1), by its name."""
    if pooling == "average":
        return nn.AdaptiveAvgPool2d(1)
    return {"max": lambda: nn.AdaptiveMaxPool2d(1), "gem": GeM, "average_max": AverageMax}[pooling]()


def set_pooling(network: nn.Module, pooling: str) -> None:
    """Put another global pooling in the place of a backbone's average."""
    if pooling == "average":
        return
    found = [name for name in ("avgpool", "classifier.0", "classifier.3") if _is_global_pooling(network, name)]
    parent, _, last = found[0].rpartition(".")
    setattr(network.get_submodule(parent), last, make_pooling(pooling))


def _is_global_pooling(network: nn.Module, name: str) -> bool:
    module = dict(network.named_modules()).get(name)
    return isinstance(module, nn.AdaptiveAvgPool2d) and module.output_size in (1, (1, 1))


def _cut_last_layer(network: nn.Module) -> tuple[str, int]:
    """Replace the last layer with classes by the identity, with what comes between it and its inputs' dropout.

    Gives its name and the number of its inputs. SqueezeNet classifies by a convolution and a ReLU before its pooling.
    """
    layers = [(name, module) for name, module in network.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    name, last = layers[-1]
    parent_name, _, place = name.rpartition(".")
    parent = network.get_submodule(parent_name)
    setattr(parent, place, nn.Identity())
    if isinstance(parent, nn.Sequential) and place.isdigit():
        at = int(place)
        if isinstance(last, nn.Conv2d):
            parent[at + 1] = nn.Identity()
        if isinstance(parent[at - 1], nn.Dropout):
            parent[at - 1] = nn.Identity()
    elif isinstance(getattr(network, "dropout", None), nn.Dropout):
        network.dropout = nn.Identity()
    return name, last.in_channels if isinstance(last, nn.Conv2d) else last.in_features


class BottleneckNetwork(nn.Module):
    """A 3x3 stem, stages of torchvision's `Bottleneck`, global average pooling."""

    def __init__(self, entry: BottleneckBackbone):
        super().__init__()
        channels = entry.planes[0]
        self.conv1 = nn.Conv2d(3, channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = norm_layer(entry)(channels)
        self.relu = nn.ReLU(inplace=True)
        stages = []
        for number, (planes, blocks) in enumerate(zip(entry.planes, entry.blocks, strict=True)):
            stages.append(_stage(entry, channels, planes, blocks, stride=1 if number == 0 else 2))
            channels = planes * Bottleneck.expansion
        self.stages = nn.ModuleList(stages)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.num_features = channels
        self.left_out = ("fc.",)
        finish_blocks(self, entry)

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to pooled features (N, D)."""
        x = self.relu(self.bn1(self.conv1(images)))
        for stage in self.stages:
            x = stage(x)
        return torch.flatten(self.avgpool(x), 1)


def bottleneck_backbone(entry: BottleneckBackbone) -> BottleneckNetwork:
    """The small twin that an entry describes."""
    return BottleneckNetwork(entry)


def _stage(entry: BottleneckBackbone, channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """The blocks of one stage; the first changes the channels and the stride, as torchvision's `_make_layer` does."""
    out, norm = planes * Bottleneck.expansion, norm_layer(entry)
    shortcut = nn.Sequential(nn.Conv2d(channels, out, kernel_size=1, stride=stride, bias=False), norm(out))
    width = (entry.groups, entry.width_per_group, 1, norm)  # not dilated
    first = Bottleneck(channels, planes, stride, shortcut, *width)
    rest = [Bottleneck(out, planes, 1, None, *width) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)

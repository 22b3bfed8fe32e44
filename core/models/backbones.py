"""What turns an image into pooled features? torchvision's residual networks and small twins of their blocks."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision.models import get_model
from torchvision.models.resnet import Bottleneck, ResNet

from ablation_suite.core.models import BottleneckBackbone, TorchvisionBackbone


def torchvision_backbone(entry: TorchvisionBackbone) -> ResNet:
    """A torchvision network whose classifier is the identity; it has the attribute `num_features`."""
    network = get_model(entry.name, weights=None)
    network.num_features = network.fc.in_features
    network.fc = nn.Identity()
    if entry.stem == "small":
        network.conv1 = nn.Conv2d(3, 64, kernel_size=3, padding=1, bias=False)
        network.maxpool = nn.Identity()
    return network


class BottleneckNetwork(nn.Module):
    """A 3x3 stem, stages of torchvision's `Bottleneck`, global average pooling."""

    def __init__(self, entry: BottleneckBackbone):
        super().__init__()
        channels = entry.planes[0]
        self.conv1 = nn.Conv2d(3, channels, kernel_size=3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        stages = []
        for number, (planes, blocks) in enumerate(zip(entry.planes, entry.blocks, strict=True)):
            stages.append(_stage(entry, channels, planes, blocks, stride=1 if number == 0 else 2))
            channels = planes * Bottleneck.expansion
        self.stages = nn.ModuleList(stages)
        self.num_features = channels

    def forward(self, images: Tensor) -> Tensor:
        """Images (N, 3, H, W) to pooled features (N, D)."""
        x = self.relu(self.bn1(self.conv1(images)))
        for stage in self.stages:
            x = stage(x)
        return torch.flatten(nn.functional.adaptive_avg_pool2d(x, 1), 1)


def bottleneck_backbone(entry: BottleneckBackbone) -> BottleneckNetwork:
    """The small twin that an entry describes."""
    return BottleneckNetwork(entry)


def _stage(entry: BottleneckBackbone, channels: int, planes: int, blocks: int, stride: int) -> nn.Sequential:
    """The blocks of one stage; the first changes the channels and the stride, as torchvision's `_make_layer` does."""
    out = planes * Bottleneck.expansion
    shortcut = nn.Sequential(nn.Conv2d(channels, out, kernel_size=1, stride=stride, bias=False), nn.BatchNorm2d(out))
    first = Bottleneck(channels, planes, stride, shortcut, entry.groups, entry.width_per_group)
    rest = [Bottleneck(out, planes, 1, None, entry.groups, entry.width_per_group) for _ in range(blocks - 1)]
    return nn.Sequential(first, *rest)

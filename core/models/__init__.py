"""Which networks can be trained? Menu: a backbone, the encoding of its pooled features, a head."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from ablation_suite.core.config.menu import Entry, Frozen, tagged


class TorchvisionBackbone(Entry):
    """A ResNet or ResNeXt of torchvision, up to its pooled features."""

    builds = "ablation_suite.core.models.backbones:torchvision_backbone"
    name: Literal[
        "resnet18",
        "resnet34",
        "resnet50",
        "resnet101",
        "resnet152",
        "resnext50_32x4d",
        "resnext101_32x8d",
        "resnext101_64x4d",
        "wide_resnet50_2",
        "wide_resnet101_2",
    ]
    stem: Literal["imagenet", "small"] = "imagenet"
    """`imagenet`: 7x7 stride 2 and max pooling; `small`: 3x3 stride 1 without pooling, for images of some 32 pixels."""


class BottleneckBackbone(Entry):
    """A small twin of the ResNet and ResNeXt families, made of torchvision's own bottleneck blocks."""

    builds = "ablation_suite.core.models.backbones:bottleneck_backbone"
    name: Literal["bottleneck"] = "bottleneck"
    planes: tuple[int, ...] = Field((16, 32), min_length=1)
    """Planes of each stage; a stage gives 4 x planes channels, and every stage after the first halves the image."""
    blocks: tuple[int, ...] = Field((1, 1), min_length=1)
    """Blocks in each stage."""
    groups: int = Field(1, ge=1)
    """Paths of each block: 1 is ResNet, more is ResNeXt."""
    width_per_group: int = Field(64, ge=1)
    """Width of one path, as torchvision counts it: channels of the 3x3 = planes x width / 64 x groups."""

    @model_validator(mode="after")
    def _stages_agree(self) -> BottleneckBackbone:
        if len(self.planes) != len(self.blocks):
            raise ValueError(f"planes lists {len(self.planes)} stages and blocks {len(self.blocks)}")
        if min(self.planes) * self.width_per_group < 64 or min(self.blocks) < 1:
            raise ValueError("every stage needs a block, and planes x width_per_group of at least 64")
        return self


class NoEncoding(Entry):
    """The pooled features go to the head as they are."""

    builds = "ablation_suite.core.models.encodings:NoEncoding"
    name: Literal["none"] = "none"


class SinusoidalEncoding(Entry):
    """Pooled features x become sin(2^l x), cos(2^l x) for l = 0 .. levels - 1 (Mildenhall et al. 2020, without pi)."""

    builds = "ablation_suite.core.models.encodings:SinusoidalEncoding"
    name: Literal["sinusoidal"] = "sinusoidal"
    levels: int = Field(3, ge=1, le=16)
    """L, the number of frequencies 1, 2, 4, ...; the head sees 2 L D inputs."""
    include_input: bool = False
    """Whether the raw features stand before the encoded ones."""


class LinearHead(Entry):
    """Dropout and one linear layer."""

    builds = "ablation_suite.core.models.heads:LinearHead"
    name: Literal["linear"] = "linear"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Probability that an input of the linear layer is zeroed in training."""


class Model(Frozen):
    """A network: normalised images -> backbone -> pooled features -> encoding -> head -> logits."""

    backbone: tagged(TorchvisionBackbone, BottleneckBackbone) = BottleneckBackbone()  # type: ignore[valid-type]
    """The convolutional network up to its pooled features."""
    weights: str = "none"
    """`none`, a torchvision weights name such as `IMAGENET1K_V1`, or the path of a state dict (.pth, .safetensors)."""
    normalize: Literal["none", "imagenet"] = "none"
    """`imagenet` subtracts ImageNet's channel means and divides by its standard deviations."""
    encoding: tagged(NoEncoding, SinusoidalEncoding) = NoEncoding()  # type: ignore[valid-type]
    """What is done to the pooled features before the head."""
    head: tagged(LinearHead) = LinearHead()  # type: ignore[valid-type]
    """What turns features into logits."""

    @property
    def weights_file(self) -> Path | None:
        """The file that `weights` names, or None for `none` and for names of torchvision."""
        is_file = "/" in self.weights or self.weights.endswith((".pth", ".pt", ".safetensors"))
        return Path(self.weights).expanduser() if is_file else None

"""Which networks can be trained? Menu: a backbone, the encoding of its pooled features, a head."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import Field, model_validator

from ablation_suite.core.config.menu import Entry, Frozen, later, tagged
from ablation_suite.core.config.own import Own
from ablation_suite.core.config.paths import typed
from ablation_suite.core.models.torchvision_names import SMALLEST_IMAGES, ClassifierName, ResidualName


class Backbone(Entry):
    """What the rest of the house has to know of a backbone."""

    pools: ClassVar[bool] = True
    """Whether its global average pooling can be replaced by another (`model.pooling`)."""
    image_size: ClassVar[int | None] = None
    """The one height and width that it takes, if there is such."""
    smallest_image: ClassVar[int] = 1
    """The least height and width of which its layers leave something."""


class Residual(Backbone):
    """What the residual networks have in common."""

    norm: Literal["batch", "group", "none"] = later("batch")
    """What follows each convolution: batch norm, group norm in 32 groups (or as many of them as divide the channels),
    or nothing."""
    zero_init_residual: bool = later(False)
    """Whether each block begins as the identity, since the scale of its last norm begins at 0 (Goyal et al. 2017)."""
    stochastic_depth: float = later(0.0, ge=0.0, lt=1.0)
    """Probability that an image skips the last block in training; it rises evenly from 0 at the first (Huang et al.
    2016)."""

    @model_validator(mode="after")
    def _a_norm_can_begin_at_zero(self) -> Residual:
        if self.zero_init_residual and self.norm == "none":
            raise ValueError("zero_init_residual sets the scale of a norm, and norm: none has none")
        return self


class TorchvisionBackbone(Residual):
    """A ResNet or ResNeXt of torchvision, up to its pooled features."""

    builds = "ablation_suite.core.models.backbones:torchvision_backbone"
    name: ResidualName
    stem: Literal["imagenet", "small"] = "imagenet"
    """`imagenet`: 7x7 stride 2 and max pooling; `small`: 3x3 stride 1 without pooling, for images of some 32 pixels."""


class TorchvisionClassifier(Backbone):
    """Any other classification network of torchvision, up to the inputs of its last layer.

    The dropout before that layer goes with it (`model.head.dropout` stands for it); all other dropout and stochastic
    depth stay. Initial values have torchvision's distributions, and auxiliary classifiers are left out.
    """

    builds = "ablation_suite.core.models.backbones:torchvision_classifier"
    name: ClassifierName

    @property
    def pools(self) -> bool:  # type: ignore[override]
        return not self.name.startswith(("alexnet", "densenet", "mnasnet", "mobilenet_v2", "shufflenet", "vgg", "vit"))

    @property
    def image_size(self) -> int | None:  # type: ignore[override]
        return 224 if self.name.startswith(("maxvit", "vit")) else None

    @property
    def smallest_image(self) -> int:  # type: ignore[override]
        return next((size for family, size in SMALLEST_IMAGES.items() if self.name.startswith(family)), 1)


class BottleneckBackbone(Residual):
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


class Timm(Backbone):
    """A network of timm by its name, up to its pooled features (pip install 'ablation-suite[timm]').

    `model.weights` takes the tags of its published weights, such as `a1_in1k`, or `default`. Initial values have timm's
    distributions, each tensor drawn by (seed, its name); its dropout and drop path are seeded by (seed, epoch, step).
    """

    builds = "ablation_suite.core.models.timm_networks:timm_backbone"
    pools: ClassVar[bool] = False  # args: {global_pool: max} does it
    name: Literal["timm"] = "timm"
    model: str = Field(min_length=1)
    """Its name in timm, such as `resnet50d`."""
    args: dict[str, Any] = Field(default_factory=dict)
    """What timm's function of that name is called with: stem, attention, drop path, norm and activation layers, ..."""

    @model_validator(mode="after")
    def _leaves_the_ends_alone(self) -> Timm:
        taken = {"num_classes", "pretrained", "checkpoint_path", "in_chans", "features_only"} & self.args.keys()
        if taken:
            raise ValueError(f"args: {', '.join(sorted(taken))} cannot be set; the suite sees to heads and weights")
        return self

    def __hash__(self) -> int:
        return hash(self.model_dump_json())


class OwnBackbone(Backbone, Own):
    """A backbone of your own: a module whose forward(images) gives features, or a map of them that is pooled.

    Images are float32 (N, 3, H, W), as `model.normalize` leaves them; features are (N, D), or (N, D, h, w), which
    `model.pooling` reduces to (N, D); D is found by one pass in evaluation mode. Initial values have the distributions
    that the module gives them, each tensor drawn anew by (seed, its name). What is drawn in training from torch's
    generators, as by dropout, is seeded by (seed, epoch, step).
    """

    builds = "ablation_suite.core.models.own:own_module"


class OwnEncoding(Own):
    """An encoding of your own: a module whose forward(features) turns pooled features into the head's inputs.

    Features are (N, D) and its outputs (N, D'), found by one pass in evaluation mode. Initial values and what is drawn
    in training are seeded as for a backbone.
    Given, where its arguments have these names: num_features (D).
    """

    builds = "ablation_suite.core.models.own:own_module"
    given = ("num_features",)


class OwnHead(Own):
    """A head of your own: a module whose forward(features) turns encoded features into logits.

    Features are (N, D) and logits (N, K). Initial values and what is drawn in training are seeded as for a backbone.
    Given, where its arguments have these names: num_inputs (D) and num_classes (K).
    """

    builds = "ablation_suite.core.models.own:own_module"
    given = ("num_inputs", "num_classes")


class NoEncoding(Entry):
    """The pooled features go to the head as they are."""

    builds = "ablation_suite.core.models.heads:IdentityEncoder"
    name: Literal["none"] = "none"


class SinusoidalEncoding(Entry):
    """Pooled features x become sin(2^l x), cos(2^l x) for l = 0 .. levels - 1 (Mildenhall et al. 2020, without pi)."""

    builds = "ablation_suite.core.models.heads:SinusoidalEncoder"
    name: Literal["sinusoidal"] = "sinusoidal"
    levels: int = Field(3, ge=1, le=16)
    """L, the number of frequencies 1, 2, 4, ...; the head sees 2 L D inputs."""
    include_input: bool = False
    """Whether the raw features stand before the encoded ones."""


class LinearHead(Entry):
    """Dropout and one linear layer."""

    builds = "ablation_suite.core.models.heads:LinearClassifier"
    name: Literal["linear"] = "linear"
    dropout: float = Field(0.0, ge=0.0, lt=1.0)
    """Probability that an input of the linear layer is zeroed in training."""


BACKBONES = (TorchvisionBackbone, TorchvisionClassifier, BottleneckBackbone, Timm)


class Model(Frozen):
    """A network: normalised images -> backbone -> pooled features -> encoding -> head -> logits."""

    backbone: tagged(*BACKBONES, own=OwnBackbone) = BottleneckBackbone()  # type: ignore[valid-type]
    """The network up to its pooled features."""
    pooling: Literal["average", "max", "gem", "average_max"] = "average"
    """What makes one feature of each channel's map; `gem` is the generalised mean with a power that is learned, from 3
    on (Radenovic et al. 2019), `average_max` the mean of both."""
    freeze: str = Field("none", min_length=1)
    """`backbone` keeps its weights, batch norm's statistics included, and trains the head alone; a name of a part, such
    as `layer2`, does so up to and with that part."""
    weights: str = "none"
    """`none`, a torchvision weights name such as `IMAGENET1K_V1`, a tag of timm's for one of its networks, or the path
    of a state dict (.pth, .safetensors)."""
    normalize: Literal["none", "imagenet"] = "none"
    """`imagenet` subtracts ImageNet's channel means and divides by its standard deviations."""
    encoding: tagged(NoEncoding, SinusoidalEncoding, own=OwnEncoding) = NoEncoding()  # type: ignore[valid-type]
    """What is done to the pooled features before the head."""
    head: tagged(LinearHead, own=OwnHead) = LinearHead()  # type: ignore[valid-type]
    """What turns features into logits."""

    @model_validator(mode="after")
    def _the_backbone_pools(self) -> Model:
        if self.pooling != "average" and not self.backbone.pools:
            raise ValueError(f"{self.backbone.name} has no global pooling of its own to replace; use pooling average")
        return self

    @property
    def is_tried_early(self) -> bool:
        """Whether only a look at the network itself tells if it can be built so."""
        return self.weights != "none" or self.freeze not in ("none", "backbone") or isinstance(self.backbone, Timm)

    @property
    def weights_file(self) -> Path | None:
        """The file that `weights` names, or None for `none` and for names of torchvision."""
        is_file = "/" in self.weights or self.weights.endswith((".pth", ".pt", ".safetensors"))
        return typed(self.weights) if is_file else None

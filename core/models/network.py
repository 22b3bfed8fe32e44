"""What network does a config describe, and with which initial values? Each tensor's are a function of (seed, name)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.own import Own
from ablation_suite.core.models import (
    Model,
    OwnBackbone,
    OwnEncoding,
    OwnHead,
    Timm,
    TorchvisionClassifier,
    timm_networks,
)
from ablation_suite.core.models.backbones import Drop, GeM, set_pooling
from ablation_suite.core.models.initial import Construction, unrecorded
from ablation_suite.core.models.own import Pool, own_module, tried
from ablation_suite.core.models.stages import up_to
from ablation_suite.core.training import streams
from ablation_suite.core.training.protocols import Head

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Network(nn.Module):
    """Normalisation, backbone, encoding and head in a row."""

    mean: Tensor
    std: Tensor
    num_features: int
    """D, of the pooled features."""
    memory_format: torch.memory_format | None = None
    """How images lie in memory when they enter the backbone, whoever brings them; None leaves them as they come."""

    def __init__(self, model: Model, num_classes: int, image_size: int = 224):
        """`image_size` matters to own backbones and to timm's, which are tried on images of that height and width."""
        super().__init__()
        self.normalize = model.normalize == "imagenet"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone = build(model.backbone)
        self.pool: nn.Module | None = None
        if isinstance(model.backbone, OwnBackbone):
            self.num_features = self._try_own_backbone(model, image_size)
        elif isinstance(model.backbone, Timm):
            with unrecorded():
                self.num_features = timm_networks.num_features(self.backbone, model.backbone, image_size)
        else:
            set_pooling(self.backbone, model.pooling)
            self.num_features = self.backbone.num_features
        self.drops = [each for each in self.backbone.modules() if isinstance(each, Drop)]
        self.is_frozen = model.freeze == "backbone"
        self.still: list[nn.Module] = []
        """What stays in evaluation."""
        if self.is_frozen:
            self.backbone.requires_grad_(False)
            self.still = [self.backbone]
        elif model.freeze != "none":
            parameters, self.still = up_to(self.backbone, model.freeze)
            for parameter in parameters:
                parameter.requires_grad_(False)
        if isinstance(model.encoding, OwnEncoding):
            self.encoding: nn.Module = own_module(model.encoding, num_features=self.num_features)
            num_inputs = _width(model.encoding, self.encoding, self.num_features, "features (N, D)")
        else:
            encoding = self.encoding = build(model.encoding)
            num_inputs = encoding.num_outputs(self.num_features)
        self.has_own_head = isinstance(model.head, OwnHead)
        if isinstance(model.head, OwnHead):
            self.head: Head = own_module(model.head, num_inputs=num_inputs, num_classes=num_classes)
            num_logits = _width(model.head, self.get_submodule("head"), num_inputs, "logits (N, K)")
            if num_logits != num_classes:
                raise OwnPartError(f"{model.head.name}: gives {num_logits} logits for {num_classes} classes")
        else:
            self.head = build(model.head, num_inputs, num_classes)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) in [0, 1] to logits (N, K) and pooled features (N, D); `generator` draws the dropout."""
        if self.normalize:
            images = (images - self.mean) / self.std
        for drop in self.drops:
            drop.generator = generator
        if self.memory_format is not None:
            images = images.contiguous(memory_format=self.memory_format)
        features = self.backbone(images)
        if self.pool is not None:
            features = self.pool(features)
        encoded = self.encoding(features)
        logits = self.get_submodule("head")(encoded) if self.has_own_head else self.head(encoded, generator)
        return logits, features

    def _try_own_backbone(self, model: Model, image_size: int) -> int:
        """The features D of an own backbone; its map is pooled where it gives one."""
        assert isinstance(model.backbone, OwnBackbone)
        images = torch.zeros(2, 3, image_size, image_size)
        wanted = "features (N, D), or a map of them (N, D, h, w)"
        with unrecorded():
            shape = tried(model.backbone, self.backbone, images, wanted=wanted, num_dims=(2, 4))
        if len(shape) == 4:
            self.pool = Pool(model.pooling)
        elif model.pooling != "average":
            raise OwnPartError(f"{model.backbone.name}: gives features, not a map that {model.pooling} could pool")
        return shape[1]

    def train(self, mode: bool = True) -> Network:
        """What is frozen stays in evaluation, so that batch norm keeps its statistics."""
        super().train(mode)
        for module in self.still:
            module.eval()
        return self


def build_network(model: Model, num_classes: int, seed: int, image_size: int = 224) -> Network:
    """The network with its initial values; pretrained weights are loaded by `core.models.weights`."""
    with Construction(seed) as construction:
        network = Network(model, num_classes, image_size)
    for name, entry in (("backbone", model.backbone), ("encoding", model.encoding), ("head", model.head)):
        if isinstance(entry, TorchvisionClassifier | Timm | Own):
            construction.replay(network.get_submodule(name), f"{name}.")
        else:
            initialise(network.get_submodule(name), seed, f"{name}.")
    return network


def _width(entry: Own, module: nn.Module, num_inputs: int, wanted: str) -> int:
    """How many values an own module gives for so many."""
    with unrecorded():
        return tried(entry, module, torch.zeros(2, num_inputs), wanted=wanted, num_dims=(2,))[1]


@torch.no_grad()
def initialise(network: nn.Module, seed: int, prefix: str = "") -> None:
    """Give every tensor a value that depends on the seed and the tensor's own name alone.

    The distributions are torchvision's for ResNet: He et al. (2015) with fan-out for convolutions, 1 and 0 for batch
    norm, torch's default (uniform in +-1/sqrt(inputs)) for weights of linear layers. Their biases are 0: torch's bound
    depends on the number of inputs, so that arms of other inputs, whose biases have one shape, would not share them.
    """
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d):
            source = streams.torch_generator(seed, "init", f"{prefix}{name}.weight")
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu", generator=source)
        elif isinstance(module, nn.Linear):
            bound = module.in_features**-0.5
            source = streams.torch_generator(seed, "init", f"{prefix}{name}.weight")
            nn.init.uniform_(module.weight, -bound, bound, generator=source)
            nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d | nn.GroupNorm):
            module.reset_parameters()
            if getattr(module, "begins_at_zero", False):
                nn.init.zeros_(module.weight)
        elif isinstance(module, GeM):
            module.gem_power.fill_(3.0)
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no initial values are defined for {name}, a {type(module).__name__}")

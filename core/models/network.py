"""What network does a config describe, and with which initial values? Each tensor's are a function of (seed, name)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ablation_suite.core.config.menu import build
from ablation_suite.core.models import Model, TorchvisionClassifier
from ablation_suite.core.models.backbones import Drop, GeM, set_pooling
from ablation_suite.core.models.initial import Construction
from ablation_suite.core.training import streams
from ablation_suite.core.training.protocols import Head

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Network(nn.Module):
    """Normalisation, backbone, encoding and head in a row."""

    mean: Tensor
    std: Tensor
    memory_format: torch.memory_format | None = None
    """How images lie in memory when they enter the backbone, whoever brings them; None leaves them as they come."""

    def __init__(self, model: Model, num_classes: int):
        super().__init__()
        self.normalize = model.normalize == "imagenet"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD).view(1, 3, 1, 1), persistent=False)
        self.backbone = build(model.backbone)
        set_pooling(self.backbone, model.pooling)
        self.drops = [each for each in self.backbone.modules() if isinstance(each, Drop)]
        self.is_frozen = model.freeze == "backbone"
        if self.is_frozen:
            self.backbone.requires_grad_(False)
        self.encoding = build(model.encoding)
        self.head: Head = build(model.head, self.encoding.num_outputs(self.backbone.num_features), num_classes)

    def forward(self, images: Tensor, generator: torch.Generator | None = None) -> tuple[Tensor, Tensor]:
        """Images (N, 3, H, W) in [0, 1] to logits (N, K) and pooled features (N, D); `generator` draws the dropout."""
        if self.normalize:
            images = (images - self.mean) / self.std
        for drop in self.drops:
            drop.generator = generator
        if self.memory_format is not None:
            images = images.contiguous(memory_format=self.memory_format)
        features = self.backbone(images)
        return self.head(self.encoding(features), generator), features

    def train(self, mode: bool = True) -> Network:
        """A frozen backbone stays in evaluation, so that batch norm keeps its statistics."""
        super().train(mode)
        if self.is_frozen:
            self.backbone.eval()
        return self


def build_network(model: Model, num_classes: int, seed: int) -> Network:
    """The network with its initial values; pretrained weights are loaded by `core.models.weights`."""
    with Construction(seed) as construction:
        network = Network(model, num_classes)
    if isinstance(model.backbone, TorchvisionClassifier):
        construction.replay(network.backbone, "backbone.")
        initialise(network.get_submodule("head"), seed, "head.")
    else:
        initialise(network, seed)
    return network


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
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, GeM):
            module.gem_power.fill_(3.0)
        elif any(True for _ in module.parameters(recurse=False)):
            raise TypeError(f"no initial values are defined for {name}, a {type(module).__name__}")

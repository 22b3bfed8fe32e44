"""What does a run cost? Parameters and FLOPs of its network, counted without computing anything where it is ours."""

from __future__ import annotations

import functools

import torch
from torch.utils.flop_counter import FlopCounterMode

from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.models import Model
from ablation_suite.core.models.network import Network


def network_cost(config: RunConfig, num_classes: int) -> dict[str, int]:
    """Parameters of the network and of its head, and FLOPs of one image's forward pass (two per multiply-add).

    FLOPs are torch's own count of products (convolutions and matrices); torchvision publishes half of it, as "GFLOPS".
    """
    return dict(_count(config.model, config.train_size, num_classes))


@functools.cache
def _count(model: Model, size: int, num_classes: int) -> dict[str, int]:
    """Counted once per network of a warm worker; own code may compute with values, which `meta` has none of."""
    with torch.device("cpu" if any(own_parts(model)) else "meta"), torch.random.fork_rng(devices=[]), torch.no_grad():
        network = Network(model, num_classes, size).eval()
        with FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 3, size, size))
    return {
        "parameters": sum(each.numel() for each in network.parameters()),
        "head_parameters": sum(each.numel() for each in network.head.parameters()),
        "flops_per_image": counter.get_total_flops(),
    }

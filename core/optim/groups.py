"""Which learning rate and weight decay has each tensor? Groups of parameters, where not all are treated alike."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from torch import nn

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.models.network import Network
from ablation_suite.core.models.stages import depths


def parameter_groups(
    config: RunConfig, network: Network, beside: nn.Module | None
) -> list[nn.Parameter] | list[dict[str, Any]]:
    """What an optimizer is built with: the trained parameters, as they are or in groups.

    A group has `lr_scale`, the factor of its learning rates, and a weight decay of its own where it has none. Layer k
    of L in the backbone has layer_decay^(L - k), the head head_lr_factor, and what is trained beside it 1.
    """
    spares = not getattr(config.optimizer, "decay_norms_and_biases", True)
    is_split = config.optimizer.name == "muon"
    named = [(name, each) for name, each in network.named_parameters() if each.requires_grad]
    named += [(f"beside.{name}", each) for name, each in (beside.named_parameters() if beside is not None else ())]
    if not spares and not is_split and config.layer_decay is None and config.head_lr_factor == 1.0:
        return [each for _, each in named]
    depth, num_layers = depths(network.backbone)
    groups: dict[tuple[float, bool, bool], list[nn.Parameter]] = defaultdict(list)
    for name, each in named:
        part, _, inner = name.partition(".")
        scale = 1.0
        if part == "backbone" and config.layer_decay is not None:
            scale = config.layer_decay ** (num_layers - depth[inner])
        elif part in ("head", "encoding"):
            scale = config.head_lr_factor
        decays = not (spares and (each.dim() <= 1 or name.endswith(".bias")))
        groups[scale, decays, is_split and part == "backbone" and each.dim() >= 2].append(each)
    return [
        {
            "params": members,
            "lr_scale": scale,
            **({} if decays else {"weight_decay": 0.0}),
            **({"is_hidden": is_hidden} if is_split else {}),
        }
        for (scale, decays, is_hidden), members in groups.items()
    ]

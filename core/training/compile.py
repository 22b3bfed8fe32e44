"""Does torch.compile pay for this run? Weighs its warm-up against the steps to come, and compiles for whole batches."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.training.cost import network_cost

WARM_UP_SECONDS = 60.0
"""Measured for resnet50 at 224 px: 44 to 67 s."""
SAVED_SHARE = 0.2
"""Share of an eager step on a CUDA device that goes into memory traffic of batch norm, ReLU and sums, and is fused."""
EAGER_FLOPS = 30e12
"""FLOP/s of an eager step on a CUDA device: an assumption, the same on every machine, so that all seeds agree."""


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Whether anything is compiled, and why in words."""

    compiles: bool
    words: str


def choose(config: RunConfig, num_images: int, device: torch.device, runtime: Runtime) -> Choice:
    """On or off as asked for; `auto` is on where `num_images` on a CUDA device save more than the warm-up costs.

    It is a function of the config and the kind of device, so that the runs of an arm agree, resumed or not.
    """
    if runtime.compile != "auto":
        return Choice(compiles=runtime.compile == "on", words=f"{runtime.compile}, as asked for")
    if device.type != "cuda":
        return Choice(compiles=False, words=f"off: saves next to nothing on {device.type}")
    flops = 3.0 * network_cost(config, num_classes=1000)["flops_per_image"]  # backward costs twice the forward pass
    saved = SAVED_SHARE * num_images * flops / EAGER_FLOPS
    pays = saved > WARM_UP_SECONDS
    comparison = f"about {saved:.0f} s saved over {num_images} images, {WARM_UP_SECONDS:.0f} s of warm-up"
    return Choice(compiles=pays, words=f"{'on' if pays else 'off'}: {comparison}")


def compile_backbone(backbone: nn.Module, num_images: int, runtime: Runtime) -> None:
    """Compile the backbone's training pass for batches of `num_images`, in place, so that its state dict stays.

    The evaluation stays eager. A backbone of the same shapes that is built later in this process takes the compiled
    code as it is.
    """
    eager = backbone.forward
    whole = for_whole_batches(eager, num_images, runtime)

    def forward(images: Tensor) -> Tensor:
        return (whole if backbone.training else eager)(images)

    backbone.forward = forward  # type: ignore[method-assign]


def for_whole_batches(eager: Callable[..., Tensor], num_images: int, runtime: Runtime) -> Callable[..., Tensor]:
    """A function of images (N, ...) and more, compiled for N = `num_images` with static shapes, eager for any other N.

    A further shape, such as an epoch's last batch, would cost a warm-up of its own, and compiled for any size it could
    be other code in a process that resumes. Compiled code is kept below `runtime.cache` for other processes.
    """
    _keep_compiled_code(Path(runtime.cache) / "inductor")
    dynamo: Any = torch._dynamo
    dynamo.config.recompile_limit = max(dynamo.config.recompile_limit, 64)  # networks of one class, in one warm worker
    compiled = torch.compile(eager, dynamic=False)

    def call(images: Tensor, *rest: Tensor) -> Tensor:
        return (compiled if len(images) == num_images else eager)(images, *rest)

    return call


def _keep_compiled_code(folder: Path) -> None:
    """Have torch keep compiled code in a folder, unless the user's TORCHINDUCTOR_CACHE_DIR names another.

    Importing torch's compiler sets that variable to a folder of the temporary files, which do not last.
    """
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    if os.environ.get("TORCHINDUCTOR_CACHE_DIR", default_cache_dir()) == default_cache_dir():
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(folder.absolute())

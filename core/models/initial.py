"""With which values does a network of any make begin? With its own distributions, each tensor drawn under its name."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from ablation_suite.core.training import streams

OVERWRITING = ("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "log_normal_", "exponential_")
"""Operations after which nothing is left of what a tensor held before."""

Operation = tuple[Any, tuple[Any, ...], dict[str, Any]]


class Construction(TorchDispatchMode):
    """Notes what is done in place to each tensor while modules are made, so that it can be done again.

    As a context manager around the construction; `replay` then draws every parameter anew. What is random but not in
    place, such as `nn.Parameter(torch.randn(3))`, cannot be done again for one tensor: it is drawn from a global stream
    that is seeded for the construction as a whole, and given back afterwards.
    """

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed
        self.operations: dict[tuple[int, int, int], list[Operation]] = defaultdict(list)
        self.alive: list[Tensor] = []  # else the memory of one that is gone could be taken for another's

    def __enter__(self) -> Construction:
        self.before = torch.get_rng_state()
        torch.default_generator.manual_seed(streams.key(self.seed, "init") & (2**63 - 1))
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        torch.set_rng_state(self.before)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = _name(func)
        if name.endswith("_") and args and isinstance(args[0], Tensor) and args[0].device.type != "meta":
            self.operations[_place(args[0])].append((func, args[1:], kwargs or {}))
            self.alive.append(args[0])
        return result

    @torch.no_grad()
    def replay(self, module: nn.Module, prefix: str) -> None:
        """Do again what was done to each parameter of a module, from the last time that it was overwritten.

        Its random numbers come from the stream of (seed, prefix + name): another tensor more or less moves no other's.
        """
        for name, parameter in module.named_parameters():
            operations = self.operations.get(_place(parameter), [])
            starts = [at for at, (func, *_) in enumerate(operations) if _name(func) in OVERWRITING]
            if not starts:
                continue  # a constant that was made as it is
            source = streams.torch_generator(self.seed, "init", prefix + name)
            for func, args, kwargs in operations[starts[-1] :]:
                draws = "generator" in [each.name for each in func._schema.arguments]
                func(parameter.data, *args, **({**kwargs, "generator": source} if draws else kwargs))


def _name(func: Callable[..., Any]) -> str:
    return str(func._schema.name.split("::")[1])  # type: ignore[attr-defined]


def _place(tensor: Tensor) -> tuple[int, int, int]:
    """Where in memory a tensor lies."""
    return tensor.untyped_storage().data_ptr(), int(tensor.storage_offset()), tensor.numel()

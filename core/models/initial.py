"""With which values does a network of any make begin? With its own distributions, each tensor drawn under its name."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree
from torch.utils._python_dispatch import TorchDispatchMode

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.training import streams

OVERWRITING = ("copy_", "fill_", "zero_", "normal_", "uniform_", "bernoulli_", "log_normal_", "exponential_")
"""Operations after which nothing is left of what a tensor held before."""
MASK = 2**63 - 1

Geometry = tuple[Sequence[int], Sequence[int], int]
"""Size, stride and offset of a tensor in its storage."""


@dataclass(frozen=True)
class OperatorCall:
    """A call of an operator, in which tensors that came about at random are told by their history."""

    function: Callable[..., Any]
    args: Sequence[Any]
    kwargs: Mapping[str, Any]
    target: Geometry | None = None
    """What it writes to, for one in place."""
    output: int = 0
    """Which of its results is meant, for one that makes tensors."""


@dataclass(eq=False)
class History:
    """How the content of one storage came about, as far as chance had a part in it."""

    dtype: torch.dtype
    num_values: int
    begin: OperatorCall | Tensor | None
    """What made it, or what it held before the first operation; None where that operation overwrites it."""
    operations: list[OperatorCall] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class Past:
    """A tensor as it was after the first `length` operations of its history."""

    history: History
    length: int
    geometry: Geometry


class Construction(TorchDispatchMode):
    """Notes what chance did to each tensor while modules are made, so that it can be done again tensor by tensor.

    As a context manager around the construction; `replay` then draws every parameter and buffer anew. The first draws
    come from torch's global stream, seeded for the construction as a whole and given back afterwards.
    """

    is_paused: ClassVar[bool] = False

    def __init__(self, seed: int):
        super().__init__()
        self.seed = seed
        self.histories: dict[int, History] = {}
        self.alive: list[Any] = []  # else the memory of one that is gone could be taken for another's

    def __enter__(self) -> Construction:
        self.before = torch.get_rng_state()
        torch.default_generator.manual_seed(streams.key(self.seed, "init") & MASK)
        super().__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        is_reseeded = torch.initial_seed() != streams.key(self.seed, "init") & MASK
        torch.set_rng_state(self.before)
        if is_reseeded and error[0] is None:
            raise OwnPartError("model: an own part calls torch.manual_seed; its values are seeded by the run")

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if Construction.is_paused:
            return func(*args, **kwargs)
        inputs = [each for each in pytree.tree_leaves((args, kwargs)) if _is_real(each)]
        is_random = torch.Tag.nondeterministic_seeded in func.tags and kwargs.get("generator") is None
        if not is_random and not any(_address(each) in self.histories for each in inputs):
            return func(*args, **kwargs)
        past_args, past_kwargs = pytree.tree_map(self._past, (args, kwargs))
        if func._schema.is_mutable:
            if _is_real(args[0]):
                self._note(args[0], OperatorCall(func, past_args[1:], past_kwargs, _geometry(args[0])), is_random)
            return func(*args, **kwargs)
        result = func(*args, **kwargs)
        seen = {_address(each) for each in inputs}
        for number, made in enumerate(pytree.tree_leaves(result)):
            if _is_real(made) and _address(made) not in seen:
                self._remember(made, OperatorCall(func, past_args, past_kwargs, output=number))
        return result

    @torch.no_grad()
    def replay(self, module: nn.Module, prefix: str) -> None:
        """Draw the parameters and buffers of a module anew, each by doing again what chance did to it.

        Its random numbers come from the stream of (seed, prefix + name): another tensor more or less moves no other's.
        """
        before = torch.get_rng_state()
        for name, tensor in itertools.chain(module.named_parameters(), module.named_buffers()):
            history = self.histories.get(_address(tensor)) if _is_real(tensor) else None
            if history is not None:
                torch.default_generator.manual_seed(streams.key(self.seed, "init", prefix + name) & MASK)
                past = Past(history, len(history.operations), _geometry(tensor))
                tensor.data.copy_(_again(past, {}))
        torch.set_rng_state(before)

    def _note(self, target: Tensor, operation: OperatorCall, is_random: bool) -> None:
        """Add what is done in place to the target's history, before it is done."""
        history = self.histories.get(_address(target))
        by_chance = is_random or any(isinstance(each, Past) for each in pytree.tree_leaves(operation.args))
        if _name(operation.function) in OVERWRITING and target.numel() == _num_values(target):
            self.histories.pop(_address(target), None)
            if by_chance:
                self._remember(target, None, [operation])
        elif history is not None:
            history.operations.append(operation)
        elif by_chance:
            self._remember(target, torch.as_strided(target, (_num_values(target),), (1,), 0).clone(), [operation])

    def _remember(
        self, tensor: Tensor, begin: OperatorCall | Tensor | None, operations: Sequence[OperatorCall] = ()
    ) -> None:
        self.alive.append(tensor.untyped_storage())
        history = History(tensor.dtype, _num_values(tensor), begin, list(operations))
        self.histories[_address(tensor)] = history

    def _past(self, value: Any) -> Any:
        history = self.histories.get(_address(value)) if _is_real(value) else None
        return Past(history, len(history.operations), _geometry(value)) if history is not None else value


@contextmanager
def unrecorded() -> Iterator[None]:
    """Compute something during a construction that makes no tensor of the network."""
    Construction.is_paused = True
    try:
        yield
    finally:
        Construction.is_paused = False


def _again(past: Any, done: dict[tuple[int, int], Tensor]) -> Any:
    """A tensor made again; what several tensors came from is drawn once (`done`)."""
    if not isinstance(past, Past):
        return past
    history, key = past.history, (id(past.history), past.length)
    if key not in done:
        if isinstance(history.begin, OperatorCall):
            made = history.begin
            args, kwargs = pytree.tree_map(lambda each: _again(each, done), (made.args, dict(made.kwargs)))
            result = pytree.tree_leaves(made.function(*args, **kwargs))[made.output]
            values = torch.as_strided(result, (history.num_values,), (1,), 0)
        else:
            begin = history.begin
            values = begin.clone() if begin is not None else torch.empty(history.num_values, dtype=history.dtype)
        for each in history.operations[: past.length]:
            args, kwargs = pytree.tree_map(lambda value: _again(value, done), (each.args, dict(each.kwargs)))
            assert each.target is not None
            each.function(torch.as_strided(values, *each.target), *args, **kwargs)
        done[key] = values
    return torch.as_strided(done[key], *past.geometry)


def _name(func: Callable[..., Any]) -> str:
    return str(func._schema.name.split("::")[1])  # type: ignore[attr-defined]


def _is_real(value: Any) -> bool:
    if not isinstance(value, Tensor) or value.device.type == "meta" or value.layout != torch.strided:
        return False
    return _address(value) != 0  # that of every empty tensor


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr()


def _num_values(tensor: Tensor) -> int:
    """The values of a tensor's whole storage."""
    return tensor.untyped_storage().nbytes() // tensor.element_size()


def _geometry(tensor: Tensor) -> Geometry:
    return tuple(tensor.size()), tuple(tensor.stride()), int(tensor.storage_offset())

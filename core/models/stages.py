"""In which order do the parts of a backbone act? Its layers for layer-wise rates, its stages for freezing."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from ablation_suite.core.config.errors import nearest
from ablation_suite.core.models.weights import NetworkError


def depths(backbone: nn.Module) -> tuple[dict[str, int], int]:
    """The layer of every parameter of a backbone, from 0 on in the order in which they are made, and their number.

    A layer is a block of a stage, or a weight that stands outside of blocks; what has no matrix or filter, such as a
    norm between blocks, belongs to the layer before it.
    """
    units = list(_units(backbone, ""))
    depth: dict[str, int] = {}
    of_unit: dict[str, int] = {}
    last = -1
    for name, _ in backbone.named_parameters():
        unit = next((each for each in units if name.startswith(f"{each}.")), name)
        if unit not in of_unit:
            last += unit != name and any(each.dim() >= 2 for each in backbone.get_submodule(unit).parameters())
            of_unit[unit] = max(0, last)
        depth[name] = of_unit[unit]
    return depth, max(0, last) + 1


def up_to(backbone: nn.Module, stage: str) -> tuple[list[nn.Parameter], list[nn.Module]]:
    """The parameters and the modules of a backbone from its start to the end of a named part.

    Raises NetworkError with the names that there are.
    """
    modules, parameters = dict(backbone.named_modules()), dict(backbone.named_parameters())
    inside = [at for at, name in enumerate(parameters) if name.startswith(f"{stage}.")]
    if stage not in modules or not inside:
        raise NetworkError(
            f"model.freeze: the backbone has no part '{stage}' with weights{nearest(stage, _parts(backbone))}; take "
            f"none, backbone or one of {', '.join(_parts(backbone))}"
        )
    before = list(modules)[1 : list(modules).index(stage)]
    still = [name for name in before if not stage.startswith(f"{name}.")]
    still += [name for name in modules if name == stage or name.startswith(f"{stage}.")]
    return list(parameters.values())[: inside[-1] + 1], [modules[name] for name in still]


def _parts(backbone: nn.Module) -> list[str]:
    """The names of the parts that make up a backbone, and of those that make up rows of them."""
    names = []
    for name, child in backbone.named_children():
        if any(True for _ in child.parameters()):
            names.append(name)
            if _is_plain(child):
                inner = [
                    f"{name}.{each}" for each, part in child.named_children() if any(True for _ in part.parameters())
                ]
                names += inner
    return names


def _units(module: nn.Module, prefix: str) -> Iterator[str]:
    """The names of the blocks, and of what stands outside of blocks."""
    for name, child in module.named_children():
        if any(True for _ in child.parameters()):
            if _holds_blocks(child, is_element=_is_plain(module) and bool(prefix)):
                yield from _units(child, f"{prefix}{name}.")
            else:
                yield f"{prefix}{name}"


def _holds_blocks(module: nn.Module, *, is_element: bool) -> bool:
    """Whether a module is a row of blocks rather than one; an element of a row that computes by itself is one."""
    children = [each for each in module.children() if any(True for _ in each.parameters())]
    whole = [each for each in children if any(True for _ in each.children())]
    if _is_plain(module):
        weights = [each for each in children if isinstance(each, nn.Conv2d | nn.Linear)]
        return bool(whole) or len(weights) > 1
    rows = [list(each.children()) for each in whole if _is_plain(each)]
    return not is_element and any(sum(any(True for _ in part.children()) for part in row) > 2 for row in rows)


def _is_plain(module: nn.Module) -> bool:
    """Whether a module only calls its children one after the other, or leaves that to its parent."""
    return type(module).forward in (nn.Sequential.forward, nn.Module.forward)

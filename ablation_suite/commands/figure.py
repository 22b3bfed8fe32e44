"""What happens on `ablate figure`? One figure of a report is drawn again, in the size and style of a paper."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ablation_suite import options
from ablation_suite.ablations.plan import Plan, make_plans
from ablation_suite.commands.report import tell_read
from ablation_suite.core.config import schema
from ablation_suite.core.config.errors import nearest
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.output import say
from ablation_suite.reports.captions import FIGURES, SWEEP_FIGURES, list_of_figures

if TYPE_CHECKING:
    from ablation_suite.reports.results import Results


def figure(
    words: tuple[str, ...],
    style: str | None,
    size_text: str | None,
    out: str | None,
    tuned: bool,
    storage: str | None,
    runtime: Runtime,
) -> None:
    """Draw one figure of a report again, with the same inks, marks and digits; nothing is trained."""
    from ablation_suite.reports.figures import SAVED_AS, FigureError, parse_size, render

    if words in ((), ("list",)):
        say(list_of_figures())
        return
    name, *rest = words
    if name not in {*FIGURES, *SWEEP_FIGURES}:
        known = dict.fromkeys([*FIGURES, *SWEEP_FIGURES])
        raise FigureError(f"{name}: no such figure{nearest(name, known)}; there are {', '.join(known)}")
    size = parse_size(size_text) if size_text else None
    kind = Path(out).suffix[1:].lower() if out else "pdf"
    if kind not in SAVED_AS:
        raise FigureError(f"-o {out}: no format by this ending; write {', '.join(f'.{each}' for each in SAVED_AS)}")
    specs, overrides = options.split_words(tuple(rest))
    if not specs:
        raise FigureError(f"{name}: name the SPEC whose figure is wanted")
    if _is_sweep(specs):
        drawings = _of_sweep(name, specs[0], overrides, runtime, storage)
    else:
        drawings = _of_ablations(name, make_plans(specs, runtime, overrides, tuned=tuned), runtime)
    if out and len(drawings) > 1:
        raise FigureError(f"-o {out}: one file, and there are {len(drawings)} figures: {', '.join(drawings)}")
    for whose, draw in drawings.items():
        files = render({name: draw}, (kind,), style=style, size=size)
        if not files:
            raise FigureError(f"{whose}: has nothing finished to draw as {name!r}")
        path = typed(out) if out else Path(runtime.results) / "figures" / f"{whose}-{name}.{kind}"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, files[f"{name}.{kind}"])
        say(f"figure: {path}")


Drawings = dict[str, Callable[[], Any]]
"""Ablation, spec with blocks or sweep -> what draws its figure."""


def _is_sweep(specs: Sequence[str]) -> bool:
    path = typed(specs[0])
    try:
        keys = schema.load(path).data if path.is_file() else {}
    except SchemaError:  # told where it is read in earnest
        return False
    return isinstance(keys, Mapping) and bool({"sweep", "space"} & set(keys))


def _of_sweep(name: str, spec: str, overrides: tuple[str, ...], runtime: Runtime, storage: str | None) -> Drawings:
    from ablation_suite.reports.figures import FigureError
    from ablation_suite.reports.sweep_analysis import analyse
    from ablation_suite.reports.sweep_figures import sweep_drawings
    from ablation_suite.sweeps.session import existing_study
    from ablation_suite.sweeps.spec import find_sweep, read_sweep

    if name not in SWEEP_FIGURES:
        raise FigureError(f"{name}: is no figure of a sweep; there are {', '.join(SWEEP_FIGURES)}")
    search = read_sweep(find_sweep(spec), overrides)
    with existing_study(search, runtime, storage) as study:
        drawings = sweep_drawings(analyse(study, runtime.store))
    if name not in drawings:
        raise FigureError(f"{search.name}: has no figure {name!r}; it has {', '.join(drawings)}")
    return {search.name: drawings[name]}


def _of_ablations(name: str, plans: Sequence[Plan], runtime: Runtime) -> Drawings:
    from ablation_suite.reports.ablation_figures import drawings, forest
    from ablation_suite.reports.analysis import analyse
    from ablation_suite.reports.blocks import over_all_blocks
    from ablation_suite.reports.design import design_of
    from ablation_suite.reports.figures import FigureError
    from ablation_suite.reports.reader import Reader

    if name not in FIGURES:
        raise FigureError(f"{name}: is a figure of a sweep; those of a spec are {', '.join(FIGURES)}")
    reader = Reader(runtime.store)
    results = [reader.results(design_of(plan)) for plan in plans]
    for each in results:
        if each.split == "test":
            tell_read(runtime, "figure", each.design.ablation, sum(run.usable for run in each.runs))
    if name != "forest":
        return {each.design.ablation: drawings(analyse(each))[name] for each in results}
    families = dict(_families(results))
    if not families:
        raise FigureError(f"forest: {', '.join(each.design.ablation for each in results)} has no blocks to draw")
    return {family: partial(forest, over_all_blocks(of_family)) for family, of_family in families.items()}


def _families(results: Sequence[Results]) -> Iterator[tuple[str, list[Results]]]:
    for name in dict.fromkeys(each.design.family for each in results):
        found = [each for each in results if each.design.family == name]
        if name and len(found) > 1:
            yield name, found

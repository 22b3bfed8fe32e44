"""Which spec files are meant? Paths, folders and shipped names, bases and sweeps beside specs passed over."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ablation_suite.ablations.spec import SHIPPED_SPECS, Spec
from ablation_suite.core.config import schema
from ablation_suite.core.config.paths import is_text, typed
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Fault, SchemaError


def find_specs(names: Iterable[str]) -> list[Path]:
    """The spec files that paths, folders, shipped names and `all` stand for, each once, in the order asked for."""
    found = list(dict.fromkeys(itertools.chain.from_iterable(map(_find, names))))
    if odd := [path for path in found if not is_text(path)]:
        raise SchemaError([Fault(str(path), "", "its path is no text in UTF-8; rename it") for path in odd])
    return found


def _find(name: str) -> Iterator[Path]:
    if name == "all":
        yield from _specs_in(SHIPPED_SPECS)
        return
    for place in (typed(name), SHIPPED_SPECS / f"{name}.yaml", SHIPPED_SPECS / name):
        if place.is_dir() and (specs := _specs_in(place)):
            yield from specs
            return
        if place.is_file():
            yield place
            return
    shipped = sorted(each.stem if each.suffix else each.name for each in SHIPPED_SPECS.iterdir())
    if typed(name).is_dir():
        raise SchemaError([Fault(name, "", "no spec lies in this folder: no YAML file with `ablation:` and arms")])
    message = f"no such spec, file or folder{schema.nearest(name, shipped)}; shipped are {', '.join(shipped)} and all"
    raise SchemaError([Fault(name, "", message)])


def _specs_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.suffix in (".yaml", ".yml") and _is_spec(path))


def _is_spec(path: Path) -> bool:
    """Whether a file beside others is meant as a spec: bases and sweeps are not; what cannot be read is told as one."""
    try:
        keys = schema.load(path).data
    except SchemaError:
        return True
    if not isinstance(keys, Mapping) or {"sweep", "space"} & set(keys):
        return not isinstance(keys, Mapping)
    return sum(key in RunConfig.model_fields for key in keys) <= sum(key in Spec.model_fields for key in keys)

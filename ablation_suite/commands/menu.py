"""What can be chosen? Every entry, setting, default and one-line doc, read from the menus themselves."""

from __future__ import annotations

import ast
import inspect
import itertools
import json
import textwrap
from collections.abc import Container, Iterator
from typing import Any, get_args

import click
from pydantic_core import PydanticUndefined

from ablation_suite.core.config.errors import nearest
from ablation_suite.core.config.menu import Entry, Frozen
from ablation_suite.core.config.own import Own
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Fault, SchemaError
from ablation_suite.core.config.wording import models_in
from ablation_suite.core.metrics import PLAIN, OwnMetric
from ablation_suite.output import say
from ablation_suite.sweeps.spec import SweepSpec


def menu(family: str | None, as_json: bool) -> None:
    """List every choice, setting and default of FAMILY (data, augment, model.backbone, loss, sweep, ...) or of all."""
    if family == "own":
        _print_own(as_json)
        return
    entries = dict(_families(RunConfig)) | dict(_families(SweepSpec, "sweep."))
    families = {name: list(map(_entry, each)) for name, each in entries.items()}
    families["metric"] = [*_metrics(), _entry(OwnMetric)]
    settings = [*_group_settings(RunConfig, families), *_group_settings(SweepSpec, families, "sweep.")]
    if family is not None:
        chosen = [
            name for name in families if family in (name, name.rpartition(".")[2]) or name.startswith(f"{family}.")
        ]
        if not chosen:
            message = f"no family '{family}'{nearest(family, families)}; the families are {', '.join(families)}"
            raise SchemaError([Fault("command line", "menu", message)])
        families = {name: families[name] for name in chosen}
        settings = [row for row in settings if row["setting"].startswith(f"{family}.")]
    if as_json:
        say(json.dumps({"families": families, "settings": settings}, indent=1))
        return
    for name, listed in families.items():
        click.secho(name, bold=True)
        for entry in listed:
            more = " (`ablate menu own`)" if entry["names"][0].endswith("FILE.py:NAME") else ""
            say(f"  {', '.join(entry['names'])}: {entry['doc']}{more}")
            for row in entry["settings"]:
                say(f"      {row['setting']} = {row['default']}  {row['doc']}")
        say()
    for row in settings:
        say(f"{row['setting']} = {row['default']}  {row['doc']}")


def _families(model: type[Frozen], prefix: str = "") -> Iterator[tuple[str, list[type[Entry]]]]:
    """Dotted path -> entries of every family below a group of settings."""
    for name, field in model.model_fields.items():
        entries = [each for each in models_in(field.annotation) if issubclass(each, Entry)]
        groups = [each for each in models_in(field.annotation) if not issubclass(each, Entry)]
        if entries:
            yield prefix + name, entries
        for group in groups:
            yield from _families(group, f"{prefix}{name}.")


def own_entries() -> dict[str, type[Own]]:
    """Dotted path of each family that takes a user's own parts -> its entry for these; the metric stands in a spec."""
    found = {path: entry for path, entries in _families(RunConfig) for entry in entries if issubclass(entry, Own)}
    return {**found, "metric": OwnMetric}


def _print_own(as_json: bool) -> None:
    """The page of own parts: what holds for all, then the protocol of each family."""
    protocols = {path: inspect.getdoc(entry) or "" for path, entry in own_entries().items()}
    if as_json:
        say(json.dumps({"all": inspect.getdoc(Own), "families": protocols}, indent=1))
        return
    say(inspect.getdoc(Own) or "")
    for path, text in protocols.items():
        names = " or ".join(_own_names(own_entries()[path]))
        click.secho(f"\n{path}: {names}    (ablate init part {path.rpartition('.')[2]})", bold=True)
        say(textwrap.indent(text, "  "))


def _metrics() -> Iterator[dict[str, Any]]:
    """The metrics of a split, which have no settings."""
    from ablation_suite.core.metrics.measures import metric_of  # loads NumPy

    told = {name: metric_of(f"test/{name}", ()) for name in PLAIN}
    docs = {
        name: f"{each.text}, {'higher' if each.higher_is_better else 'lower'} is better" for name, each in told.items()
    }
    docs |= {"top_K": "whether the true class is among the K most probable", "recall/CLASS": "recall of one class"}
    for name, doc in docs.items():
        yield {"names": [f"test/{name}", f"val/{name}"], "doc": doc, "settings": []}


def _entry(entry: type[Entry]) -> dict[str, Any]:
    is_own = issubclass(entry, Own)
    names = _own_names(entry) if issubclass(entry, Own) else list(get_args(entry.model_fields["name"].annotation))
    doc = (entry.__doc__ or "").strip().split("\n")[0]
    hidden = ("name", "code") if is_own else ("name",)
    return {"names": names, "doc": doc, "settings": [row for row in _settings(entry) if row["setting"] not in hidden]}


def _own_names(entry: type[Own]) -> list[str]:
    before = "SPLIT/" if entry is OwnMetric else ""
    return [f"{before}FILE.py:NAME", f"{before}MODULE:NAME"]


def docs(model: type[Frozen]) -> dict[str, str]:
    """Setting -> the text below it in the source; read here alone, since that takes a good part of a plan's time."""
    found: dict[str, str] = {}
    for base in reversed([each for each in model.__mro__ if issubclass(each, Frozen)]):
        (definition,) = ast.parse(textwrap.dedent(inspect.getsource(base))).body
        for setting, text in itertools.pairwise(getattr(definition, "body", [])):
            if isinstance(setting, ast.AnnAssign) and isinstance(setting.target, ast.Name):
                is_text = isinstance(text, ast.Expr) and isinstance(text.value, ast.Constant)
                found[setting.target.id] = " ".join(text.value.value.split()) if is_text else ""
    return found


def _settings(model: type[Frozen]) -> Iterator[dict[str, Any]]:
    texts = docs(model)
    for name, field in model.model_fields.items():
        missing = field.default is PydanticUndefined and field.default_factory is None
        default = field.get_default(call_default_factory=True)
        yield {
            "setting": name,
            "default": "(needed)" if missing else _plain(getattr(default, "name", default)),
            "doc": texts.get(name, ""),
        }


def _group_settings(model: type[Frozen], families: Container[str], prefix: str = "") -> Iterator[dict[str, Any]]:
    """The settings that stand in no entry of a family, those of groups under their dotted paths."""
    for row in _settings(model):
        path = f"{prefix}{row['setting']}"
        if path in families:
            continue
        if row["default"] != "(see its families)":
            yield {**row, "setting": path}
        for group in models_in(model.model_fields[row["setting"]].annotation):
            yield from _group_settings(group, families, f"{path}.")


def _plain(value: Any) -> Any:
    if isinstance(value, Frozen):
        return "(see its families)"
    return list(value) if isinstance(value, tuple) else value

"""What does this YAML say, and what is wrong with it? Strict YAML 1.2 in, frozen values or a list of all faults out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, NamedTuple, TypeVar, get_args

import yaml
from pydantic import BaseModel, ValidationError

from ablation_suite.core.config.errors import UserError

Path = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)


class Fault(NamedTuple):
    """One thing that is wrong: where it stands, at which dotted path, and what to do about it."""

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        return ": ".join(part for part in self if part)


class SchemaError(UserError):
    """All faults of an input at once; its text has one line per fault."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = list(dict.fromkeys(faults))
        super().__init__("\n".join(map(str, self.faults)))


@dataclass(frozen=True, kw_only=True)
class Document:
    """Plain data with the place ("file:line") that each path came from, kept through merges and overrides."""

    data: Any
    marks: dict[Path, str] = field(default_factory=dict)
    source: str = ""

    def where(self, path: Path) -> str:
        """The place of the nearest known ancestor of `path`."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.marks:
                return self.marks[path[:length]]
        return self.source

    def part(self, path: Path) -> Document:
        """The document below `path`."""
        data = self.data
        for step in path:
            data = data[step]
        marks = {at[len(path) :]: mark for at, mark in self.marks.items() if at[: len(path)] == path}
        return Document(data=data, marks=marks, source=self.where(path))

    def has(self, path: Path) -> bool:
        """Whether anything stands at `path`."""
        data = self.data
        for step in path:
            if not isinstance(data, Mapping) or step not in data:
                return False
            data = data[step]
        return True

    def replaced(self, path: Path, other: Document) -> Document:
        """This document with the subtree at `path` replaced by `other`; bare names on the way become mappings.

        Raises SchemaError where the path leads through something that is no mapping.
        """
        data = _replace(self.data, path, other)
        kept = {at: mark for at, mark in self.marks.items() if at[: len(path)] != path}
        added = {path + at: mark for at, mark in other.marks.items()}
        new_parents = {path[:length]: other.where(()) for length in range(1, len(path))}
        marks = {**new_parents, **kept, **added, path: other.where(())}
        return Document(data=data, marks=marks, source=self.source)


def load(path: str | FilePath) -> Document:
    """Read one YAML file; SchemaError if it is missing, unreadable, malformed or empty."""
    try:
        text = FilePath(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise SchemaError([Fault(str(path), "", "no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError([Fault(str(path), "", f"cannot be read: {error}")]) from None
    document = parse(text, source=str(path))
    if document.data is None:
        raise SchemaError([Fault(str(path), "", "the file is empty; it should be a mapping")])
    return document


def parse(text: str, *, source: str) -> Document:
    """Read YAML 1.2 text (`1e-3` is a number, `no` is text); SchemaError on bad syntax, duplicate keys and tags."""
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SchemaError([Fault(where, "", f"not valid YAML: {problem}")]) from None
    reader = _Reader(source)
    data = reader.read(node, ()) if node is not None else None
    if reader.faults:
        raise SchemaError(reader.faults)
    return Document(data=data, marks=reader.marks, source=source)


def dump(data: Any) -> str:
    """Block-style YAML text of plain data, in the order given."""
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True)


def split_override(text: str) -> tuple[str, str]:
    """Split `path=value` as Hydra users write it; SchemaError where there is no `=`."""
    path, sign, value = text.partition("=")
    if not sign or not path:
        raise SchemaError([Fault("command line", text, "an override is written path=value")])
    return path, value


def read_override(cls: type[BaseModel], path: str, value: str) -> Document:
    """The value of an override, read by the type of its field: text as it stands, all else as YAML.

    The rule of YAML would cut a folder `photos #2` at its hash and take the folders `2024` and `null` for no text.
    """
    types = _types(cls, path.split("."))
    if types and all(each is str for each in types):
        return Document(data=value, source="command line")
    return Document(data=parse(value, source="command line").data, source="command line")


def validate(cls: type[Model], document: Document) -> Model:
    """Turn a document into a frozen value; SchemaError lists every fault with its place and the nearest name."""
    if not isinstance(document.data, Mapping):
        kind = type(document.data).__name__
        raise SchemaError([Fault(document.where(()), "", f"should be a mapping of settings, not {kind}")])
    try:
        return cls.model_validate(_tuples(document.data))
    except ValidationError as error:
        faults = [_fault(cls, document, item) for item in error.errors(include_url=False)]
        raise SchemaError(sorted(faults, key=_line)) from None


def dotted(path: Path) -> str:
    """The spelling of a path in messages: `loss.weight`."""
    return ".".join(map(str, path))


def nearest(name: str, names: Iterable[str]) -> str:
    """` (did you mean 'x'?)` for the nearest of the names, or nothing."""
    close = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


_INTEGER = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_WORDS: dict[str, Any] = {"": None, "~": None, "null": None, "Null": None, "NULL": None}
_WORDS |= {word: value for value in (True, False) for word in (str(value), str(value).lower(), str(value).upper())}
_WORDS |= {sign + dot: float(sign + "inf") for sign in ("", "-", "+") for dot in (".inf", ".Inf", ".INF")}
_WORDS |= dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan"))


def _scalar(text: str) -> Any:
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.fullmatch(text):
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    return float(text) if _FLOAT.fullmatch(text) else text


class _Reader:
    """Builds plain data from YAML nodes and notes the line of every path."""

    def __init__(self, source: str):
        self.source = source
        self.marks: dict[Path, str] = {}
        self.faults: list[Fault] = []
        self.open: list[yaml.Node] = []

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.marks.setdefault(path, self._where(node))
        if node in self.open:
            self._fault(node, path, "an alias may not contain itself")
            return None
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            return _scalar(node.value) if getattr(node, "style", None) is None else node.value
        finally:
            self.open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
            if not key:
                self._fault(key_node, path, "a key should be a name")
            elif key in data:
                first = self.marks[(*path, key)].rpartition(":")[2]
                self._fault(key_node, (*path, key), f"the key stands twice (first in line {first})")
            else:
                self.marks[(*path, key)] = self._where(key_node)
                data[key] = self.read(value_node, (*path, key))
        return data

    def _where(self, node: yaml.Node) -> str:
        return f"{self.source}:{node.start_mark.line + 1}"

    def _fault(self, node: yaml.Node, path: Path, message: str) -> None:
        self.faults.append(Fault(self._where(node), dotted(path), message))


def _replace(data: Any, path: Path, other: Document) -> Any:
    if not path:
        return other.data
    if isinstance(data, str):
        data = {"name": data}
    if data is None:
        data = {}
    if not isinstance(data, Mapping):
        raise SchemaError([Fault(other.where(()), dotted(path), "the path leads through a value that has no settings")])
    return {**data, path[0]: _replace(data.get(path[0]), path[1:], other)}


def _tuples(data: Any) -> Any:
    """Lists as tuples, since frozen values hold tuples and strict validation converts nothing."""
    if isinstance(data, Mapping):
        return {key: _tuples(value) for key, value in data.items()}
    return tuple(map(_tuples, data)) if isinstance(data, list | tuple) else data


def _line(fault: Fault) -> int:
    line = fault.where.rpartition(":")[2]
    return int(line) if line.isdigit() else 0


def _fault(cls: type[BaseModel], document: Document, item: Any) -> Fault:
    """One pydantic error in our words."""
    path, model = _locate(cls, document.data, item["loc"])
    kind, context = item["type"], item.get("ctx", {})
    name = str(path[-1]) if path else ""
    if kind == "extra_forbidden":
        known = sorted(model.model_fields) if model else []
        message = f"unknown key{nearest(name, known)}; the keys here are {', '.join(known)}"
    elif kind == "missing":
        message = "is missing"
    elif kind == "union_tag_invalid":
        known = [tag.strip("' ") for tag in re.split(r", ", context["expected_tags"])]
        message = f"unknown name '{context['tag']}'{nearest(str(context['tag']), known)}; one of {', '.join(known)}"
    elif kind == "union_tag_not_found":
        message = "needs a `name:`"
    elif kind == "literal_error":
        known = re.findall(r"'([^']*)'", context["expected"])
        message = f"{item['input']!r} is none of {context['expected']}{nearest(str(item['input']), known)}"
    elif kind == "value_error":
        message = str(context["error"])
    elif kind in ("model_type", "model_attributes_type"):
        message = f"should be a mapping of settings, not {item['input']!r}"
    else:
        message = f"{item['msg'].replace('Input should be', 'should be')}, not {item['input']!r}"
    return Fault(document.where(path), dotted(path), message)


def _locate(cls: type[BaseModel] | None, data: Any, location: tuple[str | int, ...]) -> tuple[Path, Any]:
    """The path in the data, without the union tags that pydantic adds, and the model class that holds its last key."""
    path: Path = ()
    holder = cls
    for step in location:
        if isinstance(data, Mapping) and step not in data and data.get("name") == step:
            holder = next((each for each in _models(holder) if step in _names(each)), None)
            continue
        if isinstance(data, str) and data == step:
            continue
        model = holder = _models(holder)[0] if _models(holder) else None
        path = (*path, step)
        if isinstance(data, Mapping | list | tuple):
            data = data.get(step) if isinstance(data, Mapping) else data[int(step)]
        if step is not location[-1] and model is not None and step in model.model_fields:
            holder = model.model_fields[step].annotation  # type: ignore[assignment]
    return path, holder if isinstance(holder, type) and issubclass(holder, BaseModel) else None


def _models(annotation: Any) -> list[type[BaseModel]]:
    """Every model class that an annotation mentions."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [model for part in get_args(annotation) for model in _models(part)]


def _types(annotation: Any, path: list[str]) -> list[Any]:
    """Every type that a field at a path can have, in whichever entries have such a field."""
    if not path:
        return [annotation]
    fields = [model.model_fields[path[0]] for model in _models(annotation) if path[0] in model.model_fields]
    return [found for field in fields for found in _types(field.annotation, path[1:])]


def _names(model: type[BaseModel]) -> tuple[Any, ...]:
    return get_args(model.model_fields["name"].annotation) if "name" in model.model_fields else ()

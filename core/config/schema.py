"""What does this YAML say, and what is wrong with it? Strict YAML 1.2 in, frozen values or a list of all faults out."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, NamedTuple, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from ablation_suite.core.config.errors import UserError, nearest, printable
from ablation_suite.core.config.names import control_character
from ablation_suite.core.config.own import placed
from ablation_suite.core.config.wording import explain, models_in, shown

__all__ = ["Document", "Fault", "SchemaError", "dotted", "dump", "load", "nearest", "parse", "validate"]

Path = tuple[str | int, ...]
MAX_BYTES, MAX_NODES, MAX_DEPTH, MAX_DIGITS = 1_000_000, 20_000, 40, 100
"""What one text may hold, its aliases written out: far more than any spec, and read within a second."""
Model = TypeVar("Model", bound=BaseModel)


class Fault(NamedTuple):
    """One thing that is wrong: where it stands, at which dotted path, and what to do about it."""

    where: str
    path: str
    message: str

    def __str__(self) -> str:
        return printable(": ".join(part for part in self if part))  # keys are anybody's


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
    place = FilePath(path)
    try:
        if place.exists() and not place.is_file():  # a pipe or a device could be read for ever
            raise SchemaError([Fault(str(path), "", "is no file")])
        if place.stat().st_size > MAX_BYTES:
            raise SchemaError([Fault(str(path), "", f"is larger than {MAX_BYTES:,} bytes, too large for a spec")])
        text = place.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise SchemaError([Fault(str(path), "", "no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise SchemaError([Fault(str(path), "", f"cannot be read: {error}")]) from None
    document = parse(text, source=str(path))
    if document.data is None:
        raise SchemaError([Fault(str(path), "", "the file is empty; it should be a mapping")])
    return document


def parse(text: str, *, source: str) -> Document:
    """Read YAML 1.2 text (`1e-3` is a number, `no` is text) within budgets of nodes, depth and digits.

    SchemaError on bad syntax, duplicate keys, merge keys and tags.
    """
    try:
        node = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"{source}:{mark.line + 1}" if mark else source
        problem = " ".join(str(getattr(error, "problem", None) or error).split())
        raise SchemaError([Fault(where, "", f"not valid YAML: {problem}")]) from None
    reader = _Reader(source)
    try:
        data = reader.read(node, ()) if node is not None else None
    except _TooMuch as error:
        raise SchemaError([Fault(source, "", str(error))]) from None
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

    The rule of YAML would cut a folder `photos #2` at its hash and take the folders `2024` and `null` for no text. A
    text that may be left out is left out by `null`.
    """
    types = _types(cls, path.split("."))
    if types and all(each in (str, str | None) for each in types):
        is_none = value == "null" and str not in types
        return Document(data=None if is_none else value, source="command line")
    return Document(data=parse(value, source="command line").data, source="command line")


def validate(cls: type[Model], document: Document) -> Model:
    """Turn a document into a frozen value; SchemaError lists every fault with its place and the nearest name."""
    if not isinstance(document.data, Mapping):
        message = f"should be a mapping of settings, not {shown(document.data)}"
        raise SchemaError([Fault(document.where(()), "", message)])
    try:
        return cls.model_validate(_tuples(placed(cls, document.data, document.where)))
    except ValidationError as error:
        told = explain(cls, document.data, error)
        faults = [Fault(document.where(path), dotted(path), message) for path, message in told]
        raise SchemaError(sorted(faults, key=_line)) from None


def dotted(path: Path) -> str:
    """The spelling of a path in messages: `loss.weight`."""
    return ".".join(map(str, path))


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


class _TooMuch(Exception):
    """A text that is larger than its budget."""


class _Loader(yaml.SafeLoader):
    """Composes nodes within the budgets, and refuses tags, whose types nobody would read."""

    depth = 0
    num_nodes = 0

    def compose_node(self, parent: Any, index: Any) -> yaml.Node | None:
        event = self.peek_event()
        self.num_nodes += 1
        self.depth += 1
        if self.depth > MAX_DEPTH or self.num_nodes > MAX_NODES:
            limit = f"deeper than {MAX_DEPTH} levels" if self.depth > MAX_DEPTH else f"more than {MAX_NODES:,} values"
            raise yaml.MarkedYAMLError(problem=limit, problem_mark=event.start_mark)
        if getattr(event, "tag", None) is not None:
            raise yaml.MarkedYAMLError(problem=f"tags are not read ({event.tag})", problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Reader:
    """Builds plain data from YAML nodes and notes the line of every path."""

    def __init__(self, source: str):
        self.source = source
        self.marks: dict[Path, str] = {}
        self.faults: list[Fault] = []
        self.open: list[yaml.Node] = []
        self.num_nodes = 0

    def read(self, node: yaml.Node, path: Path) -> Any:
        self.marks.setdefault(path, self._where(node))
        if node in self.open:
            self._fault(node, path, "an alias may not contain itself")
            return None
        self.num_nodes += 1
        if self.num_nodes > MAX_NODES:  # a few aliases of aliases come to billions
            raise _TooMuch(f"more than {MAX_NODES:,} values, its aliases written out")
        self.open.append(node)
        try:
            if isinstance(node, yaml.MappingNode):
                return self._mapping(node, path)
            if isinstance(node, yaml.SequenceNode):
                return [self.read(item, (*path, index)) for index, item in enumerate(node.value)]
            if character := control_character(node.value.replace("\n", " ").replace("\t", " ")):
                self._fault(node, path, f"holds {character}, an order to a terminal; a text is to be read")
            if getattr(node, "style", None) is not None:
                return node.value
            if len(node.value) > MAX_DIGITS and _INTEGER.fullmatch(node.value):
                self._fault(node, path, f"a number of {len(node.value):,} digits; {MAX_DIGITS} are the most")
                return 0
            return _scalar(node.value)
        finally:
            self.open.pop()

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        data: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = str(key_node.value) if isinstance(key_node, yaml.ScalarNode) else ""
            if not key:
                self._fault(key_node, path, "a key should be a name")
            elif key == "<<" and key_node.style is None:
                message = "merge keys are not read: YAML 1.2 has none, and what an arm changes should stand in it"
                self._fault(key_node, (*path, key), message)
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


def _types(annotation: Any, path: list[str]) -> list[Any]:
    """Every type that a field at a path can have, in whichever entries have such a field."""
    if not path:
        return [annotation]
    fields = [model.model_fields[path[0]] for model in models_in(annotation) if path[0] in model.model_fields]
    return [found for field in fields for found in _types(field.annotation, path[1:])]

"""Which code is an own part made of? Its file and what that imports from its folder, told by the syntax tree alone.

Nothing is executed here, so that a plan can name a part's version without torch and without the user's code.
"""

from __future__ import annotations

import ast
import platform
import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib import metadata
from pathlib import Path

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.own.imports import closure, is_installed, locate, parse
from ablation_suite.core.runs.files import sha256, stamp


@dataclass(frozen=True, kw_only=True)
class Module:
    """One parsed module, and the package that its relative imports start from."""

    tree: ast.Module
    package: str
    shown: str
    """Its file, for messages."""


@dataclass(frozen=True, eq=False)
class Source:
    """Python files by their path below one root ("nets.py", "pkg/blocks.py"), known by their content."""

    files: Mapping[str, bytes]
    origins: Mapping[str, str] = field(default_factory=dict)
    """Where each file was read, for tracebacks."""
    is_kept: bool = False
    """Whether it was read from a run folder, which people do not know it by."""

    @cached_property
    def code(self) -> str:
        """20 hexadecimal digits over names and contents."""
        lines = [f"{name}\0{sha256(content)}\n" for name, content in sorted(self.files.items())]
        return sha256("".join(lines))[:20]

    def file(self, module: str) -> str | None:
        """The name of the file that a dotted module name means here; a folder without `__init__.py` has none."""
        path = module.replace(".", "/")
        return next((name for name in (f"{path}.py", f"{path}/__init__.py") if name in self.files), None)

    def is_folder(self, module: str) -> bool:
        """Whether a dotted name is a folder here, with or without an `__init__.py`."""
        return any(name.startswith(module.replace(".", "/") + "/") for name in self.files)

    def module(self, name: str) -> Module | None:
        """The parsed module of a dotted name, or None for one that is not of this source."""
        file = self.file(name)
        if file is None:
            return None
        shown = self.origins.get(file, file)
        package = name if file.endswith("__init__.py") else name.rpartition(".")[0]
        return Module(tree=parse(self.files[file], shown), package=package, shown=shown)


@dataclass(frozen=True)
class Installed:
    """A module of an installed distribution, known by the distribution's name and version."""

    code: str
    """`timm 1.0.9`."""
    place: Path
    """The file of the module."""

    def module(self, name: str) -> Module | None:
        """The parsed module of a dotted name, of whatever distribution; None where it has no Python source."""
        place = locate(name)
        if place is None or place.suffix != ".py":
            return None
        package = name if place.name == "__init__.py" else name.rpartition(".")[0]
        return Module(tree=_parsed(place), package=package, shown=str(place))


known: dict[str, Source] = {}
"""Every source that this process was given, by its code; a config names its parts' code, and nothing else runs."""


def of_file(path: Path) -> Source:
    """The source of a part that is named by its file; OwnPartError says what is missing or does not parse."""
    if path.suffix != ".py":
        raise OwnPartError(f"{path}: is no Python file (.py)")
    if not path.is_file():
        raise OwnPartError(f"{path}: no such file")
    root = path.parent.resolve()  # a link stands for its content, and what lies beside it is what it imports
    return _remember(root, path.name)


def of_module(name: str) -> Source | Installed:
    """The source of a part that is named by its module: files where it is not installed, else its distribution."""
    place = locate(name)
    if place is None:
        raise OwnPartError(
            f"no module '{name}' can be imported; name its file (folder/file.py:NAME), or install the package"
        )
    if (code := _distribution(name.partition(".")[0], place)) is not None:
        return Installed(code=code, place=place)
    root = place.parents[len(name.split(".")) - (place.name != "__init__.py")]
    return _remember(root, place.relative_to(root).as_posix())


def _remember(root: Path, name: str) -> Source:
    stamps, source = _read.get((root, name), ({}, None))
    if source is None or any(stamp(each) != then for each, then in stamps.items()):
        places = closure(root, name)
        source = Source(
            files={each: place.read_bytes() for each, place in places.items()},
            origins={each: str(place) for each, place in places.items()},
        )
        _read[root, name] = {each: stamp(each) for each in (root, *places.values())}, source
        known[source.code] = source
    return source


_read: dict[tuple[Path, str], tuple[dict[Path, tuple[int, ...]], Source | None]] = {}


@cache
def _parsed(place: Path) -> ast.Module:
    return parse(place.read_bytes(), str(place))


@cache
def _distribution(top: str, place: Path) -> str | None:
    """Name and version of the distribution that brought a module; None for a file that nobody installed."""
    if top in sys.stdlib_module_names:
        return f"python {platform.python_version()}"
    if not is_installed(place):
        return None
    owned = re.compile(rf"^{re.escape(top)}(/|\.py,|\.[\w.-]+\.so,)", re.MULTILINE)

    def owns(distribution: metadata.Distribution) -> bool:
        return bool(owned.search(distribution.read_text("RECORD") or ""))

    for name in (top, top.replace("_", "-")):
        try:
            likely = metadata.distribution(name)
        except metadata.PackageNotFoundError:
            continue
        if owns(likely):
            return f"{likely.name} {likely.version}"
    every = (each for each in metadata.distributions() if owns(each))
    found = next(every, None)
    return f"{found.name} {found.version}" if found is not None else None

"""Where do a file's imports lead? To files beside it, to what is installed, or nowhere; told by its syntax tree."""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from ablation_suite.core.config.errors import OwnPartError

MAX_FILES, MAX_BYTES = 200, 4_000_000
"""Of one part: what is larger is a package, and should be installed."""
OURS = "ablation_suite"


def closure(root: Path, name: str) -> dict[str, Path]:
    """The file and all that it imports, directly or not, which is neither installed nor of the standard library."""
    found = {name: root / name}
    waiting = [name]
    total = 0
    while waiting:
        current = waiting.pop()
        place = found[current]
        total += place.stat().st_size
        if len(found) > MAX_FILES or total > MAX_BYTES:
            raise OwnPartError(
                f"{found[name]}: imports more than {MAX_FILES} files or {MAX_BYTES:,} bytes of code that is not "
                "installed; install that as a package"
            )
        tree = parse(place.read_bytes(), str(place))
        parts = current.removesuffix(".py").split("/")
        package = ".".join(parts[:-1])
        try:
            needed = dict.fromkeys(_imported(tree, package))
            _require_packages(tree, root, place)
        except OwnPartError as error:
            raise OwnPartError(f"{place}: {error}" if str(error).startswith("line ") else str(error)) from None
        for module, beside in needed:
            base = root if beside else _base(module.partition(".")[0], root)
            for file in _files_of(module, base) if base is not None else ():
                key = file.relative_to(base).as_posix() if base is not None else ""
                if key not in found:
                    found[key] = file
                    waiting.append(key)
    return found


def _require_packages(tree: ast.Module, root: Path, place: Path) -> None:
    """OwnPartError where a module that the file cannot do without is not to be had."""
    for node in tree.body:
        if not isinstance(node, ast.Import | ast.ImportFrom) or (isinstance(node, ast.ImportFrom) and node.level):
            continue
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        for name in filter(None, names):
            top = name.partition(".")[0]
            if _base(top, root) is None and not _is_elsewhere_known(top):
                raise OwnPartError(f"{place}:{node.lineno}: needs the package '{top}', which is not installed")
            base = _base(top, root)
            if base is not None and not _files_of(name, base) and not _folder(base, name):
                raise OwnPartError(f"{place}:{node.lineno}: imports '{name}', and there is no such file in {base}")


def _is_elsewhere_known(top: str) -> bool:
    return top in sys.stdlib_module_names or top == OURS or _top(top) is not None


def _base(top: str, root: Path) -> Path | None:
    """The folder from which a top-level name is part of the source; None where it is installed, or nowhere.

    As for a script, what lies beside the file goes before what is installed, but not before the standard library.
    """
    if top in sys.stdlib_module_names or top == OURS:
        return None
    beside = _member(root, top)
    if beside is not None and beside.is_file():
        return root
    elsewhere = _top(top)
    if elsewhere is not None:
        return None if is_installed(elsewhere) else elsewhere.parents[elsewhere.name == "__init__.py"]
    return root if beside is not None else None


def _files_of(module: str, base: Path) -> list[Path]:
    """The files that importing a dotted name runs below a base: those of its parents, then its own."""
    files: list[Path] = []
    folder: Path | None = base
    for step in module.split("."):
        place = _member(folder, step) if folder is not None else None
        if place is None:
            break  # a name inside the module
        if place.is_file():
            files.append(place)
        folder = place if place.is_dir() else place.parent if place.name == "__init__.py" else None
    return files


def _folder(base: Path, module: str) -> bool:
    return base.joinpath(*module.split(".")).is_dir()


def _member(folder: Path, name: str) -> Path | None:
    """What a name means in a folder: a package's `__init__.py`, a file, or a folder that holds Python files."""
    for place in (folder / name / "__init__.py", folder / f"{name}.py"):
        if place.is_file():
            return place
    inner = folder / name
    return inner if inner.is_dir() and next(inner.glob("*.py"), None) is not None else None


@cache
def _top(name: str) -> Path | None:
    """Where a top-level module lies; nothing is imported for it."""
    try:
        spec = importlib.util.find_spec(name)
    except (ImportError, ValueError, AttributeError):
        return None
    if spec is None:
        return None
    if spec.origin and spec.has_location:
        return Path(spec.origin)
    folders = list(spec.submodule_search_locations or [])
    return Path(folders[0]) if folders else Path(sys.prefix, "built-in", name)


def locate(name: str) -> Path | None:
    """The file of a dotted module name, found without importing its parents; None where there is none."""
    top, *rest = name.split(".")
    place = _top(top)
    for step in rest:
        if place is None:
            return None
        folder = place if place.is_dir() else place.parent if place.name == "__init__.py" else None
        place = _member(folder, step) if folder is not None else None
    return place if place is not None and place.is_file() else None


def parse(content: bytes, shown: str) -> ast.Module:
    """The syntax tree of a file; OwnPartError with the line that does not parse."""
    try:
        return ast.parse(content, shown)
    except (SyntaxError, ValueError) as error:
        line = f":{error.lineno}" if isinstance(error, SyntaxError) and error.lineno else ""
        raise OwnPartError(f"{shown}{line}: is no valid Python: {getattr(error, 'msg', error)}") from None


def absolute(node: ast.ImportFrom, package: str) -> str:
    """The module that a `from ... import` names, its leading dots resolved; "" is the root itself."""
    if not node.level:
        return node.module or ""
    parts = package.split(".") if package else []
    above = node.level - 1
    if above > len(parts):
        raise OwnPartError(f"line {node.lineno}: imports from above its own folder; name the part as a module instead")
    return ".".join([*parts[: len(parts) - above], *([node.module] if node.module else [])])


def is_installed(place: Path) -> bool:
    return bool({"site-packages", "dist-packages", "built-in"} & set(place.parts))


def _imported(tree: ast.Module, package: str) -> Iterator[tuple[str, bool]]:
    """Every module that a module may import, at any depth, and whether it lies beside it whatever is installed.

    Names of `from x import y` are both x and x.y, since y may be a module.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base, beside = absolute(node, package), bool(node.level) and not package
            names = [base, *(f"{base}.{alias.name}".lstrip(".") for alias in node.names if alias.name != "*")]
            yield from ((name, beside) for name in names if name)

"""How is an own part's code run? Under a private name of its version, so that two versions never meet."""

from __future__ import annotations

import ast
import contextlib
import importlib.abc
import importlib.machinery
import inspect
import io
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType, ModuleType
from typing import Any

from ablation_suite.core.config.errors import OwnPartError, UserError
from ablation_suite.core.config.own import Own
from ablation_suite.core.own.source import Installed, Source, known

PREFIX = "ablation_own_"
"""Of the private package that holds one version's modules."""


def make(part: Own, settings: dict[str, Any] | None = None, **given: Any) -> Any:
    """Call what a part's name leads to with its settings, and with those of the given values that it has a name for.

    A function that takes the arguments of each call is the part itself: it comes back with its settings filled in.
    Raises OwnPartError with the user's line.
    """
    target = load(part)
    settings = part.settings if settings is None else settings
    takes = _parameters(target)
    values = {**{name: value for name, value in given.items() if takes is None or name in takes}, **settings}
    called = tuple(name for name in part.called if takes and name in takes)
    if inspect.isfunction(target) and called:
        return Direct(target, called, {name: value for name, value in values.items() if name not in called})
    if takes is not None:
        try:
            inspect.signature(target).bind(**values)
        except TypeError as error:
            raise OwnPartError(f"{part.name}: {error}") from None
    with blamed(part, "made"):
        return target(**values)


class Direct:
    """A function that is a part itself; called with the values of its own arguments among those of each call."""

    def __init__(self, function: Callable[..., Any], called: tuple[str, ...], settings: dict[str, Any]):
        self.function, self.called, self.settings = function, called, settings

    def __call__(self, *values: Any) -> Any:
        return self.function(**dict(zip(self.called, values, strict=True)), **self.settings)


def takes(made: Any, *forms: tuple[str, ...]) -> tuple[str, ...]:
    """Which of several lists of arguments a part is to be called with: its own names, else the one of its length.

    OwnPartError where it fits none.
    """
    if isinstance(made, Direct):
        return made.called
    wanted = " or ".join(f"({', '.join(form)})" for form in forms)
    if not callable(made):
        raise OwnPartError(f"{type(made).__name__} cannot be called; wanted is a callable of {wanted}")
    parameters = list((_parameters(getattr(made, "forward", made)) or {}).values())
    by_place = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    needed = [each for each in parameters if each.kind in by_place and each.default is each.empty]
    for form in forms:
        if len(form) == len(needed) or any(each.kind is each.VAR_POSITIONAL for each in parameters):
            return form
    has = ", ".join(each.name for each in parameters)
    raise OwnPartError(f"{type(made).__name__} is to be called as {wanted}, and takes ({has})")


def load(part: Own) -> Callable[..., Any]:
    """The class or function that a part's name leads to; OwnPartError where its module cannot be imported."""
    source, module, attribute = part.found
    name = module if isinstance(source, Installed) else f"{PREFIX}{source.code}.{module}"
    if name not in sys.modules:
        printed, before = io.StringIO(), set(sys.modules)
        with blamed(part, "imported"), contextlib.redirect_stdout(printed):
            importlib.import_module(name)
        if printed.getvalue().strip() and not isinstance(source, Installed):
            for each in [each for each in sys.modules if each.startswith(PREFIX) and each not in before]:
                del sys.modules[each]  # else it would be silent for the next part that imports it
            line = printed.getvalue().strip().splitlines()[0]
            raise OwnPartError(
                f"{part.name}: prints {line[:60]!r} when it is imported, which every worker does; put what only a "
                'script does below `if __name__ == "__main__":`'
            )
    try:
        target = getattr(sys.modules[name], attribute)
    except AttributeError:
        raise OwnPartError(f"{part.name}: its module has no '{attribute}'") from None
    if not callable(target):
        raise OwnPartError(f"{part.name}: is {type(target).__name__}, which cannot be called")
    return target


@contextmanager
def blamed(part: Own, doing: str) -> Iterator[None]:
    """Tell what a part raises in one line, with the user's own line of code."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        place = user_line(error) or part.name
        raise OwnPartError(f"{place}: {part.name}, {doing}: {_words(error)}") from error


def told(error: BaseException) -> OwnPartError | None:
    """An error that came up in the code of an own part, as one line with that code's line; None for any other."""
    place = user_line(error)
    return None if place is None else OwnPartError(f"{place}: {_words(error)}")


def user_line(error: BaseException) -> str | None:
    """File and line of the innermost frame of an error that belongs to an own part."""
    if isinstance(error, SyntaxError) and error.filename in _shown:
        return f"{_shown[error.filename]}:{error.lineno}"
    frames = [each for each in traceback.extract_tb(error.__traceback__) if each.filename in _shown]
    return f"{_shown[frames[-1].filename]}:{frames[-1].lineno}" if frames else None


def running_line(frame: FrameType | None) -> str | None:
    """File and line of the innermost frame of a running stack that belongs to an own part."""
    while frame is not None and frame.f_code.co_filename not in _shown:
        frame = frame.f_back
    return None if frame is None else f"{_shown[frame.f_code.co_filename]}:{frame.f_lineno}"


_shown: dict[str, str] = {}
"""File name in a traceback -> what people know the file by."""


def _words(error: BaseException) -> str:
    """What was raised, in one line, with own modules by their own names."""
    text = re.sub(f"{PREFIX}[0-9a-f]+[.]", "", " ".join(str(error).split()))
    text = re.sub(f"'{PREFIX}[0-9a-f]+'", "the part's own folder", text)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _parameters(target: Any) -> dict[str, inspect.Parameter] | None:
    try:
        return dict(inspect.signature(target).parameters)
    except (ValueError, TypeError):
        return None


class _Finder(importlib.abc.MetaPathFinder):
    """Finds the modules of every known source below the private package of its code."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        top, _, name = fullname.partition(".")
        source = known.get(top.removeprefix(PREFIX)) if top.startswith(PREFIX) else None
        if source is None:
            return None
        file = source.file(name) if name else None
        if name and file is None and not source.is_folder(name):
            return None
        is_package = file is None or file.endswith("__init__.py")
        spec = importlib.machinery.ModuleSpec(fullname, _SourceLoader(source, file, top), is_package=is_package)
        if file is not None:
            spec.origin, spec.has_location = source.origins.get(file, file), True
        return spec


class _SourceLoader(importlib.abc.Loader):
    def __init__(self, source: Source, file: str | None, package: str):
        self.source, self.file, self.package = source, file, package

    def exec_module(self, module: ModuleType) -> None:
        if self.file is None:
            return  # a folder without `__init__.py`, or the private package itself
        shown = self.source.origins.get(self.file, self.file)
        here = not self.source.is_kept and Path(shown).is_relative_to(Path.cwd())
        _shown[shown] = self.file if self.source.is_kept else os.path.relpath(shown) if here else shown
        tree = _Imports(self.source, self.package).visit(ast.parse(self.source.files[self.file], shown))
        exec(compile(ast.fix_missing_locations(tree), shown, "exec", dont_inherit=True), module.__dict__)


class _Imports(ast.NodeTransformer):
    """Turns imports of the source's own modules into those of its private package."""

    def __init__(self, source: Source, package: str):
        self.source, self.package = source, package

    def visit_Import(self, node: ast.Import) -> ast.Import:
        names: list[ast.alias] = []
        for alias in node.names:
            top = alias.name.partition(".")[0]
            if not self._is_own(top):
                names.append(alias)
            elif alias.asname or alias.name == top:
                names.append(ast.alias(f"{self.package}.{alias.name}", alias.asname or top))
            else:  # `import a.b` binds a
                names.append(ast.alias(f"{self.package}.{alias.name}", f"_{self.package}"))
                names.append(ast.alias(f"{self.package}.{top}", top))
        return ast.copy_location(ast.Import(names), node)

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom:
        if node.level or not node.module or not self._is_own(node.module.partition(".")[0]):
            return node
        return ast.copy_location(ast.ImportFrom(f"{self.package}.{node.module}", node.names, 0), node)

    def _is_own(self, top: str) -> bool:
        is_here = self.source.file(top) is not None or self.source.is_folder(top)
        return is_here and top not in sys.stdlib_module_names


sys.meta_path.append(_Finder())

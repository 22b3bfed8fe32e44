"""Which code do our processes run? The standard library, this package and what is installed, wherever the shell stands.

Here is imported only what every interpreter has loaded before the first line of a program: until `own_path` is in
force, any other name may lead to a file of the current folder.
"""

import os
import sys

HOME = os.path.abspath(os.path.join(os.path.dirname(__file__), os.pardir, os.pardir, os.pardir))
"""The folder that this package was imported from; links in the way to it are kept."""


def own_path() -> list[str]:
    """`sys.path` in the order of trust: what the current folder and PYTHONPATH bring in is looked at last.

    The folder of this package is an exception: a checkout that PYTHONPATH names goes before an installed copy.
    """
    library = os.path.dirname(os.__file__)
    standard = [entry for entry in sys.path if entry in (library, os.path.join(library, "lib-dynload"))]
    others = [entry for entry in sys.path if entry not in standard]
    foreign = [entry for entry in others if _is_foreign(entry)]
    installed = [entry for entry in others if entry not in foreign]
    return list(dict.fromkeys([*standard, *([] if HOME in installed else [HOME]), *installed, *foreign]))


def command(module: str, call: str) -> list[str]:
    """The command line of a process that makes one call, such as `main()`, in a module, and finds modules as we do."""
    code = f"import sys; sys.path[:] = {own_path()!a}; import {module} as module; sys.exit(module.{call})"
    return [sys.executable, "-P", "-c", code]


def environment(**variables: str) -> dict[str, str]:
    """Our environment and these variables, less PYTHONPATH, which works before a program's first line."""
    return {**{name: value for name, value in os.environ.items() if name != "PYTHONPATH"}, **variables}


def _is_foreign(entry: str) -> bool:
    named = [os.curdir, *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    return any(_is_same(entry or os.curdir, other or os.curdir) for other in named)


def _is_same(path: str, other: str) -> bool:
    return os.path.exists(path) and os.path.exists(other) and os.path.samefile(path, other)

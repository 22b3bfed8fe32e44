"""With what does one begin? `ablate init part loss` writes a file of one's own that runs, and says how to name it."""

from __future__ import annotations

import ast
from pathlib import Path

import ablation_suite.core.own.starts
from ablation_suite.commands.menu import own_entries
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.paths import typed
from ablation_suite.output import say

STARTS = Path(next(iter(ablation_suite.core.own.starts.__path__)))


def part(family: str, file: Path | None) -> None:
    """Write FILE (my_FAMILY.py) with a part of your own that runs: a backbone, a loss, an augmentation, ..."""
    families = {path.rpartition(".")[2]: path for path in own_entries()}
    name = family.rpartition(".")[2]
    if name not in families:
        raise UserError(f"no family '{family}' takes parts of your own; these do: {', '.join(families)}")
    target = typed(file) if file is not None else Path(f"my_{name}.py")
    if target.suffix != ".py" or not target.stem.isidentifier():
        raise UserError(f"{target}: a part lies in a Python file whose name can be imported, such as my_{name}.py")
    text = (STARTS / f"{name}.py").read_text()
    try:
        with open(target, "x") as opened:
            opened.write(text)
    except FileExistsError:
        raise UserError(f"{target}: is there already; name another file") from None
    made = [each.name for each in ast.parse(text).body if isinstance(each, ast.ClassDef | ast.FunctionDef)][-1]
    split = "test/" if name == "metric" else ""
    say(f"written: {target}; in a spec beside it, `{families[name]}: {split}{target.name}:{made}` names it")
    say("`ablate menu own` says what is called with which shapes, and `ablate check SPEC` tries a step")

"""Which faults are answered, how is each injected, and which test holds what is promised?

A test that injects a fault says so in a mark, `@pytest.mark.fault(name, injected=..., promised=...)`. The page
tests/FAULTS.md is made from the marks by `python -m tests.faults`, and a test keeps it current.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import NamedTuple

TESTS = Path(__file__).parents[1]
PAGE = TESTS / "FAULTS.md"
LEAST = 60
"""Named faults that the page has at any time."""

HEAD = """# Faults

What can go wrong around this suite, how the tests make it go wrong, what they hold it to, and which test does. The page
is made from the marks of the tests (`python -m tests.faults`), and a test keeps it current. {count} faults.
"""
COLUMNS = ("fault", "injected", "promised", "held by")


class Fault(NamedTuple):
    """One mark: what goes wrong, how a test brings it about, what is promised, and where that test is."""

    name: str
    injected: str
    promised: str
    file: str
    """The test's file below tests/."""
    test: str
    question: str
    """What the test's file asks, the first line of its docstring."""
    needs: str
    """Without which the test is skipped, or nothing."""


def marked(tests: Path = TESTS) -> list[Fault]:
    """The faults of all marks below a folder of tests, by file and in their order there, read without running it."""
    return [fault for path in sorted(tests.rglob("test_*.py")) for fault in _of_file(path, tests)]


def page(faults: list[Fault]) -> str:
    """The page in Markdown: a table for each file of tests."""
    parts = [HEAD.format(count=len(faults))]
    for question, group in groupby(faults, key=lambda fault: fault.question):
        rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_row, group)]
        parts.append(f"## {question}\n\n" + "\n".join(f"| {' | '.join(row)} |" for row in rows) + "\n")
    return "\n".join(parts)


def _row(fault: Fault) -> tuple[str, ...]:
    injected = fault.injected + (f" ({fault.needs})" if fault.needs else "")
    words = (fault.name, injected, fault.promised)
    return (*(word.replace("|", "\\|") for word in words), f"`{fault.file}::{fault.test}`")


def _of_file(path: Path, tests: Path) -> Iterator[Fault]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    question = (ast.get_docstring(tree) or "").partition("\n")[0]
    named = {
        target.id: each.value
        for each in tree.body
        if isinstance(each, ast.Assign)
        for target in each.targets
        if isinstance(target, ast.Name)
    }
    for test in tree.body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            marks = [named.get(each.id) if isinstance(each, ast.Name) else each for each in test.decorator_list]
            calls = [each for each in marks if isinstance(each, ast.Call)]
            needs = "; ".join(_keyword(call, "reason") for call in calls if _mark(call) == "skipif")
            for call in (each for each in calls if _mark(each) == "fault"):
                words = (str(ast.literal_eval(call.args[0])), _keyword(call, "injected"), _keyword(call, "promised"))
                yield Fault(*words, path.relative_to(tests).as_posix(), test.name, question, needs)


def _mark(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else ""


def _keyword(call: ast.Call, name: str) -> str:
    return next(str(ast.literal_eval(each.value)) for each in call.keywords if each.arg == name)

"""Does the house stand as it was designed? The laws of CONTRIBUTING.md, read from the source by its syntax tree."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import click
import click.testing
import pytest

from ablation_suite.cli import ablate

HOUSE = Path(__file__).parents[1]
ROOMS = ("core", "sweeps", "ablations", "reports")
_OPTUNA = ("importances", "pruners", "samplers", "opening", "earlier", "warm_start", "storage_errors", "study")
SOLE_IMPORTERS = {
    "optuna": {f"sweeps/{name}.py" for name in _OPTUNA},
    "wandb": {"core/tracking/wandb_client.py"},
    "wandb_workspaces": {"core/tracking/wandb_report.py"},
    "matplotlib": {"reports/figures.py"},
    "jinja2": {"reports/page.py"},
    "hashlib": {"core/runs/files.py"},
    "fcntl": {"core/runs/locks.py"},
    "yaml": {"core/config/schema.py"},
    "ray": {"core/scheduling/ray.py", "core/scheduling/ray_cluster.py"},
}


def imports(path: Path, only_at_load: bool = False) -> set[str]:
    """The modules that a file imports, anywhere in it or only when it is loaded."""
    tree = ast.parse(path.read_text())
    nodes = list(_loaded(tree)) if only_at_load else list(ast.walk(tree))
    found = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return found | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}


def _room(module: str) -> str:
    """The room of `ablation_suite.<room>...`, or nothing for another package."""
    package, _, rest = module.partition(".")
    return rest.partition(".")[0] if package == "ablation_suite" else ""


def _loaded(node: ast.AST):
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(child, ast.If) and "TYPE_CHECKING" in ast.dump(child.test):
            continue
        yield child
        yield from _loaded(child)


def files(room: str) -> list[Path]:
    return sorted((HOUSE / room).rglob("*.py"))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_run_one_way_from_core_to_reports(room):
    """No package names one that stands above it."""
    above = (*ROOMS[ROOMS.index(room) + 1 :], "cli", "commands", "options")
    for path in files(room):
        for module in imports(path):
            assert _room(module) not in above, f"{path.relative_to(HOUSE)} imports {module}"


@pytest.mark.parametrize("room", ROOMS)
def test_only_the_front_door_names_a_higher_room_in_a_string(room):
    """`import_module("ablation_suite.reports.x")` would be an import that the syntax tree does not show."""
    above = ROOMS[ROOMS.index(room) + 1 :]
    for path in files(room):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                named = re.fullmatch(r"ablation_suite\.(\w+)(\.\w+)*(:\w+)?", node.value)
                assert not (named and named[1] in above), f"{path.relative_to(HOUSE)} names {node.value}"


@pytest.mark.parametrize("package", SOLE_IMPORTERS)
def test_each_heavy_package_has_one_importer(package):
    """Exactly the named files import it."""
    importers = {
        str(path.relative_to(HOUSE))
        for room in ROOMS
        for path in files(room)
        if any(module.partition(".")[0] == package for module in imports(path))
    }
    assert importers == SOLE_IMPORTERS[package]


def test_menus_import_no_torch():
    """A RunConfig can be read and hashed where torch would take seconds."""
    for path in [
        *(HOUSE / "core").glob("*/__init__.py"),
        HOUSE / "core/config/run_config.py",
        HOUSE / "core/runs/identity.py",
    ]:
        assert not {module.partition(".")[0] for module in imports(path)} & {"torch", "torchvision", "numpy"}, path


@pytest.mark.parametrize(
    "words",
    [
        ["--help"],
        ["plan", "quickstart"],
        ["check", "quickstart", "--quick"],
        ["menu"],
        *([verb, "--help"] for verb in ablate.commands),
    ],
    ids=" ".join,
)
def test_looking_verbs_load_no_heavy_package(words, tmp_path):
    """torch, wandb, matplotlib and optuna stay unloaded when nothing is trained or drawn, pydantic for help as well."""
    heavy = ["torch", "torchvision", "wandb", "matplotlib", "optuna", "sklearn", "scipy"]
    heavy += ["numpy", "PIL", "pydantic", "yaml"] if "--help" in words else []
    code = (
        f"import sys; sys.argv = ['ablate', *{words!r}]\n"
        "from ablation_suite.cli import main\n"
        "try: main()\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        f"print('loaded:', [name for name in {heavy!r} if name in sys.modules])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "loaded: []"


def _leaves(command: click.Command, *words: str):
    if not isinstance(command, click.Group):
        yield pytest.param(command, id=" ".join(words))
    else:
        for name, below in command.commands.items():
            yield from _leaves(below, *words, name)


@pytest.mark.parametrize("verb", list(_leaves(ablate)))
def test_a_verb_does_its_work_with_exactly_what_can_be_typed(verb, monkeypatch, tmp_path):
    """Its function takes every word and option that is declared, and asks for no other."""
    monkeypatch.chdir(tmp_path)
    taken: list[dict] = []
    module, name = verb.callback.does.split(":")
    real = getattr(import_module(f"ablation_suite.commands.{module}"), name)
    signature = inspect.signature(real)
    monkeypatch.setattr(f"ablation_suite.commands.{module}.{name}", lambda **given: taken.append(given))
    arguments = [each for each in verb.params if isinstance(each, click.Argument) and each.required]
    click.testing.CliRunner().invoke(verb, ["x"] * len(arguments), catch_exceptions=False)
    assert signature.bind(**taken[0]).arguments.keys() == signature.parameters.keys()


def test_nothing_that_trains_knows_an_arm():
    """Core decides nothing by ablation or arm: its labels carry such words, and its consoles and trackers show them."""
    shows = (HOUSE / "core/runs/labels.py", HOUSE / "core/tracking", HOUSE / "core/scheduling")
    words = {"arm", "arms", "ablation", "ablations", "baseline"}
    for path in files("core"):
        if any(path.is_relative_to(place) for place in shows):
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            named = [getattr(node, field, None) for field in ("id", "attr", "arg", "name", "value")]
            assert not words & {name for name in named if isinstance(name, str)}, f"{path}:{node.lineno}"


def test_every_file_opens_with_a_docstring():
    """The first line of every file says which question the file answers."""
    for room in ROOMS:
        for path in files(room):
            assert ast.get_docstring(ast.parse(path.read_text())), path


def test_a_class_name_stands_for_one_thing():
    """What a menu's entry builds has a name of its own; starts of own parts are files of users."""
    places = {}
    for path in [path for room in (*ROOMS, "ablation_suite/commands") for path in files(room)]:
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef) and "starts" not in path.parts:
                places.setdefault(node.name, []).append(str(path.relative_to(HOUSE)))
    assert len(places) > 100
    assert {name: each for name, each in places.items() if len(each) > 1} == {}


def test_what_people_read_is_printed_by_say():
    """No verb prints past `output.say`, which spells out what gives orders to a terminal; a table for programs may."""
    for path in files("ablation_suite"):
        tree = ast.parse(path.read_text())
        calls = [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Call)]
        past = [call for call in calls if call.startswith(("click.echo(", "print(", "sys.stdout.write("))]
        assert path.name == "output.py" or all("_csv(" in call for call in past), f"{path}: {past}"


def test_every_benchmark_can_be_loaded():
    """The suite runs none of them, and would not see that a name which they import is gone."""
    files = [*(HOUSE / "tests/benchmarks").rglob("*.py")]
    assert len(files) > 20
    for path in files:
        if path.name not in ("__init__.py", "__main__.py"):
            import_module(".".join(path.relative_to(HOUSE).with_suffix("").parts))

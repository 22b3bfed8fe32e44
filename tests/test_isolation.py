"""Does the folder in which the shell stands have no say in what runs? Beside foreign modules of every kind."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

HOUSE = Path(__file__).parents[1]
BASE = """data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}
optimizer: {name: adam, lr: 3e-3}
epochs: 1
"""
SPEC = """ablation: tiny
question: Does dropout help?
base: base.yaml
seeds: 1
baseline: none
arms:
  some: {model.head.dropout: 0.3}
"""
SWEEP = """sweep: search
question: Which learning rate?
base: base.yaml
space:
  optimizer.lr: {log: [1e-4, 1e-2], points: 3}
trials: 2
"""
WRONG = "raise SystemExit('foreign code ran')\n"
FOREIGN = {
    "an empty core": {"core/__init__.py": "", "core/data/__init__.py": ""},
    "another core": {"core/__init__.py": WRONG, "core/config.py": "LR = 0.1\n", "core/scheduling/worker.py": WRONG},
    "a printing core": {"core/__init__.py": "print('hello')\n"},
    "reports": {"reports/__init__.py": WRONG},
    "random.py": {"random.py": "print('hello')\n"},
    "inspect.py": {"inspect.py": "print('hello')\n"},
    "typing.py": {"typing.py": WRONG},
    "modules of installed packages": {
        f"{name}.py": WRONG for name in ("click", "yaml", "torch", "numpy", "pydantic", "rich", "optuna", "matplotlib")
    },
    "names of other rooms and files": {f"{name}.py": WRONG for name in ("sweeps", "ablations", "options", "conftest")},
    "the package's name": {"ablation_suite/data.csv": "1\n"},
}
"""Files by kind: names of the rooms, of the standard library, and of what is installed."""
CORES = ("an empty core", "another core", "a printing core")


def make(folder: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


def make_all(folder: Path, core: str) -> Path:
    """Foreign files of every kind, of the kinds of `core/` this one."""
    for kind, files in FOREIGN.items():
        if kind not in CORES or kind == core:
            make(folder, files)
    return folder


def specs(folder: Path) -> Path:
    return make(folder, {"base.yaml": BASE, "tiny.yaml": SPEC, "search.yaml": SWEEP})


def call(program: list[str], *words: str, cwd: Path, path: str | None) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "ABLATE_CACHE": str(cwd / "cache")}
    environment |= {"PYTHONPATH": path} if path is not None else {}
    done = subprocess.run([*program, *words], cwd=cwd, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def ablate(*words: str, cwd: Path, foreign: bool = False) -> str:
    """A verb of this very package; where `foreign`, PYTHONPATH names the current folder first."""
    path = os.pathsep.join([".", str(HOUSE)] if foreign else [str(HOUSE)])
    return call([sys.executable, "-m", "ablation_suite"], *words, cwd=cwd, path=path)


def do_all(folder: Path, ablate: Callable[..., str]) -> None:
    """Train, report and search."""
    ablate("run", "tiny.yaml", "--tracker", "off", "--jobs", "1", cwd=folder)
    ablate("report", "tiny.yaml", "-o", "out", cwd=folder)
    ablate("sweep", "search.yaml", "--tracker", "off", "--results", "searched", cwd=folder)


def require_same(folder: Path, elsewhere: Path) -> None:
    """The same losses to the bit, the same files of the report, and the same trials."""
    assert losses(folder) == losses(elsewhere)
    assert reported(folder) == reported(elsewhere)
    found = [{path.name for path in each.glob("searched/runs/*")} for each in (folder, elsewhere)]
    assert found[0] == found[1] != set()


def losses(folder: Path) -> dict[str, float]:
    """The validation loss of every run by its id."""
    found = [json.loads(path.read_text()) for path in folder.glob("results/runs/*/record.json")]
    return {record["run_id"]: record["metrics"]["val/loss"] for record in found}


def reported(folder: Path) -> set[str]:
    """The files of the report, but for the figure of costs: whether seconds differ by enough to be drawn is chance."""
    return {str(path.relative_to(folder)) for path in (folder / "out").rglob("*") if not path.match("figures/cost.*")}


beside_foreign = partial(ablate, foreign=True)


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory) -> Path:
    """A folder with nothing foreign in it, its two runs trained and reported, and its search done."""
    folder = specs(tmp_path_factory.mktemp("elsewhere"))
    do_all(folder, ablate)
    assert len(losses(folder)) == 2
    return folder


@pytest.fixture(scope="module")
def planned(tmp_path_factory) -> list[dict]:
    """The cells of a plan that was made where there is nothing foreign."""
    return cells(specs(tmp_path_factory.mktemp("planned")))


def cells(folder: Path, ablate: Callable[..., str] = ablate) -> list[dict]:
    [plan] = json.loads(ablate("plan", "tiny.yaml", "--json", cwd=folder))["plans"]
    return plan["cells"]


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_plan_is_the_same_beside_foreign_modules(kind, planned, tmp_path):
    """With the current folder first on PYTHONPATH, the same cells and run ids."""
    assert cells(make(specs(tmp_path), FOREIGN[kind]), beside_foreign) == planned


@pytest.mark.fault(
    "foreign modules where the shell stands",
    injected="./core, ./random.py, ./torch.py and others",
    promised="the same runs and reports",
)
@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
def test_runs_reports_and_searches_are_the_same_beside_all_foreign_modules(core, elsewhere, tmp_path):
    """Whatever their workers import, and wherever they are started."""
    do_all(make_all(specs(tmp_path), core), beside_foreign)
    require_same(tmp_path, elsewhere)


@pytest.mark.slow
def test_a_forecast_is_made_beside_all_foreign_modules(tmp_path):
    """The probe of `plan` answers on a pipe of its own, although what it imports may print."""
    words = ["plan", "tiny.yaml", "--probe", "--json"]
    forecast = json.loads(beside_foreign(*words, cwd=make_all(specs(tmp_path), "a printing core")))["forecast"]
    assert forecast["seconds"] > 0


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Callable[..., str]:
    """A verb of the wheel, by its script, with the current folder on PYTHONPATH.

    It is installed into an environment of its own, from which the other packages are only seen.
    """
    made = tmp_path_factory.mktemp("wheel")
    source, environment = made / "source", made / "environment"
    shutil.copytree(HOUSE, source, symlinks=True, ignore=shutil.ignore_patterns(".*", "build", "results", "tests"))
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    offline = ["--no-deps", "--no-index"]
    steps = [
        [*pip, "wheel", *offline, "--no-build-isolation", "--wheel-dir", made, source],
        [sys.executable, "-m", "venv", "--without-pip", environment],
        [*pip, "--python", environment, "install", *offline, "--find-links", made, "ablation-suite"],
    ]
    alone = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}  # where pip finds us installed
    for step in steps:
        done = subprocess.run(list(map(str, step)), cwd=made, env=alone, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
    [packages] = environment.glob("lib/python*/site-packages")
    (packages / "others.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return partial(call, [str(environment / "bin" / "ablate")], path=".")


@pytest.mark.slow
def test_a_wheel_does_the_same_beside_all_foreign_modules(wheel, elsewhere, tmp_path):
    """An empty `core/` was enough to break it, when its rooms were packages of their own."""
    do_all(make_all(specs(tmp_path), "an empty core"), wheel)
    require_same(tmp_path, elsewhere)


@pytest.mark.slow
@pytest.mark.parametrize("kind", FOREIGN)
def test_a_wheel_plans_the_same_beside_foreign_modules(kind, wheel, planned, tmp_path):
    """Each kind by itself."""
    assert cells(make(specs(tmp_path), FOREIGN[kind]), wheel) == planned

"""Are own parts planned, tried, trained, resumed, reported, made again, asked and searched as any other part?"""

from __future__ import annotations

import inspect
import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ablation_suite.ablations.audit import audit
from ablation_suite.ablations.effect import try_effects
from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.ablations.resolve import resolve
from ablation_suite.cli import ablate as group
from ablation_suite.commands.init import STARTS
from ablation_suite.commands.menu import own_entries
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.own import own_data
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.own.loading import PREFIX
from ablation_suite.core.own.source import known
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work

BASE = """data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}
epochs: 2
batch_size: 128
"""
SPEC = """ablation: own
question: Does a part of ours help?
base: base.yaml
seeds: 1
arms:
"""
FAMILIES = {path.rpartition(".")[2]: path for path in own_entries()}


def ablate(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-P", "-m", "ablation_suite", *map(str, words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ABLATE_CACHE": str(cwd / "cache"), **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


def typed(*words: str):
    """A verb in this process."""
    return CliRunner().invoke(group, list(words), standalone_mode=False)


def forget() -> None:
    """Know of own parts what a new process knows."""
    known.clear()
    for name in [name for name in sys.modules if name.startswith(PREFIX)]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder to work in, with a base."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE)
    return tmp_path


@pytest.fixture
def runtime(folder) -> Runtime:
    return Runtime(device="cpu", compile="off", tracker="off", results="results", cache=str(folder / "cache"))


def write_spec(folder: Path, *arms: str, name: str = "spec") -> Path:
    place = folder / f"{name}.yaml"
    place.write_text(SPEC + "".join(f"  {arm}\n" for arm in arms))
    return place


def train(plan, runtime: Runtime) -> list[RunFolder]:
    folders = []
    for run_id, job in jobs([plan]).items():
        folders.append(RunFolder(runtime.store / run_id))
        folders[-1].create(job)
        assert work(folders[-1], runtime, Datasets()) == DONE, folders[-1].failure()
    return folders


def test_every_start_of_a_part_is_written_and_takes_a_step(folder, runtime):
    """`ablate init part FAMILY` prints the line of a spec, which `check` finds to move what it should and no more."""
    arms, metric = [], ""
    for family, path in FAMILIES.items():
        result = typed("init", "part", family)
        assert result.exception is None, result.exception
        line = re.search(r"`(.+): (\S+\.py:\w+)`", result.output)
        assert line[1] == path
        if family == "metric":
            metric = f"metric: {{name: {line[2]}, unit: euro}}"
        else:
            arms.append(f"{family}: {{{path}: {{name: {line[2]}{', size: 16' if family == 'data' else ''}}}}}")
    spec = write_spec(folder, *arms)
    spec.write_text(spec.read_text().replace("seeds: 1", metric))
    effects = try_effects(*resolve(spec), runtime)
    assert effects.broken == {}
    assert not effects.misfits
    assert effects.untried == ""
    assert effects.without == []
    assert effects.moved == {}


def test_a_start_is_not_written_over_another_file_nor_for_no_family(folder):
    """Each is one line for people."""
    (folder / "my_loss.py").write_text("mine")
    for words, fault in (
        (["loss"], "my_loss.py: is there already"),
        (["los"], "no family 'los' takes parts"),
        (["loss", "my-loss.py"], "a part lies in a Python file whose name can be imported"),
    ):
        error = typed("init", "part", *words).exception
        assert isinstance(error, UserError)
        assert fault in str(error)
    assert (folder / "my_loss.py").read_text() == "mine"


def test_there_is_a_start_for_every_family():
    """And no more."""
    assert {path.stem for path in STARTS.glob("*.py")} == {*FAMILIES, "__init__"}


def test_the_menu_and_the_guide_have_every_protocol():
    """`ablate menu own` prints the docstring of every family's entry, and OWN_PARTS.md has the same words."""
    page = typed("menu", "own").output
    guide = (Path(__file__).parents[2] / "OWN_PARTS.md").read_text()
    for path, entry in own_entries().items():
        text = inspect.getdoc(entry)
        assert all(line.strip() in page for line in text.splitlines())
        assert f"### {path}\n\n{text}\n" in guide
    assert json.loads(typed("menu", "own", "--json").output)["families"].keys() == own_entries().keys()
    assert "FILE.py:NAME, MODULE:NAME: A loss of your own" in typed("menu", "loss").output
    assert list(json.loads(typed("menu", "backbone", "--json").output)["families"]) == ["model.backbone"]


def test_an_edited_file_is_another_run_and_the_plan_says_since_when(folder, runtime):
    """Content decides: a comment in the file is told, and putting it back finds the first run again."""
    typed("init", "part", "loss")
    spec = write_spec(
        folder, "mine: {loss: my_loss.py:PolyLoss}", "other: {loss: {name: my_loss.py:PolyLoss, epsilon: 2}}"
    )
    (plan,) = make_plans([str(spec)], runtime)
    train(plan, runtime)
    first = {cell.arm: cell.run_id for cell in plan.cells}
    assert "own part changed" not in typed("plan", "spec.yaml").output
    source = folder / "my_loss.py"
    text = source.read_text()
    source.write_text(text + "# edited\n")
    (edited,) = make_plans([str(spec)], runtime)
    assert [cell.run_id == first[cell.arm] for cell in edited.cells] == [True, False, False]
    printed = typed("plan", "spec.yaml").output
    told = re.findall(r"own part changed since \d{4}-\d\d-\d\d \d\d:\d\d \(run (\w+)\): (.+)", printed)
    assert told == [(first[arm], "my_loss.py:PolyLoss (my_loss.py)") for arm in ("mine", "other")]
    source.write_text(text)
    assert "own part changed" not in typed("plan", "spec.yaml").output
    assert "3 finished" in typed("plan", "spec.yaml").output


def test_two_versions_of_one_file_are_told_in_the_audit(folder):
    """An arm that takes its loss from a copy of the file, with one line more, and its schedule from the baseline's."""
    for version in ("a", "b"):
        (folder / version).mkdir()
        shutil.copy(STARTS / "loss.py", folder / version / "loss.py")
        with open(folder / version / "loss.py", "a") as file:
            file.write(f"def rate(step):  # version {version}\n    return 1.0\n")
    (folder / "base.yaml").write_text(BASE + "loss: a/loss.py:PolyLoss\nschedule: a/loss.py:rate\n")
    spec = write_spec(folder, "other: {loss: b/loss.py:PolyLoss}", "same: {loss.epsilon: 2}")
    findings = audit(*resolve(spec), {}, num_classes=10)
    told = [(each.arm, each.severity) for each in findings if "another version of loss.py" in each.text]
    assert told == [("other", "confound")]


def test_an_audit_runs_no_code_of_a_users(folder):
    """What only that code could tell is said to be unknown until a run is finished."""
    (folder / "net.py").write_text("import os\nos._exit(3)\ndef Net(): ...\n")
    spec = write_spec(folder, "mine: {model.backbone: net.py:Net}", "twice: {epochs: 4}")
    findings = audit(*resolve(spec), {}, num_classes=10)
    unknown = "parameters and FLOPs of own parts are known once a run of each is finished; ask again then"
    assert {each.text for each in findings if each.severity != "factor"} >= {unknown, "sees 2.0x images"}


def test_own_code_of_a_record_runs_only_where_the_user_asks_for_that_run(folder, runtime):
    """Reading it does not, a copy elsewhere does not, and changed files never; the user's own run by name does."""
    typed("init", "part", "backbone")
    with open("my_backbone.py", "a") as file:
        file.write("\nimport pathlib\n(pathlib.Path.cwd() / 'ran').touch()\n")
    (plan,) = make_plans([str(write_spec(folder, "mine: {model.backbone: my_backbone.py:SmallNet}"))], runtime)
    run = train(plan, runtime)[-1]
    assert (folder / "ran").exists()
    shutil.copytree(run.path, folder / "downloads" / run.run_id)
    (folder / "my_backbone.py").unlink()
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(folder / "image.png")

    def asked(*words: str):
        (folder / "ran").unlink(missing_ok=True)
        forget()
        return typed(*words, "--results", "results")

    for words in (["show", run.run_id], ["status"], ["compare", run.run_id, run.run_id]):
        asked(*words)
        assert not (folder / "ran").exists()
    elsewhere = asked("predict", f"downloads/{run.run_id}", "image.png")
    assert isinstance(elsewhere.exception, UserError)
    assert "has own parts, whose code would be run, and does not lie in results/runs" in str(elsewhere.exception)
    assert not (folder / "ran").exists()
    assert asked("predict", run.run_id, "image.png").exception is None
    assert (folder / "ran").exists()
    kept = next((run.path / "code").glob("*/my_backbone.py"))
    kept.write_text(kept.read_text() + "# tampered\n")
    for words in (["predict", run.run_id, "image.png"], ["reproduce", run.run_id]):
        tampered = asked(*words)
        assert isinstance(tampered.exception, UserError)
        assert "the code of this run is not what was kept, and is not run" in str(tampered.exception)
        assert not (folder / "ran").exists()


def test_a_run_of_another_version_of_an_installed_package_is_not_made_again(folder, runtime, monkeypatch):
    """One line that names both versions, as wrong input."""
    (plan,) = make_plans([str(write_spec(folder, 'mine: {optimizer: {name: "torch.optim:Adagrad"}}'))], runtime)
    run = train(plan, runtime)[-1]
    trained = run.record()["config"]["optimizer"]["code"]
    monkeypatch.setattr("ablation_suite.core.own.source._distribution", lambda top, place: f"{top} 0.1")
    again = typed("reproduce", run.run_id, "--results", "results", "--device", "cpu")
    assert isinstance(again.exception, UserError)
    said = f"torch.optim:Adagrad is of {trained}, and here is torch 0.1; install the version that trained"
    assert str(again.exception) == f"run {run.run_id}: optimizer: {said}"


def test_a_run_with_own_parts_teaches_from_the_users_own_results_alone(folder, runtime):
    """Named by a spec, its kept code runs in the worker; a copy that lies elsewhere is not run."""
    typed("init", "part", "backbone")
    (plan,) = make_plans([str(write_spec(folder, "mine: {model.backbone: my_backbone.py:SmallNet}"))], runtime)
    teacher = train(plan, runtime)[-1]
    shutil.copytree(teacher.path, folder / "downloads" / teacher.run_id)
    for place in (teacher.run_id, f"downloads/{teacher.run_id}"):
        forget()
        spec = write_spec(folder, f"taught: {{loss: {{name: distillation, teacher: {place}}}}}", name="taught")
        (plan,) = make_plans([str(spec)], runtime)
        run_id, job = list(jobs([plan]).items())[-1]
        run = RunFolder(runtime.store / run_id)
        run.create(job)
        if place == teacher.run_id:
            assert work(run, runtime, Datasets()) == DONE, run.failure()
        else:
            assert work(run, runtime, Datasets()) == 78
            assert "has own parts, whose code would be run, and does not lie in" in run.failure()["message"]
        assert bool([name for name in sys.modules if name.startswith(PREFIX)]) == (place == teacher.run_id)


def test_each_broken_part_is_one_line_of_check_and_exit_status_2(folder):
    """The other arms are tried all the same; what the syntax tree tells is told before any is."""
    broken = {
        "shape": ("def bad(logits, targets):\n    return logits", "shape.py:bad: a loss gives one number"),
        "raises": ("def bad(logits, targets):\n    return 1 / 0", "raises.py:2: ZeroDivisionError: division by zero"),
        "prints": ("print('x')\ndef bad(logits, targets): ...", "prints.py:bad: prints 'x' when it is imported"),
    }
    for name, (text, _) in broken.items():
        (folder / f"{name}.py").write_text(text)
    write_spec(folder, *(f"{name}: {{loss: {name}.py:bad}}" for name in broken), "none: {model.head.dropout: 0.3}")
    result = typed("check", "spec.yaml")
    assert result.return_value == 2
    lines = result.stderr.replace(f"{folder}/", "").splitlines()
    assert len(lines) == len(broken)
    for name, (_, words) in broken.items():
        assert any(f"arms.{name}: {words}" in line for line in lines)
    (folder / "needs.py").write_text("import no_such_package\ndef bad(): ...")
    write_spec(folder, "needs: {loss: needs.py:bad}")
    result = typed("check", "spec.yaml")
    assert result.return_value == 2
    (line,) = result.stderr.replace(f"{folder}/", "").splitlines()
    assert "loss: needs.py:1: needs the package 'no_such_package'" in line


def test_a_run_that_fails_in_own_code_says_the_users_line(folder, runtime):
    """Its failure is not tried again by this driver, and names the file as the user knows it."""
    (folder / "late.py").write_text("def late(step):\n    assert step < 3, 'too late'\n    return 1.0")
    (plan,) = make_plans([str(write_spec(folder, "late: {schedule: late.py:late}"))], runtime)
    run_id, job = list(jobs([plan]).items())[-1]
    run = RunFolder(runtime.store / run_id)
    run.create(job)
    for name in [each["code"] for each in own_data(job["config"])]:
        del known[name]  # a worker has the run folder's copy alone
    assert work(run, runtime, Datasets()) == 78
    assert run.failure()["kind"] == "own part failed"
    assert run.failure()["message"] == "late.py:2: AssertionError: too late"


def test_a_plan_of_six_arms_with_own_parts_takes_little_longer_than_another(folder):
    """CPU seconds of the process, the least of three; the benchmark of `plan` holds the number itself."""
    for family in ("backbone", "loss", "augment", "head", "schedule"):
        typed("init", "part", family)
    write_spec(
        folder,
        "a: {model.backbone: my_backbone.py:SmallNet}",
        "b: {loss: my_loss.py:PolyLoss}",
        "c: {augment: my_augment.py:Cutout}",
        "d: {model.head: my_head.py:CosineHead}",
        "e: {schedule: my_schedule.py:polynomial}",
        'f: {optimizer: {name: "torch.optim:Adagrad", lr: 0.1}}',
    )
    write_spec(
        folder,
        *(f"{name}: {{optimizer.lr: {lr}}}" for name, lr in zip("abcdef", range(1, 7), strict=True)),
        name="plain",
    )

    code = (
        "import sys; sys.argv = ['ablate', 'plan', 'spec.yaml']\nfrom ablation_suite.cli import main\n"
        "try: main()\nexcept SystemExit: pass\n"
        f"print([name for name in sys.modules if name in ('torch', 'my_loss') or name.startswith('{PREFIX}')])"
    )
    planned = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=True)
    assert planned.stdout.splitlines()[-1] == "[]"

    def seconds(name: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert ablate("plan", f"{name}.yaml", cwd=folder).returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert min(seconds("spec") for _ in range(3)) < min(seconds("plain") for _ in range(3)) + 0.2


FOREIGN = """
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from foreign_blocks import Block


class Net(nn.Module):
    def __init__(self, width: int = 8, dropout: float = 0.2):
        super().__init__()
        self.block = Block(width)
        self.scale = nn.Parameter(1.0 + 0.1 * torch.randn(width, 1, 1))
        self.drop = nn.Dropout2d(dropout)

    def forward(self, images):
        return self.drop(self.block(images) * self.scale)


def focused(logits, targets, gamma: float = 1.0):
    losses = functional.cross_entropy(logits, targets, reduction="none")
    return ((1 - torch.exp(-losses)) ** gamma * losses).mean()


def noisy(image, strength: float = 0.1):
    return image + strength * torch.randn_like(image)


class Head(nn.Module):
    def __init__(self, num_inputs: int, num_classes: int, hidden: int = 16):
        super().__init__()
        self.first, self.last = nn.Linear(num_inputs, hidden), nn.Linear(hidden, num_classes)

    def forward(self, features):
        return self.last(functional.dropout(self.first(features).relu(), 0.1, self.training))


def scans(root: Path):
    table = np.load(root / "scans.npz")
    return {name: (table[f"{name}_images"], table[f"{name}_labels"]) for name in ("train", "val", "test")}
"""


@pytest.mark.slow
def test_parts_of_a_foreign_file_go_all_the_way(folder):
    """Five families through check, run on two workers, a kill in mid-run, resume, report, reproduce, predict, sweep."""
    (folder / "parts").mkdir()
    (folder / "parts/foreign.py").write_text(FOREIGN)
    (folder / "parts/foreign_blocks.py").write_text(
        "from torch import nn\n\ndef Block(width):\n"
        "    return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.BatchNorm2d(width), nn.ReLU())\n"
    )
    draws = np.random.default_rng(0)
    table = {}
    for name, num_images in (("train", 300), ("val", 90), ("test", 90)):
        labels = np.arange(num_images) % 3
        images = draws.integers(0, 120, (num_images, 8, 8), dtype=np.uint8)
        images[labels == 1, :4] += 60
        images[labels == 2, :, :4] += 60
        table |= {f"{name}_images": images, f"{name}_labels": labels}
    (folder / "data/scans").mkdir(parents=True)
    np.savez(folder / "data/scans/scans.npz", **table)
    data = "data: {name: parts/foreign.py:scans, root: scans, size: 8}"
    (folder / "base.yaml").write_text(BASE.replace("data: digits", data) + "ema_decay: 0.5\naccumulate: 2\n")
    write_spec(
        folder,
        "backbone: {model.backbone: parts/foreign.py:Net}",
        "loss: {loss: {name: parts/foreign.py:focused, gamma: 2}}",
        "augment: {augment: parts/foreign.py:noisy}",
        "head: {model.head: parts/foreign.py:Head}",
        "digits: {data: digits}",
    )
    overrides = ["epochs=8", "batch_size=50"]
    options = ["--tracker", "off", "--device", "cpu", "--jobs", "2"]
    assert typed("check", "spec.yaml", *overrides).return_value == 0
    assert "6 missing" in typed("plan", "spec.yaml", *overrides).output
    command = [sys.executable, "-P", "-m", "ablation_suite", "run", "spec.yaml", *overrides, *options]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ABLATE_CACHE": str(folder / "cache")}
    driver = subprocess.Popen(command, env=env, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    store = folder / "results/runs"
    killed = _kill_in_mid_run(driver, store, "backbone")
    resumed = ablate("run", "spec.yaml", *overrides, *options, "--report", cwd=folder)
    assert resumed.returncode == 0, resumed.stderr
    assert list((folder / "results/report").rglob("*.html")), resumed.stdout
    assert all(run.is_finished() for run in run_folders(store))
    assert "resumed" in [row.get("event") for row in killed.ledger.rows()]
    shutil.rmtree(folder / "parts")  # from here on, the kept code is all there is
    forget()
    again = typed("reproduce", killed.run_id, "--device", "cpu")
    assert again.return_value == 0, again.output
    assert "came out the same" in again.output
    Image.fromarray(table["test_images"][1]).save(folder / "image.png")
    assert typed("predict", killed.run_id, "image.png", "--device", "cpu").exception is None
    assert (folder / "prediction.csv").read_text().splitlines() == ["image_name,pred_label", "image,1"]


def _kill_in_mid_run(driver: subprocess.Popen, store: Path, arm: str) -> RunFolder:
    """SIGKILL to a driver and to the worker that is at an arm, once that has a checkpoint; gives the run."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        for run in run_folders(store) if store.exists() else ():
            if run.job()["labels"]["arm"] == arm and list(run.path.glob("checkpoints/*")) and not run.is_finished():
                driver.kill()
                driver.wait()
                os.kill(run.claimant()["pid"], signal.SIGKILL)
                return run
        time.sleep(0.01)
    raise AssertionError("the run never began")


@pytest.mark.slow
def test_a_forecast_of_a_broken_part_is_its_line(folder):
    """The process that times is given the code, and answers with the fault."""
    (folder / "bad.py").write_text("def bad(logits, targets):\n    return logits @ targets")
    write_spec(folder, "bad: {loss: bad.py:bad}")
    result = ablate("plan", "spec.yaml", "--probe", "--device", "cpu", "--jobs", "1", cwd=folder)
    assert result.returncode == 2
    assert len(result.stderr.splitlines()) == 1
    assert "bad.py:2: RuntimeError" in result.stderr


@pytest.mark.slow
def test_a_sweep_goes_over_the_arguments_of_an_own_part_and_over_own_parts(folder):
    """Four trials of a grid on two workers; an edited file is another study's."""
    typed("init", "part", "loss")
    text = """sweep: mine
question: Which coefficient?
base: base.yaml
sampler: grid
pruner: none
seeds: 1
space:
  loss: {choice: [cross_entropy, my_loss.py:PolyLoss]}
  loss.epsilon: {choice: [1, 2.5, 5], when: {loss: my_loss.py:PolyLoss}}
"""
    (folder / "sweep.yaml").write_text(text)
    options = ["--tracker", "off", "--device", "cpu", "--jobs", "2"]
    result = ablate("sweep", "sweep.yaml", *options, cwd=folder)
    assert result.returncode == 0, result.stderr
    losses = [run.job()["config"]["loss"] for run in run_folders(folder / "results/runs")]
    assert sorted(each.get("epsilon", 0) for each in losses) == [0, 1.0, 2.5, 5]
    with open(folder / "my_loss.py", "a") as file:
        file.write("# edited\n")
    edited = ablate("sweep", "sweep.yaml", *options, cwd=folder)
    assert edited.returncode == 2
    assert "study 'mine' belongs to another sweep: own was" in edited.stderr

"""Does an own part that ends or hangs a process cost anything but its own arm? It is tried aside, before training."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
from click.testing import CliRunner

from ablation_suite.ablations.effect import require_steps, try_effects
from ablation_suite.ablations.plan import make_plans
from ablation_suite.ablations.resolve import resolve
from ablation_suite.cli import ablate
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import aside
from ablation_suite.core.scheduling.aside import Aside

SPEC = """ablation: own
question: Does a part of ours help?
base: base.yaml
seeds: 2
arms:
"""
BASE = """data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}
epochs: 2
batch_size: 128
"""
LOSS = "\n\ndef bad(logits, targets):\n    return logits.mean()\n"
STEP = "import os, sys, time, torch\n\n\ndef bad(logits, targets):\n    {}\n    return logits.mean()\n"

MISBEHAVIOUR = {
    "ends at import": (
        "import os\nos._exit(3)" + LOSS,
        "bad.py:bad, imported: the whole process ends with exit status 3",
    ),
    "ends well at import": (
        "import os\nos._exit(0)" + LOSS,
        "bad.py:bad, imported: the whole process ends with exit status 0",
    ),
    "exits at import": ("import sys\nsys.exit('no')" + LOSS, "bad.py:2: bad.py:bad, imported: SystemExit: no"),
    "is killed": (
        STEP.format("print('all memory used', flush=True); os.kill(os.getpid(), 9)"),
        "bad.py:bad, in a first step: the whole process is ended by SIGKILL (its last words: all memory used)",
    ),
    "hangs at import": ("while True:\n    pass" + LOSS, "bad.py:bad, imported: does not come to an end within 1 s"),
    "hangs in a step": (STEP.format("time.sleep(600)"), "bad.py:5: bad.py:bad, in a first step: does not come to an"),
    "holds the interpreter": (
        "import ctypes\nctypes.PyDLL(None).sleep(600)" + LOSS,
        "bad.py:bad, imported: does not come to an end within 1 s",
    ),
    "exits in a step": (STEP.format("sys.exit(0)"), "bad.py:5: SystemExit: 0"),
    "gives nothing finite": (STEP.format("logits = logits / 0"), "bad.py:bad: the loss of the first step is nan"),
    "changes the folder": (STEP.format("os.chdir('/')"), "bad.py:bad: changes the current folder for the whole"),
    "changes the dtype": (
        "import torch\ntorch.set_default_dtype(torch.float64)" + LOSS,
        "bad.py:bad: changes torch's default dtype for the whole process",
    ),
    "takes our signals": (
        "import signal\nsignal.signal(signal.SIGTERM, signal.SIG_IGN)" + LOSS,
        "bad.py:bad: changes what SIGTERM does for the whole process",
    ),
    "leaves a process": (
        "import subprocess\nsubprocess.Popen(['sleep', '600'], close_fds=False)\nraise ValueError" + LOSS,
        "bad.py:3: bad.py:bad, imported: ValueError",
    ),
}


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a spec of a good arm and of one with the part `bad.py:bad`, which a test writes."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "spec.yaml").write_text(SPEC + "  bad: {loss: bad.py:bad}\n  other: {model.head.dropout: 0.3}\n")
    return tmp_path


@pytest.fixture
def impatient(monkeypatch) -> None:
    """Own parts get a second, and the process that tries them one more."""
    monkeypatch.setattr(aside, "PATIENCE", dict.fromkeys(aside.PATIENCE, 1.0))
    monkeypatch.setattr(aside, "GRACE", 1.0)


@pytest.mark.slow
def test_each_part_that_misbehaves_is_one_line_of_check(folder, impatient):
    """The other arms are tried all the same, and the process that checks is as it was."""
    files = {kind: f"bad{number}.py" for number, kind in enumerate(MISBEHAVIOUR)}
    for kind, (text, _) in MISBEHAVIOUR.items():
        (folder / files[kind]).write_text(text)
    arms = "".join(f"  {kind}: {{loss: {file}:bad}}\n" for kind, file in files.items())
    (folder / "spec.yaml").write_text(SPEC + arms + "  other: {model.head.dropout: 0.3}\n")
    handler = signal.getsignal(signal.SIGTERM)
    result = CliRunner().invoke(ablate, ["check", "spec.yaml"], standalone_mode=False)
    assert result.return_value == 2
    lines = result.stderr.replace(f"{folder}/", "").splitlines()
    said = {line.partition("arms.")[2].partition(": ")[0]: line for line in lines}
    wanted = {kind: words.replace("bad.py", files[kind]) for kind, (_, words) in MISBEHAVIOUR.items()}
    assert len(lines) == len(wanted)
    assert {kind: words for kind, words in wanted.items() if words not in said.get(kind, "")} == {}
    assert f"spec.yaml: reads well, {len(wanted) + 2} arms; two steps of each tried" in result.stdout
    assert (Path.cwd(), signal.getsignal(signal.SIGTERM)) == (folder, handler)


@pytest.mark.parametrize("command", [["run", "spec.yaml"], ["plan", "spec.yaml", "--probe"]])
def test_nothing_is_trained_or_timed_where_a_part_ends_the_process(command, folder):
    """One line, and no run folder."""
    (folder / "bad.py").write_text("import os\nos._exit(3)" + LOSS)
    result = CliRunner().invoke(ablate, [*command, "--tracker", "off", "--device", "cpu"])
    assert isinstance(result.exception, SchemaError)
    assert str(result.exception).replace(f"{folder}/", "") == (
        "spec.yaml: arms.bad: bad.py:bad, imported: the whole process ends with exit status 3"
    )
    assert not (folder / "results").exists()


def test_a_process_that_memory_ended_is_told_so(monkeypatch):
    """A forecast of networks that are too large says what needs less; a kill by somebody is a kill."""
    for counts, words in (([3, 4], "was killed because memory ran out: "), ([3, 3], "is ended by SIGKILL")):
        kills = iter(counts)
        monkeypatch.setattr(aside, "num_oom_kills", lambda kills=kills: next(kills))
        with aside.Aside("signal", {}) as process:
            process.process.kill()
            process.process.wait()
        assert process.ending.startswith(words)


def test_a_sweep_makes_no_study_of_a_part_that_cannot_take_a_step(folder):
    """Once mended, the same sweep begins anew, since no study names the broken version."""
    (folder / "bad.py").write_text("import os\nos._exit(3)" + LOSS)
    (folder / "sweep.yaml").write_text(
        "sweep: mine\nquestion: Which loss?\nbase: base.yaml\nsampler: grid\npruner: none\n"
        "space: {loss: {choice: [cross_entropy, bad.py:bad]}}\n"
    )
    result = CliRunner().invoke(ablate, ["sweep", "sweep.yaml", "--tracker", "off", "--device", "cpu"])
    assert isinstance(result.exception, SchemaError)
    assert str(result.exception).replace(f"{folder}/", "") == (
        "sweep.yaml: bad.py:bad, imported: the whole process ends with exit status 3"
    )
    assert not list(folder.glob("results/sweeps/mine/*.log"))


def test_arms_of_own_parts_are_compared_with_arms_of_ours(folder):
    """All are tried in the same kind of process, so that one that changes nothing is found."""
    (folder / "bad.py").write_text(
        "from torch.nn import functional\n\n\ndef bad(logits, targets):\n"
        "    return functional.cross_entropy(logits, targets)\n"
    )
    ablation, arms = resolve(folder / "spec.yaml")
    effects = try_effects(ablation, arms, Runtime(cache=str(folder / "cache")))
    assert (effects.without, effects.moved, effects.broken) == (["bad"], {}, {})


def test_no_process_is_started_for_what_needs_none(folder, monkeypatch):
    """Neither where all parts are ours, nor where a run of any seed of the same config is finished."""
    monkeypatch.setattr(Aside, "__init__", lambda *_, **__: pytest.fail("a process is started"))
    (folder / "bad.py").write_text("def bad(logits, targets): ...")
    runtime = Runtime(results=str(folder / "results"), cache=str(folder / "cache"))
    plain = SPEC + "  other: {model.head.dropout: 0.3}\n"
    (folder / "plain.yaml").write_text(plain)
    require_steps(make_plans([str(folder / "plain.yaml")], runtime), runtime)
    plans = make_plans([str(folder / "spec.yaml")], runtime)
    cell = plans[0].of_arm("bad")[1]
    monkeypatch.setattr(
        "ablation_suite.core.runs.run_folder.RunFolder.is_finished", lambda run: run.run_id == cell.run_id
    )
    require_steps(plans, runtime)
    monkeypatch.setattr(RunFolder, "is_finished", lambda run: False)
    with pytest.raises(pytest.fail.Exception):
        require_steps(plans, runtime)


def test_what_an_order_started_is_gone_with_it(folder, impatient):
    """The whole group of processes, also of one that was late."""
    (folder / "bad.py").write_text(
        "import subprocess, time\nchild = subprocess.Popen(['sleep', '600'])\n"
        "open('child', 'w').write(str(child.pid))\ntime.sleep(600)" + LOSS
    )
    runtime = Runtime(cache=str(folder / "cache"), results="results")
    with pytest.raises(SchemaError, match=r"bad.py:4: .*does not come to an end within 1 s"):
        require_steps(make_plans([str(folder / "spec.yaml")], runtime), runtime)
    state = Path(f"/proc/{(folder / 'child').read_text()}/stat")
    for _ in range(500):
        if not state.exists() or state.read_text().split()[2] == "Z":
            return
        time.sleep(0.01)
    raise AssertionError("the process that the part started lives on")

"""Does the command line do what it says? The verbs as a person types them, in processes of their own."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import click
import pytest

BASE = """data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}
optimizer: {name: adam, lr: 3e-3}
epochs: 2
"""
SPEC = """ablation: tiny
question: Does dropout help?
base: base.yaml
seeds: 2
baseline: none
arms:
  some: {model.head.dropout: 0.3}
"""
PHOTOS = Path(__file__).parents[3] / "shared" / "data" / "cifar10-mini"


def ablate(*words: object, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ablation_suite.cli", *map(str, words)]
    env = {**os.environ, "OMP_NUM_THREADS": "1", "ABLATE_CACHE": str(cwd / "cache"), **environment}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with a spec whose four runs are trained."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "base.yaml").write_text(BASE)
    (folder / "tiny.yaml").write_text(SPEC)
    result = ablate("run", "tiny.yaml", "--tracker", "off", cwd=folder)
    assert result.returncode == 0, result.stderr
    assert "4 runs: 4 trained" in result.stdout
    assert "4/4" in result.stderr
    return folder


def records(folder: Path) -> dict[str, float]:
    return {path.parent.name: path.stat().st_mtime for path in folder.glob("results/runs/*/record.json")}


def test_a_second_run_trains_nothing(trained):
    """Its time is a row of the benchmarks."""
    before = records(trained)
    result = ablate("run", "tiny.yaml", cwd=trained)
    assert "4 runs: 0 trained, 4 finished before" in result.stdout
    assert records(trained) == before


def test_removing_one_run_folder_trains_one_run(trained):
    """The other records are not touched."""
    before = records(trained)
    name = next(iter(before))
    shutil.rmtree(trained / "results/runs" / name)
    result = ablate("run", "tiny.yaml", "--tracker", "off", cwd=trained)
    assert "4 runs: 1 trained, 3 finished before" in result.stdout
    after = records(trained)
    assert {key for key in after if after[key] != before[key]} == {name}


def test_plan_leaves_nothing_behind(tmp_path):
    """No results folder appears."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "tiny.yaml").write_text(SPEC)
    result = ablate("plan", "tiny.yaml", cwd=tmp_path)
    assert result.returncode == 0
    assert "4 cells are 4 runs: 4 missing" in result.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == ["base.yaml", "tiny.yaml"]


def test_plan_as_json_names_arms_seeds_ids_and_states(trained):
    """What a script needs, and the ids are those of the run folders."""
    [plan] = json.loads(ablate("plan", "tiny.yaml", "--json", cwd=trained).stdout)["plans"]
    assert {(cell["arm"], cell["seed"]) for cell in plan["cells"]} == {(a, s) for a in ("none", "some") for s in (0, 1)}
    assert {cell["run_id"] for cell in plan["cells"]} == set(records(trained))
    assert {cell["state"] for cell in plan["cells"]} == {"finished"}


def test_an_override_makes_other_runs(trained):
    """`epochs=3` changes every run id."""
    [plan] = json.loads(ablate("plan", "tiny.yaml", "epochs=3", "--json", cwd=trained).stdout)["plans"]
    assert not {cell["run_id"] for cell in plan["cells"]} & set(records(trained))


def test_diff_names_the_one_leaf_that_differs(trained):
    """As path: baseline -> arm."""
    assert ablate("diff", "tiny.yaml", "some", cwd=trained).stdout == "model.head.dropout: 0.0 -> 0.3\n"


def test_show_prints_a_run_and_the_command_that_makes_it_again(trained):
    """By the beginning of its id."""
    name = next(iter(records(trained)))
    result = ablate("show", name[:6], cwd=trained)
    assert f"run {name}: finished" in result.stdout
    assert "make it again: ablate run tiny.yaml --arm " in result.stdout


def test_status_lists_every_run(trained):
    """As JSON, one row per run."""
    rows = json.loads(ablate("status", "--json", cwd=trained).stdout)
    assert len(rows) == 4
    assert {row["state"] for row in rows} == {"finished"}


@pytest.mark.fault(
    "a torn record under `report`, `audit` and `plan`",
    injected="file cut to 1,000 bytes",
    promised="each goes on with the others and names the run",
)
@pytest.mark.parametrize("verb", ["report", "audit", "plan"])
def test_a_torn_record_costs_its_run_alone(verb, trained, tmp_path):
    """Every verb goes on with the other three, and says which one it is."""
    shutil.copytree(trained, tmp_path, dirs_exist_ok=True)
    torn = tmp_path / "results/runs" / min(records(trained)) / "record.json"
    os.truncate(torn, 1000)
    result = ablate(verb, "tiny.yaml", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    page = tmp_path / "results/report/tiny/report.md"
    told = result.stdout + result.stderr + (page.read_text() if verb == "report" else "")
    assert torn.parent.name in told
    assert "damaged" in told


def test_report_writes_page_tables_and_figures(trained):
    """From the run folders alone."""
    result = ablate("report", "tiny.yaml", "-o", "out", cwd=trained)
    assert result.returncode == 0, result.stderr
    found = {path.suffix for path in (trained / "out" / "tiny").rglob("*") if path.is_file()}
    assert {".html", ".md", ".csv", ".tex", ".svg", ".png"} <= found


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["run", "nothing.yaml"], "no such spec"),
        (["run", "quikstart"], "did you mean 'quickstart'?"),
        (["rnu", "quickstart"], "did you mean 'run'?"),
        (["run", "tiny.yaml", "epochs=0"], "command line: epochs"),
        (["run", "tiny.yaml", "--arm", "soem"], "did you mean 'some'?"),
        (["run", "tiny.yaml", "--seed", "7"], "none of the spec's seeds"),
        (["run", "tiny.yaml", "--tracker", "wanbd"], "tracker"),
        (["run", "tiny.yaml", "data={name: folder, path: nowhere}"], "--data-root"),
        (["run", "tiny.yaml", "--jobs", "0"], "jobs"),
        (["run", "tiny.yaml", "--devices", "first"], "'first' is not numbers of devices, such as 0,2"),
        (["run", "tiny.yaml", "--devices", "99"], "no CUDA device 99 here"),
        (["diff", "tiny.yaml", "soem"], "did you mean 'some'?"),
        (["show", "zzz"], "no such run"),
        (["menu", "los"], "did you mean 'loss'?"),
        (["run"], "Missing argument"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_bad_input_is_one_clear_line_and_exit_status_2(trained, words, says):
    """No traceback, and nothing is trained."""
    before = records(trained)
    result = ablate(*words, cwd=trained)
    assert result.returncode == 2
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert records(trained) == before


def test_check_lists_all_faults_of_all_specs(tmp_path):
    """Two specs with one fault each are two lines."""
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "one.yaml").write_text(SPEC.replace("seeds: 2", "seeds: 0"))
    (tmp_path / "two.yaml").write_text(SPEC.replace("dropout: 0.3", "dropuot: 0.3"))
    result = ablate("check", "one.yaml", "two.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == ["one.yaml", "two.yaml"]


@pytest.mark.fault(
    "an unreadable image in a grid", injected="a file that is no image", promised="one line before training"
)
def test_an_unreadable_image_stops_before_training(tmp_path):
    """Exit status 2, and the file is named."""
    from PIL import Image

    for split in ("train", "val"):
        for name in ("a", "b"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for index in range(3):
                colour = (hash((split, name)) % 200, index * 50, 0)
                Image.new("RGB", (8, 8), colour).save(tmp_path / "photos" / split / name / f"{index}.png")
    (tmp_path / "photos/train/a/0.png").write_bytes(b"no image")
    (tmp_path / "base.yaml").write_text(BASE.replace("digits", "{name: folder, path: photos, size: 8}"))
    (tmp_path / "tiny.yaml").write_text(SPEC)
    result = ablate("run", "tiny.yaml", "--data-root", ".", cwd=tmp_path)
    assert result.returncode == 2, result.stderr
    assert "0.png" in result.stderr
    assert "Traceback" not in result.stderr


@pytest.mark.fault(
    "Ctrl-C or SIGTERM in a grid",
    injected="a signal to the driver",
    promised="finished runs are kept, and the command that goes on is printed",
)
@pytest.mark.slow
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_stops_keeps_finished_runs_and_says_how_to_go_on(tmp_path, number, status):
    """Within seconds; the next call finishes the grid."""
    (tmp_path / "base.yaml").write_text(BASE.replace("epochs: 2", "epochs: 400"))
    (tmp_path / "tiny.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "ablation_suite.cli", "run", "tiny.yaml", "--tracker", "off", "--jobs", "2"]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not list(tmp_path.glob("results/runs/*/checkpoints/*.sha256")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.send_signal(number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == status
    assert "goes on from here" in errors
    rows = json.loads(ablate("status", "--json", cwd=tmp_path).stdout)
    assert {row["state"] for row in rows} == {"interrupted"}


@pytest.mark.fault(
    "a killed worker", injected="SIGKILL to a worker of the pool", promised="replaced, and its run goes on"
)
@pytest.mark.slow
def test_a_killed_worker_is_replaced_and_its_run_goes_on(tmp_path):
    """SIGKILL to a worker in the middle of a run; the grid ends well."""
    (tmp_path / "base.yaml").write_text(BASE.replace("epochs: 2", "epochs: 8"))
    (tmp_path / "tiny.yaml").write_text(SPEC)
    command = [sys.executable, "-m", "ablation_suite.cli", "run", "tiny.yaml", "--tracker", "off", "--seed", "0"]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 60
    while not (found := list(tmp_path.glob("results/runs/*/checkpoints/*.sha256"))) and time.monotonic() < deadline:
        time.sleep(0.05)
    claim = json.loads((found[0].parents[1] / "attempts/1/claim.json").read_text())
    os.kill(claim["pid"], signal.SIGKILL)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "2 runs: 2 trained" in output
    assert (found[0].parents[1] / "attempts" / "2").is_dir()


@pytest.mark.slow
@pytest.mark.skipif(not PHOTOS.is_dir(), reason="needs the folder of real photographs beside the project")
def test_real_photographs_train(tmp_path):
    """7,000 JPEGs in the report's layout, for one epoch of a small network."""
    base = BASE.replace("digits", f"{{name: folder, path: {PHOTOS.name}, size: 32}}").replace("epochs: 2", "epochs: 1")
    (tmp_path / "base.yaml").write_text(base)
    (tmp_path / "photos.yaml").write_text(SPEC.replace("seeds: 2", "seeds: 1"))
    result = ablate("run", "photos.yaml", "--data-root", PHOTOS.parent, "--tracker", "off", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for path in tmp_path.glob("results/runs/*/record.json"):
        record = json.loads(path.read_text())
        assert record["metrics"]["val/accuracy"] > 0.2
        assert record["cost"]["images_seen"] == 5000
        assert len(record["classes"]) == 10


def test_every_setting_of_the_arithmetic_can_be_typed():
    """Deterministic kernels, the memory format and the time between checkpoints arrive in the runtime."""
    from click.testing import CliRunner

    import ablation_suite.options
    from ablation_suite.core.config.runtime import Runtime

    given = []
    command = click.command()(ablation_suite.options.training(lambda runtime: given.append(runtime)))
    for words in ("", "--no-deterministic --channels-last off --checkpoint-minutes 0.5", "--deterministic"):
        assert CliRunner().invoke(command, words.split()).exit_code == 0
    other = {"deterministic": False, "channels_last": "off", "checkpoint_minutes": 0.5}
    assert given == [Runtime(), Runtime(**other), Runtime()]
    assert CliRunner().invoke(command, ["--checkpoint-minutes", "0"]).exit_code != 0


@pytest.mark.parametrize("verb", ["check", "run"])
@pytest.mark.parametrize(
    ("arms", "start"),
    [
        ("  frozen: {model.freeze: layer9}", "arms.frozen: model.freeze: the backbone has no part 'layer9'"),
        (
            "  one: {accumulate: 4}\n  two: {compound: {accumulate: 4, epochs: 3}}",
            "arms.one and 1 more: batch_size: 1079 images in batches of 269 leave a last one of 3",
        ),
    ],
)
def test_what_an_arm_asks_for_in_vain_is_told_with_the_arm(tmp_path, verb, arms, start):
    """A part that the network does not have, and pieces of one image; by both verbs in the same line."""
    (tmp_path / "base.yaml").write_text(BASE.replace("epochs", "batch_size: 269\nepochs"))
    (tmp_path / "tiny.yaml").write_text(f"{SPEC}{arms}\n")
    result = ablate(verb, "tiny.yaml", cwd=tmp_path)
    assert result.returncode == 2
    assert [line.startswith(f"tiny.yaml: {start}") for line in result.stderr.splitlines()] == [True], result.stderr

"""Is every reading of the test split written down, counted, and kept out of the report and of the search for seeds?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from ablation_suite.ablations.spec import CONTROL
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.reports.check import check_reports
from ablation_suite.reports.readings import READS, reads, record_read, sentence, write_summary
from ablation_suite.training_verbs import run
from tests.core.tracked_run import BARE_RECORD

BASE = """data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}
optimizer: {name: adam, lr: 3e-3}
epochs: 1
"""
SPEC = """ablation: tiny
question: Does dropout help?
base: base.yaml
seeds: 2
baseline: none
control: true
arms:
  some: {model.head.dropout: 0.3}
"""


def ablate(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A verb in a process of its own, which says at its end whether torch was loaded."""
    code = (
        "import sys, atexit\n"
        "atexit.register(lambda: print('torch' in sys.modules, file=sys.stderr))\n"
        "from ablation_suite.cli import main\nmain()"
    )
    env = {**os.environ, "ABLATE_CACHE": str(cwd / "cache")}
    command = [sys.executable, "-c", code, *map(str, words)]
    result = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=300)
    assert result.returncode == 0, result.stderr
    return result


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder with the six runs of a spec with a control, whose one run was asked for by name."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "base.yaml").write_text(BASE)
    (folder / "tiny.yaml").write_text(SPEC)
    options = ("--tracker", "off", "--executor", "inline")
    ablate("run", "tiny.yaml", "--arm", CONTROL, "--seed", 1, *options, cwd=folder)
    [record] = folder.glob("results/runs/*/record.json")
    assert json.loads(record.read_text())["config"]["seed"] == 500_001
    ablate("run", "tiny.yaml", *options, cwd=folder)
    return folder


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.slow
def test_each_report_of_test_results_is_counted_and_changes_no_byte_of_it(trained):
    """The first reading and the second are told; the summary beside the reports is all that differs."""
    first = ablate("report", "tiny.yaml", cwd=trained)
    before = files(trained / "results/report")
    second = ablate("report", "tiny.yaml", cwd=trained)
    after = files(trained / "results/report")
    assert "tiny: test split not read before" in first.stderr
    assert "tiny: test split read once before" in second.stderr
    assert {name for name in after if before.get(name) != after[name]} == {"test-reads.md"}
    assert [read["runs"] for read in reads(trained / "results")] == [6, 6]
    assert second.stderr.splitlines()[-1] == "False"  # torch was not loaded
    page = (trained / "results/report/tiny/report.html").read_text()
    assert "data:image/png;base64," in page
    assert "test split" not in page


def test_a_picture_of_another_image_is_a_fault_of_the_page(trained):
    """Two pictures that changed places are both named; without the data they are passed over, as are pages without."""
    ablate("report", "tiny.yaml", "-o", "again", cwd=trained)
    page = trained / "again/tiny/report.html"
    here = Runtime(cache=str(trained / "cache"))
    assert check_reports(trained / "again", here) == {page.parent: []}
    text = page.read_text()
    one, other = list(dict.fromkeys(re.findall(r'<li><img src="(data:image[^"]*)"', text)))[:2]
    swapped = {one: other, other: one}
    page.write_text(re.sub(r'(?<=<li><img src=")[^"]*', lambda found: swapped.get(found[0], found[0]), text))
    told = check_reports(trained / "again", here)[page.parent]
    assert len(told) == 2
    words = re.compile(r"report.html: shows a picture of \d{4} that is not the one in the data")
    assert all(map(words.fullmatch, told))
    assert check_reports(trained / "again") == {page.parent: []}


def test_a_comparison_of_runs_is_counted_on_its_own(trained):
    """It has no ablation; what it prints as JSON stays JSON."""
    runs = [path.parent.name for path in sorted(trained.glob("results/runs/*/record.json"))[:2]]
    result = ablate("compare", *runs, "--json", cwd=trained)
    assert "comparisons of runs: test split not read before" in result.stderr
    json.loads(result.stdout)
    assert (reads(trained / "results")[-1]["command"], reads(trained / "results")[-1]["runs"]) == ("compare", 2)


def test_readings_are_counted_by_ablation_and_a_torn_line_for_nothing(tmp_path):
    """Two of one, one of another, half a line."""
    assert [record_read(tmp_path, "report", name, 4) for name in ("a", "b", "a")] == [0, 0, 1]
    with open(tmp_path / READS, "a") as file:
        file.write('{"time": "2026')
    assert len(reads(tmp_path)) == 3
    assert [sentence("a", count) for count in (0, 1, 2)] == [
        "a: test split not read before", "a: test split read once before", "a: test split read 2 times before",
    ]  # fmt: skip


def test_the_summary_escapes_names(tmp_path):
    """A name from a spec opens no tag and no column."""
    record_read(tmp_path, "report", "<b>|x", 1)
    assert "<b>|" not in write_summary(tmp_path, tmp_path / "report").read_text()


class TwoTales:
    """An executor whose runs err alike in both arms on one split, and are all wrong in the arm `some` on the other."""

    def __init__(self, decided: str):
        self.decided = decided
        self.submitted: list[Path] = []

    def capacity(self) -> int:
        return 1

    room = capacity

    def adopt(self) -> set[str]:
        return set()

    def submit(self, folder: Path) -> None:
        self.submitted.append(folder)
        labels = RunFolder(folder).job()["labels"]
        rng = np.random.default_rng([labels["seed"], labels["arm"] == "some"])
        outputs, metrics = {}, {}
        for split in ("val", "test"):
            right = rng.random(40) < (0.05 if (labels["arm"], split) == ("some", self.decided) else 0.8)  # N
            outputs[f"{split}_probabilities"] = np.stack([~right, right], axis=1).astype(np.float32)  # N K
            outputs[f"{split}_labels"] = np.ones(40, dtype=np.int64)
            outputs[f"{split}_names"] = np.arange(40).astype(str)
            metrics[f"{split}/accuracy"] = float(right.mean())
        np.savez(folder / "outputs.npz", **outputs)
        metrics["best_epoch"] = 1
        record = {**BARE_RECORD, "config": {"epochs": 2}, "classes": ["0", "1"], "metrics": metrics}
        record["cost"] = {"images_per_second": 1.0, "seconds": 1.0}
        (folder / "record.json").write_text(json.dumps(record))

    def poll(self, seconds: float) -> list[Event]:
        return [Event(run_id=self.submitted[-1].name, retry="counted")]


@pytest.mark.parametrize("decided", ["val", "test"])
def test_seeds_are_added_by_the_validation_split_alone(decided, tmp_path, monkeypatch):
    """`ablate run` stops at the least where validation decides, and goes on where only test would."""
    (tmp_path / "base.yaml").write_text(BASE)
    spec = tmp_path / "tiny.yaml"
    spec.write_text(SPEC.replace("control: true\n", "").replace("seeds: 2", "seeds: {min: 3, max: 5, until: decided}"))
    executor = TwoTales(decided)
    monkeypatch.setattr("ablation_suite.commands.run.open_executor", lambda runtime: nullcontext(executor))
    words = [str(spec), "--results", str(tmp_path / "results"), "--tracker", "off"]
    assert CliRunner().invoke(run, words, standalone_mode=False, catch_exceptions=False).return_value == 0
    assert (len(executor.submitted) > 2 * 3) == (decided == "test")

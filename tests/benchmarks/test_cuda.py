"""Does a sitting with a CUDA device keep what it measured, whatever ends it? On the null device, and without any."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.benchmarks import cuda
from tests.benchmarks.cuda_steps import counted_bytes
from tests.benchmarks.lines import sections

HOUSE = Path(__file__).parents[2]
ROW = """import sys, time; print('{"row": ["copy", "3 GB/s"]}', file=open(sys.argv[1], "w"), flush=True)\n"""
CEILINGS, GRID = cuda.PARTS["ceilings"].title, cuda.PARTS["grid"].title
EARLIER = f"# Page\n\nWords.\n\n## {CEILINGS}\n\n| what |\n| --- |\n| old |\n\n## By hand\n\nOld words.\n"


@pytest.fixture
def sitting(tmp_path, monkeypatch):
    """A sitting of so many seconds whose parts run a program of ours, and its page, which has two sections already."""
    monkeypatch.setattr(cuda, "_facts", lambda: "Some facts.")
    (tmp_path / "page.md").write_text(EARLIER)

    def make(seconds: float, program: str = ""):
        def start(self, name, told, said):
            command = [sys.executable, "-c", program, told]
            with open(said, "wb") as output:
                return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

        monkeypatch.setattr(cuda.Sitting, "_start", start)
        return cuda.Sitting(seconds=seconds, short=False, page=tmp_path / "page.md"), tmp_path / "page.md"

    return make


def test_a_part_that_fails_leaves_its_rows_its_last_words_and_the_other_sections(sitting):
    """The row stands in the page, the fault below it, and what was written by hand stays."""
    mine, page = sitting(100.0, ROW + "raise ValueError('the device is gone')")
    mine.measure("ceilings")
    found = sections(page)
    assert "| copy | 3 GB/s |" in found[CEILINGS]
    assert found[CEILINGS].endswith("Failed with status 1: ValueError: the device is gone")
    assert found[CEILINGS].startswith("Some facts. In ")
    assert found["By hand"] == "Old words."
    assert found[""] == "# Page\n\nWords."


def test_a_part_is_ended_where_its_time_is_over(sitting, monkeypatch):
    """Three times its seconds, of which a tenth is left here: the row stays, and it is said why there are no more."""
    monkeypatch.setitem(cuda.PARTS, "ceilings", cuda.Part(title=CEILINGS, header=("what", "measured"), seconds=0.3))
    mine, page = sitting(100.0, ROW + "time.sleep(60)")
    mine.measure("ceilings")
    assert "| copy | 3 GB/s |" in sections(page)[CEILINGS]
    assert sections(page)[CEILINGS].endswith("The rest is not measured: out of time.")


def test_what_no_time_is_left_for_is_told_and_takes_no_earlier_figures_away(sitting):
    """A section with figures stays, one without says so."""
    mine, page = sitting(5.0, "raise AssertionError('it was begun')")
    assert mine.measure("ceilings") == mine.measure("grid") == "Not measured: out of time."
    assert sections(page)[CEILINGS] == "| what |\n| --- |\n| old |"
    assert sections(page)[GRID] == "Not measured: out of time."


def sit_on_the_null_device(page: str) -> str:
    """What the page of results is after a sitting of no time there."""
    cuda.RESULTS = Path(page)  # this process ends after the call
    sys.argv = ["cuda", "--seconds", "0"]
    assert cuda.main() == 0
    return Path(page).read_text()


def test_the_null_device_writes_no_results(null_cuda, tmp_path):
    """The page stays to the byte, though sections are missing."""
    (tmp_path / "page.md").write_text(EARLIER)
    assert null_cuda.call(sit_on_the_null_device, str(tmp_path / "page.md")) == EARLIER


def test_without_a_cuda_device_there_is_one_line(monkeypatch, capsys):
    """Status 2, and what to run instead."""
    monkeypatch.setattr(sys, "argv", ["cuda"])
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        cuda.main()
    assert ended.value.code == 2
    assert "there is no CUDA device here; `python -m tests.benchmarks` measures the CPU" in capsys.readouterr().err


@pytest.mark.parametrize(("network", "megabytes"), [("resnet50", (405, 308)), ("resnext50_32x4d", (529, 401))])
def test_the_bytes_of_a_step_are_those_of_the_published_limits(network, megabytes):
    """At 3.35 TB/s they are 8,280 and 10,860 images/s, and 6,330 and 8,360, which were counted without this code."""
    assert [each / 1e6 for each in counted_bytes(network)] == pytest.approx(megabytes, rel=0.003)


@pytest.mark.slow
def test_every_part_runs_on_the_null_device(null_cuda, tmp_path):
    """All but the compiled steps, which differ in one setting: each has rows and no fault, and losses are zero."""
    parts = [name for name in cuda.PARTS if name != "compiled"]
    command = [sys.executable, "-m", "tests.benchmarks.cuda", *parts, "--short", "--page", str(tmp_path / "page.md")]
    environment = null_cuda.environment(zeros=True) | {"ABLATE_CACHE": str(tmp_path / "cache")}
    done = subprocess.run(command, cwd=HOUSE, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = sections(tmp_path / "page.md")
    assert list(found)[1:] == [cuda.PARTS[name].title for name in parts]
    for title in list(found)[1:]:
        assert found[title].count("\n| ") >= 2, found[title]
        assert "Null H100" in found[title]
    assert "passed" in found[cuda.PARTS["tests"].title]
    assert found[cuda.PARTS["resume"].title].endswith("yes, all 63 tensors |")

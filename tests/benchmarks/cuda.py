"""What does a day with a CUDA device say of the suite? Measures all that a CPU cannot, and writes RESULTS-CUDA.md.

    python -m tests.benchmarks.cuda [part ...] [--seconds 540] [--page FILE] [--short]

Each part is a process of its own and a section of the page, which is written anew whenever a row is measured. What no
longer fits into the seconds is not begun or is ended, and a fault ends its own part alone. `ceilings` and `plain` give
the figures that steps are judged by, so that whoever measures steps again names them, too. `--short` measures as little
as possible: for the null device, whose figures mean nothing and which writes no page but one that is named.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.provenance import provenance, scrub
from tests.benchmarks.lines import sections, write_section

RESULTS = Path(__file__).with_name("RESULTS-CUDA.md")
OUT_OF_TIME = "out of time"


@dataclass(frozen=True, kw_only=True)
class Part:
    """A section of the page, measured by the part of its name in `cuda_parts.py`."""

    title: str
    header: tuple[str, ...]
    seconds: float
    """Guessed for an H100: where less is left it is not begun, and after three times as much it is ended."""


_STEP = ("network", "batch", "arithmetic", "images/s (lowest to highest)", "beside the plain script, bar 5x")
_STEP += ("counted limit, images/s", "share of it, bar half", "host's part of a step", "with its first step")
PARTS = {
    "ceilings": Part(title="The two ceilings", header=("what", "measured"), seconds=20),
    "tests": Part(title="Tests that need a CUDA device", header=("test", "outcome"), seconds=60),
    "plain": Part(title="Steps of the plain script", header=("network", "batch", "images/s"), seconds=40),
    "eager": Part(title="Steps, nothing compiled", header=_STEP, seconds=60),
    "resume": Part(title="Kill and resume", header=("run", "what happened", "the same bits"), seconds=40),
    "input": Part(
        title="Training input",
        header=("what", "images/s", "beside the plain loader", "beside the eager bf16 step of resnet50, bar 3x"),
        seconds=40,
    ),
    "grid": Part(
        title="The quickstart grid", header=("jobs", "wall", "runs", "the same bits as with one job"), seconds=95
    ),
    "compiled": Part(title="Steps, the backbone compiled", header=_STEP, seconds=60),
}  # in the order of their worth: the last is the first that no time is left for


class Sitting:
    """Measures parts until its seconds are over."""

    def __init__(self, *, seconds: float, short: bool, page: Path | None):
        self.end, self.short, self.page = time.monotonic() + seconds, short, page
        self.figures: dict[str, float] = {}
        self.facts = _facts()

    def measure(self, name: str) -> str:
        """Measure one part and put it on the page, row by row; what its section says in the end."""
        part, begin = PARTS[name], time.monotonic()
        left = self.end - begin
        if left < part.seconds / (4 if self.short else 1):
            return self._put(part, [], f"Not measured: {OUT_OF_TIME}.", 0.0)
        with tempfile.TemporaryDirectory() as folder:
            told, said = Path(folder, "told"), Path(folder, "said")
            told.touch()
            process = self._start(name, told, said)
            try:
                seen = 0
                while (late := process.poll() is None) and time.monotonic() < begin + min(left, 3 * part.seconds):
                    time.sleep(0.2)
                    if (size := told.stat().st_size) > seen:
                        seen = size
                        self._put(part, self._rows(told), "", time.monotonic() - begin)
            finally:
                _end(process)
            rows, remark = self._rows(told), ""
            if late:
                remark = f"{'The rest is n' if rows else 'N'}ot measured: {OUT_OF_TIME}."
            elif process.returncode:
                remark = f"Failed with status {process.returncode}: {_last_line(said)}"
            return self._put(part, rows, remark, time.monotonic() - begin)

    def _start(self, name: str, told: Path, said: Path) -> subprocess.Popen[bytes]:
        words = [name, str(told), json.dumps(self.figures), *(["short"] if self.short else [])]
        command = [sys.executable, "-m", "tests.benchmarks.cuda_parts", *words]
        with open(said, "wb") as output:
            return subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)

    def _rows(self, told: Path) -> list[list[str]]:
        """The rows in a part's file; the figures beside them are kept for the parts that follow."""
        rows = []
        for line in told.read_text().splitlines(keepends=True):
            if line.endswith("\n"):  # else it is being written, or never will be
                content: dict[str, Any] = json.loads(line)
                if "row" in content:
                    rows.append(content["row"])
                else:
                    self.figures[content["figure"]] = content["value"]
        return rows

    def _put(self, part: Part, rows: list[list[str]], remark: str, seconds: float) -> str:
        """Write a part's section and give its text; figures of an earlier day stay where time was all that lacked."""
        blank = [""] * len(part.header)
        lines = [part.header, ["---"] * len(part.header), *((each + blank)[: len(blank)] for each in rows)]
        table = "".join(f"| {' | '.join(cells)} |\n" for cells in lines) if rows else ""
        text = "\n".join(filter(None, [f"{self.facts} In {seconds:.0f} s.\n" if seconds else "", table, remark]))
        if self.page is not None:
            if not self.page.exists():
                self.page.write_text("# Benchmarks on a CUDA device\n")
            earlier = sections(self.page).get(part.title, "")
            if rows or OUT_OF_TIME not in remark or "| --- |" not in earlier:
                write_section(self.page, part.title, text)
        return text


def main() -> int:
    """Measure the parts that were asked for, by default all; 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="part", help=", ".join(PARTS))
    parser.add_argument("--seconds", type=float, default=540.0, help="for all parts together [540]")
    parser.add_argument("--page", type=Path, default=RESULTS, help="where sections are put [RESULTS-CUDA.md]")
    parser.add_argument("--short", action="store_true", help="measure as little as possible")
    given = parser.parse_args()
    if unknown := set(given.parts) - set(PARTS):
        parser.error(f"no such part: {', '.join(sorted(unknown))}; the parts are {', '.join(PARTS)}")
    if not torch.cuda.is_available():
        parser.error("there is no CUDA device here; `python -m tests.benchmarks` measures the CPU")
    is_null = torch.cuda.get_device_name().startswith("Null")
    if is_null and given.page.resolve() == RESULTS:
        print("this is the null device, whose figures mean nothing: RESULTS-CUDA.md stays as it is", file=sys.stderr)
        given.page = None
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the part that runs is ended, too
    sitting, failed = Sitting(seconds=given.seconds, short=given.short, page=given.page), False
    for name in [name for name in PARTS if name in given.parts or not given.parts]:
        text = sitting.measure(name)
        failed |= "failed" in text.lower()
        print(f"## {PARTS[name].title}\n\n{text}\n", flush=True)
    return int(failed)


def _facts() -> str:
    """By which command, when, of which code and on what."""
    facts = provenance(Runtime(), "cuda")
    device, suite = facts["device"], facts["suite"]
    code = f"commit {suite['commit'][:7]}{', changed since' * suite['dirty']}" if "commit" in suite else "no commit"
    packages = ", ".join(f"{name} {facts['packages'][name]}" for name in ("python", "torch", "torchvision", "numpy"))
    command = shlex.join(["python", "-m", "tests.benchmarks.cuda", *sys.argv[1:]])
    return (
        f"Measured on {time.strftime('%Y-%m-%d')} by `{command}`.\n"
        f"Code: {code} (source {suite['source']}). One {device['model']}, driver {device['driver']}, "
        f"{facts['cpus']} CPU cores; {packages}."
    )


def _end(process: subprocess.Popen[bytes]) -> None:
    """End a part with the processes that it started; nothing is left of one that ended by itself."""
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _last_line(said: Path) -> str:
    lines = said.read_text(errors="replace").strip().splitlines()
    return scrub(lines[-1])[:300] if lines else "it said nothing"


if __name__ == "__main__":
    sys.exit(main())

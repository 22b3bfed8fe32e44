"""How long do reports over 1,000 runs of 50 epochs take? `python -m tests.benchmarks.report`: 5 s, in 5 blocks 10 s.

Measured in a fresh process, so that the imports (scipy, matplotlib, jinja2) count. CPU seconds of the pages and of the
figures, which processes beside draw, are printed with the wall's: the larger holds on a busy machine too.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

from ablation_suite.ablations.plan import Plan
from tests.benchmarks.lines import Line
from tests.reports.make_runs import Truth, make_store

BAR_SECONDS, BAR_SECONDS_BLOCKS = 5.0, 10.0
NUM_ARMS, NUM_SEEDS, NUM_EPOCHS, NUM_IMAGES, NUM_BLOCKS = 50, 20, 50, 1000, 5

_TIMED = """
import pickle, resource, sys, time
from pathlib import Path
plans = pickle.loads(Path(sys.argv[1]).read_bytes())
planned, planned_cpu = time.perf_counter(), time.process_time()
from ablation_suite.reports.build import build_report
build_report(plans, Path(sys.argv[2]), Path(sys.argv[3]))
beside = resource.getrusage(resource.RUSAGE_CHILDREN)
print(time.perf_counter() - planned, time.process_time() - planned_cpu, beside.ru_utime + beside.ru_stime)
"""


def lines() -> list[Line]:
    """How long the reports take, of one ablation and in blocks."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        settings = {"seeds": NUM_SEEDS, "epochs": NUM_EPOCHS, "num_images": NUM_IMAGES}
        alone = [make_store(root / "runs", _truths(NUM_ARMS), **settings)]
        few = _truths(NUM_ARMS // NUM_BLOCKS)
        blocks = [
            make_store(root / "runs", few, ablation=f"q-{each}", block=str(each), family="q", **settings)
            for each in range(NUM_BLOCKS)
        ]
        return [_measure(root, alone, BAR_SECONDS), _measure(root, blocks, BAR_SECONDS_BLOCKS)]


def main() -> None:
    """Print how long the reports take; exit status 1 where a bar is not met."""
    found = lines()
    for line in found:
        print(f"{line.what}: {line.ours}; at most {line.bar}")
    sys.exit(not all(line.met for line in found))


def _truths(num_arms: int) -> dict[str, Truth]:
    return {f"arm-{index:02d}": Truth(delta={"level": index}, effect=0.001 * index) for index in range(num_arms)}


def _measure(root: Path, plans: list[Plan], bar: float) -> Line:
    (root / "plans.pickle").write_bytes(pickle.dumps(plans))
    words = [sys.executable, "-c", _TIMED, root / "plans.pickle", root / "runs", root / "report"]
    output = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout
    wall, pages, figures = map(float, output.split())
    num_runs = sum(len(plan.cells) for plan in plans)
    return Line(
        what=f"report over {num_runs} runs of {NUM_EPOCHS} epochs, {NUM_IMAGES} images"
        + (f", in {len(plans)} blocks" if len(plans) > 1 else ""),
        ours=f"{wall:.1f} s; of CPU {pages:.1f} s for the pages, {figures:.1f} s for the figures beside",
        bar=f"{bar:g} s",
        met=max(pages, figures) <= bar,
    )


if __name__ == "__main__":
    main()

"""How long does a report over 1,000 runs of 50 epochs take? `python -m tests.benchmarks.report`: 5 s at most.

Measured in a fresh process, so that the imports (scipy, matplotlib, jinja2) count. CPU seconds are printed beside the
wall's, because they hold on a busy machine too.
"""

from __future__ import annotations

import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.reports.make_runs import Truth, make_store

BAR_SECONDS = 5.0
NUM_ARMS, NUM_SEEDS, NUM_EPOCHS, NUM_IMAGES = 50, 20, 50, 1000

_TIMED = """
import pickle, sys, time
wall, cpu = time.perf_counter(), time.process_time()
from pathlib import Path
plan = pickle.loads(Path(sys.argv[1]).read_bytes())
planned, planned_cpu = time.perf_counter(), time.process_time()
from ablation_suite.reports.build import build_report
build_report([plan], Path(sys.argv[2]), Path(sys.argv[3]))
print(time.perf_counter() - planned, time.process_time() - planned_cpu)
"""


def main() -> None:
    """Make the runs, write their report, and say whether the bar is met; exit status 1 where it is not."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        truths = {f"arm-{index:02d}": Truth(delta={"level": index}, effect=0.001 * index) for index in range(NUM_ARMS)}
        plan = make_store(root / "runs", truths, seeds=NUM_SEEDS, epochs=NUM_EPOCHS, num_images=NUM_IMAGES)
        (root / "plan.pickle").write_bytes(pickle.dumps(plan))
        words = [sys.executable, "-c", _TIMED, root / "plan.pickle", root / "runs", root / "report"]
        output = subprocess.run(list(map(str, words)), capture_output=True, text=True, check=True).stdout
        wall, cpu = map(float, output.split())
        size = (root / "report/contrastive/report.html").stat().st_size
    print(f"{NUM_ARMS * NUM_SEEDS} runs of {NUM_EPOCHS} epochs, {NUM_IMAGES} images: {wall:.1f} s, {cpu:.1f} s of CPU")
    print(f"report.html: {size / 1e6:.2f} MB")
    sys.exit(cpu > BAR_SECONDS)


if __name__ == "__main__":
    main()

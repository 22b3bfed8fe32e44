"""What does a grid come to whose driver is killed again and again? To the same bits, each run trained once."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import write_json
from ablation_suite.core.runs.run_folder import RunFolder

DRIVER = """
import json, signal, sys
from pathlib import Path
signal.signal(signal.SIGINT, signal.default_int_handler)
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling.console import Progress
from ablation_suite.core.scheduling.executors import open_executor
from ablation_suite.core.scheduling.grid import drive
order = json.loads(Path(sys.argv[1]).read_text())
runtime = Runtime.model_validate_json(json.dumps(order["runtime"]))
with open_executor(runtime) as executor, Progress() as progress:
    outcome = drive(order["jobs"], runtime, executor, progress)
sys.exit(1 if outcome.failed else 0)
"""


def start_driver(folders: list[RunFolder], runtime: Runtime, **options: Any) -> subprocess.Popen[bytes]:
    """A driver of these runs in a process of its own; what it prints goes to `driver.txt` in the results."""
    order = Path(runtime.results) / "order.json"
    write_json(order, {"runtime": runtime.model_dump(), "jobs": {each.run_id: each.job() for each in folders}})
    with open(order.with_name("driver.txt"), "ab") as log:
        return subprocess.Popen(
            [sys.executable, "-c", DRIVER, str(order)], stdout=log, stderr=log, cwd=Path(__file__).parents[2], **options
        )


def kill_and_start_again(
    folders: list[RunFolder], runtime: Runtime, instants: int, longest: float, seed: int, **options: Any
) -> int:
    """Kill the driver of a grid at random instants, then let it end; the exit status of the last one."""
    rng = random.Random(seed)
    for _ in range(instants):
        driver = start_driver(folders, runtime, **options)
        time.sleep(rng.uniform(0.0, longest))
        driver.send_signal(signal.SIGKILL)
        driver.wait()
    return start_driver(folders, runtime, **options).wait()


def epochs_trained(folder: RunFolder) -> Counter[int]:
    """How often each epoch of a run was brought to its end."""
    return Counter(row["epoch"] for row in folder.ledger.rows() if row["kind"] == "epoch")

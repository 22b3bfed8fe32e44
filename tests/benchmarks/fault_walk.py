"""What becomes of a run at whose n-th file operation the disk fails or is full, or which is killed there, for every n?

python -m tests.benchmarks.fault_walk      ten to twenty minutes on two cores; it rewrites FAULT_WALK.md
"""

from __future__ import annotations

import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

from ablation_suite.core.runs.run_folder import RunFolder
from tests.core import conftest
from tests.core.fault_walk import CALLS, FAULTS, TORN, Case, Walker, outcome

PAGE = Path(__file__).with_name("FAULT_WALK.md")
HEAD = """# A fault at every file operation

A small run of two epochs makes {num_calls} calls on files of its run folder. In turn, each of them fails with EIO,
fails with ENOSPC, or is where the process is killed, a write also with half of its bytes written ({num_cases} runs, by
`strace`'s inject). What is asked of each: no hang, no traceback, one line where the attempt failed; and the next
attempt ends to the bit as a run that was left alone, with nothing left over. Made on {date} by
`python -m tests.benchmarks.fault_walk`.

{verdict}

"""


def main() -> None:
    """Walk all places and write the page; exit status 1 where one of them broke a promise."""
    scratch = Path(tempfile.mkdtemp())
    walker = Walker(scratch, conftest._runtime(scratch))
    config = conftest._config(ema_decay=0.9, batch_size=16)
    whole = conftest._folder(scratch / "whole", config, "digits")
    calls = walker.calls(whole)
    found: dict[tuple[str, str], Counter[str]] = {}
    broken = []
    cases = [Case(*each, fault) for each in calls for fault in FAULTS if each[0] == "write" or fault != TORN]
    for case in cases:
        folder = conftest._folder(scratch / "case", config, "digits")
        try:
            word = outcome(walker, folder, case)
            if weights(folder) != weights(whole):
                raise AssertionError(f"{case}: ends with other numbers")
            left = {path.name for path in folder.path.iterdir()} - {path.name for path in whole.path.iterdir()}
            if left:
                raise AssertionError(f"{case}: leaves {sorted(left)}")
        except (AssertionError, TimeoutError) as error:
            word = "broken"
            broken.append(f"{case}: {error}")
            print(broken[-1], file=sys.stderr, flush=True)
        found.setdefault((case.call, case.fault), Counter())[word] += 1
        shutil.rmtree(scratch / "case")
    walker.close()
    shutil.rmtree(scratch)
    verdict = "All kept." if not broken else "Broken:\n\n" + "\n".join(f"- {line}" for line in broken)
    head = HEAD.format(num_calls=len(calls), num_cases=len(cases), date=time.strftime("%Y-%m-%d"), verdict=verdict)
    PAGE.write_text(head + table(found))
    print(PAGE.read_text())
    sys.exit(bool(broken))


def weights(folder: RunFolder) -> list[bytes]:
    """The bits of the kept weights."""
    values = torch.load(folder.path / (folder.record() or {})["weights"], weights_only=True)
    return [value.contiguous().numpy().tobytes() for value in values.values()]


def table(found: dict[tuple[str, str], Counter[str]]) -> str:
    """Calls by faults, each cell with what came of the attempts."""
    lines = ["| call | EIO | ENOSPC | SIGKILL | half, then SIGKILL |", "| --- | --- | --- | --- | --- |"]
    for call in CALLS:
        cells = [found.get((call, fault), Counter()) for fault in FAULTS]
        if any(cells):
            texts = ["; ".join(f"{count} {word}" for word, count in sorted(cell.items())) for cell in cells]
            lines.append(f"| `{call}` | {' | '.join(texts)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()

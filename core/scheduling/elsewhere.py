"""How do runs go that train out of our sight, in a queue or on another machine? Their folders tell."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from pathlib import Path

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs import lease
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.executors import Event

HUNG_SECONDS = 2 * lease.STALE_SECONDS
"""A process whose lease has not beaten for so long is hung: its machine, its file system, or all of its threads."""
LONGEST_LOOK_SECONDS = 30.0
"""Of the time between two looks of ours, more is no silence of the run: perhaps nobody ran."""


def abroad(runtime: Runtime) -> Runtime:
    """The same folders, named so that a process in another folder finds them."""
    return runtime.model_copy(
        update={name: str(Path(getattr(runtime, name)).absolute()) for name in ("results", "data_root", "cache")}
    )


@dataclass
class FarRun:
    """A run under way elsewhere, by what its folder shows from one look to the next."""

    folder: RunFolder
    ledger_bytes: int = 0
    beaten_at: float = 0.0
    silent_seconds: float = 0.0
    """Since its lease was seen to beat; 0 where it has none: it waits in a queue, or begins."""
    looked_at: float = field(default_factory=time.monotonic)
    has_told: bool = False

    def news(self) -> list[Event]:
        """How far it is, where its ledger has grown."""
        size = _size(self.folder.ledger.path)
        if size == self.ledger_bytes:
            return []
        self.ledger_bytes = size
        rows = self.folder.ledger.rows()
        if not rows:
            return []
        last = max((row for row in rows if row["kind"] == "epoch"), key=lambda row: row["epoch"], default=None)
        if last is None:
            return [Event(run_id=self.folder.run_id, epoch=1, num_steps=1)]
        steps = last["num_steps"]
        return [Event(run_id=self.folder.run_id, epoch=last["epoch"], step=steps, num_steps=steps)]

    def hung_words(self) -> str | None:
        """Who has hung for how long, once per attempt; None while it gives signs of life."""
        now = time.monotonic()
        passed, self.looked_at = min(now - self.looked_at, LONGEST_LOOK_SECONDS), now
        try:
            beaten_at = self.folder.lease_path.stat().st_mtime
        except FileNotFoundError:
            beaten_at = 0.0
        if beaten_at != self.beaten_at or not beaten_at:
            self.beaten_at, self.silent_seconds, self.has_told = beaten_at, 0.0, False
            return None
        self.silent_seconds += passed
        if self.silent_seconds < HUNG_SECONDS or self.has_told:
            return None
        self.has_told = True
        claim = self.folder.claimant()
        who = f"process {claim.get('pid')} on {claim.get('host')}"
        return f"its worker ({who}) gave no sign of life for {self.silent_seconds:.0f} s and is killed"


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0

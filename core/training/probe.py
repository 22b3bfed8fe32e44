"""How long does a step of this run take here? Timed in warm worker-like processes, on the run's own data.

A process of its own (`main`) takes configs and a runtime as JSON from its input, and answers a line of JSON for each.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.data.dataset import Dataset
from ablation_suite.core.own.kept import unpack
from ablation_suite.core.own.loading import told
from ablation_suite.core.training import checkpoint
from ablation_suite.core.training.cost import network_cost
from ablation_suite.core.training.device import AUTOCAST, peak_memory_bytes
from ablation_suite.core.training.evaluate import predict_logits
from ablation_suite.core.training.session import set_up

LEAST_STEPS = 3
LONG_SECONDS = 5.0
EVALUATED_BATCHES = 4


@dataclass(frozen=True, kw_only=True)
class Timing:
    """What the parts of a run take, in seconds, and the most memory in bytes."""

    num_steps: int
    """Training steps of an epoch."""
    step: float
    """One training step: the median."""
    load: float
    """The part of a step in which its images are gathered and augmented."""
    begin: float
    """Building the network, and what the first steps take beyond others: compilation."""
    evaluate: float
    """One validation."""
    test: float
    """One pass over the test images; 0 where there are none."""
    save: float
    """One checkpoint, synced and verified."""
    memory: int
    flops_per_image: int
    """FLOPs of the network's forward pass."""
    product_rate: float
    """FLOP/s of products of large matrices in the run's precision."""


def probe(config: RunConfig, dataset: Dataset, runtime: Runtime, *, seconds: float = 1.0) -> Timing:
    """Time training steps for about `seconds` after two steps of warm-up, then an evaluation and a checkpoint.

    Of long steps, as large networks have on a CPU, one is enough after one of warm-up, and so is one batch of the
    evaluation: what varies is small beside them. The network that is trained here is thrown away.
    """
    val, test = dataset.splits["val"], dataset.splits.get("test")
    begin = time.perf_counter()
    session = set_up(config, dataset, runtime)
    parts, device, num_steps = session.parts, session.device, session.steps_per_epoch
    epoch = session.draw(1)

    def one_step(number: int = 0) -> None:
        at = number % num_steps
        for images, rows in session.feed.batches(epoch.views[at : at + 1]):
            session.step(epoch, at, images, rows, torch.zeros(3, device=device))

    def load_one() -> None:
        for images, rows in session.feed.batches(epoch.views[:1]):
            parts.augment(images, epoch.draws_of(0, rows))

    num_warm = 1 if _timed(one_step, device) > LONG_SECONDS else 2
    for _ in range(num_warm - 1):
        _timed(one_step, device)
    warm = time.perf_counter()
    taken: list[float] = []
    while not taken or sum(taken) < seconds or (len(taken) < LEAST_STEPS and taken[-1] < LONG_SECONDS):
        taken.append(_timed(partial(one_step, len(taken)), device))
    usual = statistics.median(taken)
    load = statistics.median(_timed(load_one, device) for _ in range(LEAST_STEPS))
    num_images = min(len(val), (1 if usual > LONG_SECONDS else EVALUATED_BATCHES) * config.batch_size)
    val_feed = session.feed_of(val.images)

    def evaluate() -> None:
        predict_logits(parts.evaluated, val_feed, num_images, config.batch_size, config.precision)

    per_image = min(_timed(evaluate, device) for _ in range(num_warm)) / num_images
    return Timing(
        num_steps=num_steps,
        step=usual,
        load=load,
        begin=max(0.0, warm - begin - num_warm * usual),
        evaluate=per_image * len(val),
        test=per_image * len(test) if test is not None else 0.0,
        save=_save_seconds(parts.state_dict(), Path(runtime.results)),
        memory=peak_memory_bytes(device),
        flops_per_image=network_cost(config, len(dataset.classes))["flops_per_image"],
        product_rate=product_rate(config.precision, device),
    )


def product_rate(precision: str, device: torch.device) -> float:
    """FLOP/s of products of large square matrices, on all threads of the process: the best of five."""
    size = 8192 if device.type == "cuda" else 1024
    left = torch.rand(size, size, device=device, dtype=AUTOCAST.get(precision, torch.float32))
    least = min(_timed(lambda: torch.mm(left, left), device) for _ in range(5))
    return 2.0 * size**3 / least


def _timed(work: Callable[[], object], device: torch.device) -> float:
    begin = time.perf_counter()
    work()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - begin


def _save_seconds(state: dict[str, Any], results: Path) -> float:
    """The second of two saves, in a folder of its own where the runs will lie, since disks differ."""
    results.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=results, prefix=".probe-") as folder:
        for number in range(2):
            begin = time.perf_counter()
            checkpoint.save(Path(folder) / "checkpoints", number, {"parts": state})
            taken = time.perf_counter() - begin
    return taken


def main(answers: int) -> None:
    """Time every config of the input, and answer on a pipe; what the user can mend is an answer too (`fault`)."""
    order = json.loads(sys.stdin.readline())
    with os.fdopen(answers, "w", buffering=1) as pipe:
        try:
            for answer in _timings(order):
                pipe.write(json.dumps(answer) + "\n")
        except Exception as error:
            fault = error if isinstance(error, UserError) else told(error)
            if fault is None:
                raise
            pipe.write(json.dumps({"fault": str(fault)}) + "\n")


def _timings(order: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The `timing` of each config; `ready` tells when what only the first run of a worker pays for was done."""
    runtime = Runtime.model_validate_json(order["runtime"])
    datasets: dict[str, Dataset] = {}
    unpack(order["code"])
    ready = 0.0
    for data in order["configs"]:
        config = validate(RunConfig, Document(data=data, source="probe"))
        key = config.data.model_dump_json()
        if key not in datasets:
            source = build(config.data, data_root=Path(runtime.data_root), cache=Path(runtime.cache))
            datasets[key] = source.load()
        timing = None
        if not ready:
            ready = time.time()
            timing = probe(config, datasets[key], runtime, seconds=0.0)
        # Beside long steps, what the first run of a worker pays for is nothing; else it is timed again, warm.
        if timing is None or timing.step <= LONG_SECONDS:
            ready = ready if timing is None else time.time()
            timing = probe(config, datasets[key], runtime)
        yield {"ready": ready, "timing": asdict(timing)}

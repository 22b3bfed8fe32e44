"""How long does a training step take, beside the step of the plain script?

    python -m tests.benchmarks step         about a minute on two cores

Both live in processes of their own, since the suite changes how its process allocates memory, and take turns in each
round. Images are random bytes that are not augmented; the suite's step makes floats of them, the reference gets floats.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.models import LinearHead, Model, TorchvisionBackbone
from ablation_suite.core.optim import Adam
from ablation_suite.core.training import streams
from ablation_suite.core.training.device import prepare
from ablation_suite.core.training.parts import assemble
from ablation_suite.core.training.step import step
from tests.benchmarks import reference
from tests.benchmarks.lines import Line, ratio_line

SIZE, NUM_CLASSES, BATCH_SIZE = 224, 100, 16
CORES = len(os.sched_getaffinity(0))


def lines(num_rounds: int) -> list[Line]:
    """One step on the CPU; those of a CUDA device are `tests.benchmarks.cuda`'s."""
    sides = [_Side("theirs"), _Side("ours")]
    try:
        rounds = [[side.seconds() for side in sides] for _ in range(num_rounds)]  # (rounds, sides, clocks)
    finally:
        for side in sides:
            side.close()
    wall, cpu = ([[side[clock] for side in each] for each in rounds] for clock in (0, 1))
    ratio = statistics.median(their / our for their, our in cpu)
    note = f"batch {BATCH_SIZE}, float32, {CORES} threads; {ratio:.2f}x in CPU time, which other processes disturb less"
    return [ratio_line(f"training step, resnet50, {SIZE} px, CPU", *zip(*wall, strict=True), 1.4, note)]


def step_config(model: str, batch_size: int, precision: str, size: int = SIZE) -> RunConfig:
    """The report's recipe with a network of torchvision, on images that are not augmented."""
    network = Model(backbone=TorchvisionBackbone(name=model), head=LinearHead(dropout=0.7))
    return RunConfig(
        model=network, optimizer=Adam(lr=3e-5), batch_size=batch_size, clip_norm=10.0, precision=precision
    ).model_copy(update={"data": RunConfig().data.model_copy(update={"size": size})})


def our_step(config: RunConfig, runtime: Runtime) -> Callable[[], object]:
    """The suite's step on a batch that lies on the device, to be taken as often as wanted."""
    device, size = torch.device(runtime.device), config.train_size
    prepare(runtime, config.precision)
    parts = assemble(config, num_classes=NUM_CLASSES, steps_per_epoch=100, device=device, runtime=runtime)
    images = torch.randint(0, 256, (config.batch_size, size, size, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, NUM_CLASSES, (config.batch_size,), device=device)
    draws, tally = torch.empty(config.batch_size, 0, device=device), torch.zeros(3, dtype=torch.float64, device=device)
    mixing = streams.torch_generator(0, "mix", 1, 0)
    return lambda: step(config, parts, images, draws, labels, mixing, tally)


def their_step(model: str, batch_size: int, device: torch.device, size: int = SIZE) -> Callable[[], object]:
    """The plain script's step on a batch as its loader gives it, on the host; waits for the device."""
    network = reference.make_model(model, NUM_CLASSES, device)
    optimizer = reference.make_optimizer(network)
    images, labels = torch.rand(batch_size, 3, size, size), torch.randint(0, NUM_CLASSES, (batch_size,))
    if device.type == "cuda":
        images, labels = images.pin_memory(), labels.pin_memory()
    return lambda: reference.train_step(network, optimizer, images, labels, device)


class _Side:
    """A process that times some steps whenever it is asked; the first ones, which warm it up, are not told."""

    def __init__(self, name: str):
        command = [sys.executable, "-m", "tests.benchmarks.step", name]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.seconds()

    def seconds(self) -> list[float]:
        """Wall and CPU seconds of a step."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return [float(word) for word in self.process.stdout.readline().split()]

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def main(side: str) -> None:
    """Time two steps for every line of the input."""
    torch.set_num_threads(CORES)
    if side == "ours":
        runtime = Runtime(device="cpu", threads=CORES, compile="off")
        one_step = our_step(step_config("resnet50", BATCH_SIZE, "float32"), runtime)
    else:
        one_step = their_step("resnet50", BATCH_SIZE, torch.device("cpu"))
    for _ in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        for _ in range(2):
            one_step()
        print((time.perf_counter() - begin) / 2, (time.process_time() - begin_cpu) / 2, flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

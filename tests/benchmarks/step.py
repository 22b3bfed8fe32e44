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
from collections.abc import Callable, Sequence

import torch

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.models import LinearHead, Model, TorchvisionBackbone
from ablation_suite.core.optim import Adam
from ablation_suite.core.training import streams
from ablation_suite.core.training.cost import network_cost
from ablation_suite.core.training.device import prepare
from ablation_suite.core.training.probe import product_rate
from ablation_suite.core.training.session import Parts, assemble, step
from tests.benchmarks import reference
from tests.benchmarks.lines import Line, ratio_line

SIZE, NUM_CLASSES = 224, 100
MODELS = ("resnet50", "resnext50_32x4d")
CORES = len(os.sched_getaffinity(0))


def lines(num_rounds: int) -> list[Line]:
    """The rows that this machine can measure."""
    if not torch.cuda.is_available():
        wall, cpu = _compare("cpu", "resnet50", 16, num_rounds)
        ratio = statistics.median(their / our for their, our in zip(*cpu, strict=True))
        note = f"batch 16, float32, {CORES} threads; {ratio:.2f}x in CPU time, which other processes disturb less"
        return [
            ratio_line(f"training step, resnet50, {SIZE} px, CPU", *wall, 1.4, note),
            *(Line(what=f"training step, {model}, CUDA", ours="no CUDA device at hand", bar="5x") for model in MODELS),
        ]
    rate = product_rate("bf16", torch.device("cuda"))
    return [
        ratio_line(
            f"training step, {model}, {SIZE} px, batch {batch_size}, CUDA",
            *(wall := _compare("cuda", model, batch_size, num_rounds)[0]),
            5.0,
            _arithmetic(model, batch_size, min(wall[1]), rate),
        )
        for model in MODELS
        for batch_size in (64, 256)
    ]


def _arithmetic(model: str, batch_size: int, seconds: float, rate: float) -> str:
    """The achieved FLOP/s of a step, as a share of the measured rate of products, and what its time is at that rate."""
    flops = 3 * network_cost(_config(model, batch_size), NUM_CLASSES)["flops_per_image"] * batch_size
    return (
        f"bf16, compiled, channels last; {flops / seconds / 1e12:.1f} TFLOP/s, {flops / seconds / rate:.0%} of the "
        f"{rate / 1e12:.0f} TFLOP/s of 8192 x 8192 products in bf16, at which it would take {flops / rate:.4f} s"
    )


def _compare(device: str, model: str, batch_size: int, num_rounds: int) -> list[tuple[list[float], list[float]]]:
    """Wall seconds per step of (reference, suite), round by round, and the same in CPU seconds."""
    sides = [_Side(name, device, model, batch_size) for name in ("reference", "ours")]
    try:
        rounds = [[side.seconds() for side in sides] for _ in range(num_rounds)]  # (rounds, sides, clocks)
    finally:
        for side in sides:
            side.close()
    return [([theirs[clock] for theirs, _ in rounds], [ours[clock] for _, ours in rounds]) for clock in (0, 1)]


class _Side:
    """A process that times some steps whenever it is asked; the first ones, which warm it up, are not told."""

    def __init__(self, *words: str | int):
        command = [sys.executable, "-m", "tests.benchmarks.step", *map(str, words)]
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


def _config(model: str, batch_size: int, precision: str = "float32") -> RunConfig:
    network = Model(backbone=TorchvisionBackbone(name=model), head=LinearHead(dropout=0.7))
    return RunConfig(
        model=network, optimizer=Adam(lr=3e-5), batch_size=batch_size, clip_norm=10.0, precision=precision
    ).model_copy(update={"data": RunConfig().data.model_copy(update={"size": SIZE})})


def _ours(device: torch.device, model: str, batch_size: int) -> Callable[[], object]:
    on_cuda = device.type == "cuda"
    config = _config(model, batch_size, "bf16" if on_cuda else "float32")
    runtime = Runtime(device=device.type, threads=CORES, compile="on" if on_cuda else "off", deterministic=not on_cuda)
    prepare(runtime, config.precision)
    parts: Parts = assemble(config, num_classes=NUM_CLASSES, steps_per_epoch=100, device=device, runtime=runtime)
    images = torch.randint(0, 256, (batch_size, SIZE, SIZE, 3), dtype=torch.uint8, device=device)
    labels = torch.randint(0, NUM_CLASSES, (batch_size,), device=device)
    draws, tally = torch.empty(batch_size, 0, device=device), torch.zeros(3, dtype=torch.float64, device=device)
    mixing = streams.torch_generator(0, "mix", 1, 0)
    return lambda: step(config, parts, images, draws, labels, mixing, tally)


def _theirs(device: torch.device, model: str, batch_size: int) -> Callable[[], object]:
    torch.set_num_threads(CORES)
    network = reference.make_model(model, NUM_CLASSES, device)
    optimizer = reference.make_optimizer(network)
    images, labels = torch.rand(batch_size, 3, SIZE, SIZE), torch.randint(0, NUM_CLASSES, (batch_size,))
    return lambda: reference.train_step(network, optimizer, images, labels, device)


def main(words: Sequence[str]) -> None:
    """Time steps for every line of the input: a few on the CPU, twenty on a CUDA device."""
    side, kind, model, batch_size = words
    device = torch.device(kind)
    one_step = (_ours if side == "ours" else _theirs)(device, model, int(batch_size))
    num_steps = 20 if kind == "cuda" else 2
    for _ in sys.stdin:
        begin, begin_cpu = time.perf_counter(), time.process_time()
        for _ in range(num_steps):
            one_step()
        if kind == "cuda":
            torch.cuda.synchronize()
        wall, cpu = time.perf_counter() - begin, time.process_time() - begin_cpu
        print(wall / num_steps, cpu / num_steps, flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

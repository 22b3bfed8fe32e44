"""How fast are training steps on a CUDA device, beside the plain script's and beside what its memory allows at most?"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision import models

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.training.device import give_back_memory
from tests.benchmarks import step
from tests.benchmarks.cuda_told import CUDA, Told, judged, seconds_of

NETWORKS, SIZES = ("resnet50", "resnext50_32x4d", "resnext101_32x8d"), (64, 256)


def plain(told: Told, short: bool) -> None:
    """Steps of the plain script, whose batches come from pinned memory."""
    for network, batch_size, size in _shapes(short):
        give_back_memory()
        with told.faults_of(network, str(batch_size)):
            seconds, _ = _step_seconds(step.their_step(network, batch_size, CUDA, size), short)
            told.figure(f"plain {network} {batch_size}", batch_size / statistics.median(seconds))
            told.row(network, str(batch_size), _rates(batch_size, seconds))


def eager(told: Told, short: bool) -> None:
    """Our steps as they are, with kernels that give the same bits each time and with the fastest."""
    for network, batch_size, size in _shapes(short):
        for precision in ("bf16", "tf32"):
            _our_step(told, network, batch_size, precision, size, short, compile="off")
    network, batch_size, size = _shapes(short)[0]
    _our_step(told, network, batch_size, "bf16", size, short, compile="off", deterministic=False)


def compiled(told: Told, short: bool) -> None:
    """Our steps with a compiled backbone, bf16 first, since each takes up to a minute to compile."""
    for precision in ("bf16", "tf32"):
        for network, batch_size, size in _shapes(short):
            _our_step(told, network, batch_size, precision, size, short, compile="on")


def _our_step(
    told: Told, network: str, batch_size: int, precision: str, size: int, short: bool, **settings: Any
) -> None:
    """A row: the rate beside the plain script's, and beside what the measured bandwidth allows at most."""
    kernels = "" if settings.get("deterministic", True) else ", any kernels"
    give_back_memory()
    with told.faults_of(network, str(batch_size), precision + kernels):
        begin = time.perf_counter()
        config = step.step_config(network, batch_size, precision, size)
        one_step = step.our_step(config, Runtime(device="cuda", **settings))
        seconds_of(one_step)
        first = time.perf_counter() - begin
        seconds, host = _step_seconds(one_step, short)
        rate = batch_size / statistics.median(seconds)
        told.figure(f"{settings['compile']} {network} {batch_size} {precision}{kernels}", rate)
        beside, limit = told.figures.get(f"plain {network} {batch_size}"), told.figures.get("bandwidth")
        if limit is not None:
            eager_bytes, fused_bytes = counted_bytes(network, size)
            num_bytes = fused_bytes if settings["compile"] == "on" else eager_bytes
            limit /= num_bytes * (2 if precision == "tf32" else 1)
        told.row(
            network,
            str(batch_size),
            precision + kernels,
            _rates(batch_size, seconds),
            judged(rate / beside, "x", 5.0, ".1f") if beside else "",
            f"{limit:,.0f}" if limit else "",
            judged(100 * rate / limit, " %", 50.0, ".0f") if limit else "",
            f"{host:.0%}",
            f"{first:.0f} s",
        )


def counted_bytes(network: str, size: int = 224) -> tuple[float, float]:
    """Bytes that a training step in bf16 moves for an image at least: kernel by kernel, and with ReLU fused away.

    A convolution reads its input and writes its output, and so does its gradient twice, for input and weights. Batch
    norm reads twice and writes, and its gradient reads two arrays twice and writes. ReLU reads and writes, and its
    gradient reads two and writes. Sums of residual branches, the head, weights and the optimizer are left out.
    """
    passes = {nn.Conv2d: (3, 3), nn.BatchNorm2d: (4, 4), nn.ReLU: (2.5, 0)}  # over input and output together
    with torch.device("meta"):
        model, images = models.get_model(network, weights=None), torch.empty(1, 3, size, size)
    totals = [0.0, 0.0]

    def count(module: nn.Module, inputs: tuple[torch.Tensor], output: torch.Tensor) -> None:
        for way, times in enumerate(passes[type(module)]):
            totals[way] += 2 * times * (inputs[0].numel() + output.numel())

    for module in model.modules():
        if type(module) in passes:
            module.register_forward_hook(count)
    model(images)
    return totals[0], totals[1]


def _shapes(short: bool) -> list[tuple[str, int, int]]:
    """Network, batch size and side of the images."""
    return [("resnet18", 4, 64)] if short else [(network, size, 224) for network in NETWORKS for size in SIZES]


def _step_seconds(one_step: Callable[[], object], short: bool) -> tuple[list[float], float]:
    """Seconds of a step in three rounds of many, and the share of one step after which the host has done its part."""
    for _ in range(3):
        once = seconds_of(one_step)
    num_steps = 1 if short else max(1, min(50, int(0.7 / once)))
    rounds = [seconds_of(lambda: [one_step() for _ in range(num_steps)]) / num_steps for _ in range(3)]
    begin = time.perf_counter()
    one_step()
    host = time.perf_counter() - begin
    torch.cuda.synchronize()
    share = host / (time.perf_counter() - begin)
    return rounds, share


def _rates(batch_size: int, seconds: list[float]) -> str:
    """Images per second: the median (lowest to highest)."""
    rates = sorted(batch_size / each for each in seconds)
    return f"{statistics.median(rates):,.0f} ({rates[0]:,.0f} to {rates[-1]:,.0f})"

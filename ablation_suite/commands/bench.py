"""How fast does this machine train the arms of a spec, and what limits it? `ablate bench`."""

from __future__ import annotations

import json
from importlib import import_module, util
from typing import Any

import click

from ablation_suite import options
from ablation_suite.ablations.forecast import distinct, measure
from ablation_suite.ablations.plan import make_plans
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling.devices import num_jobs
from ablation_suite.output import say

HEADER = "arm, jobs side by side             images/s    step    input     FLOP/s   of products    memory"


def bench(words: tuple[str, ...], reference: bool, as_json: bool, runtime: Runtime) -> None:
    """Time the training steps of every arm of SPEC (quickstart) on this machine and its data."""
    specs, overrides = options.split_words(words)
    if reference and not _has_benchmarks():
        raise click.UsageError("--reference needs the plain script of a source checkout: run it from the checkout")
    plans = make_plans(specs or ("quickstart",), runtime, overrides)
    groups = distinct(cell for plan in plans for cell in plan.cells)
    workers = num_jobs(runtime)
    _, timings = measure(groups, workers, runtime)
    rows = [_row(cells[0].arm, cells[0].config, timing, workers) for cells, timing in zip(groups, timings, strict=True)]
    if as_json:
        say(json.dumps({"workers": workers, "arms": rows}, indent=1))
    else:
        say(HEADER)
        for row in rows:
            say(
                f"{row['arm']:30.30s} x {workers:2d} {row['images_per_second']:9.0f}"
                f" {1000 * row['step_seconds']:7.1f} ms"
                f" {row['input_share']:6.0%} {row['flops_per_second'] / 1e9:8.1f} G {row['share_of_products']:12.0%}"
                f" {row['memory_bytes'] / 2**30:7.1f} GiB"
            )
    if reference:
        import_module("tests.benchmarks.__main__").print_rows(["step", "input"], num_rounds=2)


def _row(arm: str, config: RunConfig, timing: dict[str, Any], workers: int) -> dict[str, Any]:
    """The numbers of an arm; FLOPs of forward and backward pass, which is three times the forward's."""
    views = config.loss.num_views * config.batch_size
    flops = workers * 3 * timing["flops_per_image"] * views / timing["step"]
    return {
        "arm": arm,
        "images_per_second": workers * views / timing["step"],
        "step_seconds": timing["step"],
        "input_share": timing["load"] / timing["step"],
        "flops_per_second": flops,
        "share_of_products": flops / (workers * timing["product_rate"]),
        "memory_bytes": int(timing["memory"]),
    }


def _has_benchmarks() -> bool:
    try:
        return util.find_spec("tests.benchmarks.step") is not None
    except ModuleNotFoundError:
        return False

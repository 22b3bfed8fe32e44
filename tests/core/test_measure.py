"""Is the cost of a run what a pencil says?"""

from __future__ import annotations

import os
import sys

import numpy as np
import pytest
import torch

from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.training import probe as probing
from ablation_suite.core.training.cost import network_cost
from ablation_suite.core.training.device import peak_memory_bytes, reset_peak_memory
from ablation_suite.core.training.session import Session

CPU = torch.device("cpu")


def test_the_small_twin_costs_what_a_pencil_says(make_config):
    """Products of every layer at 8 x 8 pixels, two per multiply-add, and the parameters with batch norm's."""
    products = [
        (16 * 3 * 9) * 64,  # stem
        (16 * 16 * 1) * 64,  # bottleneck: 1x1,
        (16 * 16 * 9) * 64,  # 3x3,
        (64 * 16 * 1) * 64,  # 1x1,
        (64 * 16 * 1) * 64,  # and its shortcut
        64 * 10,  # head
    ]
    weights = 16 * 3 * 9 + 16 * 16 + 16 * 16 * 9 + 2 * 64 * 16
    norms = 2 * (16 + 16 + 16 + 64 + 64)
    cost = network_cost(make_config(), num_classes=10)
    assert cost["flops_per_image"] == 2 * sum(products)
    assert cost["head_parameters"] == 64 * 10 + 10
    assert cost["parameters"] == weights + norms + 64 * 10 + 10


def test_an_encoding_costs_the_head_six_times_its_inputs(make_config):
    """L = 3: 6 D inputs, and nothing else that has parameters."""
    plain = network_cost(make_config(), num_classes=10)
    encoded = network_cost(make_config({"model.encoding": {"name": "sinusoidal", "levels": 3}}), num_classes=10)
    assert encoded["head_parameters"] == 6 * 64 * 10 + 10
    assert encoded["parameters"] - plain["parameters"] == 5 * 64 * 10
    assert encoded["flops_per_image"] - plain["flops_per_image"] == 2 * 5 * 64 * 10


@pytest.mark.parametrize(("loss", "views"), [("cross_entropy", 1), ("contrastive", 2)])
def test_the_record_counts_steps_and_images(loss, views, make_config, make_folder, runtime, digits):
    """A loss of pairs sees every image's partner as well; seconds and memory are there and add up."""
    folder = make_folder(make_config(loss=loss))
    assert work(folder, runtime, Datasets()) == DONE
    cost = folder.record()["cost"]
    assert cost["images_seen"] == 2 * views * len(digits.splits["train"])
    assert cost["optimizer_steps"] == 2 * 17
    assert cost["images_per_second"] == pytest.approx(cost["images_seen"] / cost["train_seconds"])
    assert 0 < cost["train_seconds"] < cost["seconds"]
    assert cost["peak_memory_bytes"] > 10_000_000
    assert cost["num_cpus"] == os.cpu_count()


@pytest.mark.skipif(sys.platform != "linux", reason="the high-water mark can be set back on Linux alone")
def test_peak_memory_belongs_to_the_run_and_not_to_the_ones_before_it():
    """After 300 MB came and went, setting back forgets them, so that a warm worker charges each run its own."""
    reset_peak_memory(CPU)
    before = peak_memory_bytes(CPU)
    np.ones(300_000_000, np.uint8).sum()
    high = peak_memory_bytes(CPU)
    reset_peak_memory(CPU)
    assert high - before > 250_000_000
    assert high - peak_memory_bytes(CPU) > 250_000_000


@pytest.mark.parametrize(("long_seconds", "num_steps"), [(60.0, 2 + probing.LEAST_STEPS), (0.0, 1 + 1)])
def test_of_long_steps_one_is_timed_after_one_of_warm_up(
    long_seconds, num_steps, make_config, runtime, digits, monkeypatch
):
    """Else the forecast of a large grid on a CPU takes most of an hour."""
    taken, step = [], Session.step
    monkeypatch.setattr(probing, "LONG_SECONDS", long_seconds)
    monkeypatch.setattr(Session, "step", lambda *args: taken.append(args) or step(*args))
    timing = probing.probe(make_config(), digits, runtime, seconds=0.0)
    assert len(taken) == num_steps
    assert timing.step > 0.0
    assert timing.evaluate > 0.0

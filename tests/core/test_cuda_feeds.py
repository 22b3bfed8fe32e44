"""Do images reach the device that was asked for, and only that? Both feeds on a null device with two of them."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch

from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.views import Rows
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work
from ablation_suite.core.training import feed
from ablation_suite.core.training.device import pick_device
from ablation_suite.core.training.feed import Feeds, Resident, Streamed
from tests.null_cuda import counts

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
BATCHES = np.split(np.random.default_rng(1).permutation(50), [16, 32, 48])


def feed_all(kind: str, devices: list[int]) -> dict:
    """What an epoch does on the first device that is asked for; a wait between its first batch and its last raises."""
    device = pick_device(Runtime(device="cuda", devices=tuple(devices)))
    feed = (Resident if kind == "resident" else Streamed)(IMAGES, device)
    counts.reset()
    batches = feed.batches(BATCHES)
    given = [next(batches)]
    torch.cuda.set_sync_debug_mode("error")
    given += batches
    torch.cuda.set_sync_debug_mode("default")
    copies, waits = counts.copies(), counts.waits()
    arrived = [pixels.cpu().numpy() for pixels, _ in given] if kind == "streamed" else [feed.images.cpu().numpy()]
    return {
        "digests": [hashlib.sha256(each.tobytes()).hexdigest() for each in arrived],
        "rows": [rows.tolist() for _, rows in given],
        "devices": sorted({str(tensor.device) for pair in given for tensor in pair}),
        "asked for": [counts.bytes_asked_for(number) > 0 for number in range(2)],
        "contexts": [counts.has_context(number) for number in range(2)],
        "copies": copies,
        "waits": waits,
    }


@pytest.mark.parametrize("devices", [[], [1]], ids=["cuda", "cuda:1"])
@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_each_feed_fills_the_device_asked_for_and_leaves_the_other_alone(kind, devices, null_cuda):
    """The bytes arrive, nothing is opened or taken elsewhere, and no batch waits; `cuda` alone is the first."""
    seen = null_cuda.call(feed_all, kind, devices, devices=2)
    expected = [IMAGES] if kind == "resident" else [IMAGES[rows] for rows in BATCHES]
    assert seen["digests"] == [hashlib.sha256(each.tobytes()).hexdigest() for each in expected]
    assert seen["rows"] == [rows.tolist() for rows in BATCHES]
    chosen = devices[0] if devices else 0
    assert seen["devices"] == [f"cuda:{chosen}"]
    assert seen["asked for"] == seen["contexts"] == [number == chosen for number in range(2)]
    assert "to device, pageable" not in (seen["copies"] if kind == "streamed" else {})
    assert sum(seen["waits"].values()) <= (1 if kind == "resident" else 0)  # the epoch's indices go over at once


def two_runs(folders: list[str], runtime: str) -> list[dict]:
    """Which arrays each run brought to the device, as their numbers of images, and the memory that is held between."""
    brought: list[int] = []

    class Watched(Resident):
        def __init__(self, images, device):
            brought.append(len(images))
            super().__init__(images, device)

    feed.Resident = Watched  # this process ends after the call
    datasets, seen = Datasets(), []
    for folder in folders:
        status = work(RunFolder(Path(folder)), Runtime.model_validate_json(runtime), datasets)
        used, held = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        seen.append({"status": status, "brought": brought.copy(), "used": used, "held": held})
        brought.clear()
    return seen


def test_a_warm_worker_brings_the_images_to_the_device_once_and_gives_back_all_else(
    null_cuda, make_config, make_folder, runtime, digits
):
    """Train, validation and test in the first run, nothing in the second; hardly more is held than is used."""
    configs = [make_config(seed=0, epochs=1), make_config(seed=1, epochs=1)]
    settings = runtime.model_copy(update={"device": "cuda"}).model_dump_json()
    seen = null_cuda.call(two_runs, [str(make_folder(each).path) for each in configs], settings, zeros=True)
    assert [each["status"] for each in seen] == [DONE, DONE]
    assert sorted(seen[0]["brought"]) == sorted(len(split) for split in digits.splits.values())
    assert seen[1]["brought"] == []
    images, workspaces = sum(split.images.nbytes for split in digits.splits.values()), 2 * 32 * 2**20  # cuBLAS's
    assert all(images <= each["used"] <= images + workspaces + 2**20 for each in seen)
    assert all(each["held"] - each["used"] < 2 * 2**21 for each in seen)  # a piece of each block of 2 MiB


def shares() -> dict:
    """How rows of one array are fed: by the whole of it, which is kept, and by themselves where only they fit."""
    device, big = torch.device("cuda"), np.zeros((1000, 4, 5, 3), np.uint8)
    feeds, few = Feeds(), np.arange(10)
    half, few_of_half = Rows(big, np.arange(0, 1000, 2)), Rows(Rows(big, np.arange(0, 1000, 2)), few)
    one, other = feeds.of(half, device), feeds.of(few_of_half, device)
    seen = {
        "one copy": one.whole is other.whole,
        "rows": other.rows.tolist(),
        "again": feeds.of(big, device) is one.whole,
    }
    feeds.keep_only([half])
    seen["kept"] = feeds.of(big, device) is one.whole
    feeds.keep_only([IMAGES])
    seen["let go"] = feeds.of(big, device) is not one.whole
    feeds.keep_only([])
    feed.total_memory_bytes = lambda device: 3 * 10 * 60  # this process ends after the call
    seen["alone"] = feeds.of(few_of_half, device).images.shape[0]
    seen["streamed"] = type(feeds.of(half, device)).__name__
    return seen


def test_splits_and_shares_of_one_array_lie_on_the_device_once(null_cuda):
    """Rows of rows are read from the array they come from, while a run uses it; only what fits is resident."""
    seen = null_cuda.call(shares)
    assert seen.pop("rows") == list(range(0, 20, 2))
    assert seen.pop("alone") == 10
    assert seen.pop("streamed") == "Streamed"
    assert all(seen.values()), seen

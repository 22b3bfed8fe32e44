"""Do images reach the device that was asked for, and only that? Both feeds on a null device with two of them."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest
import torch

from ablation_suite.core.training.feed import Resident, Streamed
from tests.null_cuda import counts

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
BATCHES = np.split(np.random.default_rng(1).permutation(50), [16, 32, 48])


def feed_all(kind: str) -> dict:
    """What an epoch does on the second device; a wait between its first batch and its last raises."""
    device = torch.device("cuda:1")
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
        "copies": copies,
        "waits": waits,
    }


@pytest.mark.parametrize("kind", ["resident", "streamed"])
def test_each_feed_fills_the_second_device_and_leaves_the_first_alone(kind, null_cuda):
    """The bytes arrive, nothing is taken of `cuda:0`, and no batch waits for the device."""
    seen = null_cuda.call(feed_all, kind, devices=2)
    expected = [IMAGES] if kind == "resident" else [IMAGES[rows] for rows in BATCHES]
    assert seen["digests"] == [hashlib.sha256(each.tobytes()).hexdigest() for each in expected]
    assert seen["rows"] == [rows.tolist() for rows in BATCHES]
    assert seen["devices"] == ["cuda:1"]
    assert seen["asked for"] == [False, True]
    assert "to device, pageable" not in (seen["copies"] if kind == "streamed" else {})
    assert sum(seen["waits"].values()) <= (1 if kind == "resident" else 0)  # the epoch's indices go over at once

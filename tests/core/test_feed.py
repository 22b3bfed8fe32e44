"""Do all feeds give the same images in the same order?"""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
import torch

from ablation_suite.core.data.views import Rows
from ablation_suite.core.training import feed
from ablation_suite.core.training.feed import Chosen, Feeds, Host, Resident, Streamed

IMAGES = np.random.default_rng(0).integers(0, 256, (50, 4, 5, 3), dtype=np.uint8)
BATCHES = np.split(np.random.default_rng(1).permutation(50), [16, 32, 48])
gpu = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")]
FEEDS = {
    "host": lambda images: Host(images),
    "resident": lambda images: Resident(images, torch.device("cpu"), chunk=7),
    "chosen of resident": lambda images: Chosen(
        Resident(images[::-1], torch.device("cpu")), np.arange(50)[::-1].copy()
    ),
    "resident on cuda": lambda images: Resident(images, torch.device("cuda"), chunk=7),
    "streamed to cuda": lambda images: Streamed(images, torch.device("cuda")),
}
each_feed = pytest.mark.parametrize("kind", [pytest.param(k, marks=gpu if "cuda" in k else []) for k in FEEDS])


@each_feed
@pytest.mark.parametrize("source", ["array", "memory map", "rows of another"])
def test_every_feed_gives_the_chosen_images_in_order(kind, source, tmp_path):
    """Bytes and indices equal NumPy's own indexing, batch by batch, from whatever holds the images."""
    images = IMAGES
    if source == "memory map":
        np.save(tmp_path / "images.npy", IMAGES)
        images = np.load(tmp_path / "images.npy", mmap_mode="r")
    elif source == "rows of another":
        images = Rows(IMAGES[::-1], np.arange(50)[::-1])
    given = list(FEEDS[kind](images).batches(BATCHES))
    assert len(given) == len(BATCHES)
    for (pixels, rows), batch in zip(given, BATCHES, strict=True):
        assert pixels.dtype == torch.uint8
        assert np.array_equal(rows.cpu(), batch)
        assert np.array_equal(pixels.cpu(), IMAGES[batch])


@each_feed
def test_no_batches_are_no_work(kind):
    """An epoch that a resume finds complete has none left."""
    assert list(FEEDS[kind](IMAGES).batches([])) == []


def test_images_live_on_the_device_where_they_fit_and_are_streamed_where_not(monkeypatch):
    """Up to two fifths of what is free, and of what falls to each worker; on a CPU they stay where they are."""
    assert isinstance(Feeds().of(IMAGES, torch.device("cpu")), Host)
    monkeypatch.setattr(feed, "Resident", lambda *args: "resident")
    monkeypatch.setattr(feed, "Streamed", lambda *args: "streamed")
    enough, too_little = IMAGES.nbytes / 0.39, IMAGES.nbytes / 0.41
    for free, total, num_workers, kind in [
        (enough, 10 * enough, 1, "resident"),
        (too_little, 10 * enough, 1, "streamed"),
        (enough, 4 * enough, 4, "resident"),
        (enough, 4 * too_little, 4, "streamed"),
    ]:
        # Half of it is the allocator's: held from an earlier run of a warm worker, and not in use.
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free / 2, 10 * free))
        monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device, free=free: free / 2 + 1000)
        monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 1000)
        monkeypatch.setattr(feed, "total_memory_bytes", lambda device, total=total: total)
        assert Feeds().of(IMAGES, torch.device("cuda"), num_workers) == kind


class Broken:
    """Fails at the third batch."""

    shape = IMAGES.shape
    calls = 0

    def __len__(self):
        return len(IMAGES)

    def __getitem__(self, rows):
        self.calls += 1
        if self.calls == 3:
            raise OSError("the disk is gone")
        return IMAGES[rows]


@pytest.mark.parametrize("kind", ["host", pytest.param("streamed to cuda", marks=gpu)])
def test_a_fault_while_reading_reaches_the_training(kind):
    """Two batches arrive, then the reader's own error."""
    batches = FEEDS[kind](Broken()).batches(BATCHES)
    for _ in range(2):
        next(batches)
    with pytest.raises(OSError, match="the disk is gone"):
        next(batches)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_leaving_an_epoch_early_ends_the_thread():
    """A preempted run leaves no thread behind that goes on reading."""
    before = threading.active_count()
    batches = Streamed(IMAGES, torch.device("cuda")).batches(BATCHES * 100)
    next(batches)
    batches.close()
    time.sleep(0.2)
    assert threading.active_count() == before

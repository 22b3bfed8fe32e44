"""How do images reach the device? Resident there as bytes where they fit, else streamed while the device computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.training.device import free_memory_bytes

RESIDENT_SHARE = 0.4
"""Share of the device's free memory that a data set may take as a resident."""


class Feed(Protocol):
    """Gives the images of index batches, in order, as uint8 (N, H, W, 3) on the device, with the indices there."""

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]: ...


def make_feed(images: Any, device: torch.device) -> Feed:
    """The fastest feed for images (N, H, W, 3) of uint8, an array or anything that is indexed like one."""
    if device.type != "cuda":
        return Host(images)
    num_bytes = int(np.prod(images.shape))
    fits = num_bytes < RESIDENT_SHARE * free_memory_bytes(device)
    return Resident(images, device) if fits else Streamed(images, device)


class Host:
    """Images in host memory or in a memory map, for a device that shares it."""

    def __init__(self, images: Any):
        self.images = images

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        for rows in batches:
            yield torch.from_numpy(np.ascontiguousarray(self.images[rows])), torch.from_numpy(rows)


class Resident:
    """All images in device memory; a batch is one gather there."""

    def __init__(self, images: Any, device: torch.device, chunk: int = 1024):
        self.images = torch.empty(tuple(images.shape), dtype=torch.uint8, device=device)
        for start in range(0, len(images), chunk):
            rows = np.arange(start, min(start + chunk, len(images)))
            self.images[start : start + chunk] = torch.from_numpy(np.ascontiguousarray(images[rows])).to(device)

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        if not batches:
            return
        rows = torch.from_numpy(np.concatenate(batches)).to(self.images.device)
        for part in rows.split([len(each) for each in batches]):
            yield self.images[part], part


class Streamed:
    """A thread gathers batches into pinned memory and copies them on a stream of its own, two batches ahead."""

    def __init__(self, images: Any, device: torch.device, ahead: int = 2):
        self.images, self.device, self.ahead = images, device, ahead

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        ready: queue.Queue[Any] = queue.Queue(maxsize=self.ahead)
        cancelled = threading.Event()
        copies = torch.cuda.Stream(self.device)

        def fill() -> None:
            try:
                for rows in batches:
                    if cancelled.is_set():
                        return
                    pinned = torch.from_numpy(np.ascontiguousarray(self.images[rows])).pin_memory()
                    with torch.cuda.stream(copies):
                        on_device = pinned.to(self.device, non_blocking=True)
                        rows_there = torch.from_numpy(rows).pin_memory().to(self.device, non_blocking=True)
                        copied = copies.record_event()
                    ready.put((on_device, rows_there, copied, pinned))
            except Exception as error:
                ready.put(error)

        thread = threading.Thread(target=fill, daemon=True)
        thread.start()
        try:
            for _ in batches:
                item = ready.get()
                if isinstance(item, Exception):
                    raise item
                on_device, rows_there, copied, _pinned = item
                compute = torch.cuda.current_stream(self.device)
                compute.wait_event(copied)
                for tensor in (on_device, rows_there):
                    tensor.record_stream(compute)
                yield on_device, rows_there
        finally:
            cancelled.set()
            while thread.is_alive():
                try:
                    ready.get(timeout=0.05)
                except queue.Empty:
                    continue

"""How do images reach the device? Resident there as bytes where they fit, else streamed while the device computes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.data.parallel import start_whole
from ablation_suite.core.data.views import Rows
from ablation_suite.core.training.device import free_memory_bytes, total_memory_bytes

RESIDENT_SHARE = 0.4
"""Share of a worker's part of the device that one array of images may take as a resident."""


class Feed(Protocol):
    """Gives the images of index batches, in order, as uint8 (N, H, W, 3) on the device, with the indices there."""

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]: ...


class Feeds:
    """Gives the fastest feed for any images, and keeps what is resident on a device for the next run that asks."""

    def __init__(self) -> None:
        self._held: list[tuple[Any, torch.device, Resident]] = []

    def of(self, images: Any, device: torch.device, num_workers: int = 1) -> Feed:
        """A feed for images (N, H, W, 3) of uint8, an array or anything that is indexed like one.

        `num_workers` share the device. Rows of an array are read from the whole of it, which other splits and other
        shares use as well, unless only they themselves fit.
        """
        if device.type != "cuda":
            return Host(images)
        whole, rows = _base(images)
        if rows is not None and (resident := self._resident(whole, device, num_workers)):
            return Chosen(resident, rows)
        return self._resident(images, device, num_workers) or Streamed(images, device)

    def keep_only(self, images: Iterable[Any]) -> None:
        """Let go of all but these images, and of what is no row of one of them."""
        kept = [each for given in images for each in (given, _base(given)[0])]
        self._held = [held for held in self._held if any(held[0] is each for each in kept)]

    def _resident(self, images: Any, device: torch.device, num_workers: int) -> Resident | None:
        """The resident of these very images, a new one where there is room for it."""
        for source, place, feed in self._held:
            if source is images and place == device:
                return feed
        num_bytes = int(np.prod(images.shape))
        if num_bytes >= RESIDENT_SHARE * min(free_memory_bytes(device), total_memory_bytes(device) / num_workers):
            return None
        resident = Resident(images, device)
        self._held.append((images, device, resident))
        return resident


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
        for part in _on_device(batches, self.images.device):
            yield self.images[part], part


class Chosen:
    """Chosen rows of what is resident."""

    def __init__(self, whole: Resident, rows: np.ndarray):
        self.whole, self.rows = whole, torch.from_numpy(rows).to(whole.images.device)

    def batches(self, batches: Sequence[np.ndarray]) -> Iterator[tuple[Tensor, Tensor]]:
        for part in _on_device(batches, self.rows.device):
            yield self.whole.images[self.rows[part]], part


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
                # A thread begins on the first device, where pinning would open a context; `cuda` alone has no number.
                torch.cuda.set_device(copies.device)
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
        start_whole(thread)
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


def _base(images: Any) -> tuple[Any, np.ndarray | None]:
    """The array that images are rows of, and which; themselves and None where they are no rows of another."""
    if not isinstance(images, Rows):
        return images, None
    base, rows = _base(images.images)
    return base, images.rows if rows is None else rows[images.rows]


def _on_device(batches: Sequence[np.ndarray], device: torch.device) -> Sequence[Tensor]:
    """Batches of indices, brought to the device in one copy."""
    if not batches:
        return ()
    return torch.from_numpy(np.concatenate(batches)).to(device).split([len(each) for each in batches])

"""What does a CUDA device say of the suite? One part of `tests.benchmarks.cuda`, in a process of its own.

    python -m tests.benchmarks.cuda_parts PART FILE '{}' [short]        appends what it measures to FILE

A line of JSON for each row as soon as it is measured, so that a part that is ended or dies loses only the rest. A fault
in one row stands in that row. `short` measures as little as possible, for the null device.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch.utils.data import ConcatDataset, DataLoader

from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import run_folders
from ablation_suite.core.training.feed import Resident, Streamed
from ablation_suite.core.training.probe import product_rate
from tests.benchmarks import cuda_steps, grid, input, reference
from tests.benchmarks.cuda_told import CUDA, Told, judged, seconds_of

HOUSE = Path(__file__).parents[2]


def ceilings(told: Told, short: bool) -> None:
    """The two rates that no step can pass: of memory, and of products."""
    source = torch.empty(2**20 if short else 2**31, dtype=torch.uint8, device=CUDA)
    target = torch.empty_like(source)
    seconds = min(seconds_of(lambda: target.copy_(source)) for _ in range(10))
    told.figure("bandwidth", 2 * source.nbytes / seconds)
    told.row(
        f"copy of {source.nbytes / 2**20:,.0f} MiB, read and written", f"{told.figures['bandwidth'] / 1e9:,.0f} GB/s"
    )
    told.row("8192 x 8192 products in bf16", f"{product_rate('bf16', CUDA) / 1e12:,.0f} TFLOP/s")


def gpu_tests(told: Told, short: bool) -> None:
    """The tests that are marked `gpu`."""
    files = [path for path in sorted((HOUSE / "tests").rglob("test_*.py")) if "mark.gpu" in path.read_text()]
    # pytest-benchmark warns under xdist, and our filter makes an error of a warning.
    switches = ["-m", "gpu", "-rfE", "--tb=line", "-p", "no:cacheprovider", "-p", "no:benchmark"]
    command = [sys.executable, "-m", "pytest", *switches, *(["-k", "no_batches"] if short else []), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=HOUSE)
    lines = done.stdout.strip().splitlines() or done.stderr.strip().splitlines()[-1:]
    for line in lines:
        if line.startswith(("FAILED", "ERROR")):
            told.row("", line[:300])
    told.row("all", lines[-1])


def resume(told: Told, short: bool) -> None:
    """A run that is killed and taken up again, beside one that never was."""
    everything = ("precision=bf16", "augment=photo", "augment.horizontal_flip=0.5", "mix=mixup", "ema_decay=0.9")
    kinds = {"quickstart's baseline": (), "bf16, flips, mixup, averaged weights": everything}
    for name, changes in list(kinds.items())[: 1 if short else 2]:
        with told.faults_of(name), tempfile.TemporaryDirectory() as results:
            plans = make_plans(["quickstart/1-backbone"], Runtime(), (f"epochs={2 if short else 12}", *changes))
            job = next(iter(jobs(plans).values()))
            runtimes = [_runtime(results, each) for each in ("whole", "killed")]
            folders = [RunFolder(each.store / job["run_id"]) for each in runtimes]
            for folder in folders:
                folder.create(job)
            _train(folders[0], runtimes[0])
            killed = _killed_in(folders[1], runtimes[1])
            _train(folders[1], runtimes[1])
            whole, resumed = (_content(folder) for folder in folders)
            differing = sorted(each for each in whole if whole[each] != resumed.get(each))
            same = f"**no**: {', '.join(differing)[:200]}" if differing else f"yes, all {len(whole)} tensors"
            told.row(name, f"SIGKILL after {killed} epochs", same)


def _train(folder: RunFolder, runtime: Runtime) -> None:
    process = _worker(folder, runtime)
    if process.wait():
        raise RuntimeError(f"the worker ended with status {process.returncode}")


def _killed_in(folder: RunFolder, runtime: Runtime) -> int:
    """The finished epochs of a run that was killed in a later one."""
    process = _worker(folder, runtime)
    while not folder.ledger.history() or not list(folder.path.glob("checkpoints/*.sha256")):
        if process.poll() is not None:
            raise RuntimeError(f"the worker ended with status {process.returncode} before it was killed")
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    if folder.is_finished():
        raise RuntimeError("the run was finished before it was killed")
    return len(folder.ledger.history())


def _worker(folder: RunFolder, runtime: Runtime) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "ablation_suite.core.scheduling.worker", str(folder.path)]
    return subprocess.Popen(command, env={**os.environ, "ABLATE_RUNTIME": runtime.model_dump_json()})


def _runtime(results: str, name: str) -> Runtime:
    return Runtime(device="cuda", tracker="off", results=str(Path(results) / name), checkpoint_minutes=1e-3)


def input_path(told: Told, short: bool) -> None:
    """Augmented training images on the device, beside the plain script's loader and what a step consumes."""
    num_photos, times = (8, 1) if short else (512, 16)
    with tempfile.TemporaryDirectory() as text, told.faults_of("input"):
        folder = Path(text)
        input.write_photos(folder / "train", num_photos)
        num_workers = 1 if short else input.CORES
        photos = reference.train_loader(folder / "train", 64, num_workers).dataset
        loader = DataLoader(ConcatDataset([photos] * times), 64, True, num_workers=num_workers, pin_memory=True)
        batches = iter(loader)
        for _ in range(0 if short else 2 * num_workers):  # what was loaded ahead while the workers started
            next(batches)
        theirs = input.rate(lambda: [input.drain(images.to(CUDA) for images, _ in batches)])
        told.row(f"the plain script's loader with {num_workers} workers", f"{theirs:,.0f}", "", "")
        images = np.tile(input.cached_images(folder, folder / "cache"), (times, 1, 1, 1))
        consumed = told.figures.get("off resnet50 64 bf16")
        for name, make in {"resident": Resident, "streamed": Streamed}.items():
            feed = make(images, CUDA)
            input.drain(input.epoch_batches(images, 0, feed, CUDA))
            ours = statistics.median(
                input.rate(lambda e=epoch, f=feed: [input.drain(input.epoch_batches(images, e, f, CUDA))])
                for epoch in range(1, 4)
            )
            beside = judged(ours / consumed, "x", 3.0, ".1f") if consumed else ""
            told.row(f"ours, {name}", f"{ours:,.0f}", f"{ours / theirs:.1f}x", beside)


def grids(told: Told, short: bool) -> None:
    """The quickstart grid with more and more runs side by side; what is kept must not know of it."""
    first: dict[str, str] = {}
    for num_jobs in (1, 2) if short else (1, 4, 16):
        with told.faults_of(str(num_jobs)), tempfile.TemporaryDirectory() as results:
            words = ["quickstart", *(["epochs=1", "seeds=1"] if short else []), "--jobs", str(num_jobs)]
            seconds, _ = grid.timed("run", *words, "--device", "cuda", "--tracker", "off", results=Path(results))
            folders = run_folders(Runtime(results=results).store)
            found = {f"{each.run_id}/{name}": value for each in folders for name, value in _content(each).items()}
            first = first or found
            told.row(str(num_jobs), f"{seconds:.1f} s", str(len(folders)), "yes" if found == first else "**no**")


def _content(folder: RunFolder) -> dict[str, str]:
    """The SHA-256 of each tensor of the kept weights, and of each array of the outputs."""
    values = torch.load(folder.path / folder.record()["weights"], weights_only=True, map_location="cpu")
    with np.load(folder.path / "outputs.npz") as outputs:
        arrays = {name: outputs[name] for name in outputs.files}
    arrays |= {name: value.reshape(-1).view(torch.uint8).numpy() for name, value in values.items()}
    return {name: hashlib.sha256(array.tobytes()).hexdigest() for name, array in arrays.items()}


PARTS: dict[str, Callable[[Told, bool], None]] = {
    "ceilings": ceilings,
    "tests": gpu_tests,
    "plain": cuda_steps.plain,
    "eager": cuda_steps.eager,
    "resume": resume,
    "input": input_path,
    "grid": grids,
    "compiled": cuda_steps.compiled,
}

if __name__ == "__main__":
    _, chosen, rows, earlier, *rest = sys.argv
    PARTS[chosen](Told(Path(rows), json.loads(earlier)), rest == ["short"])

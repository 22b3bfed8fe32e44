"""What does a finished store look like? Synthetic runs of a known truth, for the tests and the benchmark of reports."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ablation_suite.ablations.plan import CONTROL_SEED_OFFSET, Cell, Plan
from ablation_suite.ablations.spec import Ablation, Arm
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_PARAMETERS, _FLOPS = 1_234_567, 98_765_432


@dataclass(frozen=True, kw_only=True)
class Truth:
    """How an arm behaves: what it changes, by how much its chance of being right differs, what it costs."""

    delta: Mapping[str, Any]
    effect: float = 0.0
    size: float = 1.0
    compound: bool = False
    note: str = ""
    control: bool = False


TRUTHS: dict[str, Truth] = {
    "baseline": Truth(delta={}),
    "wide": Truth(delta={"model.backbone": "wide"}, effect=0.035, size=1.9),
    "grouped": Truth(delta={"model.backbone": "grouped"}, effect=0.004, size=1.02),
    "no-encoding": Truth(delta={"model.encoding": "none"}, effect=-0.03, size=0.99),
    "contrastive": Truth(delta={"loss.weight": 15.0}, effect=0.008, size=1.0),
    "as-published": Truth(delta={"loss.weight": 15.0, "epochs": 30}, effect=0.02, compound=True),
}


def make_store(
    store: Path,
    truths: Mapping[str, Truth] = TRUTHS,
    *,
    ablation: str = "contrastive",
    question: str = "Does a contrastive term improve accuracy, for the same images seen?",
    seeds: int = 5,
    epochs: int = 50,
    num_images: int = 360,
    classes: tuple[str, ...] = CLASSES,
    with_test: bool = True,
    with_last: bool = False,
    seed_noise: float = 0.006,
    **fields: Any,
) -> Plan:
    """Write a finished run folder per arm and seed and return the plan that they belong to.

    The first arm is the baseline; `fields` go to the Ablation. with_last: outputs hold what the last epoch said, too.
    """
    config = RunConfig()
    cells = []
    images = _Images(num_images, len(classes))
    for index, (arm, truth) in enumerate(truths.items()):
        for seed in range(seeds):
            run_id = hashlib.sha256(f"{ablation} {arm} {seed}".encode()).hexdigest()[:16]
            rng = np.random.default_rng([index, seed])
            own_seed = seed + CONTROL_SEED_OFFSET if truth.control else seed
            write_run(store / run_id, truth, images, own_seed, rng, epochs=epochs, classes=classes, with_test=with_test,
                      with_last=with_last, seed_noise=seed_noise, arm=arm)  # fmt: skip
            cells.append(Cell(arm=arm, seed=seed, run_id=run_id, config=config, data_fingerprint="d1"))
    return Plan(ablation=make_ablation(truths, ablation, question, seeds, **fields), cells=tuple(cells))


def make_ablation(truths: Mapping[str, Truth], name: str, question: str, seeds: int, **fields: Any) -> Ablation:
    """The ablation of these truths."""
    arms = tuple(
        Arm(name=arm, delta=dict(each.delta), **{key: getattr(each, key) for key in ("compound", "note", "control")})
        for arm, each in truths.items()
    )
    defaults: dict[str, Any] = {
        "metric": None,
        "seeds": tuple(range(seeds)),
        "rule": None,
        "baseline": next(iter(truths)),
        "grid": {},
        "margin": None,
        "project": "tests",
        "overrides": (),
        "source": f"specs/{name}.yaml",
    }
    return Ablation(ablation=name, question=question, arms=arms, **{**defaults, **fields})


class _Images:
    """The images that all runs are asked about: a class each, and a difficulty that makes arms agree."""

    def __init__(self, num_images: int, num_classes: int):
        rng = np.random.default_rng(0)
        self.labels = {split: rng.integers(0, num_classes, num_images) for split in ("val", "test")}
        self.difficulty = {split: rng.beta(0.35, 2.2, num_images) for split in ("val", "test")}
        self.rival = {split: rng.integers(1, num_classes, num_images) for split in ("val", "test")}
        self.names = {
            split: np.array([f"{split}/{index:05d}.png" for index in range(num_images)]) for split in ("val", "test")
        }
        self.num_classes = num_classes


def write_run(
    folder: Path,
    truth: Truth,
    images: _Images,
    seed: int,
    rng: np.random.Generator,
    *,
    arm: str,
    epochs: int,
    classes: tuple[str, ...],
    with_test: bool,
    with_last: bool,
    seed_noise: float,
) -> None:
    """Write `run.json`, `outputs.npz` and `record.json` of one finished run."""
    folder.mkdir(parents=True)
    quality = truth.effect + seed_noise * rng.standard_normal()
    outputs: dict[str, np.ndarray] = {}
    metrics: dict[str, Any] = {}
    for split in ("val", "test") if with_test else ("val",):
        probabilities = _probabilities(images, split, quality, seed, rng)
        labels = images.labels[split]
        outputs |= {f"{split}_probabilities": probabilities, f"{split}_labels": labels}
        outputs[f"{split}_names"] = images.names[split]
        metrics[f"{split}/accuracy"] = float((probabilities.argmax(axis=1) == labels).mean())
        metrics[f"{split}/loss"] = float(-np.log(probabilities[np.arange(len(labels)), labels]).mean())
        metrics[f"last/{split}/accuracy"] = metrics[f"{split}/accuracy"] - 0.004 * rng.random()
        metrics[f"last/{split}/loss"] = metrics[f"{split}/loss"] * 1.03
    if with_last:
        last = _probabilities(images, "val", quality - 0.01, seed, np.random.default_rng([seed, epochs]))
        outputs["last_val_probabilities"] = last
        metrics["last/val/accuracy"] = float((last.argmax(axis=1) == images.labels["val"]).mean())
    history = _history(metrics["val/accuracy"], metrics["val/loss"], epochs, rng)
    metrics["best_epoch"] = 1 + int(np.argmax([row["val/accuracy"] for row in history]))
    seconds = 60 * truth.size * (1 + 0.05 * rng.random())
    for row in history:
        row |= {"images_seen": 5000, "num_steps": 79, "seconds_train": seconds / epochs}
    record = {
        "run_id": folder.name,
        "recipe": 1,
        "config": _config(truth, seed),
        "data_fingerprint": "d1",
        "labels": {"arm": arm, "seed": seed},
        "metrics": metrics,
        "history": history,
        "cost": {
            "parameters": int(_PARAMETERS * truth.size),
            "head_parameters": 10_250,
            "flops_per_image": int(_FLOPS * truth.size),
            "images_seen": 5000 * epochs,
            "optimizer_steps": 79 * epochs,
            "train_seconds": seconds,
            "seconds": seconds * 1.1,
            "images_per_second": 5000 * epochs / seconds,
            "peak_memory_bytes": int(3.1e8 * truth.size),
        },
        "provenance": {
            "packages": {"python": "3.11.2", "torch": "2.14.1", "numpy": "2.4.6"},
            "device": {"name": "cpu"},
            "suite": {"version": "0.1.0", "source": "0123456789ab"},
            "system": "Linux",
            "threads": 1,
            "memory_format": "channels_last",
            "deterministic": "on",
        },
        "classes": list(classes),
    }
    np.savez(folder / "outputs.npz", **outputs)
    job = {name: record[name] for name in ("run_id", "recipe", "config", "data_fingerprint", "labels")}
    (folder / "run.json").write_text(json.dumps(job))
    (folder / "record.json").write_text(json.dumps(record, indent=1))


def _config(truth: Truth, seed: int) -> Any:
    document = Document(data={"seed": seed})
    for path, level in truth.delta.items():
        document = document.replaced(tuple(path.split(".")), Document(data=level))
    return document.data


def _probabilities(images: _Images, split: str, quality: float, seed: int, rng: np.random.Generator) -> np.ndarray:
    """Softmax outputs (N, K) that favour the label the more, the easier the image and the better the run."""
    labels, num_images = images.labels[split], len(images.labels[split])
    logits = rng.standard_normal((num_images, images.num_classes)) * 0.5
    shared = np.random.default_rng(seed).standard_normal(num_images)  # paired seeds err alike
    noise = 0.55 * shared + 0.6 * rng.standard_normal(num_images)
    margin = 4.2 * (1 - images.difficulty[split]) - 1.1 + 14 * quality + noise
    rival = (labels + images.rival[split]) % images.num_classes
    logits[np.arange(num_images), rival] += 3.2
    logits[np.arange(num_images), labels] += 3.2 + margin
    exponent = np.exp(logits - logits.max(axis=1, keepdims=True))
    return (exponent / exponent.sum(axis=1, keepdims=True)).astype(np.float32)


def _history(accuracy: float, loss: float, epochs: int, rng: np.random.Generator) -> list[dict[str, Any]]:
    """Learning curves that end near the kept accuracy, reach it once, and then overfit a little."""
    time = np.arange(1, epochs + 1) / epochs
    kept = min(int(epochs * (0.72 + 0.2 * rng.random())), epochs - 1)
    rise = 1 - np.exp(-6 * time)
    val = accuracy - 0.004 - 0.55 * (1 - rise) + 0.003 * rng.standard_normal(epochs)
    val = np.minimum(val, accuracy - 1e-4)
    val[kept] = accuracy
    train = np.minimum(0.999, accuracy + 0.03 - 0.6 * (1 - rise) + 0.002 * rng.standard_normal(epochs))
    train_loss = 2.1 * np.exp(-5 * time) + 0.03
    val_loss = loss + 1.8 * np.exp(-6 * time) + 0.08 * np.maximum(time - 0.6, 0)
    return [
        {
            "epoch": epoch + 1,
            "train/loss": float(train_loss[epoch] * (1 + 0.03 * rng.standard_normal())),
            "train/accuracy": float(train[epoch]),
            "val/loss": float(val_loss[epoch] * (1 + 0.02 * rng.standard_normal())),
            "val/accuracy": float(val[epoch]),
            "lr": 1e-3,
            "seconds": 1.3,
            "sys/images_per_second": 3900.0,
        }
        for epoch in range(epochs)
    ]

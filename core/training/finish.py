"""What is left of a finished run? Its outputs on validation and test images, and one record that holds the rest."""

from __future__ import annotations

import io
import os
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.data.dataset import Split
from ablation_suite.core.runs.files import sha256, write_atomic
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import EpochRow, Provenance, Record
from ablation_suite.core.training import checkpoint
from ablation_suite.core.training.cost import network_cost
from ablation_suite.core.training.evaluate import metrics
from ablation_suite.core.training.loop import Position, best_path
from ablation_suite.core.training.session import Session


def finish(folder: RunFolder, session: Session, position: Position, provenance: Provenance) -> Record:
    """Evaluate the kept weights, write `outputs.npz`, and return the record, not yet committed.

    `last/*` metrics belong to the weights of the last epoch, all others to the kept ones. Where these are others, what
    the last epoch says about the validation images is kept too: the images did not select it, and may judge it.
    """
    config, parts, dataset = session.config, session.parts, session.dataset
    history = folder.ledger.history()
    results = {f"last/val/{name}": history[-1][f"val/{name}"] for name in ("loss", "accuracy")}
    outputs: dict[str, Any] = {}
    test = dataset.splits.get("test")
    if test is not None and test.labels is not None:
        results |= _named("last/test", session.predict("test"), test)
    if position.best_epoch != history[-1]["epoch"]:
        outputs["last_val_probabilities"] = session.predict("val").softmax(1).cpu().numpy()
    kept = best_path(folder, position.best_epoch)
    checkpoint.read_kept(parts.evaluated, kept, session.device)
    for name in ("val", "test"):
        split = dataset.splits.get(name)
        if split is None:
            continue
        logits = session.predict(name)
        outputs |= {f"{name}_probabilities": logits.softmax(1).cpu().numpy(), f"{name}_names": np.array(split.names)}
        if split.groups is not None:
            outputs[f"{name}_groups"] = np.array(split.groups)
        if split.labels is not None:
            results |= _named(name, logits, split)
            outputs[f"{name}_labels"] = split.labels
    buffer = io.BytesIO()
    np.savez(buffer, **outputs)
    write_atomic(folder.path / "outputs.npz", buffer.getvalue())
    return {
        **folder.job(),
        "metrics": {"best_epoch": position.best_epoch, **results},
        "history": history,
        "cost": _cost(config, len(dataset.classes), history),
        "provenance": provenance,
        "classes": list(dataset.classes),
        "weights": kept.name,
        "files": {"outputs.npz": sha256(buffer.getvalue()), kept.name: checkpoint.sum_beside(kept)},
    }


def _named(prefix: str, logits: Tensor, split: Split) -> dict[str, float]:
    labels = torch.from_numpy(split.labels).to(logits.device)
    return {f"{prefix}/{name}": value for name, value in metrics(logits, labels).items()}


def _cost(config: RunConfig, num_classes: int, history: list[EpochRow]) -> dict[str, Any]:
    images_seen = sum(row["images_seen"] for row in history)
    seconds_train = sum(row["seconds_train"] for row in history)
    return {
        **network_cost(config, num_classes),
        "images_seen": images_seen,
        "optimizer_steps": sum(row["num_steps"] for row in history),
        "train_seconds": seconds_train,
        "seconds": sum(row["seconds"] for row in history),
        "images_per_second": images_seen / seconds_train,
        "peak_memory_bytes": max(row["sys/memory_bytes"] for row in history),
        "num_cpus": os.cpu_count(),
    }

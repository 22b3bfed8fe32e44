"""Which run, or which network of torchvision, teaches this one? Known by its weights before anything is trained."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset
from ablation_suite.core.losses import Distillation
from ablation_suite.core.models.weights import WeightsError, locate
from ablation_suite.core.runs.files import file_sha256
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.shape import Record
from ablation_suite.core.runs.store import NoSuchRun, find_run

IMAGENET_CLASSES = 1000
"""Of every published network of torchvision."""


class Teacher(NamedTuple):
    """A finished run that can teach."""

    record: Record
    weights: Path
    sha256: str
    """Of the weights."""


def pinned(config: RunConfig, runtime: Runtime) -> RunConfig:
    """The config with the SHA-256 of its teacher's weights, so that it is another run than with another teacher.

    Raises WeightsError where there is no such teacher, or where it is not finished.
    """
    loss = config.loss
    if not isinstance(loss, Distillation):
        return config
    if loss.teacher_model is None:
        sha256 = find(loss, runtime).sha256
    elif loss.teacher_model.weights_file is not None:
        sha256 = file_sha256(locate(loss.teacher_model))
    else:
        return config  # published weights are known by their name
    return config.model_copy(update={"loss": loss.model_copy(update={"teacher_sha256": sha256})})


def find(loss: Distillation, runtime: Runtime) -> Teacher:
    """The run that teaches, in a folder from here or by the beginning of its id; WeightsError where it cannot."""
    here = typed(loss.teacher)
    stores = [runtime.store, *([Path(runtime.teachers) / "runs"] if runtime.teachers else [])]
    try:
        folder = RunFolder(here.resolve()) if (here / "run.json").is_file() else _by_id(loss.teacher, stores)
    except NoSuchRun as error:
        raise WeightsError(
            f"loss.teacher: {error}; give the id or the folder of a finished run, or the name of a torchvision network"
        ) from None
    record = folder.record()
    if record is None:
        raise WeightsError(f"loss.teacher: run {folder.run_id} is {folder.status()}, not finished; train it first")
    weights = folder.path / record["weights"]
    if not weights.is_file():
        raise WeightsError(f"loss.teacher: run {folder.run_id} has lost its weights {weights}")
    beside = weights.with_suffix(".sha256")
    sha256 = beside.read_text() if beside.is_file() else file_sha256(weights)
    if loss.teacher_sha256 not in ("", sha256):
        raise WeightsError(
            f"loss.teacher: run {folder.run_id} has other weights than when this run was planned; plan it again"
        )
    return Teacher(record, weights, sha256)


def misfits(config: RunConfig, dataset: Dataset, runtime: Runtime) -> Iterator[str]:
    """Why the teacher of a config cannot teach these images' classes, if it has one."""
    loss = config.loss
    if not isinstance(loss, Distillation):
        return
    if loss.network is not None and loss.teacher_model is not None:
        size = loss.network.image_size
        if loss.teacher_model.weights_file is None and len(dataset.classes) != IMAGENET_CLASSES:
            yield (
                f"loss.teacher: {loss.teacher} has ImageNet's {IMAGENET_CLASSES} classes and the data "
                f"{len(dataset.classes)}; set loss.teacher_weights to a file for these, or take a finished run"
            )
        if size is not None and config.train_size != size:
            yield f"loss.teacher: {loss.teacher} takes images of {size} pixels only, and they are {config.train_size}"
        if config.train_size < (size := loss.network.smallest_image):
            yield f"loss.teacher: {loss.teacher} takes images from {size} pixels on, and they are {config.train_size}"
        return
    try:
        record = find(loss, runtime).record
    except WeightsError as error:
        yield str(error)
        return
    if record["classes"] != list(dataset.classes):
        yield (
            f"loss.teacher: run {record['run_id']} was trained on other classes ({_some(record['classes'])}) than the "
            f"data has ({_some(dataset.classes)})"
        )
    ours, theirs = config.data.model_dump(mode="json"), record["config"]["data"]
    if record["data_fingerprint"] == dataset.fingerprint:
        parts = [key for key in ("split", "split_seed") if ours.get(key) != theirs.get(key)]
        if parts:
            yield (
                f"loss.teacher: run {record['run_id']} was trained on images that are held out here: "
                + ", ".join(f"its {key} is {theirs.get(key)}, here it is {ours.get(key)}" for key in parts)
            )


def _by_id(name: str, stores: list[Path]) -> RunFolder:
    """The run of this name in the first store that has one."""
    for store in stores[:-1]:
        try:
            return find_run(store, name)
        except NoSuchRun:
            continue
    return find_run(stores[-1], name)


def _some(names: Any) -> str:
    return f"{len(names)}: {', '.join(list(names)[:3])}{', ...' if len(names) > 3 else ''}"

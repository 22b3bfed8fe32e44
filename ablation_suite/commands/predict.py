"""Which class is in these images? Finished runs answer, several by the mean of their probabilities."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.paths import typed
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.data import parallel
from ablation_suite.core.data.entries import EXTENSIONS, bare, below
from ablation_suite.core.own.kept import admit, require_trusted
from ablation_suite.core.runs.damage import sum_in
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.runs.store import find_run
from ablation_suite.output import say

if TYPE_CHECKING:
    import numpy as np

    from ablation_suite.core.config.run_config import RunConfig
    from ablation_suite.core.data import Form
    from ablation_suite.core.models.network import Network

CHUNK = 512
"""Images that are decoded and classified at a time, so that any number of them fits into memory."""


class PredictError(UserError):
    """What keeps a prediction from being made, one line per fault."""


class Image(NamedTuple):
    """A file, and its row's name: without its extension, below the folder that was named."""

    path: Path
    name: str


class Member(NamedTuple):
    """One run of the ensemble."""

    run_id: str
    config: RunConfig
    network: Network


def predict(
    words: tuple[str, ...], output: str, proba: bool, exact_names: bool, results: str | None, device: str | None
) -> None:
    """Classify IMAGES with finished runs; several RUNs average their probabilities."""
    settings = {"results": results, "device": device, "threads": parallel.cores()}
    given = {key: value for key, value in settings.items() if value is not None}
    runtime = validate(Runtime, Document(data=given, source="command line"))
    folders, images = _sort_words(words, runtime)
    to_screen, table_path = output == "-", typed(output)
    if not (to_screen or _is_device(table_path)):
        table_path = table_path.resolve()  # a link stays one
        _require_writable(table_path)
    members, classes = load_members(folders, runtime)
    probabilities = classify(members, [image.path for image in images], runtime)
    table = images, classes, probabilities, proba, str if exact_names else _no_formula
    if to_screen:
        click.echo(_csv(*table), nl=False)  # for programs, as it is
    elif _is_device(table_path):
        table_path.write_bytes(_csv(*table))
    else:
        write_atomic(table_path, _csv(*table))
    counts = f"{len(images):,} images, {len(members)} run{'s' if len(members) > 1 else ''}"
    say(counts if to_screen else f"{typed(output)}: {counts}", err=to_screen or _is_device(table_path))


def load_members(folders: list[RunFolder], runtime: Runtime) -> tuple[list[Member], list[str]]:
    """The networks of finished runs with their kept weights, and the classes that they share.

    Raises PredictError for a run that is not finished, has lost its weights, or has other classes than the first.
    """
    from ablation_suite.core.config.run_config import RunConfig
    from ablation_suite.core.models.network import Network
    from ablation_suite.core.training.checkpoint import Damaged, read_kept
    from ablation_suite.core.training.device import pick_device

    device = pick_device(runtime)
    members: list[Member] = []
    classes: list[str] = []
    for folder in folders:
        record = folder.record()
        if record is None:
            raise PredictError(f"run {folder.run_id} is {folder.status()}, not finished")
        classes = classes or record["classes"]
        if record["classes"] != classes:
            raise PredictError(f"runs {folders[0].run_id} and {folder.run_id} have other classes; predict one by one")
        require_trusted(folder.path, record["config"], [runtime.store])
        admit(folder.path, record["config"])
        config = validate(RunConfig, Document(data=record["config"], source=str(folder.record_path)))
        network = Network(config.model, len(classes), config.train_size).to(device)
        try:
            read_kept(network, folder.path / record["weights"], device, sum_in(record, record["weights"]))
        except Damaged as error:
            raise PredictError(f"run {folder.run_id}: {error}") from None
        members.append(Member(folder.run_id, config, network))
    return members, classes


def classify(members: list[Member], paths: list[Path], runtime: Runtime) -> np.ndarray:
    """The mean of the members' probabilities, float32 (N, K), for images that are decoded as in training.

    Raises PredictError with all images that cannot be read.
    """
    import numpy as np

    from ablation_suite.core.data.views import middle
    from ablation_suite.core.training.device import pick_device, prepare
    from ablation_suite.core.training.evaluate import predict_logits
    from ablation_suite.core.training.feed import Feeds

    device = pick_device(runtime)
    faults: list[str] = []
    rows: list[np.ndarray] = []
    for chunk in _chunks(paths):
        decoded: dict[Form, np.ndarray] = {}
        total: Any = 0.0
        for _, config, network in members:
            form = config.data.form(evaluated=True)
            if form not in decoded:
                decoded[form] = _decode(chunk, form, faults)
            if faults:
                break  # go on only to find the other faults
            prepare(runtime, config.precision)
            feed = Feeds().of(middle(decoded[form], config.data.eval_crop), device)
            total += predict_logits(network, feed, len(chunk), config.batch_size, config.precision).softmax(1)
        if not faults:
            rows.append((total / len(members)).cpu().numpy())
    if faults:
        raise PredictError("\n".join(faults))
    return np.concatenate(rows)


def _is_device(path: Path) -> bool:
    """Whether a path is a pipe, /dev/null and the like, which is written to where a file is replaced."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _require_writable(output: Path) -> None:
    """PredictError, before anything is classified, where the table could not be written."""
    if not output.parent.is_dir():
        raise PredictError(f"{output}: no folder {output.parent} to write into")
    if output.is_dir():
        raise PredictError(f"{output}: is a folder; name a file with -o")
    if not os.access(output.parent, os.W_OK):
        raise PredictError(f"{output}: the folder {output.parent} cannot be written; name another file with -o")


def _sort_words(words: tuple[str, ...], runtime: Runtime) -> tuple[list[RunFolder], list[Image]]:
    """Runs and images: a word that exists as a path is images, unless it is the folder of a run."""
    folders: list[RunFolder] = []
    images: list[Image] = []
    faults: list[str] = []
    for word in words:
        path = typed(word)
        if (path / "run.json").is_file():
            folders.append(RunFolder(path.resolve()))
        elif path.is_dir():
            found = [Image(path / each, bare(each)) for each in below(path).images]
            images += sorted(found, key=lambda image: image.name)
            faults += [] if found else [f"{word}: no images in this folder ({', '.join(sorted(EXTENSIONS))})"]
        elif path.is_file():
            images.append(Image(path, bare(path.name)))
        else:
            try:
                folders.append(find_run(runtime.store, word))
            except ValueError as error:
                faults.append(f"{error}; nor is there a file or folder of that name")
    if not folders and not faults:
        faults.append("no run is named: RUN... IMAGES..., where RUN is the beginning of a run's id (`ablate status`)")
    if not images and not faults:
        faults.append("no images are named: RUN... IMAGES..., where IMAGES is a folder or single files")
    faults += list(_twins(images))
    if faults:
        raise PredictError("\n".join(faults))
    return list({folder.path: folder for folder in folders}.values()), images


def _twins(images: list[Image]) -> Iterator[str]:
    first: dict[str, Path] = {}
    for image in images:
        if image.name in first:
            yield f"{image.path} and {first[image.name]} would both be the row {image.name}; rename or leave out one"
        first.setdefault(image.name, image.path)


def _chunks(paths: list[Path]) -> Iterator[list[Path]]:
    show = parallel.bar("classifying")
    for start in range(0, len(paths), CHUNK):
        yield paths[start : start + CHUNK]
        if show:
            show(min(start + CHUNK, len(paths)), len(paths))


def _decode(paths: list[Path], form: Form, faults: list[str]) -> np.ndarray:
    """Pixels (N, H, W, 3) uint8; an unreadable image is black, and one more fault."""
    import numpy as np

    from ablation_suite.core.data.decode import Unreadable, read

    def one(index: int) -> np.ndarray:
        try:
            return read(paths[index], form)
        except Unreadable as error:
            unreadable[index] = str(error)
            return np.zeros((form.size, form.size, 3), np.uint8)

    unreadable: dict[int, str] = {}
    pixels = np.stack(parallel.each(one, len(paths)))
    faults += [f"{paths[index]}: unreadable: {unreadable[index]}" for index in sorted(unreadable)]
    return pixels


def _no_formula(name: str) -> str:
    """The name with a ' before it where it begins as what a spreadsheet runs."""
    return f"'{name}" if name.startswith(("=", "+", "-", "@", "\t", "\r")) else name


def _csv(
    images: list[Image], classes: list[str], probabilities: np.ndarray, proba: bool, cell: Callable[[str], str]
) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["image_name", "pred_label", *([f"proba_{name}" for name in classes] if proba else [])])
    for image, row in zip(images, probabilities, strict=True):
        label = classes[row.argmax()]
        writer.writerow([cell(image.name), cell(label), *([f"{value:.6f}" for value in row] if proba else [])])
    return text.getvalue().encode("utf-8", "surrogateescape")

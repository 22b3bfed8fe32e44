"""Can these configs take steps? Two are taken of each, and their data, initial values, loss and result are told."""

from __future__ import annotations

import json
import math
import os
import sys
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ablation_suite.core.config.errors import OwnPartError, UserError
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.own import Own, own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.data import groups as grouping
from ablation_suite.core.data.dataset import DataError, Dataset
from ablation_suite.core.metrics import OwnMetric
from ablation_suite.core.metrics.own import try_metric
from ablation_suite.core.models.weights import AbsentWeights
from ablation_suite.core.own.kept import unpack
from ablation_suite.core.own.loading import load, running_line, told
from ablation_suite.core.own.undisturbed import undisturbed
from ablation_suite.core.runs.files import sha256
from ablation_suite.core.training import streams
from ablation_suite.core.training.device import prepare
from ablation_suite.core.training.fit import misfits
from ablation_suite.core.training.session import Epoch, Session, set_up
from ablation_suite.core.training.tried import FirstStep, Tried

NUM_IMAGES = 4
"""Images of the batch: enough for batch norm, few enough for a large network on a CPU."""
NUM_STEPS = 2
"""A first one shows nothing of momentum."""
NUM_CHANGED, NUM_MIXED = 64, 128
"""Images whose augmentation is compared, and steps whose mixing is: a draw may leave any one of them as it is."""

Begin = Callable[[str, Sequence[str], str], None]
"""Hears what is begun ("import", "data", "metric" or "step"), the configs that need it, and the own parts it runs."""


def try_steps(
    configs: Mapping[str, RunConfig],
    runtime: Runtime,
    metrics: Sequence[str | OwnMetric] = (),
    groups: str | None = None,
    begin: Begin = lambda what, names, parts: None,
) -> Tried:
    """Take two steps of every config on the same few images; nothing is written.

    metrics, groups: what will be asked of the runs; own metrics and the rule of groups are tried on the images.
    Where the data or published weights are not on this machine, nothing is tried and the reason is given.
    """
    tried = Tried()

    def whole() -> dict[str, RunConfig]:
        return {name: config for name, config in configs.items() if name not in tried.broken}

    try:
        _import_parts(whole(), tried, begin)
        datasets = _load(whole(), runtime, tried, begin)
        unfit: dict[str, list[str]] = {}
        for name, each in whole().items():
            for fault in misfits(each, datasets[each.data], metrics, runtime):
                unfit.setdefault(fault, []).append(name)
        if groups is not None and (first := next(iter(whole().values()), None)) is not None:
            names = {split: each.names for split, each in datasets[first.data].splits.items()}
            if groups != getattr(first.data, "groups", None):  # one that train is divided by is no misspelling
                unfit |= {key: list(whole()) for key in grouping.faults(names, groups)}
            tried.groups = grouping.in_words(names, groups)
        elif datasets:
            told = {split: each.groups for split, each in next(iter(datasets.values())).splits.items() if each.groups}
            tried.groups = grouping.keys_in_words({split: [(key,) for key in keys] for split, keys in told.items()})
        own = [each for each in metrics if isinstance(each, OwnMetric)]
        unfit |= {key: list(whole()) for key in _metric_faults(whole(), own, datasets, begin)}
        tried.misfits = unfit
        for name, config in {} if unfit else whole().items():
            begin("step", [name], _names(config))
            with _told([name], config, tried):
                tried.steps[name] = first_step(config, datasets[config.data], runtime)
    except (DataError, AbsentWeights) as error:
        tried.untried = str(error).splitlines()[0]
    return tried


def main(answers: int) -> int:
    """Try the configs of the order on the input, and answer on a pipe in lines of JSON, before anything is begun too.

    What is overdue ends this process; its answer is then the user's line that keeps it.
    """
    order = json.loads(sys.stdin.readline())
    os.set_inheritable(answers, False)
    pipe, lock = os.fdopen(answers, "w"), threading.Lock()
    overdue: list[threading.Timer] = []

    def answer(**values: Any) -> None:
        with lock:
            pipe.write(json.dumps(values) + "\n")
            pipe.flush()

    def give_up(thread: int) -> None:
        answer(late=running_line(sys._current_frames()[thread]))
        os._exit(1)

    def begin(what: str, names: Sequence[str], parts: str) -> None:
        for timer in overdue:
            timer.cancel()
        answer(begun=what, names=list(names), parts=parts)
        overdue[:] = [threading.Timer(order["patience"][what], give_up, [threading.get_ident()])] if parts else []
        for timer in overdue:
            timer.daemon = True
            timer.start()

    unpack(order["code"])
    configs = {
        name: validate(RunConfig, Document(data=data, source="first step")) for name, data in order["configs"].items()
    }
    runtime = Runtime.model_validate_json(order["runtime"])
    metrics = [each if isinstance(each, str) else OwnMetric.model_validate(each) for each in order["metrics"]]
    tried = try_steps(configs, runtime, metrics, order["groups"], begin)
    begin("end", [], "")
    answer(tried=asdict(tried))
    return 0


def first_step(config: RunConfig, dataset: Dataset, runtime: Runtime) -> FirstStep:
    """Build the run as training would and take two steps on a few of its first images; nothing is written.

    Raises WeightsError where pretrained weights are not there or do not fit, and OwnPartError where own code changes a
    global random state.
    """
    parts = _names(config)
    prepare(runtime, config.precision)  # before what is judged: these are the house's own switches
    with undisturbed(parts) if parts else nullcontext():
        step = _first_step(config, dataset, runtime)
    if parts and not math.isfinite(step.loss):
        raise OwnPartError(f"{parts}: the loss of the first step is {step.loss}")
    return step


def _first_step(config: RunConfig, dataset: Dataset, runtime: Runtime) -> FirstStep:
    pieces = min(config.accumulate, max(1, min(NUM_IMAGES, len(dataset.splits["train"])) // 2))
    session = set_up(config.model_copy(update={"accumulate": pieces}), dataset, runtime)  # else of one image each
    network, num_views = session.parts.network, session.parts.loss.num_views
    initial = _digests(network)
    epoch = session.draw(1)
    columns = np.concatenate([each.reshape(num_views, -1) for each in epoch.views], axis=1)  # (V, N)
    assert session.split.labels is not None
    few = columns[:, _with_pairs(session.split.labels[columns])].reshape(-1)
    tallies = torch.zeros(NUM_STEPS, 3, dtype=torch.float64, device=session.device)
    for images, rows in session.feed.batches([few]):
        mixed = _mixed(session, images, epoch.labels[rows])
        for tally in tallies:
            session.step(replace(epoch, views=[few], draw_rows=[few]), 0, images, rows, tally)
    return FirstStep(
        order=sha256(np.concatenate([each.reshape(num_views, -1)[0] for each in epoch.views]).tobytes()),
        draws=_digest(epoch.draws),
        changed=_changed(session, epoch, columns) + mixed,
        initial=initial,
        loss=float(tallies[0, 0]),
        after=_digests(network),
    )


def _changed(session: Session, epoch: Epoch, columns: np.ndarray) -> str:
    """Digest of the first epoch's images and partners (V, N), and of what augmentation makes of some of them."""
    some = columns[:, :NUM_CHANGED].reshape(-1)
    told = [sha256(columns.tobytes())]
    for images, rows in session.feed.batches([some]):
        draws = replace(epoch, views=[some], draw_rows=[some]).draws_of(0, rows)
        told.append(_digest(session.parts.augment(images, draws)))
    return sha256("".join(told))


def _mixed(session: Session, images: Tensor, labels: Tensor) -> str:
    """Digest of what the first steps' mixing makes of a few images uint8 (N, H, W, 3) with labels (N,)."""
    if session.config.mix.name == "none":
        return ""
    parts, told = session.parts, []
    for at in range(NUM_MIXED):
        mixing = streams.torch_generator(session.config.seed, "mix", 1, at)
        inputs = images.permute(0, 3, 1, 2) / 255  # new ones, since an own part may change them in place
        told += [_digest(each) for each in parts.mix(inputs, labels.clone(), parts.num_classes, mixing)]
    return sha256("".join(told))


def _import_parts(configs: Mapping[str, RunConfig], tried: Tried, begin: Begin) -> None:
    """Run the module of every own part; who needs one that cannot be imported is broken."""
    needs: dict[tuple[str, str], tuple[Own, dict[str, RunConfig]]] = {}
    for name, config in configs.items():
        for part in own_parts(config):
            needs.setdefault((part.name, part.code), (part, {}))[1][name] = config
    for part, users in needs.values():
        begin("import", list(users), part.name)
        with _told(users, part, tried), undisturbed(part.name):
            load(part)


def _load(configs: Mapping[str, RunConfig], runtime: Runtime, tried: Tried, begin: Begin) -> dict[Any, Dataset]:
    """Every data set, once; of an own one that cannot be had, the configs are broken."""
    datasets: dict[Any, Dataset] = {}
    for data in dict.fromkeys(config.data for config in configs.values()):
        users = [name for name, config in configs.items() if config.data == data]
        begin("data", users, _names(data))
        with _told(users, data, tried):
            datasets[data] = build(data, data_root=Path(runtime.data_root), cache=Path(runtime.cache)).load()
    return datasets


def _metric_faults(
    configs: Mapping[str, RunConfig], metrics: Sequence[OwnMetric], datasets: Mapping[Any, Dataset], begin: Begin
) -> Iterator[str]:
    """Why an own metric gives no number on the images that it will be asked about."""
    for metric in metrics:
        for data in dict.fromkeys(config.data for config in configs.values()):
            dataset = datasets[data]
            images = dataset.splits.get(metric.split)
            if images is None or images.labels is None:
                continue  # a misfit
            begin("metric", list(configs), metric.name)
            try:
                try_metric(metric, dataset.classes, images.labels)
            except OwnPartError as error:
                yield f"metric: {error}"


@contextmanager
def _told(names: Iterable[str], blamed: RunConfig | Own, tried: Tried) -> Iterator[None]:
    """Make of what is raised the line that tells why these configs are broken; a defect of ours stays one."""
    try:
        yield
    except (Exception, SystemExit) as error:
        parts = _names(blamed)
        if isinstance(error, AbsentWeights) or (isinstance(error, DataError) and not parts):
            raise
        line = error if isinstance(error, UserError) else told(error)
        if line is None and not parts:
            raise
        what = f"{type(error).__name__}: {error}"
        words = str(line or f"{parts}: {what}").splitlines()[0]
        tried.broken.update(dict.fromkeys(names, words))


def _names(config: RunConfig | Own) -> str:
    """The own parts of a config, for people; "" where it has none."""
    return ", ".join(dict.fromkeys(each.name for each in own_parts(config)))


def _with_pairs(labels: np.ndarray) -> list[int]:
    """Places of a few images, given labels (V, N) of them and of their partners.

    Two images are of one class where there are such, a partner is of its image's class and another is not. A loss that
    compares images would else have nothing to compare, and its arm no effect.
    """
    first = labels[0]
    pair = np.flatnonzero(first == first[0])[:2].tolist()
    partners = [place for each in (labels[-1] == first, labels[-1] != first) for place in np.flatnonzero(each)[:1]]
    others = [*np.flatnonzero(first != first[0])[:NUM_IMAGES], *range(len(first))]
    return list(dict.fromkeys([*pair, *partners, *others]))[:NUM_IMAGES]


def _digests(network: torch.nn.Module) -> dict[str, str]:
    values = network.state_dict().items()
    return {f"{name} {tuple(value.shape)}": _digest(value) for name, value in values}


def _digest(values: Tensor) -> str:
    return sha256(values.cpu().numpy().tobytes())

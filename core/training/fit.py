"""Can these settings be trained on these images, and can what is asked of them be answered? Asked before training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data.dataset import Dataset, Split
from ablation_suite.core.data.splits import part_of
from ablation_suite.core.metrics import OwnMetric, key_of
from ablation_suite.core.metrics.measures import data_fault
from ablation_suite.core.runs import teachers


def misfits(
    config: RunConfig, dataset: Dataset, metrics: Sequence[str | OwnMetric] = (), runtime: Runtime | None = None
) -> Iterator[str]:
    """What is wrong with a RunConfig for a data set, with the numbers; `metrics` are those that the runs must have.

    Metrics of the user's own are not computed. A teacher is looked for where `runtime` says.
    """
    for metric in metrics:
        name = key_of(metric)
        split, _, measure = name.partition("/")
        images = dataset.splits.get(split)
        if images is None or images.labels is None:
            have = f"no {split} split" if images is None else f"a {split} split without labels"
            yield f"metric: {name} cannot be had, the data has {have}; label its images, or ask for val/{measure}"
        elif isinstance(metric, str) and (fault := data_fault(name, dataset.classes, images.labels)):
            yield f"metric: {fault}"
    labels = dataset.splits["train"].labels
    if len(dataset.classes) < 2:
        yield f"data: has one class only ({', '.join(dataset.classes)}); a classifier needs two"
    elif getattr(config.data, "sampler", "") == "balanced" and labels is not None and len(set(labels)) < 2:
        yield "data.sampler: balanced has one class only among the training images, and nothing to balance"
    val = dataset.splits.get("val")
    if config.schedule.name == "plateau" and (val is None or val.labels is None):
        yield f"schedule: plateau watches the validation {config.schedule.metric}, which needs labelled images"
    yield from teachers.misfits(config, dataset, runtime or Runtime())
    trained_on = part_of(dataset.splits["train"], config.data.share, config.data.split_seed)
    yield from _single_images(config, len(dataset.classes), len(trained_on))
    yield from _lonely_classes(config, dataset.classes, trained_on)
    yield from _idle_average(config, len(trained_on))


def _single_images(config: RunConfig, num_classes: int, num_images: int) -> Iterator[str]:
    """Pieces of one image: batch norm has no variance over it, and where maps are 1 x 1, torch raises in mid-run."""
    told = next(_with_single_images(config, num_images), "")
    if told and _has_batch_norm(config, num_classes):
        yield told


def _has_batch_norm(config: RunConfig, num_classes: int) -> bool:
    """Whether a part of the network that is trained takes statistics over the images at hand."""
    import torch

    from ablation_suite.core.models.network import Network

    own = any(own_parts(config.model))  # which may compute with values, and `meta` has none
    try:
        with torch.device("cpu" if own else "meta"), torch.random.fork_rng(devices=[]):
            network = Network(config.model, num_classes, config.train_size).train()
    except Exception:  # why it cannot be built, its first step says
        return True
    return any(isinstance(each, torch.nn.modules.batchnorm._BatchNorm) and each.training for each in network.modules())


def _with_single_images(config: RunConfig, num_images: int) -> Iterator[str]:
    pieces = f" in {config.accumulate} pieces (accumulate)" if config.accumulate > 1 else ""
    whole = min(config.batch_size, num_images)
    last = num_images % config.batch_size  # the loop leaves out a last batch of one
    if whole // config.accumulate < 2:
        yield f"batch_size: a batch of {whole}{pieces} gives batch norm a single image, which has no variance"
    elif last > 1 and last // config.accumulate < 2:
        yield (
            f"batch_size: {num_images} images in batches of {config.batch_size} leave a last one of {last}, of whose "
            f"{config.accumulate} pieces one gives batch norm a single image, which has no variance"
        )


def _lonely_classes(config: RunConfig, classes: Sequence[str], split: Split) -> Iterator[str]:
    """Classes of one image, which could only be paired with itself, where the loss pairs images."""
    if config.loss.num_views == 1 or split.labels is None:
        return
    sizes = np.bincount(split.labels, minlength=len(classes))
    alone = [name for name, size in zip(classes, sizes, strict=True) if size == 1]
    if alone:
        more = f" and {len(alone) - 3} more" if len(alone) > 3 else ""
        yield (
            f"loss: {config.loss.name} pairs images of one class, and there is a single training image of "
            f"{', '.join(alone[:3])}{more}; add images, or leave these classes out"
        )


def _idle_average(config: RunConfig, num_images: int) -> Iterator[str]:
    """An average of the weights that the run is too short to move."""
    if config.ema_decay is None:
        return
    full, last = divmod(num_images, config.batch_size)
    num_steps = config.epochs * max(1, full + (last > 1))
    share = config.ema_decay ** (num_steps - 1)
    if share > 0.5:
        limit = 0.5 ** (1 / max(1, num_steps - 1))
        yield (
            f"ema_decay: after {num_steps} steps, {min(100 * share, 99.9):.3g} % of the average with "
            f"{config.ema_decay} are the weights of the first step; take one below {limit:.3g}, or train longer"
        )

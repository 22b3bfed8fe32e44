"""Is a run id a function of everything that can change the numbers, and of nothing else?"""

from __future__ import annotations

import hashlib
import json
import os
from typing import get_args

import pytest

from ablation_suite.core.config.levels import leaves
from ablation_suite.core.config.menu import Frozen
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import parse, validate
from ablation_suite.core.runs.identity import run_id

RICH = """
data: {name: folder, path: photos, size: 64, split: 0.1}
augment: {name: photo, horizontal_flip: 0.5}
mix: {name: mixup, alpha: 0.4}
model:
  backbone: {name: bottleneck}
  encoding: {name: sinusoidal}
  head: {name: linear, dropout: 0.5}
loss: {name: cross_entropy, label_smoothing: 0.1}
schedule: {name: cosine, warmup_epochs: 1}
clip_norm: 10
ema_decay: 0.99
"""
OTHER = {
    "data.path": "elsewhere",
    "data.allow": ("leaked",),
    "model.weights": "IMAGENET1K_V1",
    "model.normalize": "imagenet",
    "model.backbone.planes": (8, 16),
    "model.backbone.blocks": (2, 1),
    "optimizer.betas": (0.8, 0.999),
    "model.backbone.norm": "group",
    "model.pooling": "gem",
    "model.freeze": "backbone",
    "early_stopping": {"patience": 2},
    "precision": "bf16",
    "selection": "last",
    "data.split": 0.2,
    "data.resize": "crop",
    "data.preprocess": {"name": "equalize"},
    "data.eval_size": 32,
    "data.eval_crop": 48,
    "data.sampler": "balanced",
    "data.groups": "{plant}_*.jpg",
}
LATER = {
    "": "swa head_lr_factor layer_decay",
    "model.backbone": "norm zero_init_residual stochastic_depth",
    "optimizer": "decay_norms_and_biases",
    "data": "resize preprocess eval_size eval_crop sampler groups",
    "augment": (
        "hue jitter_probability random_resized_crop random_crop trivial_augment_wide rand_augment auto_augment aug_mix "
        "random_grayscale gaussian_blur random_erasing"
    ),
}
"""Settings that came after the pinned ids, by the group that they stand in."""
OTHER |= {f"augment.{name}": True for name in LATER["augment"].split()[2:]}


def rich() -> RunConfig:
    return validate(RunConfig, parse(RICH, source="rich.yaml"))


def changed(value):
    if isinstance(value, bool):
        return not value
    return value + 1 if isinstance(value, int) else value * 0.5 if value else 0.25


def with_leaf(config: RunConfig, path: str, value) -> RunConfig:
    data = config.model_dump()
    holder = data
    *parents, last = path.split(".")
    for step in parents:
        holder = holder[step]
    holder[last] = value
    return RunConfig.model_validate(data)


def test_pinned_ids_do_not_move():
    """A run of last year is found again; who changes these changes RECIPE's promise."""
    assert run_id(RunConfig(), "data") == "4a042a70f7e8"
    assert run_id(rich(), "data") == "ed35aca8e163"


def test_the_id_is_the_sha256_of_sorted_json():
    """Computed here from the published algorithm, by hand; settings that came later are no part of it at rest."""
    config = rich().model_dump(mode="json")
    for group, names in LATER.items():
        holder = config
        for step in filter(None, group.split(".")):
            holder = holder[step]
        for name in names.split():
            del holder[name]
    content = {"config": config, "data": "d", "recipe": 2}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"))
    assert run_id(rich(), "d") == hashlib.sha256(text.encode()).hexdigest()[:12]


LEAVES = [path for path, _ in leaves(rich().model_dump()) if not path.endswith(".name") and path != "swa"]


@pytest.mark.parametrize("path", LEAVES)
def test_every_leaf_of_the_config_changes_the_id(path):
    """There is no exclude list."""
    value = dict(leaves(rich().model_dump()))[path]
    other = with_leaf(rich(), path, OTHER.get(path) or changed(value))
    assert run_id(other, "d") != run_id(rich(), "d")


def test_another_average_changes_the_id():
    """The one leaf that the rich config, which has a moving average, cannot have; SWA counts with its settings."""
    ids = [run_id(with_leaf(RunConfig(), "swa", {"start_epoch": start}), "d") for start in (3, 4)]
    assert len({*ids, run_id(RunConfig(), "d")}) == 3


def test_the_content_of_the_data_changes_the_id():
    """The same settings on other images are another run."""
    assert run_id(rich(), "one") != run_id(rich(), "two")


def test_the_content_of_a_weights_file_changes_the_id(tmp_path):
    """Another file under the same name makes another run."""
    path = tmp_path / "weights.pth"
    config = with_leaf(rich(), "model.weights", str(path))
    ids = []
    for content in (b"one", b"two and more"):
        path.write_bytes(content)
        ids.append(run_id(config, "d"))
    assert len(set(ids)) == 2


def test_weights_whose_time_was_set_back_are_read_again(tmp_path):
    """As `cp -p` and archives set it: an open notebook must not take the new file for the old one."""
    path = tmp_path / "weights.pth"
    config = with_leaf(rich(), "model.weights", str(path))
    found = set()
    for content in (b"one", b"two"):
        path.write_bytes(content)
        os.utime(path, ns=(0, 0))
        found.add(run_id(config, "data"))
    assert len(found) == 2


def test_no_field_of_the_runtime_is_a_field_of_the_config():
    """Where and how is never hashed."""

    def names(model):
        for name, field in model.model_fields.items():
            yield name
            for part in [field.annotation, *get_args(field.annotation)]:
                if isinstance(part, type) and issubclass(part, Frozen):
                    yield from names(part)

    assert not set(Runtime.model_fields) & set(names(RunConfig))

"""Did the training arithmetic change by accident? Losses of small runs, as they were when RECIPE was last raised."""

from __future__ import annotations

from pathlib import Path

import pytest

from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import parse, validate
from ablation_suite.core.runs.identity import RECIPE, run_id
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work

SHARED = """
augment: {name: photo, horizontal_flip: 0.5, rotation: 10, brightness: 0.2, sharpness: 2}
model:
  backbone: {name: bottleneck, planes: [8], blocks: [1]}
  encoding: {name: sinusoidal, levels: 2}
  head: {name: linear, dropout: 0.3}
optimizer: {name: adam, lr: 3e-3}
schedule: cosine
epochs: 3
clip_norm: 5
"""
GOLDEN = {
    "loss: {name: contrastive, weight: 5.0}": {1: [6.5361, 6.24411, 6.14658], 2: [6.53942, 6.24885, 6.14971]},
    "loss: {name: contrastive, weight: 5.0, views: joint}": {2: [6.5361, 6.24411, 6.14658]},
    "mix: mixup": {1: [2.34498, 2.2618, 2.22425], 2: [2.34498, 2.2618, 2.22425]},
}
"""What is added -> recipe -> training losses of the three epochs; a change of recipe adds its own number."""


@pytest.mark.parametrize("added", GOLDEN)
def test_the_losses_of_a_small_run_have_not_moved(added, tmp_path):
    """Wide enough for another processor's rounding, far too narrow for another order, draw or formula."""
    runtime = Runtime(results=str(tmp_path), cache=str(tmp_path / "cache"), tracker="off")
    config = validate(RunConfig, parse(SHARED + added, source="golden"))
    data = build(config.data, data_root=tmp_path, cache=Path(runtime.cache)).fingerprint()
    name = run_id(config, data)
    folder = RunFolder(runtime.store / name)
    job = {"run_id": name, "recipe": RECIPE, "config": config.model_dump(mode="json"), "data_fingerprint": data}
    folder.create({**job, "labels": {}})
    assert work(folder, runtime, Datasets()) == DONE, folder.failure()
    losses = [row["train/loss"] for row in folder.ledger.history()]
    assert losses == pytest.approx(GOLDEN[added][RECIPE], rel=2e-3)

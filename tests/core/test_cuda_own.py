"""Do own parts take a step on a CUDA device, on one device, without a wait and with its generator seeded?"""

from __future__ import annotations

import shutil
import warnings
from pathlib import Path

import pytest
import torch

from ablation_suite.commands.init import STARTS
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.data import Digits
from ablation_suite.core.training.session import set_up

ALL = {
    "model": {
        "backbone": "backbone.py:SmallNet",
        "encoding": "encoding.py:FourierFeatures",
        "head": "head.py:CosineHead",
    },
    "loss": "loss.py:PolyLoss",
    "augment": "augment.py:Cutout",
    "optimizer": "optimizer.py:Lion",
    "schedule": "schedule.py:polynomial",
}
KINDS = {
    "starts": ALL,
    "dropout": {"model": {"backbone": {"name": "backbone.py:SmallNet", "dropout": 0.5}}, "precision": "bf16"},
    "one by one": {"augment": {"name": "torchvision.transforms.v2:RandomAffine", "degrees": 10}},
    "average in pieces": {**ALL, "ema_decay": 0.9, "accumulate": 2},
}


def take_own_steps(changes: dict, folder: str) -> dict:
    """The seeds of the device's generator after three steps, a wait in the last of which raises, and all warnings."""
    for path in STARTS.glob("*.py"):
        shutil.copy(path, folder)
    settings = {"batch_size": 32, **changes}
    config = validate(RunConfig, Document(data=settings, source=f"{folder}/spec.yaml:1"))
    digits = build(Digits(), data_root=Path("unused"), cache=Path("unused")).load()
    runtime = Runtime(device="cuda", compile="off", results=folder, cache=folder)
    seeds = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        session = set_up(config, digits, runtime)
        epoch, tally = session.draw(1), torch.zeros(3, dtype=torch.float64, device=session.device)
        for at, (images, rows) in enumerate(session.feed.batches(epoch.views[:3])):
            torch.cuda.set_sync_debug_mode("error" if at == 2 and "augment.py" in str(changes) else "default")
            session.step(epoch, at, images, rows, tally)
            torch.cuda.set_sync_debug_mode("default")
            seeds.append(torch.cuda.default_generators[0].initial_seed())
    told = [str(each.message) for each in caught if "prototype" not in str(each.message)]
    return {"seeds": seeds, "warnings": told, "host seed": torch.initial_seed()}


@pytest.mark.parametrize("kind", KINDS)
def test_own_parts_take_steps_on_a_cuda_device(kind, null_cuda, tmp_path):
    """The device's generator is seeded anew by each step, and the host's is given back."""
    seen = null_cuda.call(take_own_steps, KINDS[kind], str(tmp_path))
    assert seen["warnings"] == []
    assert len(set(seen["seeds"])) == 3
    assert seen["host seed"] not in seen["seeds"]

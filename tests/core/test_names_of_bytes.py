"""What of names of the file system that are no text in UTF-8, as old cameras and other systems leave them?"""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest
from PIL import Image

from ablation_suite.ablations.find import find_specs
from ablation_suite.core.config.errors import printable
from ablation_suite.core.config.menu import build
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document, SchemaError, validate
from ablation_suite.core.data import Folder
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.runs.files import read_json, write_json
from ablation_suite.core.runs.identity import RECIPE, run_id
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work

CAFE = os.fsdecode(b"caf\xe9")


@pytest.fixture
def photos(tmp_path):
    """Two classes of images whose names are no text: a byte that UTF-8 does not know in each."""
    numbers = iter(range(100))
    for split in ("train", "val"):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for number in range(4):
                pixels = np.random.default_rng(next(numbers)).integers(0, 256, (8, 8, 3), np.uint8)
                Image.fromarray(pixels).save(tmp_path / "photos" / split / name / f"{CAFE}{number}.png")
    return tmp_path / "photos"


@pytest.mark.fault(
    "images whose names are no UTF-8",
    injected="b'caf\\xe9' in each name",
    promised="they are trained on, and their names come back from the run as they are",
)
def test_images_of_any_name_are_trained_on(photos, tmp_path, make_config, runtime):
    """The names in outputs.npz lead to the files again."""
    config = make_config({"data": {"name": "folder", "path": str(photos), "size": 8}}, epochs=1, batch_size=4)
    dataset = build(config.data, data_root=tmp_path, cache=tmp_path / "cache").load()
    folder = RunFolder(tmp_path / run_id(config, dataset.fingerprint))
    job = {"run_id": folder.run_id, "recipe": RECIPE, "config": config.model_dump(mode="json"), "labels": {}}
    folder.create({**job, "data_fingerprint": dataset.fingerprint})
    assert work(folder, runtime, Datasets()) == DONE
    names = folder.outputs("val")["val_names"]
    assert len(names) == 8
    assert all((photos / "val" / f"{name}.png").is_file() for name in names)


@pytest.mark.fault(
    "a class or a spec whose name is no UTF-8",
    injected="a folder and a file named b'caf\\xe9'",
    promised="one line that spells the byte and says to rename it, in `check`, `data check`, `plan` and `run`",
)
def test_a_class_or_a_spec_must_be_named_in_text(photos, tmp_path):
    """Records, trackers and reports hold their names."""
    for split in ("train", "val"):
        shutil.move(photos / split / "cat", photos / split / CAFE)
    source = build(Folder(path=str(photos), size=8), data_root=tmp_path, cache=tmp_path / "cache")
    with pytest.raises(DataError) as told:
        source.fingerprint()
    line = printable(str(told.value))
    assert line == rf"{photos}/train/caf\xe9: the name of this class is no text in UTF-8; rename the folder"
    spec = tmp_path / f"{CAFE}.yaml"
    spec.touch()
    with pytest.raises(SchemaError, match="its path is no text in UTF-8; rename it"):
        find_specs([str(spec)])
    with pytest.raises(SchemaError, match="should be text in UTF-8, not"):
        validate(RunConfig, Document(data={"data": {"name": "folder", "path": CAFE}}, source="command line"))


def test_a_message_with_such_a_name_is_written_as_json(tmp_path):
    """Failures and ledgers hold paths; any reader of JSON reads them, and the bytes come back."""
    write_json(tmp_path / "failure.json", {"message": CAFE})
    assert read_json(tmp_path / "failure.json") == {"message": CAFE}
    assert json.loads((tmp_path / "failure.json").read_text(encoding="utf-8"))["message"].startswith("caf")
    folder = RunFolder(tmp_path)
    folder.ledger.append("event", message=CAFE)
    assert folder.ledger.rows()[0]["message"] == CAFE
    parts = {"metrics": {}, "history": [], "cost": {}, "classes": [], "config": {}, "file": CAFE}
    folder.commit(parts)
    assert folder.record() == parts

"""Are torchvision's data sets read as torchvision reads them, and is a missing one explained?"""

from __future__ import annotations

import inspect
import pickle
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pytest
import torchvision
from PIL import Image
from torchvision.transforms.v2 import InterpolationMode, functional

from ablation_suite.core.config import menu
from ablation_suite.core.data import Form, Torchvision, decode
from ablation_suite.core.data.dataset import DataError
from ablation_suite.core.data.torchvision_sets import PUBLISHED, PublishedSource

rng = np.random.default_rng(0)


@pytest.fixture
def source(tmp_path: Path) -> Callable[..., PublishedSource]:
    def make(**settings: Any) -> PublishedSource:
        return menu.build(Torchvision(**settings), data_root=tmp_path / "data", cache=tmp_path / "cache")

    return make


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """No name can be looked up."""

    def refuse(*arguments: Any, **settings: Any) -> Any:
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def write_mnist(folder: Path) -> None:
    """Files as MNIST's, 30 and 10 images of 28 x 28 pixels (the IDX format of LeCun's page)."""
    folder.mkdir(parents=True)
    for split, count in (("train", 30), ("t10k", 10)):
        labels = (np.arange(count) % 10).astype(np.uint8)
        images = rng.integers(0, 256, (count, 28, 28), np.uint8)
        header = bytes([0, 0, 8, 3]) + b"".join(n.to_bytes(4, "big") for n in images.shape)
        (folder / f"{split}-images-idx3-ubyte").write_bytes(header + images.tobytes())
        header = bytes([0, 0, 8, 1]) + count.to_bytes(4, "big")
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(header + labels.tobytes())


def write_cifar10(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files as CIFAR10's, ten images in each of five training batches and one test batch."""
    folder.mkdir(parents=True)
    for name in [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]:
        batch = {"data": rng.integers(0, 256, (10, 3072), np.uint8), "labels": list(range(10))}
        (folder / name).write_bytes(pickle.dumps(batch))
    names = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
    (folder / "batches.meta").write_bytes(pickle.dumps({"label_names": names}))
    monkeypatch.setattr("torchvision.datasets.cifar.check_integrity", lambda path, md5=None: Path(path).exists())


def write_textures(folder: Path) -> None:
    """Files as DTD's (the first of its partitions): JPEGs of several sizes, a list of names for each split."""
    (folder / "labels").mkdir(parents=True)
    for number, split in enumerate(("train", "val", "test")):
        names = [f"{name}/{name}_{number}.jpg" for name in ("banded", "dotted")]
        (folder / "labels" / f"{split}1.txt").write_text("\n".join(names))
        for name in names:
            (folder / "images" / name).parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(rng.integers(0, 256, (30 + number, 40, 3), np.uint8)).save(folder / "images" / name)


def test_the_menu_and_the_table_name_the_same_sets_and_torchvision_has_them_all() -> None:
    """Every name is a class of torchvision.datasets whose constructor takes what the table gives it."""
    names = get_args(Torchvision.model_fields["dataset"].annotation)
    assert sorted(names) == sorted(PUBLISHED)
    for name, published in PUBLISHED.items():
        parameters = inspect.signature(getattr(torchvision.datasets, name)).parameters
        for arguments in published.splits.values():
            if not any(each.kind is each.VAR_KEYWORD for each in parameters.values()):
                assert set(arguments) <= set(parameters), name


def test_grey_images_of_a_flagged_set_are_torchvision_s(source: Callable[..., PublishedSource], tmp_path: Path) -> None:
    """MNIST: every row is the image and label that torchvision gives, in three equal channels; val is held out."""
    write_mnist(tmp_path / "data" / "MNIST" / "raw")
    found = source(dataset="MNIST", size=28, split=0.34).load()
    assert found.classes[:2] == ("0 - zero", "1 - one")
    assert {name: len(split) for name, split in found.splits.items()} == {"train": 20, "val": 10, "test": 10}
    expected = {
        "train": torchvision.datasets.MNIST(tmp_path / "data", train=True),
        "test": torchvision.datasets.MNIST(tmp_path / "data", train=False),
    }
    for split in found.splits.values():
        for row, name in enumerate(split.names):
            origin, index = name.split("/")
            image, label = expected[origin][int(index)]
            np.testing.assert_array_equal(split.images[row], np.repeat(np.asarray(image)[..., None], 3, axis=2))
            assert split.labels[row] == label


def test_colour_images_and_class_names_are_torchvision_s(
    source: Callable[..., PublishedSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """CIFAR10: pixels resized to 16, and its own class names."""
    write_cifar10(tmp_path / "data" / "cifar-10-batches-py", monkeypatch)
    found = source(dataset="CIFAR10", size=16, split=0.2).load()
    assert found.classes[0] == "airplane"
    image, label = torchvision.datasets.CIFAR10(tmp_path / "data", train=False)[3]
    np.testing.assert_array_equal(found.splits["test"].images[3], decode.in_form(image, Form(16)))
    assert found.splits["test"].labels[3] == label
    assert np.bincount(found.splits["val"].labels).tolist() == [1] * 10


def test_a_set_with_its_own_validation_split_keeps_it(source: Callable[..., PublishedSource], tmp_path: Path) -> None:
    """DTD: train, val and test are torchvision's; a share of train as well is refused."""
    write_textures(tmp_path / "data" / "dtd" / "dtd")
    found = source(dataset="DTD", size=12).load()
    assert found.classes == ("banded", "dotted")
    for name, split in found.splits.items():
        expected = torchvision.datasets.DTD(tmp_path / "data", split=name)
        for row in range(2):
            np.testing.assert_array_equal(split.images[row], decode.in_form(expected[row][0], Form(12)))
            assert split.labels[row] == expected[row][1]
    with pytest.raises(DataError, match=r"DTD: has a validation split of its own, so `split: 0\.1`"):
        source(dataset="DTD", split=0.1).fingerprint()


def test_a_set_without_validation_images_needs_a_share(source: Callable[..., PublishedSource]) -> None:
    """The error says so before anything is looked for."""
    with pytest.raises(DataError, match=r"MNIST: has no validation split; set `split`"):
        source(dataset="MNIST").fingerprint()


def test_the_fingerprint_is_of_the_files_and_imports_no_torch(
    source: Callable[..., PublishedSource], tmp_path: Path
) -> None:
    """A changed byte changes it, an archive beside the files does not."""
    folder = tmp_path / "data" / "MNIST" / "raw"
    write_mnist(folder)
    first = source(dataset="MNIST", split=0.5).fingerprint()
    (folder / "train-images-idx3-ubyte.gz").write_bytes(b"the archive")
    assert source(dataset="MNIST", split=0.5).fingerprint() == first
    code = (
        "import sys; from pathlib import Path; from ablation_suite.core.config import menu; "
        "from ablation_suite.core.data import Torchvision;"
        "entry = Torchvision(dataset='MNIST', split=0.5);"
        f"source = menu.build(entry, data_root=Path({str(tmp_path / 'data')!r}), cache=Path({str(tmp_path)!r}));"
        "print(source.fingerprint(), [name for name in ('torch', 'numpy', 'PIL') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == f"{first} []\n"
    labels = folder / "train-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1] + b"\5")
    assert source(dataset="MNIST", split=0.5).fingerprint() != first


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("dataset", ["CIFAR10", "MNIST", "SVHN", "Flowers102", "EuroSAT", "ImageNet", "FER2013"])
def test_offline_the_error_names_the_folder_it_belongs_in(
    source: Callable[..., PublishedSource], tmp_path: Path, dataset: str
) -> None:
    """One line with the path, the reason, and the setting that says where it lies."""
    split = None if "val" in PUBLISHED[dataset].splits else 0.1
    with pytest.raises(DataError) as caught:
        source(dataset=dataset, split=split).fingerprint()
    (fault,) = caught.value.faults
    assert fault.startswith(f"{dataset}: {tmp_path / 'data' / PUBLISHED[dataset].lies_in[0]}")
    assert "could not be downloaded" in fault
    assert "--data-root DIR or ABLATE_DATA" in fault
    assert "\n" not in fault


def test_an_incomplete_set_is_an_error(source: Callable[..., PublishedSource], tmp_path: Path) -> None:
    """A download that was cut off is not trained on."""
    write_mnist(tmp_path / "data" / "MNIST" / "raw")
    (tmp_path / "data" / "MNIST" / "raw" / "t10k-labels-idx1-ubyte").unlink()
    with pytest.raises(DataError, match="is incomplete; remove it to download it anew"):
        source(dataset="MNIST", split=0.5).load()


def test_unreadable_images_of_a_set_are_all_listed(source: Callable[..., PublishedSource], tmp_path: Path) -> None:
    """One line each, by split and number."""
    write_textures(tmp_path / "data" / "dtd" / "dtd")
    for name in ("banded/banded_0.jpg", "dotted/dotted_2.jpg"):
        (tmp_path / "data" / "dtd" / "dtd" / "images" / name).write_bytes(b"gone")
    with pytest.raises(DataError) as caught:
        source(dataset="DTD", size=8).load()
    assert ["train image 0" in caught.value.faults[0], "test image 1" in caught.value.faults[1]] == [True, True]


def test_resizing_is_torchvision_s(tmp_path: Path) -> None:
    """decode.read equals torchvision's v2 resize (bilinear, antialias) of the PIL image, larger and smaller."""
    for height, width in ((40, 60), (10, 7)):
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), np.uint8))
        image.save(tmp_path / "x.png")
        expected = functional.resize(image, [24, 24], interpolation=InterpolationMode.BILINEAR, antialias=True)
        np.testing.assert_array_equal(decode.read(tmp_path / "x.png", Form(24)), np.asarray(expected))

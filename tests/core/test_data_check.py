"""Does `ablate data` say all that is wrong with a folder, and does it see to the cache?"""

from __future__ import annotations

import os
import shutil
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ablation_suite.core.config.menu import build
from ablation_suite.core.data import Folder, check, near
from ablation_suite.core.data.dataset import DataError, Dataset, Finding, in_brief
from ablation_suite.reading_verbs import data


def paint(path: Path, number: int, width: int = 6, height: int = 4) -> None:
    """An image of its own for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (height, width, 3), np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two classes, three images each in train and one in val, and two test images."""
    monkeypatch.setenv("ABLATE_DATA", str(tmp_path))
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    for number in range(8):
        split, index = ("train", number // 2) if number < 6 else ("val", 0)
        paint(tmp_path / "data" / split / "ab"[number % 2] / f"{index}.png", number)
    for number in range(2):
        paint(tmp_path / "data" / "test" / f"{number}.png", 10 + number)
    return tmp_path / "data"


def damage(root: Path) -> None:
    """One fault of each kind."""
    paint(root / "train" / "a" / "wide.png", 20, width=100, height=50)
    shutil.copy(root / "train" / "a" / "0.png", root / "test" / "copy.png")
    (root / "train" / "b" / "1.png").write_bytes(b"nothing")
    (root / "val" / "b" / "0.png").unlink()
    paint(root / "stray.png", 21)
    paint(root / "train" / "stray.png", 22)


def load(root: Path, **settings: Any) -> Dataset:
    """What a run would get of the folder."""
    entry = Folder(**{"path": str(root), "size": 4, **settings})
    return build(entry, data_root=root, cache=root.parent / "cache").load()


def run(*arguments: str) -> Result:
    return CliRunner().invoke(data, arguments)


def test_a_sound_folder_has_counts_and_sizes_and_no_findings(root: Path) -> None:
    """Counts by split and class, sizes in pixels, and nothing else."""
    found = check.inspect(root)
    assert found.ok
    assert found.counts == {"train": {"a": 3, "b": 3}, "val": {"a": 1, "b": 1}, "test": {check.UNLABELLED: 2}}
    assert (found.widths, found.heights) == ((6, 6, 6), (4, 4, 4))


def test_one_fault_of_each_kind_is_found(root: Path) -> None:
    """Unreadable, leaked, missing and stray images, and the sizes of those that can be read."""
    damage(root)
    found = check.inspect(root)
    assert not found.ok
    assert list(found.unreadable) == ["train/b/1.png"]
    assert found.leaked == (("train/a/0.png", "test/copy.png"),)
    assert found.missing == {"val": ("b",)}
    assert [fault.split(";")[0] for fault in found.faults] == [f"{root}/train/stray.png: outside the class folders"]
    assert (found.widths, found.heights) == ((6, 6, 100), (4, 4, 50))
    text = check.text(found)
    for line in (
        "unreadable: train/b/1.png: not an image that can be identified",
        "train/a/0.png = test/copy.png: in two splits",
        "val/b: no image of this class",
        "width 6, 6, 100; height 4, 4, 50 (smallest, median, largest)",
    ):
        assert line in text.splitlines()


def test_every_entry_is_an_image_or_passed_over_and_told_why(root: Path) -> None:
    """Images and what is passed over are together all files below the folder, those of linked folders once."""
    paint(root / "train" / "a" / "@eaDir" / "0.png" / "SYNOPHOTO_THUMB_M.png", 30)
    paint(root / "train" / ".hidden" / "x.png", 31)
    paint(root / "extra" / "y.png", 32)
    for name in ("._0.png", "Thumbs.db", "notes.txt", "raw.cr2"):
        (root / "train" / "b" / name).write_bytes(b"x")
    (root / "README").write_text("hello")
    paint(root.parent / "more" / "z.png", 33)
    (root / "train" / "a" / "linked").symlink_to(root.parent / "more")
    (root / "train" / "a" / "again").symlink_to(root.parent / "more")
    found = check.inspect(root)
    assert found.counts["train"] == {"a": 4, "b": 3}
    assert found.passed_over == {
        "README": "no picture, by its extension",
        "extra/y.png": "in no split: those are train/, val/ and test/",
        "train/.hidden/x.png": "hidden",
        "train/a/@eaDir/0.png/SYNOPHOTO_THUMB_M.png": "in a folder of the storage system's own",
        "train/a/linked": "a linked folder whose images are read already",
        "train/b/._0.png": "hidden",
        "train/b/Thumbs.db": "no picture, by its extension",
        "train/b/notes.txt": "no picture, by its extension",
        "train/b/raw.cr2": "a picture of a kind that is not read; convert it",
    }
    below = sum(len(names) for _, _, names in os.walk(root))
    assert below + 1 == sum(sum(count.values()) for count in found.counts.values()) + len(found.passed_over) - 1
    assert [str(each) for each in found.problems] == [
        "train/b/raw.cr2: a picture of a kind that is not read; convert it"
    ]
    assert "passed over: 3, no picture, by its extension: README, train/b/Thumbs.db, train/b/notes.txt" in check.text(
        found
    )


def test_a_link_to_a_folder_above_ends(root: Path) -> None:
    """Its images are met once, with the label of where the link lies; that this contradicts their own is a finding."""
    (root / "train" / "a" / "loop").symlink_to(root / "train")
    found = check.inspect(root)
    assert found.counts["train"] == {"a": 6, "b": 3}
    assert len(found.conflicting) == 3


def test_one_image_of_two_classes_is_found_and_refused_before_training(root: Path) -> None:
    """A copy in another class, in train or in val; a run names both files, unless the fault is allowed."""
    shutil.copy(root / "train" / "a" / "0.png", root / "train" / "b" / "copy.png")
    found = check.inspect(root)
    assert found.conflicting == (("train/a/0.png", "train/b/copy.png"),)
    assert "train/a/0.png = train/b/copy.png: in two classes" in check.text(found).splitlines()
    with pytest.raises(DataError, match=r"the same image as a and b: train/a/0\.png, train/b/copy\.png.*conflicting"):
        load(root)
    assert len(load(root, allow=("conflicting",)).splits["train"]) == 7


def test_a_class_that_is_nearly_one_of_train_is_named(root: Path) -> None:
    """In another case, Unicode form or number of zeros: val/, test/ and the labels say which class was meant."""
    for split in ("train", "val"):
        (root / split / "b").rename(root / split / unicodedata.normalize("NFC", "café"))
    (root / "val" / "a").rename(root / "val" / "A")
    shutil.rmtree(root / "test")
    paint(root / "test" / unicodedata.normalize("NFD", "café") / "0.png", 40)
    faults = "\n".join(check.inspect(root).faults)
    assert f"{root}/val/A: no such class in train; did you mean 'a'?" in faults
    assert "did you mean 'café' (the same letters in another Unicode form)?" in faults
    with pytest.raises(DataError, match="did you mean 'a'"):
        load(root)


@pytest.mark.parametrize(("name", "other"), [("7", "07"), ("cat", "Cat"), ("red_fox", "Red fox")])
def test_classes_of_train_that_are_nearly_one_are_a_finding(root: Path, name: str, other: str) -> None:
    """They may be meant, as letters are in EMNIST: a run goes on."""
    (root / "train" / "a").rename(root / "train" / name)
    (root / "train" / "b").rename(root / "train" / other)
    shutil.rmtree(root / "val")
    found = check.inspect(root)
    assert [{*names} for names in found.similar_classes] == [{name, other}]
    assert not found.ok
    assert set(load(root, split=0.4).classes) == {name, other}


def test_a_folder_that_is_nearly_a_split_is_named(root: Path) -> None:
    """`Test` is looked at by nobody, nor is `Train`."""
    (root / "test").rename(root / "Test")
    assert f"{root}/Test: is not looked at; did you mean 'test'?" in check.inspect(root).faults
    (root / "train").rename(root / "TRAIN")
    with pytest.raises(DataError, match=r"no train folder.*rename 'TRAIN'"):
        check.inspect(root)


def photograph(number: int) -> Image.Image:
    """Smooth, as photographs are: random colours, enlarged."""
    colours = np.random.default_rng(number).integers(0, 256, (9, 12, 3), np.uint8)
    return Image.fromarray(colours).resize((120, 90), Image.Resampling.BICUBIC)


def test_one_picture_in_other_bytes_is_found(root: Path) -> None:
    """As PNG in train, as JPEG of low quality in val, at half its size in another class; others are told apart."""
    for number in range(30):
        photograph(number).save(root / "train" / "a" / f"{number}.png")
    photograph(3).save(root / "val" / "a" / "three.jpg", quality=40)
    photograph(5).resize((60, 45)).save(root / "train" / "b" / "five.png")
    photograph(7).save(root / "train" / "a" / "seven.bmp")
    found = check.inspect(root)
    assert found.alike == (("train/a/3.png", "val/a/three.jpg"), ("train/a/5.png", "train/b/five.png"))
    assert found.repeated == (("train/a/7.png", "train/a/seven.bmp"),)
    assert found.leaked == found.conflicting == ()


def are_alike(one: near.Sketch, other: near.Sketch) -> bool:
    """The definition, for two sketches."""
    spread = min(one.grey.std(), other.grey.std())
    difference = np.sqrt(np.mean((one.grey - other.grey) ** 2))
    return one.pixels == other.pixels or (spread >= 1.0 and difference <= 0.15 * spread)


def test_pictures_are_compared_in_blocks_as_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Groups are those of the definition, pair by pair, whatever the order; flat pictures only by their pixels."""
    images = [photograph(number % 7) for number in range(20)]
    images += [Image.new("RGB", (8, 8), (100, 100, 100 + number // 2)) for number in range(4)]
    sketches = [near.sketch(image) for image in np.random.default_rng(0).permutation(np.array(images, object))]
    monkeypatch.setattr(near, "BLOCK", 3)
    groups = near.groups(sketches)
    for group in groups:
        for i in group:
            assert [j for j, each in enumerate(sketches) if are_alike(each, sketches[i])] == group
    assert sorted(map(len, groups)) == [2, 2, 2, 3, 3, 3, 3, 3, 3]


def test_many_findings_of_a_kind_are_one_line_with_examples():
    """By hand: ten stand as they are; eleven become one line with three examples, the number of the rest and a hint."""
    few = [Finding(f"a{number}", "too small") for number in range(10)]
    assert in_brief(few, "hint") == [f"a{number}: too small" for number in range(10)]
    assert in_brief([*few, Finding("c", "odd"), Finding("b", "too small")], "hint") == [
        "a0; a1; a2; and 8 more: too small (hint)",
        "c: odd",
    ]


def test_a_picture_that_many_files_hold_is_a_short_line(root: Path) -> None:
    """A placeholder that stands for hundreds of lost photographs; `--all` names each file."""
    blank = (root / "train/a/0.png").read_bytes()
    for number in range(200):
        for split in ("train/a", "train/b", "val/b"):
            (root / split / f"lost{number:03}.png").write_bytes(blank)
    lines = run("check", str(root)).output.splitlines()
    assert max(map(len, lines)) < 250
    assert (
        "train/a/0.png = train/a/lost000.png = train/a/lost001.png = 598 more: in two splits (--all lists them)"
        in lines
    )
    assert max(map(len, run("check", str(root), "--all").output.splitlines())) > 600 * len("train/a/lost000.png")
    with pytest.raises(DataError) as caught:
        build(Folder(path=str(root)), data_root=root, cache=root.parent / "cache").load()
    assert any("598 more: keep it in one split" in line for line in caught.value.faults)
    assert max(map(len, str(caught.value).splitlines())) < 400


@pytest.mark.fault(
    "a line break in the name of a class or an image",
    injected="names whose second line is what `data check` says of a sound folder",
    promised="spelled out: a name has no line of its own",
)
def test_a_name_has_no_second_line(root: Path) -> None:
    """It would say of a folder with faults that nothing is wrong."""
    (root / "train/a").rename(root / "train/a\nnothing is wrong")
    (root / "val/a").rename(root / "val/a\nnothing is wrong")
    (root / "train/b/x\nnothing is wrong\ny.png").write_bytes(b"no picture")
    (root / "train/b/x\nnothing is wrong\ny.txt").write_bytes(b"no picture")
    for words in ([], ["--all"]):
        result = run("check", str(root), *words)
        assert result.exit_code == 1
        assert "nothing is wrong" not in result.output.splitlines()
        assert r"train/b/x\nnothing is wrong\ny.png: not an image" in result.output
    with pytest.raises(DataError) as caught:
        build(Folder(path=str(root)), data_root=root, cache=root.parent / "cache").load()
    assert len(str(caught.value).splitlines()) == 1

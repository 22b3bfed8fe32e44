"""Does a folder of photographs become the splits that its owner meant, or a list of all its faults?"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError

from ablation_suite.core.config import menu
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.data import Folder, file_hashes
from ablation_suite.core.data.dataset import DataError, Dataset
from ablation_suite.core.data.folder import FolderSource
from ablation_suite.core.data.splits import stratified_groups

REAL = Path(__file__).parents[3] / "shared" / "data" / "cifar10-mini"


def paint(path: Path, number: int) -> None:
    """A small image of its own for each number."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.random.default_rng(number).integers(0, 256, (6, 6, 3), np.uint8)).save(path)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Three classes with integer names, five images each in train, two in val, four unlabelled ones in test."""
    folder = tmp_path / "data"
    number = 0
    for split, count in (("train", 5), ("val", 2)):
        for name in ("2", "10", "1"):
            for index in range(count):
                paint(folder / split / name / f"{index}.png", number := number + 1)
    for index in range(4):
        paint(folder / "test" / f"img_{index}.png", number := number + 1)
    return folder


@pytest.fixture
def source(root: Path, tmp_path: Path) -> Callable[..., FolderSource]:
    def make(**settings: Any) -> FolderSource:
        entry = Folder(**{"path": "data", "size": 6} | settings)
        return menu.build(entry, data_root=tmp_path, cache=tmp_path / "cache")

    return make


def faults(source: FolderSource) -> list[str]:
    with pytest.raises(DataError) as caught:
        source.load()
    assert str(caught.value) == "\n".join(caught.value.faults)
    return caught.value.faults


def pixels(dataset: Dataset, split: str) -> np.ndarray:
    images = dataset.splits[split].images
    return images[np.arange(len(images))]


def test_integer_class_names_keep_their_integer_order(source: Callable[..., FolderSource]) -> None:
    """Classes 1, 2, 10 are labels 0, 1, 2, and each label goes with the images of its folder."""
    found = source().load()
    assert found.classes == ("1", "2", "10")
    assert found.splits["train"].names[::5] == ("1/0", "2/0", "10/0")
    assert found.splits["train"].labels.tolist() == [0] * 5 + [1] * 5 + [2] * 5
    assert found.splits["train"].labels.dtype == np.int64


def test_other_class_names_are_sorted(source: Callable[..., FolderSource], root: Path) -> None:
    """As soon as one class has a name that is no integer, names are sorted as text."""
    for split in ("train", "val"):
        (root / split / "2").rename(root / split / "cat")
    assert source().load().classes == ("1", "10", "cat")


def test_images_are_those_of_the_files(source: Callable[..., FolderSource], root: Path) -> None:
    """Row i of a split is the file that names[i] says, uint8 (N, H, W, 3)."""
    found = source().load()
    for split in ("train", "val", "test"):
        files = [root / split / f"{name}.png" for name in found.splits[split].names]
        np.testing.assert_array_equal(pixels(found, split), [np.asarray(Image.open(file)) for file in files])
    assert found.splits["train"].images.shape == (15, 6, 6, 3)


@pytest.mark.parametrize("name", ["valid", "validation"])
def test_a_validation_folder_may_have_any_of_three_names(
    source: Callable[..., FolderSource], root: Path, name: str
) -> None:
    """valid and validation give the split "val", with the same fingerprint."""
    before = source().load()
    (root / "val").rename(root / name)
    after = source().load()
    np.testing.assert_array_equal(pixels(after, "val"), pixels(before, "val"))
    assert after.fingerprint == before.fingerprint


def test_every_extension_in_any_case_counts_and_nothing_else(source: Callable[..., FolderSource], root: Path) -> None:
    """JPG, png, WebP, BMP, GIF, TIFF, JFIF, PPM and AVIF are images; hidden files and others are not."""
    for number, name in enumerate(
        ["a.JPG", "b.Jpeg", "c.PNG", "d.WebP", "e.BMP", "f.gif", "g.tif", "h.TIFF", "i.jfif", "j.ppm", "k.avif"]
    ):
        paint(root / "train" / "1" / "more" / name, 100 + number)
    (root / "train" / "1" / "._0.jpg").write_bytes(b"a resource fork")
    (root / "train" / "1" / "notes.txt").write_text("not an image")
    found = source().load().splits["train"]
    assert found.names[5:16] == tuple(f"1/more/{name}" for name in "abcdefghijk")
    assert len(found) == 26


def test_a_flat_test_folder_is_unlabelled_without_labels(source: Callable[..., FolderSource]) -> None:
    """Its names are those of its files, without extension."""
    test = source().load().splits["test"]
    assert test.labels is None
    assert test.names == ("img_0", "img_1", "img_2", "img_3")


def test_labels_of_a_flat_test_folder_are_read_by_name(source: Callable[..., FolderSource], root: Path) -> None:
    """test_labels.csv may be in any order; its labels are names of classes."""
    (root / "test_labels.csv").write_text("image_name,label\nimg_3,10\nimg_1,2\nimg_0,1\nimg_2.png,10\n")
    assert source().load().splits["test"].labels.tolist() == [0, 1, 2, 2]


def test_every_fault_of_the_labels_is_listed(source: Callable[..., FolderSource], root: Path) -> None:
    """A label that is no class, a row without an image, an image without a row and a second row, each with its line."""
    (root / "test_labels.csv").write_text("image_name,label\nimg_0,7\nimg_9,1\nimg_1,1\nimg_1,2\nimg_2,1\n")
    found = faults(source())
    assert [fault.split("test_labels.csv")[1].split(";")[0] for fault in found] == [
        ":2: '7': is no class",
        ":3: test/img_9: no such image",
        ":5: img_1: has a second row",
        ": test image img_3: has no row",
    ]


def test_a_test_folder_may_have_class_folders(source: Callable[..., FolderSource], root: Path) -> None:
    """test/<class>/ gives labels as train/<class>/ does."""
    shutil.rmtree(root / "test")
    for number, name in enumerate(["10", "1"]):
        paint(root / "test" / name / "x.png", 200 + number)
    test = source().load().splits["test"]
    assert test.names == ("1/x", "10/x")
    assert test.labels.tolist() == [0, 2]


def test_a_test_folder_may_be_absent(source: Callable[..., FolderSource], root: Path) -> None:
    """Without test/ there are two splits."""
    shutil.rmtree(root / "test")
    assert list(source().load().splits) == ["train", "val"]


def test_a_share_of_train_is_held_out_by_class(source: Callable[..., FolderSource], root: Path) -> None:
    """split: 0.4 of five images per class gives two to val, by its own seed, and every image is in one of them."""
    shutil.rmtree(root / "val")
    found, other = source(split=0.4).load(), source(split=0.4, split_seed=1).load()
    assert np.bincount(found.splits["val"].labels).tolist() == [2, 2, 2]
    assert np.bincount(found.splits["train"].labels).tolist() == [3, 3, 3]
    assert len({*found.splits["train"].names, *found.splits["val"].names}) == 15
    assert list(found.splits) == ["train", "val", "test"]
    for split in ("train", "val"):
        files = [root / "train" / f"{name}.png" for name in found.splits[split].names]
        np.testing.assert_array_equal(pixels(found, split), [np.asarray(Image.open(file)) for file in files])
    assert found.splits["val"].names != other.splits["val"].names
    assert found.fingerprint == other.fingerprint


def test_images_of_one_group_are_held_out_together(source: Callable[..., FolderSource], root: Path) -> None:
    """Two photographs of each of four plants a class: half of the plants are held out, with both of theirs."""
    shutil.rmtree(root / "val")
    shutil.rmtree(root / "train")
    for number in range(24):
        paint(root / "train" / "abc"[number // 8] / f"p{number // 2}_{number % 2}.png", 100 + number)
    found = source(split=0.5, groups="{plant}_*.png").load()
    plants = {split: {name.rpartition("_")[0] for name in found.splits[split].names} for split in ("train", "val")}
    assert not plants["train"] & plants["val"]
    assert np.bincount(found.splits["val"].labels).tolist() == [4, 4, 4]
    assert found.fingerprint == source(split=0.5).load().fingerprint
    with pytest.raises(DataError, match=r"groups: \{day\}-\*\.png fits no image of train, whose names are like a/p0_0"):
        source(split=0.5, groups="{day}-*.png").load()
    with pytest.raises(ValidationError, match="without `split` it belongs to the spec"):
        Folder(path="data", groups="{plant}_*.png")
    with pytest.raises(ValidationError, match="needs a part in braces"):
        Folder(path="data", split=0.5, groups="plant_*.png")


@pytest.fixture
def plants(root: Path) -> Path:
    """Two photographs of each of four plants in each of three classes, in train/ alone, and a table of the plants."""
    shutil.rmtree(root)
    rows = ["file,group"]
    for number in range(24):
        path = root / "train" / "abc"[number // 8] / f"{number}.png"
        paint(path, 100 + number)
        rows.append(f"{path.relative_to(root)},plant {number // 2}")
    (root / "groups.csv").write_text("\n".join(rows))
    return root


def test_a_table_says_which_photographs_are_held_out_together(
    source: Callable[..., FolderSource], plants: Path
) -> None:
    """As the rule on names does; the splits keep the groups, and another table is another fingerprint."""
    entry = {"split": 0.5, "groups": "groups.csv"}
    found = source(**entry).load()
    told = {split: found.splits[split].groups for split in ("train", "val")}
    assert not {*told["train"]} & {*told["val"]}
    assert np.bincount(found.splits["val"].labels).tolist() == [4, 4, 4]
    for split in ("train", "val"):
        numbers = [int(name.partition("/")[2]) for name in found.splits[split].names]
        assert list(told[split]) == [f"plant {number // 2}" for number in numbers]
    assert found.fingerprint != source(split=0.5).load().fingerprint
    table = plants / "groups.csv"
    table.write_text(table.read_text().replace("plant 3", "plant 2"))
    assert source(**entry).fingerprint() != found.fingerprint


def test_a_table_that_does_not_tell_each_group_is_refused(source: Callable[..., FolderSource], plants: Path) -> None:
    """A line for each fault, with the file, the line or the photograph, and what to do."""
    table = plants / "groups.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-2], lines[-2].partition(",")[0] + ",", lines[1] + "0"]))
    assert faults(source(split=0.5, groups="groups.csv")) == [
        f"{table}:25: train/a/0.png: is in a second group; keep one",
        f"{table}: train/c/22.png: has no group; add a row",
        f"{table}: train/c/23.png: has no group; add a row",
    ]
    table.write_text("file,plant\nx,y\n")
    columns = "it needs file and group, once each"
    assert faults(source(split=0.5, groups="groups.csv")) == [f"{table}: no column group; {columns}"]
    table.write_text("file,group,group\nx,y,z\n")
    assert faults(source(split=0.5, groups="groups.csv")) == [f"{table}: 2 columns group; {columns}"]
    unread = "groups cannot be read"
    table.write_text("\n".join([*lines, '"train/a,b']))
    assert faults(source(split=0.5, groups="groups.csv")) == [f"{table}: {unread}: unexpected end of data"]
    (fault,) = faults(source(split=0.5, groups="group.csv"))
    assert fault == f"{plants / 'group.csv'}: {unread}: No such file or directory"
    (fault,) = faults(source(split=0.5, groups=f"{plants}/folder.csv"))
    assert fault == f"{plants / 'folder.csv'}: {unread}: No such file or directory"
    (plants / "folder.csv").mkdir()
    (fault,) = faults(source(split=0.5, groups=f"{plants}/folder.csv"))
    assert fault == f"{plants / 'folder.csv'}: {unread}: it is a pipe, a device or a folder, no file"


def test_one_group_of_all_photographs_leaves_none_to_hold_out(
    source: Callable[..., FolderSource], plants: Path
) -> None:
    """Said of the groups: the photographs themselves can be read."""
    table = plants / "groups.csv"
    table.write_text(re.sub("plant .*", "all", table.read_text()))
    (fault,) = faults(source(split=0.5, groups="groups.csv"))
    assert fault.endswith("no readable image in the val split, which gets whole groups")


def test_a_group_in_two_folders_of_splits_is_refused_unless_allowed(
    source: Callable[..., FolderSource], plants: Path
) -> None:
    """Where val/ is given nobody divides, so that a group on both sides is a leak like any other."""
    for name in "abc":
        (plants / "val" / name).mkdir(parents=True)
    for name in ("a/1", "b/9", "b/8", "c/22", "c/23"):
        (plants / "train" / f"{name}.png").rename(plants / "val" / f"{name}.png")
    table = plants / "groups.csv"
    text = table.read_text()
    for number, name in ((1, "a"), (9, "b"), (8, "b"), (22, "c"), (23, "c")):
        text = text.replace(f"train/{name}/{number}.png", f"val/{name}/{number}.png")
    table.write_text(text)
    assert faults(source(groups="groups.csv")) == [
        f"{plants}: one group in train and val: train/a/0.png, val/a/1.png: keep a group in one split, or set "
        "`allow: [leaked]`"
    ]
    val = source(groups="groups.csv", allow=("leaked",)).load().splits["val"]
    assert val.groups == ("plant 0", "plant 4", "plant 4", "plant 11", "plant 11")


def test_near_duplicates_are_held_out_together_and_found_once(
    source: Callable[..., FolderSource], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Photographs saved again as JPEG, at two qualities, are one group each; the cache keeps who belongs together."""
    shutil.rmtree(root)
    for number in range(24):
        path = root / "train" / "ab"[number // 12] / f"{number // 3}-{number % 3}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        coarse = np.random.default_rng(number // 3).integers(0, 256, (8, 8, 3), np.uint8)
        image = Image.fromarray(coarse).resize((64, 64), Image.Resampling.NEAREST)
        image.save(path, quality=(95, 80, 60)[number % 3])
    entry = {"split": 0.5, "groups": "near_duplicates"}
    found = source(**entry).load()
    for split in ("train", "val"):
        names = found.splits[split].names
        assert list(found.splits[split].groups) == [f"train/{name.partition('-')[0]}-0.jpg" for name in names]
    assert not {*found.splits["train"].groups} & {*found.splits["val"].groups}
    assert np.bincount(found.splits["val"].labels).tolist() == [6, 6]
    monkeypatch.setattr("ablation_suite.core.data.near.sketch", None)
    assert source(**entry).load().splits["val"].groups == found.splits["val"].groups
    assert found.fingerprint == source(split=0.5).load().fingerprint


def test_whole_groups_are_divided_nearly_in_the_share_that_was_asked_for() -> None:
    """No group on both sides, both in every class, at most half of a group off; another class's images move none."""
    source = np.random.default_rng(0)
    groups = np.sort(source.integers(0, 60, 600))
    labels = groups % 4
    train, val = stratified_groups(labels, groups, 0.25, 0)
    assert not {*groups[train]} & {*groups[val]}
    assert sorted([*train, *val]) == list(range(600))
    sizes = np.bincount(groups)
    for label in range(4):
        num = np.count_nonzero(labels == label)
        assert abs(np.count_nonzero(labels[val] == label) - 0.25 * num) <= sizes[label::4].max() / 2
    more = np.concatenate([groups, [60] * 9])
    again = stratified_groups(more % 4, more, 0.25, 0)[1]
    assert {*groups[val][labels[val] > 0]} == {*more[again][more[again] % 4 > 0]}
    assert stratified_groups(np.zeros(3, int), np.zeros(3, int), 0.5, 0)[1].tolist() == []  # one group is not parted


def test_validation_images_come_from_exactly_one_place(source: Callable[..., FolderSource], root: Path) -> None:
    """No validation folder and no split is an error that names the setting; both at once is one too."""
    with pytest.raises(DataError, match=r"`split: 0\.1` would do nothing"):
        source(split=0.1).fingerprint()
    shutil.rmtree(root / "val")
    with pytest.raises(DataError, match=r"set `split`, for example `split: 0\.1`"):
        source().fingerprint()


def test_names_for_people_come_from_classes_txt_where_it_is_unambiguous(
    source: Callable[..., FolderSource], root: Path
) -> None:
    """Lines "1 red fox" give display names; a class without a line, or two of one name, give none."""
    (root / "classes.txt").write_text("1 red fox\n2 oak\n10 elm\n")
    found = source().load()
    assert found.display == ("red fox", "oak", "elm")
    assert found.classes == ("1", "2", "10")
    for text in ("1 red fox\n2 oak\n", "1 oak\n2 oak\n10 elm\n", "1 a\n1 b\n2 c\n10 d\n", "1\n2 oak\n10 elm\n"):
        (root / "classes.txt").write_text(text)
        assert source().load().display == ()


def test_a_missing_folder_is_named_with_the_setting_that_says_where(tmp_path: Path) -> None:
    """The error has the full path, --data-root and ABLATE_DATA."""
    source = menu.build(Folder(path="absent"), data_root=tmp_path, cache=tmp_path)
    for call in (source.fingerprint, source.load):
        with pytest.raises(DataError, match=f"{tmp_path / 'absent'}: no such folder.*--data-root DIR or ABLATE_DATA"):
            call()


def test_an_absolute_path_stands_for_itself(root: Path, tmp_path: Path) -> None:
    """The data root does not matter to it."""
    source = menu.build(Folder(path=str(root)), data_root=Path("elsewhere"), cache=tmp_path / "cache")
    assert len(source.fingerprint()) == 64


@pytest.mark.fault(
    "a data folder beside the shell",
    injected="./photos and data/photos",
    promised="a path that exists from here is that path",
)
def test_a_path_that_exists_from_here_is_that_path(
    source: Callable[..., FolderSource], root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name is looked up here, then below the data root; the place decides nothing but where the images are read."""
    expected = source().fingerprint()
    (tmp_path / "here").mkdir()
    shutil.copytree(root, tmp_path / "here" / "photos")
    shutil.copytree(root, tmp_path / "here" / "home" / "photos")
    monkeypatch.chdir(tmp_path / "here")
    monkeypatch.setenv("HOME", str(tmp_path / "here" / "home"))
    for path, place in (("photos", "here/photos"), ("~/photos", "here/home/photos"), ("data", "data")):
        found = source(path=path)
        assert found.folder == tmp_path / place
        assert found.fingerprint() == expected


@pytest.mark.fault(
    "a typed path that begins with ~",
    injected="~/x for each folder, given or in the environment",
    promised="expanded, once",
)
def test_folders_that_people_type_may_begin_with_their_home(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is read in all three folders of a Runtime, given or from the environment, as a shell would have."""
    monkeypatch.setenv("HOME", "/home/ann")
    for name, variable in (("results", "ABLATE_RESULTS"), ("data_root", "ABLATE_DATA"), ("cache", "ABLATE_CACHE")):
        assert getattr(Runtime(**{name: "~/x"}), name) == "/home/ann/x"
        monkeypatch.setenv(variable, "~/y")
        assert getattr(Runtime(), name) == "/home/ann/y"


def test_faults_of_the_layout_are_all_listed(source: Callable[..., FolderSource], root: Path) -> None:
    """A stray image, a class that train does not have, an empty class and two files of one name, at once."""
    paint(root / "train" / "stray.png", 300)
    paint(root / "val" / "3" / "x.png", 301)
    (root / "train" / "4").mkdir()
    paint(root / "test" / "img_0.JPG", 302)
    (root / "valid").mkdir()
    found = faults(source())
    assert [fault.removeprefix(str(root)).split(";")[0] for fault in found] == [
        "/train/stray.png: outside the class folders",
        ": val and valid are both validation folders",
        "/val/3: no such class in train",
        "/test/img_0.png: shares its name with img_0.JPG",
        "/train/4: no images",
    ]


@pytest.mark.parametrize(("removed", "message"), [("train", "no train folder"), ("train/*", "no class folders")])
def test_a_folder_without_classes_says_where_they_belong(
    source: Callable[..., FolderSource], root: Path, removed: str, message: str
) -> None:
    """Both say that images belong in train/<class>/."""
    for place in root.glob(removed):
        shutil.rmtree(place)
    (found,) = faults(source())
    assert message in found
    assert "train/<class>/" in found


@pytest.mark.fault(
    "unreadable images in a data set",
    injected="files that are no images",
    promised="each is listed before training, or left out when told",
)
def test_every_unreadable_image_is_listed_or_left_out(source: Callable[..., FolderSource], root: Path) -> None:
    """Truncated, empty and dangling files of all splits stop the run with one line each; allowed, they are left out."""
    whole = (root / "train" / "1" / "0.png").read_bytes()
    (root / "train" / "1" / "0.png").write_bytes(whole[:60])
    (root / "val" / "10" / "1.png").write_bytes(b"")
    (root / "test" / "img_2.png").unlink()
    (root / "test" / "img_2.png").symlink_to("gone")
    found = faults(source())
    assert [fault.removeprefix(f"{root}/").split(":")[0] for fault in found] == [
        "train/1/0.png",
        "val/10/1.png",
        "test/img_2.png",
    ]
    assert all("allow: [unreadable]" in fault for fault in found)
    kept = source(allow=("unreadable",)).load()
    assert {name: len(split) for name, split in kept.splits.items()} == {"train": 14, "val": 5, "test": 3}
    assert kept.splits["train"].names[0] == "1/1"
    assert kept.splits["test"].names == ("img_0", "img_1", "img_3")
    np.testing.assert_array_equal(kept.splits["train"].images[0], np.asarray(Image.open(root / "train/1/1.png")))
    np.testing.assert_array_equal(kept.splits["train"].labels, [0] * 4 + [1] * 5 + [2] * 5)


@pytest.mark.fault("an image in two splits", injected="a copied file", promised="stops before training unless allowed")
def test_an_image_in_two_splits_stops_the_run_unless_allowed(source: Callable[..., FolderSource], root: Path) -> None:
    """A copy under another name, in another class, in each pair of splits is found by its content."""
    shutil.copy(root / "train" / "1" / "0.png", root / "val" / "2" / "copy.png")
    shutil.copy(root / "val" / "10" / "1.png", root / "test" / "copy.png")
    shutil.copy(root / "train" / "2" / "0.png", root / "train" / "2" / "twice.png")
    found = faults(source())
    assert len(found) == 2
    assert "the same image in train and val: train/1/0.png, val/2/copy.png" in found[0]
    assert "the same image in val and test: val/10/1.png, test/copy.png" in found[1]
    assert len(source(allow=("leaked",)).load().splits["val"]) == 7


def test_duplicates_within_train_leak_where_the_division_parts_them(
    source: Callable[..., FolderSource], root: Path
) -> None:
    """With a share held out, copies within train are no fault until one of them is drawn for validation."""
    shutil.rmtree(root / "val")
    for index in range(5):
        shutil.copy(root / "train" / "1" / "0.png", root / "train" / "1" / f"copy{index}.png")
    (found,) = faults(source(split=0.5))
    assert "the same image in train and val" in found


def test_the_fingerprint_is_of_content_split_and_class(source: Callable[..., FolderSource], root: Path) -> None:
    """A changed pixel, a moved file, a renamed class, a label and a removed file each give another fingerprint."""
    seen = {source().fingerprint()}

    def changed() -> bool:
        before = len(seen)
        seen.add(source().fingerprint())
        return len(seen) > before

    assert not changed()
    paint(root / "train" / "1" / "0.png", 400)
    assert changed()
    (root / "train" / "1" / "0.png").rename(root / "train" / "2" / "9.png")
    assert changed()
    for split in ("train", "val"):
        (root / split / "10").rename(root / split / "11")
    assert changed()
    (root / "test_labels.csv").write_text("image_name,label\n" + "".join(f"img_{i},1\n" for i in range(4)))
    assert changed()
    (root / "test_labels.csv").write_text("image_name,label\n" + "".join(f"img_{i},2\n" for i in range(4)))
    assert changed()
    (root / "test" / "img_3.png").unlink()
    (root / "test_labels.csv").unlink()
    assert changed()


def test_neither_place_nor_reading_matters_to_the_fingerprint(
    source: Callable[..., FolderSource], root: Path, tmp_path: Path
) -> None:
    """A copy elsewhere, another size, allowed faults and files that are no images leave it as it is."""
    shutil.copytree(root, tmp_path / "elsewhere")
    (tmp_path / "elsewhere" / "README").write_text("hello")
    expected = source().fingerprint()
    assert source(path="elsewhere").fingerprint() == expected
    assert source(size=12, allow=("leaked", "unreadable")).fingerprint() == expected


def test_an_unchanged_folder_is_not_read_again(
    source: Callable[..., FolderSource], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second fingerprint costs only stats; one touched file is hashed, and only that one."""
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)
    first = source().fingerprint()
    hashed: list[Path] = []
    real = file_hashes.digest
    monkeypatch.setattr(file_hashes, "digest", lambda path: hashed.append(path) or real(path))
    assert source().fingerprint() == first
    assert hashed == []
    paint(root / "train" / "1" / "0.png", 500)
    assert source().fingerprint() != first
    assert hashed == [root / "train" / "1" / "0.png"]


def test_a_file_that_may_still_be_changing_is_not_remembered(
    source: Callable[..., FolderSource], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A change of content within one tick of the clock, at equal size, is noticed."""
    path = root / "train" / "1" / "0.png"
    before, status = path.read_bytes(), path.stat()
    first = source().fingerprint()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source().fingerprint() != first


@pytest.mark.fault(
    "an image changed behind size and time", injected="mtime set back", promised="noticed by the time of its inode"
)
def test_a_changed_image_is_noticed_though_its_size_and_its_time_are_those_of_before(
    source: Callable[..., FolderSource], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Other bytes of the same number with the mtime set back give another fingerprint, after any length of time."""
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)
    first = source().fingerprint()
    path = root / "train" / "1" / "0.png"
    before, status = path.read_bytes(), path.stat()
    path.write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert source().fingerprint() != first


@pytest.mark.fault(
    "a damaged memory of digests",
    injected="rubbish in the file, one digit of one digest",
    promised="the images are read again",
)
def test_a_damaged_memory_of_digests_is_no_harm(
    source: Callable[..., FolderSource], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The fingerprint is computed anew: one digit that is another would give all runs of the data another name."""
    monkeypatch.setattr(file_hashes, "SETTLED_NS", 0)
    first = source().fingerprint()
    (memory,) = (tmp_path / "cache" / "fingerprints").iterdir()
    whole = memory.read_bytes()
    at = whole.rindex(b'"]')
    for damaged in (b"", b'{"files": [1, 2', whole[:at], whole[: at - 1] + bytes([whole[at - 1] ^ 1]) + whole[at:]):
        memory.write_bytes(damaged)
        assert source().fingerprint() == first
        assert memory.read_bytes() == whole


def test_the_fingerprint_of_a_folder_imports_nothing_heavy(root: Path, tmp_path: Path) -> None:
    """Planning a grid over a folder needs neither torch nor numpy nor PIL."""
    code = (
        "import sys; from pathlib import Path; from ablation_suite.core.config import menu; "
        "from ablation_suite.core.data import Folder;"
        f"menu.build(Folder(path={str(root)!r}), data_root=Path('x'), cache=Path({str(tmp_path)!r})).fingerprint();"
        "print([name for name in ('torch', 'numpy', 'sklearn', 'PIL') if name in sys.modules])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.skipif(not REAL.is_dir(), reason="no cifar10-mini here")
def test_real_photographs_load_with_their_labels(tmp_path: Path) -> None:
    """cifar10-mini has 5,000, 1,000 and 1,000 images of ten classes, 100 of each in val, all test images labelled."""
    found = menu.build(Folder(path=str(REAL), size=32), data_root=tmp_path, cache=tmp_path).load()
    assert {name: split.images.shape for name, split in found.splits.items()} == {
        "train": (5000, 32, 32, 3),
        "val": (1000, 32, 32, 3),
        "test": (1000, 32, 32, 3),
    }
    assert found.classes == tuple(map(str, range(10)))
    assert found.display[:2] == ("airplane", "automobile")
    assert np.bincount(found.splits["val"].labels).tolist() == [100] * 10
    labels = dict(line.split(",") for line in (REAL / "test_labels.csv").read_text().split()[1:])
    test = found.splits["test"]
    assert [found.classes[label] for label in test.labels] == [labels[name] for name in test.names]
    expected = np.asarray(Image.open(REAL / "test" / f"{test.names[7]}.jpg").convert("RGB"))
    np.testing.assert_array_equal(test.images[7], expected)

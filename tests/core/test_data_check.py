"""Does `ablate data` say all that is wrong with a folder, and does it see to the cache?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from ablation_suite.commands.data import data
from ablation_suite.core.data import check
from ablation_suite.core.data.dataset import DataError


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
        "in two splits: train/a/0.png = test/copy.png",
        "missing from val: b",
        "width 6, 6, 100; height 4, 4, 50 (smallest, median, largest)",
    ):
        assert line in text.splitlines()


def test_check_exits_0_for_sound_and_1_for_findings(root: Path) -> None:
    """The folder may be given below the data root."""
    assert run("check", "data").exit_code == 0
    assert "nothing is wrong" in run("check", "data").output
    damage(root)
    assert run("check", str(root)).exit_code == 1


def test_check_raises_for_what_is_no_folder_of_images(root: Path) -> None:
    """DataError, which the front door turns into exit status 2."""
    for place in ("absent", "data/train"):
        assert isinstance(run("check", place).exception, DataError)


def test_check_prints_json(root: Path) -> None:
    """The same findings, for scripts."""
    damage(root)
    found = json.loads(run("check", "data", "--json").output)
    assert found["ok"] is False
    assert found["counts"]["train"] == {"a": 4, "b": 3}
    assert found["leaked"] == [["train/a/0.png", "test/copy.png"]]


def test_a_missing_validation_folder_is_a_hint_and_no_finding(root: Path) -> None:
    """A spec can hold out a share of train."""
    shutil.rmtree(root / "val")
    result = run("check", "data")
    assert result.exit_code == 0
    assert "`split: 0.1`" in result.output


def test_the_cache_is_built_listed_and_removed(root: Path) -> None:
    """build decodes, list names key, bytes and folder, remove takes a key or --all."""
    assert "train: 6 images, 0 of them unreadable" in run("cache", "build", "data", "--size", "8").output
    run("cache", "build", "data", "--size", "9")
    found = json.loads(run("cache", "list", "--json").output)
    assert sorted(each["size"] for each in found.values()) == [8, 9]
    assert {each["title"] for each in found.values()} == {str(root)}
    first, second = found
    listed = run("cache", "list").output
    assert first in listed
    assert second in listed
    assert f"removed {first}" in run("cache", "remove", first).output
    assert list(json.loads(run("cache", "list", "--json").output)) == [second]
    assert isinstance(run("cache", "remove").exception, DataError)
    assert isinstance(run("cache", "remove", first).exception, DataError)
    assert run("cache", "remove", "--all").exit_code == 0
    assert json.loads(run("cache", "list", "--json").output) == {}


def scene(seed: int, size: int = 64) -> Image.Image:
    """A picture of blotches, unlike those of other seeds."""
    coarse = np.random.default_rng(seed).integers(0, 255, (5, 5, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((size, size), Image.Resampling.BICUBIC)


def test_one_picture_with_two_labels_is_found_by_its_bytes_and_by_its_looks(root: Path) -> None:
    """The same file in two classes; the same scene as PNG and as JPEG of another size; and no others."""
    one, other, *_ = sorted(each.name for each in (root / "train").iterdir())
    for seed in range(30):
        scene(seed).save(root / "train" / one / f"s{seed}.png")
    shutil.copy(root / "train" / one / "s0.png", root / "train" / other / "copy.png")
    scene(1).resize((90, 90), Image.Resampling.BICUBIC).save(root / "train" / other / "again.jpg", quality=80)
    scene(2).save(root / "train" / one / "twice.jpg", quality=90)
    found = check.inspect(root)
    assert found.conflicting == ((f"train/{one}/s0.png", f"train/{other}/copy.png"),)
    assert sorted(found.look_alike) == [(f"train/{one}/s1.png", f"train/{other}/again.jpg")]
    assert found.repeated == 1
    assert not found.ok


def test_every_entry_is_used_or_passed_over_with_its_reason(root: Path, tmp_path: Path) -> None:
    """What Pillow reads is used; the system's thumbnails, texts, HEIC and folders beside the splits are told."""
    a_class = sorted(each.name for each in (root / "train").iterdir())[0]
    before = check.inspect(root).counts["train"]
    place, elsewhere = root / "train" / a_class, tmp_path / "elsewhere"
    for number, extension in enumerate(("tif", "gif", "ppm", "avif", "jfif")):
        scene(50 + number).save(place / f"x{number}.{extension}", format="JPEG" if extension == "jfif" else None)
    (place / "@eaDir").mkdir()
    scene(60).save(place / "@eaDir" / "thumbnail.jpg")
    (place / "notes.txt").write_text("")
    (place / "x.heic").write_bytes(b"?")
    (root / "raw").mkdir()
    elsewhere.mkdir()
    scene(61).save(elsewhere / "linked.png")
    (place / "link").symlink_to(elsewhere)
    (place / "link again").symlink_to(elsewhere)
    (place / "up").symlink_to(root)
    found = check.inspect(root)
    assert found.counts["train"][a_class] == before[a_class] + 6
    here = f"train/{a_class}"
    assert found.passed_over == {
        f"{here}/@eaDir": "a folder of the system's",
        f"{here}/notes.txt": "no image by its name (.txt)",
        f"{here}/x.heic": ".heic images cannot be read here; convert them",
        f"{here}/link again": "a link to a folder that is read elsewhere",
        f"{here}/up": "a link to a folder that is read elsewhere",
        "raw": "a folder beside the splits",
    }
    assert "passed over, no image by its name (.txt): " in check.text(found)


@pytest.mark.parametrize(
    ("name", "in_test"),
    [("cat", "Cat"), ("caf\u00e9", "cafe\u0301"), ("7", "07"), ("red fox", "red_fox")],
    ids=["case", "encoding", "zero", "separator"],
)
def test_a_class_of_test_that_is_almost_one_of_train_is_named(tmp_path: Path, name: str, in_test: str) -> None:
    """The split does not become one without labels."""
    for seed, (split, folder) in enumerate([("train", name), ("train", "zebra"), ("test", in_test), ("test", "zebra")]):
        (tmp_path / split / folder).mkdir(parents=True)
        scene(seed).save(tmp_path / split / folder / "a.png")
    found = check.inspect(tmp_path)
    assert [f"did you mean '{name}'" in fault for fault in found.faults] == [True]
    assert check.UNLABELLED not in found.counts["test"]


def test_classes_of_almost_one_name_are_a_finding(tmp_path: Path) -> None:
    """A folder renamed on another machine makes two classes of one."""
    for seed, folder in enumerate(("cat", "Cat", "dog")):
        (tmp_path / "train" / folder).mkdir(parents=True)
        scene(seed).save(tmp_path / "train" / folder / "a.png")
    assert check.inspect(tmp_path).similar_classes == (("Cat", "cat"),)


def test_many_findings_of_one_kind_are_a_line_with_examples(root: Path) -> None:
    """All of them where that is asked for."""
    a_class = sorted(each.name for each in (root / "train").iterdir())[0]
    for number in range(2000):
        (root / "train" / a_class / f"broken{number:04}.jpg").write_bytes(b"?")
    found = check.inspect(root)
    assert "  and 1,995 more like these (--all lists them)" in check.text(found).splitlines()
    assert check.text(found, every=True).count("unreadable: ") == 2000

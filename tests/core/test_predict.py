"""Does `ablate predict` say what the run itself would have said?"""

from __future__ import annotations

import csv
import os
import shutil
import signal
import sys

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from PIL import Image

from ablation_suite.commands.predict import PredictError
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document, validate
from ablation_suite.core.data import parallel
from ablation_suite.core.models.network import Network
from ablation_suite.core.runs.files import write_json
from ablation_suite.reading_verbs import predict

pytestmark = pytest.mark.usefixtures("one_thread")
CLASSES = [str(number) for number in range(10)]


@pytest.fixture(scope="session")
def photos(tmp_path_factory, digits):
    """The test digits as PNG files, some of them further down."""
    folder = tmp_path_factory.mktemp("photos")
    (folder / "more").mkdir()
    split = digits.splits["test"]
    for number, (image, name) in enumerate(zip(split.images, split.names, strict=True)):
        Image.fromarray(image).save(folder / ("more" if number >= 300 else "") / f"{name}.png")
    (folder / "notes.txt").write_text("not an image")
    (folder / ".hidden.png").write_bytes(b"")
    return folder


@pytest.fixture
def ask(finished, tmp_path, monkeypatch):
    """Run the verb on the finished runs, on one core, and read its table."""
    monkeypatch.setattr(parallel, "cores", lambda: 1)
    output = tmp_path / "prediction.csv"

    def call(*words):
        arguments = [*map(str, words), "--results", finished[0].results, "--device", "cpu", "-o", str(output)]
        result = CliRunner().invoke(predict, arguments, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        with open(output, newline="") as file:
            return list(csv.DictReader(file))

    yield call
    assert not list(tmp_path.glob(".*"))


def kept(folder):
    """What a run's own outputs say of the test images: names, and probabilities."""
    with np.load(folder.path / "outputs.npz") as outputs:
        return outputs["test_names"].tolist(), outputs["test_probabilities"]


def test_a_folder_is_classified_as_the_run_classified_it(finished, ask, photos):
    """Names without extension, sorted, with their subfolders; the labels are what the run itself said."""
    rows = ask(finished[1][0].run_id[:6], photos)
    names, probabilities = kept(finished[1][0])
    expected = {name: CLASSES[row.argmax()] for name, row in zip(names, probabilities, strict=True)}
    assert list(rows[0]) == ["image_name", "pred_label"]
    assert [row["image_name"] for row in rows] == sorted(row["image_name"] for row in rows)
    assert {row["image_name"].rpartition("/")[2]: row["pred_label"] for row in rows} == expected
    assert rows[-1]["image_name"].startswith("more/")


def test_several_runs_average_their_probabilities(finished, ask, photos):
    """`--proba` has a column for each class, the mean over runs; the label is the largest mean, not a vote."""
    rows = ask(*(folder.run_id for folder in finished[1]), photos, "--proba")
    (names, first), (_, second) = (kept(folder) for folder in finished[1])
    mean = (first + second) / 2
    found = {row["image_name"].rpartition("/")[2]: row for row in rows}
    columns = [f"proba_{name}" for name in CLASSES]
    given = np.array([[float(found[name][column]) for column in columns] for name in names])
    np.testing.assert_allclose(given, mean, atol=2e-6)
    assert [found[name]["pred_label"] for name in names] == [CLASSES[row.argmax()] for row in mean]
    assert np.abs(first - second).max() > 0.01


def test_a_list_of_files_keeps_its_order(finished, ask, photos):
    """Files are told from runs by being there; a run's own folder is a run."""
    files = sorted(photos.glob("0*.png"))[:3][::-1]
    rows = ask(*files, finished[1][0].path)
    assert [row["image_name"] for row in rows] == [file.stem for file in files]


def test_a_photograph_is_resized_as_in_training(finished, ask, tmp_path):
    """PIL's bilinear resize to 8 x 8, bytes / 255 and the kept weights, by hand, give the same probabilities."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 30, 3), dtype=np.uint8)
    photo = Image.fromarray(pixels)
    photo.save(tmp_path / "photo.bmp")
    folder = finished[1][0]
    record = folder.record()
    config = validate(RunConfig, Document(data=record["config"], source="test"))
    network = Network(config.model, 10).eval()
    network.load_state_dict(torch.load(folder.path / record["weights"], weights_only=True))
    small = np.asarray(photo.resize((8, 8), Image.Resampling.BILINEAR))
    with torch.no_grad():
        expected = network(torch.from_numpy(small.copy()).permute(2, 0, 1)[None] / 255)[0].softmax(1)[0]
    (row,) = ask(folder.run_id, tmp_path / "photo.bmp", "--proba")
    given = [float(row[f"proba_{name}"]) for name in CLASSES]
    np.testing.assert_allclose(given, expected, atol=2e-6)


def test_the_same_run_named_twice_counts_once(finished, ask, photos):
    """An ensemble of a run with itself would pass for two."""
    file, run = next(photos.glob("0*.png")), finished[1][0]
    assert ask(run.run_id, run.path, file, "--proba") == ask(run.run_id, file, "--proba")


def fault(finished, *words):
    """The text of a refusal, by the exception that the front door prints."""
    with pytest.raises(PredictError) as caught:
        CliRunner().invoke(predict, [*map(str, words), "--results", finished[0].results], catch_exceptions=False)
    return str(caught.value)


def test_every_wrong_word_is_a_line_of_its_own(finished, photos, tmp_path):
    """An unknown run, an empty folder; no run at all; no images at all."""
    (tmp_path / "empty").mkdir()
    faults = fault(finished, "nosuchrun", tmp_path / "empty", photos).splitlines()
    assert len(faults) == 2
    assert "nosuchrun" in faults[0]
    assert "no images in this folder" in faults[1]
    assert "no run is named" in fault(finished, photos)
    assert "no images are named" in fault(finished, finished[1][0].run_id)


def test_images_of_one_name_are_refused(finished, tmp_path):
    """a.png and a.jpg would be one row."""
    for name in ("a.png", "a.jpg"):
        Image.new("RGB", (8, 8)).save(tmp_path / name)
    assert "would both be the row a" in fault(finished, finished[1][0].run_id, tmp_path)


@pytest.mark.fault(
    "unreadable images given to `predict`",
    injected="files that are no images",
    promised="all are listed, nothing is written",
)
def test_all_unreadable_images_are_listed_and_nothing_is_written(finished, tmp_path, monkeypatch):
    """Two broken files among a good one: two lines, no table."""
    monkeypatch.chdir(tmp_path)
    for name in ("b.png", "c.jpg"):
        (tmp_path / name).write_bytes(b"no image")
    Image.new("RGB", (8, 8)).save(tmp_path / "a.png")
    faults = fault(finished, finished[1][0].run_id, tmp_path).splitlines()
    assert [line.partition(": ")[0].rpartition("/")[2] for line in faults] == ["b.png", "c.jpg"]
    assert not (tmp_path / "prediction.csv").exists()


@pytest.fixture
def copied(finished, tmp_path):
    """A copy of a finished run, to be damaged, in a store of its own."""
    shutil.copytree(finished[1][0].path, tmp_path / "runs" / finished[1][0].run_id)
    return type(finished[1][0])(tmp_path / "runs" / finished[1][0].run_id)


def test_a_run_that_is_not_finished_or_has_lost_its_weights_is_refused(copied, finished, photos):
    """The state is named, and a flipped byte in the weights is noticed."""
    weights = copied.path / copied.record()["weights"]
    data = bytearray(weights.read_bytes())
    data[len(data) // 2] ^= 1
    weights.write_bytes(data)
    assert "lost or damaged" in fault(finished, copied.path, photos)
    copied.record_path.unlink()
    assert "is interrupted, not finished" in fault(finished, copied.path, photos)


def test_runs_of_other_classes_do_not_average(copied, finished, photos):
    """Column three of one is not column three of the other."""
    record = copied.record()
    write_json(copied.record_path, {**record, "classes": record["classes"][::-1]})
    assert "have other classes" in fault(finished, finished[1][1].run_id, copied.path, photos)


def test_a_class_keeps_its_own_name(copied, ask, photos):
    """The label is the name in the record, not a number."""
    record = copied.record()
    names = [f"species, {name}" for name in record["classes"]]
    write_json(copied.record_path, {**record, "classes": names})
    assert {row["pred_label"] for row in ask(copied.path, photos)} <= set(names)


@pytest.mark.fault(
    "a file named =HYPERLINK(...)",
    injected="an image of that name",
    promised="quoted in the table unless --exact-names",
)
def test_a_name_that_a_spreadsheet_would_run_is_quoted_unless_told_otherwise(copied, ask, tmp_path):
    """OWASP's list of first characters, in names of images and of classes; --exact-names writes them as they are."""
    record = copied.record()
    classes = ["=1+1", "+1", "-1", "@SUM(1)", "\tx", *record["classes"][5:]]
    write_json(copied.record_path, {**record, "classes": classes})
    names = ["=HYPERLINK(1)", "+a", "-b", "@c", "\td", "e=f", "plain"]
    (tmp_path / "images").mkdir()
    for name in names:
        Image.new("RGB", (8, 8)).save(tmp_path / "images" / f"{name}.png")
    quoted = ask(copied.path, tmp_path / "images", "--proba")
    assert {row["image_name"] for row in quoted} == {*(f"'{name}" for name in names[:5]), "e=f", "plain"}
    exact = ask(copied.path, tmp_path / "images", "--proba", "--exact-names")
    assert {row["image_name"] for row in exact} == set(names)
    safe = [f"'{name}" if name in classes[:5] else name for name in classes]
    assert list(quoted[0])[2:] == [f"proba_{name}" for name in classes]
    for ours, label in ((quoted, safe), (exact, classes)):
        best = max(range(10), key=lambda k, row=ours[0]: float(row[list(row)[2 + k]]))
        assert ours[0]["pred_label"] == label[best]


def test_a_minus_is_standard_output(finished, ask, photos, tmp_path, monkeypatch):
    """The table alone, for a pipe; what is told of it goes to standard error, and no file has that name."""
    monkeypatch.chdir(tmp_path)
    run, results = finished[1][0].run_id, finished[0].results
    rows = ask(run, photos)
    result = CliRunner().invoke(predict, [run, str(photos), "--results", results, "-o", "-"], catch_exceptions=False)
    assert list(csv.DictReader(result.stdout.splitlines())) == rows
    assert result.stderr == f"{len(rows)} images, 1 run\n"
    assert not (tmp_path / "-").exists()


def test_a_pipe_is_written_to_and_a_link_followed(finished, ask, photos, tmp_path):
    """Neither is replaced by a file: nobody wants /dev/null or /dev/stdout to become one."""
    run, results = finished[1][0].run_id, finished[0].results
    rows = ask(run, photos)
    pipe, link, target = tmp_path / "pipe", tmp_path / "link", tmp_path / "target.csv"
    os.mkfifo(pipe)
    link.symlink_to(target)
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    few = photos / f"{rows[0]['image_name']}.png"
    for output in (pipe, link):
        CliRunner().invoke(predict, [run, str(few), "--results", results, "-o", str(output)], catch_exceptions=False)
    told = os.read(reader, 1000).decode()
    os.close(reader)
    assert told.splitlines()[1] == f"{few.stem},{rows[0]['pred_label']}"
    assert pipe.is_fifo()
    assert link.is_symlink()
    assert target.read_text() == told


def test_the_front_door_prints_one_line_and_leaves_with_2(finished, photos, monkeypatch, capsys):
    """`ablate predict nosuchrun photos` shows no traceback."""
    from ablation_suite.cli import main

    monkeypatch.setattr(signal, "signal", lambda *args: None)
    monkeypatch.setattr(sys, "argv", ["ablate", "predict", "nosuchrun", str(photos), "--results", finished[0].results])
    with pytest.raises(SystemExit) as left:
        main()
    assert left.value.code == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_folder_that_is_not_there_cannot_hold_the_table(finished, photos):
    """Said before anything is classified."""
    assert "no folder /nowhere" in fault(finished, finished[1][0].run_id, photos, "-o", "/nowhere/prediction.csv")

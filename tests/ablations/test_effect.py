"""Is an arm without an effect found before it is trained, and does a clean arm share everything else to the bit?"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from ablation_suite.ablations.effect import Effects, try_effects
from ablation_suite.ablations.resolve import resolve
from ablation_suite.ablations.spec import SHIPPED_SPECS
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.reading_verbs import check
from ablation_suite.training_verbs import run

BASE = """data: digits
model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}, head: {name: linear, dropout: 0.2}}
"""
SPEC = "ablation: a\nquestion: q?\nbase: base.yaml\nbaseline: none\n"


def effects(folder: Path, rest: str) -> Effects:
    (folder / "base.yaml").write_text(BASE)
    (folder / "spec.yaml").write_text(SPEC + rest)
    return try_effects(*resolve(folder / "spec.yaml"), Runtime(cache=str(folder / "cache")))


@pytest.mark.parametrize(
    "rest",
    [
        "shared: {loss: {name: contrastive, weight: 0}}\narms: {margin: {loss.margin: 0.5}}",
        "shared: {augment: {name: photo}}\narms: {sharp: {augment.sharpness_probability: 0.9}}",
        "shared: {mix: {name: either, switch_probability: 1}}\narms: {mixup alone: {mix.mixup_alpha: 0.9}}",
    ],
)
def test_a_factor_that_nothing_reads_is_found(tmp_path, rest):
    """A margin of weight zero; the probability of a sharpness that changes nothing; mixup where all is cutmix."""
    assert len(effects(tmp_path, rest).without) == 1


@pytest.mark.parametrize(
    "arm",
    ["model.head.dropout: 0.5", "optimizer.lr: 0.01", "loss: contrastive", "augment: {name: photo, rotation: 9}"],
)
def test_a_factor_that_acts_is_let_pass(tmp_path, arm):
    """Its first step differs, and nothing outside it moved."""
    found = effects(tmp_path, f"arms: {{one: {{{arm}}}}}")
    assert found == Effects()


@pytest.mark.parametrize("arm", ["probability: 0.6", "switch_probability: 0.6", "mixup_alpha: 0.9"])
def test_a_mixing_that_leaves_the_first_batch_as_it_is_acts(tmp_path, arm):
    """One draw decides for a whole batch: with probabilities a tenth apart, nine first steps in ten are the same."""
    shared = "shared: {mix: {name: either, probability: 0.5}}"
    assert effects(tmp_path, f"{shared}\narms: {{one: {{mix.{arm}}}}}") == Effects()
    assert effects(tmp_path, "arms: {one: {mix: {name: either, probability: 0.1}}}") == Effects()


@pytest.mark.parametrize(
    ("shared", "arm"),
    [
        ("augment: {name: random_erasing, p: 0.1}", "augment.value: 1.0"),
        ("augment: {name: random_erasing, p: 0.02}", "augment.p: 0.1"),
        ("loss: contrastive", "loss.positive_fraction: 0.6"),
        ("data.share: 0.1, loss: contrastive", "loss.margin: 0.3"),
    ],
)
def test_what_a_few_images_need_not_show_acts(tmp_path, shared, arm):
    """Four images may all keep what one in ten loses, and may have partners of one kind alone."""
    assert effects(tmp_path, f"shared: {{{shared}}}\narms: {{one: {{{arm}}}}}").without == []


@pytest.mark.parametrize("optimizer", ["sgd", "sam", "rmsprop", "muon"])
def test_a_momentum_acts_though_the_first_step_has_none(tmp_path, optimizer):
    """The first gradient is all that a momentum knows then, whatever share of the past it keeps."""
    shared = f"shared: {{optimizer: {optimizer}}}"
    assert effects(tmp_path, f"{shared}\narms: {{one: {{optimizer.momentum: 0.5}}}}") == Effects()


def test_groups_that_lie_in_several_splits_are_told(tmp_path):
    """Digits are named by four figures: by their last one they are ten groups, of which all splits have all."""
    found = effects(tmp_path, 'groups: "*{last}.png"\narms: {one: {optimizer.lr: 0.01}}').groups
    assert found[2] == "test: 359 images in 10 groups"
    assert [line.partition(", so")[0] for line in found[3:]] == [
        f"10 groups lie in {one} and in {other}"
        for one, other in (("train", "val"), ("train", "test"), ("val", "test"))
    ]


def test_a_rule_that_train_is_divided_by_need_not_fit_test_images(tmp_path):
    """Nobody asked for groups of test, whose names are others; that some do not fit is told."""
    for number in range(16):
        pixels = np.random.default_rng(number).integers(0, 256, (8, 8, 3), np.uint8)
        path = tmp_path / "plants" / "train" / "ab"[number // 8] / f"p{number // 2}_{number % 2}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    (tmp_path / "plants" / "test").mkdir()
    Image.fromarray(pixels[::-1]).save(tmp_path / "plants" / "test" / "img-1.png")
    data = f"{{name: folder, path: {tmp_path / 'plants'}, size: 8, split: 0.5, groups: '{{plant}}_*.png'}}"
    found = effects(tmp_path, f"shared: {{data: {data}}}\narms: {{one: {{optimizer.lr: 0.01}}}}")
    assert not found.misfits
    assert found.groups[0] == "train: 8 images in 4 groups"
    assert found.groups[-1] == "test: 1 images in 1 groups, 1 of them images that do not fit"
    told = data.replace("{plant}_*.png", "near_duplicates")
    found = effects(tmp_path, f"shared: {{data: {told}}}\narms: {{one: {{optimizer.lr: 0.01}}}}")
    assert found.groups == ["train: 8 images in 8 groups", "val: 8 images in 8 groups"]


def test_groups_that_no_name_fits_are_a_fault(tmp_path):
    """Each image would be judged alone, which is not what was asked for."""
    found = effects(tmp_path, 'groups: "{plant}_*.jpg"\narms: {one: {optimizer.lr: 0.01}}')
    assert [line.partition(", whose")[0] for line in found.misfits] == [
        f"groups: {{plant}}_*.jpg fits no image of {split}" for split in ("val", "test")
    ]


def test_a_factor_that_acts_later_is_let_pass(tmp_path):
    """More epochs show in no first step."""
    assert effects(tmp_path, "arms: {longer: {epochs: 20}}").without == []


@pytest.mark.parametrize("name", ["1-backbone", "2-scaling", "3-contrastive", "4-encoding"])
def test_the_quickstart_arms_share_all_that_lies_outside_their_factor(tmp_path, name):
    """Order, draws and the initial values of equal tensors, to the bit."""
    ablation, arms = resolve(SHIPPED_SPECS / "quickstart" / f"{name}.yaml")
    assert try_effects(ablation, arms, Runtime(cache=str(tmp_path))) == Effects()


def test_missing_data_is_told_and_nothing_is_tried(tmp_path):
    """The specs of the report can be read where its photographs are not."""
    ablation, arms = resolve(SHIPPED_SPECS / "backbone.yaml")
    assert "--data-root" in try_effects(ablation, arms, Runtime(cache=str(tmp_path), data_root=str(tmp_path))).untried


def photos(folder: Path, *, num: int = 6, classes: tuple[str, ...] = ("cat", "dog"), labelled: bool = True) -> str:
    """A folder of small photographs as the `data:` of a base; its test images may be without labels."""
    rng = np.random.default_rng(0)
    for split in ("train", "val", "test"):
        for name in classes:
            place = folder / "photos" / split / (name if labelled or split != "test" else "")
            place.mkdir(parents=True, exist_ok=True)
            for index in range(num):
                pixels = rng.integers(0, 255, (8, 8, 3)).astype(np.uint8)
                Image.fromarray(pixels).save(place / f"{name}{index}.png")
    return f"{{name: folder, path: '{folder}/photos', size: 8}}"


def test_weights_that_nobody_has_are_faults_of_their_arms_and_the_rest_is_tried(tmp_path):
    """A file that is not there, a name that was never published; else the whole spec would be let pass untried."""
    arms = "file: {model.weights: nofile.pth}, name: {model.weights: IMAGENET1K_V9}, good: {model.pooling: max}"
    found = effects(tmp_path, f"shared: {{model.backbone: resnet18}}\narms: {{{arms}}}")
    assert found.untried == ""
    assert set(found.broken) == {"file", "name"}
    assert found.broken["file"] == "model.weights: no such file nofile.pth"
    assert "no 'IMAGENET1K_V9' for resnet18; take one of none, a path, IMAGENET1K_V1" in found.broken["name"]


def test_a_metric_that_the_data_cannot_give_is_refused_before_training(tmp_path):
    """By `check` and by `run`: test accuracy of images without labels is not answered with another number."""
    (tmp_path / "base.yaml").write_text(BASE.replace("digits", photos(tmp_path, labelled=False)))
    (tmp_path / "spec.yaml").write_text(SPEC + "arms: {one: {model.head.dropout: 0.5}}")
    words = [str(tmp_path / "spec.yaml"), "--results", str(tmp_path / "results")]
    runner, environment = CliRunner(), {"ABLATE_CACHE": str(tmp_path / "cache")}
    told = runner.invoke(check, [*words, "metric=test/accuracy"], env=environment, standalone_mode=False)
    assert told.return_value == 2
    assert "test/accuracy cannot be had, the data has a test split without labels" in told.output
    refused = runner.invoke(run, [*words, "metric=test/accuracy", "--tracker", "off"], env=environment)
    assert "test/accuracy cannot be had" in str(refused.exception)
    assert not list(tmp_path.glob("results/runs/*/attempts"))
    assert runner.invoke(check, words, env=environment, standalone_mode=False).return_value == 0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("batch_size: 1", "a batch of 1 gives batch norm a single image"),
        ("{batch_size: 6, accumulate: 4}", "a batch of 6 in 4 pieces (accumulate) gives batch norm a single image"),
        (
            "{batch_size: 9, accumulate: 2}",
            "12 images in batches of 9 leave a last one of 3, of whose 2 pieces one",
        ),
        ("{epochs: 3, batch_size: 4, ema_decay: 0.999}", "after 9 steps, 99.2 % of the average with 0.999"),
        ("{epochs: 3, batch_size: 4, ema_decay: 0.9}", ""),
        ("{batch_size: 11, accumulate: 2}", ""),
        ("{batch_size: 8, accumulate: 2}", ""),
    ],
)
def test_settings_that_the_images_cannot_serve_are_told_with_the_numbers(tmp_path, settings, words):
    """Twelve training images: pieces of one, and averages that cannot move; others are let pass."""
    data = photos(tmp_path)
    (tmp_path / "base.yaml").write_text(BASE.replace("digits", data))
    arm = f"{{compound: {settings}}}" if settings.startswith("{") else f"{{{settings}}}"
    (tmp_path / "spec.yaml").write_text(SPEC + f"arms: {{one: {arm}}}")
    told = try_effects(*resolve(tmp_path / "spec.yaml"), Runtime(cache=str(tmp_path / "cache"))).misfits
    assert bool(words) == bool(told)
    assert words in "".join(told)
    assert all(arms == ["one"] for arms in told.values())


def test_data_of_one_class_is_refused(tmp_path):
    """Every network would be right about every image."""
    (tmp_path / "base.yaml").write_text(BASE.replace("digits", photos(tmp_path, classes=("cat",))))
    (tmp_path / "spec.yaml").write_text(SPEC + "arms: {one: {epochs: 2}}")
    [told] = try_effects(*resolve(tmp_path / "spec.yaml"), Runtime(cache=str(tmp_path / "cache"))).misfits
    assert told == "data: has one class only (cat); a classifier needs two"

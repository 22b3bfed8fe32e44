"""Does the audit name what moved when an arm changed its factor? Checked on the tables that the report published."""

from __future__ import annotations

import pytest

from ablation_suite.ablations.audit import audit
from ablation_suite.ablations.resolve import resolve
from ablation_suite.ablations.spec import SHIPPED_SPECS


def findings(name: str, records=None):
    ablation, arms = resolve(SHIPPED_SPECS / f"{name}.yaml")
    return audit(ablation, arms, records or {}, num_classes=100)


def texts(found, severity: str) -> str:
    return "\n".join(each.text for each in found if each.severity == severity)


def test_the_published_contrastive_table_confounds_backbone_batch_epochs_and_weights():
    """The arm changed its backbone, batch size, epochs and weights, and saw four times the images."""
    confounds = texts(findings("as-published/contrastive"), "confound")
    for words in (
        "loss.name cross_entropy -> contrastive",
        "model.backbone.name resnext101_32x8d -> resnext101_64x4d",
        "batch_size 64 -> 32",
        "epochs 50 -> 100",
        "4 factors changed at once",
        "sees 4.0x images",  # twice the epochs, two images of each pair
        "takes 4.0x optimizer steps",  # twice the epochs, half the batch
        "other pretrained weights: resnext101_32x8d IMAGENET1K_V1 -> resnext101_64x4d IMAGENET1K_V1",
    ):
        assert words in confounds


def test_what_the_published_encoding_baseline_had_is_said_to_be_unknown():
    """Nothing is made up about it: it shares the arm's weights, and the audit says that the original's are unknown."""
    found = findings("as-published/encoding")
    assert texts(found, "confound") == ""
    assert "what the original's baseline had is unknown" in texts(found, "note")
    _, arms = resolve(SHIPPED_SPECS / "as-published" / "encoding.yaml")
    assert {config.model.weights for config in arms.values()} == {"IMAGENET1K_V2"}


def test_the_encoding_moves_head_parameters_by_hand_calculation():
    """2,048 features become 12,288 inputs of a linear layer with 100 classes: 10,240 x 100 more weights."""
    moved = texts(findings("encoding"), "moved")
    assert f"+{10_240 * 100 / 1e6:.3g}M -> {(12_288 * 100 + 100) / 1e6:.3g}M head parameters" in moved


def test_a_clean_arm_has_no_confound():
    """The contrastive spec of the suite changes the weight of the term and nothing else."""
    found = findings("contrastive")
    assert [each.text for each in found] == ["changes loss.weight 0.0 -> 15.0"]


def test_a_contrastive_arm_against_plain_cross_entropy_sees_twice_the_images(tmp_path):
    """What the suite's own baseline avoids by seeing the same pairs."""
    (tmp_path / "base.yaml").write_text("data: digits\n")
    (tmp_path / "spec.yaml").write_text(
        "ablation: a\nquestion: q\nbase: base.yaml\nbaseline: plain\narms: {pairs: {loss: contrastive}}\n"
    )
    ablation, arms = resolve(tmp_path / "spec.yaml")
    found = audit(ablation, arms, {}, num_classes=10)
    assert "sees 2.0x images" in texts(found, "confound")


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("data_fingerprint", "ffff", "data fingerprint differs"),
        ("provenance.packages", {"torch": "9"}, "library versions differs"),
        ("provenance.device", {"name": "cuda"}, "device differs"),
        ("provenance.threads", 4, "CPU threads differs"),
        ("provenance.compiled", ["backbone"], "what is compiled differs between the runs: unknown -> backbone"),
        ("provenance.memory_format", "contiguous_format", "memory format differs"),
        ("provenance.deterministic", "off", "preference for deterministic kernels differs"),
        ("provenance.suite", {"source": "0123456789ab"}, "source of the suite differs"),
    ],
)
def test_runs_of_other_data_software_or_hardware_are_told(path, value, words):
    """Equal settings do not make equal runs."""

    def record(**changed):
        cost = {"seconds": 10.0, "parameters": 5, "head_parameters": 1, "flops_per_image": 2}
        made = {
            "data_fingerprint": "aaaa",
            "cost": cost,
            "provenance": {"packages": {"torch": "2"}, "device": {"name": "cpu"}, "threads": 1},
        }
        if "provenance" in changed:
            made["provenance"] |= changed["provenance"]
        else:
            made |= changed
        return made

    first, _, last = path.partition(".")
    other = record(**({first: {last: value}} if last else {first: value}))
    found = findings("contrastive", {"no contrastive term": [record()], "contrastive term": [other]})
    assert words in texts(found, "confound")
    same = findings("contrastive", {"no contrastive term": [record()], "contrastive term": [record()]})
    assert texts(same, "confound") == ""

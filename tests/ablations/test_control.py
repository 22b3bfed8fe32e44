"""Is a control the baseline in all but its seeds, paired by position, and asked about by nobody else?"""

from __future__ import annotations

from pathlib import Path

import pytest

from ablation_suite.ablations.audit import as_text, audit
from ablation_suite.ablations.plan import grown, jobs, make_plans
from ablation_suite.ablations.resolve import changed_settings, resolve
from ablation_suite.ablations.spec import CONTROL
from ablation_suite.ablations.tuned import Tuned, TunedArm, config_digest, tuned_variants
from ablation_suite.core.config import schema
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError

SPEC = """ablation: one
question: Does dropout help?
base: base.yaml
seeds: [0, 3]
baseline: plain
control: true
arms:
  dropout: {model.head.dropout: 0.5}
"""


@pytest.fixture
def spec(tmp_path) -> Path:
    (tmp_path / "base.yaml").write_text("data: digits\nepochs: 2\n")
    (tmp_path / "one.yaml").write_text(SPEC)
    return tmp_path / "one.yaml"


def plan_of(spec: Path):
    [plan] = make_plans([str(spec)], Runtime(results=str(spec.parent / "results"), cache=str(spec.parent / "cache")))
    return plan


def test_a_control_is_the_baseline_with_other_seeds(spec):
    """Paired with seeds 0 and 3, it trains at 500,000 and 500,003, and nothing but the seed differs."""
    plan = plan_of(spec)
    baseline, control = plan.of_arm("plain"), plan.of_arm(CONTROL)
    assert [cell.seed for cell in control] == [0, 3]
    assert [cell.config.seed for cell in control] == [500_000, 500_003]
    for ours, theirs in zip(control, baseline, strict=True):
        assert list(changed_settings(ours.config, theirs.config)) == [("seed", theirs.seed, theirs.seed + 500_000)]
    assert len({cell.run_id for cell in plan.cells}) == 6


def test_a_control_that_grows_keeps_its_distance(spec):
    """The seed that a rule adds is moved as the first ones were."""
    spec.write_text(SPEC.replace("[0, 3]", "2"))
    assert [cell.config.seed for cell in grown(plan_of(spec), {CONTROL: 3}).of_arm(CONTROL)] == [
        500_000, 500_001, 500_002,
    ]  # fmt: skip


def test_a_control_is_labelled_as_one(spec):
    """Its role is not the baseline's."""
    labels = [job["labels"] for job in jobs([plan_of(spec)]).values()]
    assert {each["arm"]: use["role"] for each in labels for use in each["ablations"].values()} == {
        "plain": "baseline", "dropout": "arm", CONTROL: "control",
    }  # fmt: skip


def test_two_arms_alike_stay_a_fault_beside_a_control(spec):
    """Only the control may repeat the baseline."""
    spec.write_text(SPEC + "  twin: {epochs: 2}\n")
    with pytest.raises(SchemaError, match="is the same run as 'plain'"):
        resolve(spec)


def test_a_spec_cannot_name_an_arm_like_the_control(spec):
    """The name holds a slash, which names of specs may not."""
    spec.write_text(SPEC + f'  "{CONTROL}": {{epochs: 3}}\n')
    with pytest.raises(SchemaError, match="no usable name"):
        resolve(spec)


def test_a_control_of_a_tuned_spec_takes_the_values_of_the_baseline(spec):
    """In both variants it is the baseline; nothing is looked for in the file under its name."""
    ablation, arms = resolve(spec)
    values = {"plain": {"epochs": 5}, "dropout": {"epochs": 7}}
    found = {
        arm: TunedArm(study=arm, config=config_digest(arms[arm]), trial=0, score=0.9, values=values[arm])
        for arm in values
    }
    tuned = Tuned(
        ablation="one", date="2026-01-01", sweep="s", trials=1, metric="val/accuracy", seeds=(1000,), arms=found
    )
    (spec.parent / "found.yaml").write_text(schema.dump(tuned.model_dump(mode="json")))
    variants = tuned_variants(spec.parent / "found.yaml", ablation, arms)
    assert [configs["dropout"].epochs for _, configs in variants] == [5, 7]
    assert [configs[CONTROL].epochs for _, configs in variants] == [5, 5]


def test_the_audit_passes_over_a_control(spec):
    """It changes nothing, so nothing can have moved with it."""
    ablation, arms = resolve(spec)
    findings = audit(ablation, arms, {}, num_classes=10)
    assert {each.arm for each in findings} == {"dropout"}
    assert CONTROL not in "\n".join(as_text(ablation, findings))

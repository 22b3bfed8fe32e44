"""Does a sweep file make a sweep, and is every fault of it told before anything is trained?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ablation_suite.ablations.find import find_specs
from ablation_suite.ablations.resolve import resolve
from ablation_suite.ablations.spec import SHIPPED_SPECS
from ablation_suite.core.config.schema import SchemaError, dump
from ablation_suite.sweeps.spec import FIRST_SEED, SHIPPED_SWEEPS, find_sweep, read_sweep
from tests.sweeps.fake import SPACE, make_fake_sweep, write_spec


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"metric": "test/accuracy"}, "would choose by the test images"),
        ({"space": {}}, "names nothing to search"),
        ({"space": {"optimizer.lrr": {"log": [1e-3, 1]}}}, "unknown key (did you mean 'lr'?)"),
        ({"space": {"model.head.dropout": {"uniform": [0, 1]}}}, "should be less than 1, not 1.0"),
        ({"space": {"batch_size": {"uniform": [16, 32]}}}, "should be a whole number"),
        ({"space": {"epochs.deep": {"int": [1, 2]}}}, "leads through a value that has no settings"),
        ({"trials": 0}, "greater than or equal to 1"),
        ({"trials": None}, "needs `trials:`, `hours:` or"),
        ({"sweep": "a/b"}, "no usable name"),
        ({"project": "a:b"}, "a W&B project takes none of"),
        ({"sampler": "tpx"}, "unknown name 'tpx' (did you mean 'tpe'?)"),
        ({"pruner": "wilcoxon"}, "set `seeds:` to 2 or more"),
        ({"sampler": "grid"}, "a range needs `points:` for a grid"),
        ({"shared": {"seed": 1}}, "seeds are set by `seeds:`"),
        ({"sweeps": 1}, "unknown key (did you mean 'sweep'?)"),
    ],
)
def test_a_wrong_key_is_one_clear_fault(tmp_path: Path, keys: dict[str, Any], message: str) -> None:
    """Each fault names the file, the path and what to do."""
    with pytest.raises(SchemaError) as caught:
        make_fake_sweep(tmp_path, **keys)
    assert message in str(caught.value)
    assert "sweep.yaml" in str(caught.value)
    assert not (tmp_path / "results").exists()


def test_every_shipped_sweep_is_good() -> None:
    """Every value that a shipped sweep can propose makes a valid RunConfig."""
    names = [path.stem for path in SHIPPED_SWEEPS.glob("*.yaml")]
    assert {"lr_dropout", "quickstart"} <= set(names)
    for name in names:
        assert read_sweep(find_sweep(name)).first


def test_the_shipped_search_is_the_one_that_was_asked_for() -> None:
    """Learning rate log-uniform from 1e-6 to 1e-2, head dropout uniform from 0 to 0.9."""
    rate, dropout = read_sweep(find_sweep("lr_dropout")).space.parameters
    assert (rate.path, rate.kind, rate.low, rate.high) == ("optimizer.lr", "log", 1e-6, 1e-2)
    assert (dropout.path, dropout.kind, dropout.low, dropout.high) == ("model.head.dropout", "uniform", 0.0, 0.9)


def test_tuning_seeds_are_no_comparison_seeds(tmp_path: Path) -> None:
    """Trials train with seeds from 1000 on; no shipped ablation compares with one of those."""
    assert make_fake_sweep(tmp_path, seeds=3).seeds == (1000, 1001, 1002)
    for path in find_specs([str(each) for each in SHIPPED_SPECS.iterdir() if each.is_dir()]):
        assert max(resolve(path)[0].seeds) < FIRST_SEED


def test_the_first_trial_has_the_values_of_the_base(tmp_path: Path) -> None:
    """The base's own values are found at their dotted paths, an entry by its name; those outside the space are not."""
    assert make_fake_sweep(tmp_path).first == {"optimizer.lr": 1e-3, "model.head.dropout": 0.2}
    narrow = {**SPACE, "optimizer.lr": {"log": [1e-2, 1e-1]}, "optimizer": {"choice": ["sgd", "adam"]}}
    assert make_fake_sweep(tmp_path, space=narrow).first == {"model.head.dropout": 0.2, "optimizer": "adam"}


def test_an_override_reaches_the_sweep_or_its_base(tmp_path: Path) -> None:
    """`trials=3` is the sweep's, `epochs=2` the base's, and a range can be replaced by its dotted path."""
    path = write_spec(tmp_path)
    sweep = read_sweep(path, ["trials=3", "epochs=2", "space.optimizer.lr={log: [1e-4, 1e-3]}"])
    assert (sweep.spec.trials, sweep.config.epochs, sweep.space.parameters[0].high) == (3, 2, 1e-3)
    assert read_sweep(path, ["sweep=2024", "question=a # b"]).spec.question == "a # b"


def test_an_unknown_sweep_names_the_nearest() -> None:
    """A misspelt shipped name is answered with the right one."""
    with pytest.raises(SchemaError, match="did you mean 'quickstart'"):
        find_sweep("quickstrat")


def test_a_path_that_works_in_an_arm_works_in_a_sweep(tmp_path: Path) -> None:
    """In its space, its `shared:` and its overrides, where the base leaves the entry on the way to its default."""
    base = dump({"data": "digits", "epochs": 2})
    (tmp_path / "b.yaml").write_text(base)
    keys = {"base": "b.yaml", "space": {"model.head.dropout": {"uniform": [0.0, 0.5]}}, "trials": 2}
    (tmp_path / "s.yaml").write_text(dump({"sweep": "s", "shared": {"model.encoding.levels": 2}, **keys}))
    with pytest.raises(SchemaError, match="unknown key"):  # the default encoding has no levels
        read_sweep(tmp_path / "s.yaml")
    (tmp_path / "s.yaml").write_text(dump({"sweep": "s", "shared": {"loss.label_smoothing": 0.1}, **keys}))
    sweep = read_sweep(tmp_path / "s.yaml", ["optimizer.lr=0.5"])
    config = sweep.run_config({"model.head.dropout": 0.25}, seed=1000)
    assert (config.model.head.dropout, config.loss.label_smoothing, config.optimizer.lr) == (0.25, 0.1, 0.5)

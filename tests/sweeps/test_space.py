"""Is a search space what its YAML says, and is every fault of it told?"""

from __future__ import annotations

from typing import Any

import numpy as np
import optuna
import pytest
from scipy.stats import qmc

from ablation_suite.core.config.levels import short_paths
from ablation_suite.core.config.schema import SchemaError, parse
from ablation_suite.sweeps.samplers import sobol
from ablation_suite.sweeps.space import Space, read_space


def space(text: str) -> Space:
    return read_space(parse(text, source="space.yaml"))


CONDITIONAL = """
optimizer: {choice: [adam, sgd]}
optimizer.momentum: {uniform: [0.0, 0.99], points: 3, when: {optimizer: sgd}}
batch_size: {int: [1, 2]}
"""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "names nothing to search"),
        ("optimizer.lr: {log: [1, 0.1]}", "low should be below high"),
        ("optimizer.lr: {log: [0, 0.1]}", "starts above zero, not at 0"),
        ("optimizer.lr: {log: [-1, 0.1]}", "starts above zero, not at -1"),
        ("optimizer.lr: {uniform: [0.1]}", "takes two numbers"),
        ("optimizer.lr: {uniform: [0.1, .nan]}", "takes two numbers"),
        ("optimizer.lr: {uniform: [0, true]}", "takes two numbers"),
        ("batch_size: {int: [1.5, 3]}", "whole numbers"),
        ("batch_size: {choice: [32]}", "two levels or more"),
        ("batch_size: {choice: [32, 32]}", "a level stands twice"),
        ("optimizer: {choice: [sgd, {name: sgd}]}", "two levels are called the same"),
        ("optimizer.lr: {logg: [1, 2]}", "unknown key 'logg' (did you mean 'log'?)"),
        ("optimizer.lr: {log: [1, 2], int: [1, 2]}", "not log and int"),
        ("optimizer.lr: 0.1", "a parameter is written"),
        ("optimizer.lr: {log: [1, 2], points: 1}", "2 values or more"),
        ("optimizer.lr: {log: [1, 2], step: 0.1}", "no steps of one size"),
        ("batch_size: {int: [1, 9], log: true, step: 2}", "no steps of one size"),
        ("batch_size: {int: [0, 9], log: true}", "starts above zero"),
        ("optimizer.lr: {uniform: [0, 1], log: true}", "floats are written {log: [low, high]}"),
        ("batch_size: {log: true}", "needs one of log, uniform, int, choice"),
        ("batch_size: {int: [1, 9], step: 0.5}", "a whole number above zero, not 0.5"),
        ("optimizer.lr: {uniform: [0, 1], step: 0}", "a number above zero, not 0"),
        ("optimizer.lr: {uniform: [0, 1], step: 0.3}", "steps of 0.3 from 0.0 come to 0.9 and then miss 1.0"),
        ("batch_size: {int: [1, 9], step: 2, points: 3}", "write one of them"),
        ("batch_size: {choice: [1, 2], step: 1}", "`step` belongs to a range"),
        ("seed: {int: [0, 5]}", "the seed is no setting to choose"),
        ("optimizer.momentum: {uniform: [0, 1], when: {optimizer: sgd}}", "a choice that stands above it"),
        ("a: {choice: [x, y]}\nb: {uniform: [0, 1], when: {a: z}}", "'z' is no level of a"),
    ],
)
def test_a_wrong_parameter_is_named_with_its_line(text: str, message: str) -> None:
    """Every fault of a space says the file, the line, the path and what is expected."""
    with pytest.raises(SchemaError) as caught:
        space(text)
    assert message in str(caught.value)
    assert str(caught.value).startswith("space.yaml:")


def test_a_grid_beyond_all_measure_is_refused_before_it_is_made() -> None:
    """A thousand million whole numbers times three; ranges without points beside them are told too."""
    with pytest.raises(SchemaError, match=r"a grid of 3,000,000,000 combinations; 100,000 are the most"):
        space("epochs: {int: [1, 1000000000]}\noptimizer: {choice: [adam, sgd, adamw]}").grid()
    with pytest.raises(SchemaError, match="a grid of 1,000,000 combinations"):
        space("optimizer.lr: {log: [1e-5, 1e-1], points: 1000000}").grid()
    assert len(space("epochs: {int: [1, 3]}\noptimizer.lr: {log: [1e-5, 1e-1], points: 4}").grid()) == 12


def test_all_faults_are_told_at_once() -> None:
    """Two wrong parameters give two faults."""
    with pytest.raises(SchemaError) as caught:
        space("a: {log: [0, 1]}\nb: {uniform: [2, 1]}")
    assert len(caught.value.faults) == 2


STEPPED = (
    "a: {uniform: [0, 0.9], step: 0.3}\nb: {int: [16, 64], step: 16}\nc: {int: [4, 512], log: true}\nd: {int: [1, 4]}"
)


def test_steps_and_whole_numbers_on_a_logarithmic_scale_are_optunas() -> None:
    """At equal shares of its own transformed range, Optuna has the same values; ours are free of rounding errors."""
    ranges: dict[str, Any] = {
        "a": optuna.distributions.FloatDistribution(0.0, 0.9, step=0.3),
        "b": optuna.distributions.IntDistribution(16, 64, step=16),
        "c": optuna.distributions.IntDistribution(4, 512, log=True),
        "d": optuna.distributions.IntDistribution(1, 4),
    }
    for parameter in space(STEPPED).parameters:
        transform = optuna._transform._SearchSpaceTransform({parameter.path: ranges[parameter.path]})
        ((low, high),) = transform.bounds
        for share in (np.arange(500) + 0.5) / 500:
            theirs = transform.untransform(np.array([low + share * (high - low)]))[parameter.path]
            assert parameter.at(share) == pytest.approx(theirs)
    a, b, c, d = space(STEPPED).parameters
    assert (a.grid(), b.grid(), d.grid()) == ([0.0, 0.3, 0.6, 0.9], [16, 32, 48, 64], [1, 2, 3, 4])
    assert (a.on_step(0.1 + 0.2), a.on_step(0.3 * 3)) == (0.3, 0.9)
    assert [each.contains(32) for each in (a, b, c, d)] == [False, True, True, False]
    assert [each.contains(0.3) for each in (a, b, c, d)] == [True, False, False, False]
    assert space("c: {int: [4, 512], log: true, points: 8}").parameters[0].grid() == [4, 8, 16, 32, 64, 128, 256, 512]


def test_a_conditional_parameter_exists_only_beside_its_level() -> None:
    """The grid has momentum for sgd alone: 1 x 2 combinations for adam and 3 x 2 for sgd."""
    grid = space(CONDITIONAL).grid()
    assert len(grid) == 2 + 3 * 2
    assert all(("optimizer.momentum" in values) == (values["optimizer"] == "sgd") for values in grid)
    assert {values.get("optimizer.momentum") for values in grid} == {None, 0.0, 0.495, 0.99}


def test_shares_are_equally_likely_in_each_kind() -> None:
    """The quantiles of a thousand even shares are those of the distribution by hand: uniform, log-uniform, whole."""
    parameters = space("a: {uniform: [2, 4]}\nb: {log: [1e-4, 1]}\nc: {int: [1, 4]}\nd: {choice: [x, y]}").parameters
    shares = (np.arange(1000) + 0.5) / 1000
    drawn = [[parameter.at(share) for share in shares] for parameter in parameters]
    assert np.median(drawn[0]) == pytest.approx(3.0)
    assert np.median(drawn[1]) == pytest.approx(1e-2, rel=0.01)
    assert [drawn[2].count(value) for value in (1, 2, 3, 4)] == [250] * 4
    assert drawn[3].count("x") == 500
    assert [parameter.at(1.0) for parameter in parameters] == [4.0, 1.0, 4, "y"]


def test_log_points_are_evenly_spaced_in_the_exponent() -> None:
    """Four points from 1e-4 to 1e-1 are the powers of ten."""
    values = [each["a"] for each in space("a: {log: [1e-4, 1e-1], points: 4}").grid()]
    assert values == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1], rel=1e-12)


def test_an_entry_is_put_in_before_the_settings_inside_it() -> None:
    """A chosen optimizer does not wipe out the learning rate that was chosen with it."""
    found = space("optimizer.lr: {log: [1e-3, 1]}\noptimizer: {choice: [adam, {name: sgd, momentum: 0.5}]}")
    base = parse("optimizer: adam", source="base.yaml")
    label = found.parameters[1].labels[1]
    data: dict[str, Any] = found.apply(base, {"optimizer.lr": 0.1, "optimizer": label}).data
    assert data["optimizer"] == {"name": "sgd", "momentum": 0.5, "lr": 0.1}


def test_levels_with_parts_go_by_readable_names() -> None:
    """By the name of the entry, with settings where two share it; conditions take the level or its name."""
    found = space(
        "optimizer: {choice: [adam, {name: sgd, momentum: 0.5}, {name: sgd, momentum: 0.9}]}\n"
        "model.encoding: {choice: [none, {name: sinusoidal, levels: 3}]}\n"
        "sizes: {choice: [[16], [16, 32], null]}\n"
        "a: {uniform: [0, 1], when: {optimizer: {name: sgd, momentum: 0.5}}}\n"
        "b: {uniform: [0, 1], when: {sizes: [[16, 32], null], model.encoding: sinusoidal}}\n"
    )
    optimizer, encoding, sizes, a, b = found.parameters
    assert optimizer.labels == ("adam", "sgd (momentum 0.5)", "sgd (momentum 0.9)")
    assert encoding.labels == ("none", "sinusoidal")
    assert sizes.labels == ("[16]", "[16, 32]", None)
    assert a.when == {"optimizer": ("sgd (momentum 0.5)",)}
    assert b.when == {"sizes": ("[16, 32]", None), "model.encoding": ("sinusoidal",)}
    assert found.settings({"sizes": "[16, 32]", "model.encoding": "sinusoidal"}) == {
        "sizes": [16, 32],
        "model.encoding": {"name": "sinusoidal", "levels": 3},
    }
    assert found.names["model.encoding"] == "encoding"


def test_short_names_tell_settings_apart() -> None:
    """The last step, and as many before it as another setting asks for."""
    paths = ["optimizer.lr", "schedule.warmup", "model.head.dropout", "augment.dropout", "dropout"]
    assert list(short_paths(paths).values()) == ["lr", "warmup", "head.dropout", "augment.dropout", "dropout"]


def test_a_sobol_point_depends_on_its_number_alone() -> None:
    """Points asked for one by one are those of one scrambled scipy sequence."""
    found = space("a: {uniform: [0, 1]}\nb: {uniform: [0, 1]}")
    expected = qmc.Sobol(2, scramble=True, rng=np.random.default_rng(7)).random(8)
    points = [list(sobol(found, 7, number).values()) for number in range(8)]
    assert np.array_equal(points, expected)

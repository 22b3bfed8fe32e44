"""Is a spec a controlled comparison by its grammar, and does every fault say what, where and what to do?"""

from __future__ import annotations

from pathlib import Path

import pytest

from ablation_suite.ablations.find import find_specs
from ablation_suite.ablations.resolve import changed_settings, resolve
from ablation_suite.ablations.spec import CONTROL, SHIPPED_SPECS
from ablation_suite.core.config.schema import SchemaError, dump

BASE = "data: digits\nepochs: 2\nmodel: {backbone: {name: bottleneck}, head: {name: linear, dropout: 0.2}}\n"
SPEC = """ablation: dropout
question: Does dropout help?
base: base.yaml
seeds: 2
baseline: some
arms:
  none: {model.head.dropout: 0.0}
  much: {model.head.dropout: 0.7}
"""


def write(folder: Path, spec: str = SPEC, base: str = BASE) -> Path:
    (folder / "base.yaml").write_text(base)
    path = folder / "spec.yaml"
    path.write_text(spec)
    return path


def faults(folder: Path, spec: str, base: str = BASE, overrides: tuple[str, ...] = ()) -> list[str]:
    with pytest.raises(SchemaError) as caught:
        resolve(write(folder, spec, base), overrides)
    return [line.replace(f"{folder}/", "") for line in str(caught.value).splitlines()]


def test_an_arm_differs_from_the_baseline_in_its_factor_alone(tmp_path):
    """Every other leaf of the two RunConfigs is equal."""
    ablation, arms = resolve(write(tmp_path))
    assert list(arms) == ["some", "none", "much"]
    assert list(changed_settings(arms["much"], arms["some"])) == [("model.head.dropout", 0.2, 0.7)]
    assert ablation.seeds == (0, 1)


@pytest.mark.parametrize(
    ("part", "line"),
    [
        ("arms: {one: {mix: mixup}, two: {loss: triplet}}\nshared: {mix: mixup}", "spec.yaml:6: arms.two: mix needs"),
        ("shared: {loss: triplet}\narms: {one: {mix: mixup}}", "spec.yaml:7: arms.one: mix needs"),
        ("grid: {loss: [cross_entropy, triplet], mix: [none, mixup]}", "spec.yaml:6: arms.loss=triplet,mix=mixup: mix"),
        ("shared: {compound: 1}\narms: {one: {mix: mixup}}", "spec.yaml:6: compound: unknown key"),
        ("shared: {loss: triplet, mix: mixup}\narms: {one: {epochs: 3}}", "spec.yaml:6: shared: mix needs"),
        (
            "blocks: {x: {loss: triplet, mix: mixup}, y: {}}\nblock: x\narms: {one: {epochs: 3}}",
            "spec.yaml:6: blocks.x: mix",
        ),
    ],
)
def test_a_fault_between_settings_stands_where_it_came_up(tmp_path, part, line):
    """Neither value is wrong alone: told is what brings both together, not the first line of the base."""
    spec = SPEC.split("arms:")[0] + part
    assert [each.startswith(line) for each in faults(tmp_path, spec)].count(True) == 1


def test_a_fault_between_settings_of_a_base_or_of_overrides_stands_there(tmp_path):
    """All arms have it, and it is told once."""
    base = BASE + "loss: triplet\nmix: mixup\n"
    [told] = faults(tmp_path, SPEC, base)
    assert told.startswith("base.yaml:1: mix needs a loss of single images")
    [told] = faults(tmp_path, SPEC, overrides=("mix=mixup", "loss=triplet"))
    assert told.startswith("command line: loss: mix needs a loss of single images")


def test_shared_settings_reach_baseline_and_arms(tmp_path):
    """The contrastive baseline sees pairs without a pull on them, and the arm differs in the weight alone."""
    spec = SPEC.replace("seeds", "shared: {loss: {name: contrastive, weight: 0.0}}\nseeds").split("arms:")[0]
    _, arms = resolve(write(tmp_path, spec + "arms: {pull: {loss.weight: 15.0}}"))
    assert list(changed_settings(arms["pull"], arms["some"])) == [("loss.weight", 0.0, 15.0)]


def test_an_override_reaches_every_arm_and_is_remembered(tmp_path):
    """`epochs=5` on the command line."""
    ablation, arms = resolve(write(tmp_path), ("epochs=5", "seeds=3"))
    assert {config.epochs for config in arms.values()} == {5}
    assert ablation.overrides == ("epochs=5", "seeds=3")
    assert ablation.seeds == (0, 1, 2)


def test_text_keys_of_a_spec_take_an_override_as_it_stands(tmp_path):
    """A name or a question may look like a number, or hold a hash or a colon."""
    texts = {"ablation": "2024", "question": "Is 3 # 4: yes?", "project": "007", "baseline": "null"}
    ablation, _ = resolve(write(tmp_path), tuple(f"{key}={text}" for key, text in texts.items()))
    assert {key: getattr(ablation, key) for key in texts} == texts
    _, arms = resolve(write(tmp_path, base=BASE.replace("digits", "{name: folder, path: x}")), ("data.path=a #2",))
    assert {config.data.path for config in arms.values()} == {"a #2"}


@pytest.mark.parametrize("first", [0.2, 0.1])
def test_a_grid_is_a_full_factorial_whose_first_levels_are_the_baseline(tmp_path, first):
    """2 x 3 levels are the baseline and five arms, whatever the base has."""
    grid = f"control: true\ngrid: {{model.head.dropout: [{first}, 0.5], epochs: [4, 3, 2]}}"
    ablation, arms = resolve(write(tmp_path, SPEC.split("arms:")[0] + grid), ("epochs=9",))
    combinations = {(config.model.head.dropout, config.epochs) for config in arms.values()}
    assert combinations == {(d, e) for d in (first, 0.5) for e in (2, 3, 4)}
    assert ablation.arms[0].delta == {"model.head.dropout": first, "epochs": 4}
    assert (arms["some"].model.head.dropout, arms["some"].epochs) == (first, 4)
    assert arms[CONTROL] == arms["some"]


def test_levels_of_one_name_are_told_apart_in_a_grid(tmp_path):
    """Two settings of one entry are two arms with two names, and a level that stands twice is refused."""
    base = SPEC.split("arms:")[0]
    encodings = "none, {name: sinusoidal, levels: 1}, {name: sinusoidal, levels: 2}"
    _, arms = resolve(write(tmp_path, f"{base}grid: {{model.encoding: [{encodings}]}}"))
    assert list(arms) == ["some", "encoding=sinusoidal (levels 1)", "encoding=sinusoidal (levels 2)"]
    [line] = faults(tmp_path, f"{base}grid: {{epochs: [1, 1, 2]}}")
    assert line == "spec.yaml:6: grid.epochs: a level stands twice"


@pytest.mark.parametrize("order", [("loss.weight", "loss"), ("loss", "loss.weight")])
def test_an_entry_is_put_in_before_the_settings_inside_it(tmp_path, order):
    """In whatever order they stand, among the settings of an arm, of `shared:` and of the command line."""
    values = {"loss": "contrastive", "loss.weight": 3.5}
    both = dump({path: values[path] for path in order}).replace("\n", ", ")
    compound = f"arms: {{both: {{compound: {{{both}}}}}}}"
    arms = resolve(write(tmp_path, SPEC.split("arms:")[0] + compound))[1]
    assert arms["both"].loss.weight == 3.5
    shared = resolve(write(tmp_path, SPEC.replace("seeds", f"shared: {{{both}}}\nseeds")))[1]
    given = resolve(write(tmp_path), tuple(f"{path}={values[path]}" for path in order))[1]
    assert [arms["some"].loss.weight for arms in (shared, given)] == [3.5, 3.5]


def test_a_compound_arm_says_so(tmp_path):
    """Several factors are allowed where they are wrapped, and the arm is marked."""
    spec = SPEC.split("arms:")[0] + "arms: {both: {compound: {epochs: 3, batch_size: 32}}}"
    ablation, arms = resolve(write(tmp_path, spec))
    assert ablation.arm("both").compound
    assert len(list(changed_settings(arms["both"], arms["some"]))) == 2


@pytest.mark.parametrize(
    ("old", "new", "where", "words"),
    [
        ("{model.head.dropout: 0.7}", "{model.head.dropout: 0.7, epochs: 3}", "spec.yaml:8", "changes 2 factors"),
        ("{model.head.dropout: 0.7}", "{model.head.dropuot: 0.7}", "spec.yaml:8", "did you mean 'dropout'?"),
        ("{model.head.dropout: 0.7}", "{model.head.dropout: 7}", "spec.yaml:8", "less than 1"),
        ("{model.head.dropout: 0.7}", "{modle.head: 3}", "spec.yaml:8", "did you mean 'model'?"),
        ("{model.head.dropout: 0.7}", "{model: {normalize: imagenet}}", "spec.yaml:8", "holds several factors"),
        ("{model.head.dropout: 0.7}", "{seed: 3}", "spec.yaml:8", "the seed is no factor"),
        ("{model.head.dropout: 0.7}", "{epochs.x: 3}", "spec.yaml:8", "no settings"),
        ("{model.head.dropout: 0.7}", "{}", "spec.yaml:8", "an arm changes something"),
        ("{model.head.dropout: 0.7}", "0.7", "spec.yaml:8", "{factor: level}"),
        ("{model.head.dropout: 0.7}", "{model.head.dropout: 0.0}", "spec.yaml:8", "is the same run as 'none'"),
        ("{model.head.dropout: 0.7}", "{model.backbone: resnet5}", "spec.yaml:8", "unknown name 'resnet5'"),
        ("much:", "none:", "spec.yaml:8", "the key stands twice (first in line 7)"),
        ("much:", "a/b:", "spec.yaml:8", "no usable name: it holds a slash"),
        ("much:", "--help:", "spec.yaml:8", "begins with a dash"),
        ("baseline: some", "baseline: CON", "spec.yaml:5", "device on Windows"),
        ("baseline: some", "project: a/b", "spec.yaml:5", "a W&B project takes none of"),
        ("much:", "some:", "spec.yaml:8", "has the name of the baseline"),
        ("seeds: 2", "seeds: 0", "spec.yaml:4", "at least 1, not 0"),
        ("seeds: 2", "seeds: 99999999999999999999", "spec.yaml:4", "at most 1,000, not 9"),
        ("seeds: 2", "seeds: [1, 1]", "spec.yaml:4", "different seeds"),
        ("seeds: 2", "seeds: {min: 3, max: 2, until: decided}", "spec.yaml:4", "min should not be above max"),
        ("seeds: 2", "seeds: {min: 3, max: 9}", "spec.yaml:4", "either `until: decided` or `precision:`"),
        ("seeds: 2", "sedes: 2", "spec.yaml:4", "did you mean 'seeds'?"),
        ("ablation: dropout", "ablation: a/b", "spec.yaml:1", "holds a slash"),
        ("base: base.yaml", "base: other.yaml", "spec.yaml:3", "other.yaml"),
        ("question: Does dropout help?\n", "", "spec.yaml:1", "question: is missing"),
        ("baseline: some", "metric: val/acuracy", "spec.yaml:5", "did you mean 'accuracy'?"),
        ("baseline: some", "metrics: []", "spec.yaml:5", "names none"),
    ],
)
def test_each_fault_of_a_spec_is_one_line_with_its_place(tmp_path, old, new, where, words):
    """What a user can get wrong, one at a time."""
    assert old in SPEC
    [line] = faults(tmp_path, SPEC.replace(old, new))
    assert line.startswith(where)
    assert words in line


def test_a_factorial_beyond_all_measure_is_refused_before_it_is_made(tmp_path):
    """Nine factors of ten levels come to a thousand million arms, and to one line."""
    factors = "".join(f", f{index}: [{', '.join('0123456789')}]" for index in range(8))
    text = SPEC.split("arms:")[0] + f"grid: {{model.head.dropout: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]{factors}}}"
    [line] = faults(tmp_path, text)
    assert "grid: 1,000,000,000 combinations; 1,000 are the most" in line


def test_a_fault_of_the_base_points_into_the_base(tmp_path):
    """Told once, not once for each arm."""
    [line] = faults(tmp_path, SPEC, BASE.replace("epochs: 2", "epochs: two"))
    assert line.startswith("base.yaml:2: epochs: ")


def test_a_fault_of_an_override_points_to_the_command_line(tmp_path):
    """An unknown path and a wrong value."""
    assert faults(tmp_path, SPEC, overrides=("epoks=3",))[0].startswith("command line: epoks: unknown key")
    assert faults(tmp_path, SPEC, overrides=("epochs=0",))[0].startswith("command line: epochs: ")


@pytest.mark.parametrize("text", ["", "- 1\n- 2", "just words"])
def test_a_spec_that_is_no_mapping_is_one_line(tmp_path, text):
    """Empty, a list, a sentence."""
    [line] = faults(tmp_path, text)
    assert "mapping" in line


def test_every_shipped_spec_resolves():
    """The four of the report, the quickstart, the ones beyond, the ones as published."""
    names = ["all", *(folder.name for folder in SHIPPED_SPECS.iterdir() if folder.is_dir())]
    paths = find_specs(names)
    assert len(paths) >= 16
    for path in paths:
        resolve(path)


def test_the_report_s_recipe_computes_as_the_published_script_did():
    """In TF32, which is cuDNN's default; whether bf16 is equivalent is asked by a spec of its own, with a margin."""
    ablation, arms = resolve(SHIPPED_SPECS / "beyond" / "precision.yaml")
    assert {name: config.precision for name, config in arms.items()} == {"tf32": "tf32", "bf16": "bf16"}
    assert ablation.margin == 0.5


def test_an_unknown_spec_names_the_nearest():
    """A slip of the finger in a shipped name."""
    with pytest.raises(SchemaError, match="did you mean 'quickstart'"):
        find_specs(["quikstart"])


@pytest.mark.fault(
    "staged faults of a spec", injected="an arm's fault beside a misspelt key", promised="all in the first call"
)
def test_all_faults_of_a_spec_come_in_one_call(tmp_path):
    """Keys, arms, seeds, levels, the base: no fault waits behind another of a different kind."""
    spec = """ablation: -x
question: Does dropout help?
base: base.yaml
sedes: 2
project: a/b
margin: wide
loss.weight: 3
arms:
  none: 0.0
  two: {model.head.dropout: 0.5, epochs: 3}
  much: {model.head.dropout: 7}
  slip: {model.head.dropuot: 0.7}
"""
    lines = faults(tmp_path, spec, BASE.replace("epochs: 2", "epochs: two"), overrides=("batch_size=0",))
    assert [line.split(": ")[0] for line in sorted(set(lines))] == [
        "base.yaml:2",  # epochs
        "command line",  # batch_size
        "spec.yaml:10",  # two factors
        "spec.yaml:11",  # too much dropout
        "spec.yaml:12",  # misspelt setting
        "spec.yaml:1",  # name of the ablation
        "spec.yaml:4",
        "spec.yaml:5",
        "spec.yaml:6",
        "spec.yaml:7",
        "spec.yaml:9",  # no mapping
    ]


@pytest.mark.fault(
    "bases and sweeps beside specs, `.yml`",
    injected="a folder of all kinds of YAML",
    promised="a folder means its specs",
)
def test_a_folder_means_the_specs_in_it(tmp_path):
    """Bases, sweeps and found values beside them are passed over, `.yml` is YAML, and a spec with a slip is told."""
    write(tmp_path)
    (tmp_path / "other.yml").write_text(SPEC)
    (tmp_path / "slip.yaml").write_text(SPEC.replace("ablation:", "ablatoin:"))
    (tmp_path / "broken.yaml").write_text("a: [")
    (tmp_path / "sweep.yaml").write_text("sweep: s\nbase: base.yaml\nspace: {epochs: {int: [1, 2]}}\ntrials: 2\n")
    (tmp_path / "found.yaml").write_text("ablation: a\ndate: x\nsweep: s\ntrials: 1\nmetric: m\nseeds: [1]\narms: {}\n")
    (tmp_path / "notes.txt").write_text(SPEC)
    found = [path.name for path in find_specs([str(tmp_path)])]
    assert found == ["broken.yaml", "other.yml", "slip.yaml", "spec.yaml"]
    for name in found:
        (tmp_path / name).unlink()
    with pytest.raises(SchemaError, match="no spec lies in this folder"):
        find_specs([str(tmp_path)])


def test_images_are_judged_by_the_groups_that_they_are_divided_by(tmp_path):
    """The rule of the data is that of the report, unless the spec has one of its own."""
    (tmp_path / "base.yaml").write_text("data: {name: folder, path: plants, split: 0.2, groups: '{plant}_*.jpg'}\n")
    spec = "ablation: a\nquestion: q\nbase: base.yaml\narms: {some: {model.head.dropout: 0.3}}\n"
    (tmp_path / "spec.yaml").write_text(spec)
    assert resolve(tmp_path / "spec.yaml")[0].groups == "{plant}_*.jpg"
    assert resolve(tmp_path / "spec.yaml", ("groups={bed}_*.jpg",))[0].groups == "{bed}_*.jpg"
    assert resolve(tmp_path / "spec.yaml", ("data.groups=null",))[0].groups is None
    told = ("data.groups=near_duplicates",)
    assert resolve(tmp_path / "spec.yaml", told)[0].groups is None  # the outputs of the runs tell them
    with pytest.raises(SchemaError, match=r"groups\.csv is told with the data, where runs keep it: data\.groups"):
        resolve(tmp_path / "spec.yaml", ("groups=groups.csv",))

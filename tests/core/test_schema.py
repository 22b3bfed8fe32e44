"""Is YAML read as YAML 1.2, and is every fault told at once, with its place and the nearest name?"""

from __future__ import annotations

import math
import os

import pytest

from ablation_suite.ablations.spec import Spec
from ablation_suite.core.config.levels import level_text
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import (
    SchemaError,
    dump,
    load,
    parse,
    read_override,
    split_override,
    validate,
)


def config(text: str) -> RunConfig:
    return validate(RunConfig, parse(text, source="run.yaml"))


def faults(text: str) -> list[str]:
    with pytest.raises(SchemaError) as caught:
        config(text)
    return str(caught.value).splitlines()


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("no", "no"),
        ("12:30", "12:30"),
        ("0o17", 15),
        ("0x1F", 31),
        ("017", 17),
        ("'1'", "1"),
        ("~", None),
        ("true", True),
        ("yes", "yes"),
        (".5", 0.5),
        ("-.inf", -math.inf),
        ("2001-01-01", "2001-01-01"),
        ("1_000", "1_000"),
    ],
)
def test_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    """The table of section 10.3.2 of the YAML 1.2.2 specification; what it does not list is text."""
    read = parse(text, source="x").data
    assert read == value
    assert type(read) is type(value)


@pytest.mark.fault(
    "a key that stands twice", injected="YAML with the key in two lines", promised="refused with both lines"
)
def test_a_duplicate_key_is_refused_with_both_lines():
    """The second of two equal keys would silently win elsewhere."""
    with pytest.raises(SchemaError, match=r"run.yaml:3: epochs: the key stands twice \(first in line 1\)"):
        parse("epochs: 1\nseed: 2\nepochs: 3", source="run.yaml")


@pytest.mark.fault("an alias that contains itself", injected="YAML with a cycle", promised="one line")
def test_an_alias_that_contains_itself_is_refused():
    """It would be read for ever."""
    with pytest.raises(SchemaError, match="may not contain itself"):
        parse("a: &x {b: *x}", source="run.yaml")


@pytest.mark.fault(
    "several faults in one file",
    injected="misspelt, mistyped and impossible values together",
    promised="all at once, each with its line",
)
def test_all_faults_come_at_once_each_with_its_line():
    """Three mistakes in three lines are three lines of error."""
    lines = faults("epochs: 0\nloss: {name: contrastve}\nbatchsize: 3")
    assert [line.split(": ")[0] for line in lines] == ["run.yaml:1", "run.yaml:2", "run.yaml:3"]


def test_a_misspelt_key_gets_the_nearest_name():
    """`lerning_rate` and `batchsize` are understood."""
    assert "did you mean 'batch_size'?" in faults("batchsize: 3")[0]
    assert "did you mean 'dropout'?" in faults("model: {head: {name: linear, dropuot: 0.1}}")[0]


def test_an_unknown_choice_lists_the_choices_and_the_nearest():
    """A backbone that torchvision does not have."""
    [line] = faults("model: {backbone: resnet51}")
    assert line.startswith("run.yaml:1: model.backbone: unknown name 'resnet51'")
    assert "resnet50" in line


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("epochs: '3'", "should be a whole number, not '3'"),
        ("epochs: 3.5", "should be a whole number, not 3.5"),
        ("clip_norm: .nan", "finite"),
        ("clip_norm: -1", "greater than 0"),
        ("optimizer: {name: adam, lr: yes}", "should be a number, not 'yes'"),
        ("model: {head: {name: linear, dropout: 1.5}}", "less than 1"),
        ("precision: float33", "did you mean 'float32'?"),
        ("loss: {weight: 1}", "needs a `name:`"),
        ("loss: 3", "mapping of settings"),
        ("model: [1]", "mapping of settings"),
        ("- 1", "mapping of settings, not [1]"),
        ("epochs: true", "should be a whole number, not true"),
        ("optimizer: {name: adam, betas: 3}", "optimizer.betas: should be a list, not 3"),
        ("optimizer: {name: adam, betas: [0.1]}", "optimizer.betas.1: is missing"),
        ("optimizer: {name: adam, betas: [0, 0, 0]}", "should have at most 2 items, not 3"),
        ("model: {backbone: {name: bottleneck, planes: [a]}}", "planes.0: should be a whole number, not 'a'"),
        ("data: {name: folder, path: 2024}", "data.path: should be text, not 2024; write '2024'"),
        ("data: {name: folder, path: ''}", "data.path: should not be empty"),
        ("model: {head: {name: linear, linear: 3}}", "model.head.linear: unknown key"),
        ("data: folder", "data.path: is missing"),
        ("loss: {name: cross_entropy, label_smoothing: 1.0}", "should be less than 1"),
        ("loss: {name: contrastive, label_smoothing: 1.0}", "should be less than 1"),
        ("epochs: 3\nschedule: {name: cosine, warmup_epochs: 3.5}", "3.5 is longer than the run of epochs 3"),
        ("a: &x {b: 1}\nc: {<<: *x}", "c.<<: merge keys are not read: YAML 1.2 has none"),
        ("epochs: !!str 3", "tags are not read"),
        ('"\\e[31mred\\u202e": 1', "\\x1b[31mred\\u202e: unknown key"),
    ],
)
def test_each_wrong_value_is_one_line_that_says_what_is_wanted(text, words):
    """Strict types: nothing is converted on the quiet."""
    [line] = faults(text)
    assert words in line


@pytest.mark.fault(
    "orders to the terminal in a spec",
    injected="ESC, BEL and U+202E in a question, a note and a path",
    promised="refused with the line and the character; lines, tabs and every script are text",
)
def test_a_text_that_gives_orders_to_a_terminal_is_refused():
    """`plan` and `audit` print such texts, and whoever looks at a spec has not written it."""
    with pytest.raises(SchemaError) as told:
        parse('question: "\\e[31mred"\nnote: "a\\u202eb"\narms: {a: {data.path: "x\\a"}}', source="run.yaml")
    assert [line.split(", ")[0] for line in str(told.value).splitlines()] == [
        "run.yaml:1: question: holds the control character U+001B",
        "run.yaml:2: note: holds the control character U+202E",
        "run.yaml:3: arms.a.data.path: holds the control character U+0007",
    ]
    text = "été 模型\n\tzwei"
    assert parse(dump({"question": text}), source="run.yaml").data == {"question": text}


def test_a_bare_name_stands_for_an_entry_with_its_defaults():
    """`loss: contrastive` is `loss: {name: contrastive}`."""
    assert config("loss: contrastive") == config("loss: {name: contrastive}")


def test_integers_and_floats_that_are_equal_make_one_config():
    """`clip_norm: 10` and `10.0` are one setting, and so one run id."""
    assert config("clip_norm: 10").model_dump_json() == config("clip_norm: 10.0").model_dump_json()


@pytest.mark.fault(
    "a spec that is missing, empty or binary",
    injected="no file, no bytes, bytes that are no text",
    promised="told apart, a line each",
)
def test_a_missing_an_empty_and_a_binary_file_are_told_apart(tmp_path):
    """Each names the file and what is wrong with it."""
    empty, binary = tmp_path / "empty.yaml", tmp_path / "binary.yaml"
    empty.write_text("# nothing\n")
    binary.write_bytes(b"\xff\xfe\x00")
    for path, words in ((tmp_path / "none.yaml", "no such file"), (empty, "is empty"), (binary, "cannot be read")):
        with pytest.raises(SchemaError, match=words):
            load(path)


@pytest.mark.parametrize("text", ["photos #2", "2024", "007", "null", "1e-3", "true", "a: b", "[x", "", "'q'", "~/x"])
def test_the_text_of_an_override_is_what_a_text_field_gets(text):
    """Whatever it would mean as YAML: the field says that it is text."""
    for path in ("data.path", "model.weights"):
        assert read_override(RunConfig, path, text).data == text
    for path in ("tuned", "block", "groups"):  # which may be left out, and then are null
        assert read_override(Spec, path, text).data == (text if text != "null" else None)


@pytest.mark.parametrize(
    ("path", "text", "value"),
    [
        ("optimizer.lr", "1e-4", 1e-4),
        ("loss", "{name: contrastive, weight: 3}", {"name": "contrastive", "weight": 3}),
        ("clip_norm", "null", None),
        ("data.allow", "[leaked]", ["leaked"]),
        ("no.such.field", "2", 2),
    ],
)
def test_an_override_of_any_other_field_is_read_as_yaml(path, text, value):
    """As Hydra users write it; the value keeps its type."""
    assert read_override(RunConfig, path, text).data == value


def test_an_override_without_a_path_or_a_sign_is_refused():
    """A value alone sets nothing."""
    assert split_override("data.path=a=b") == ("data.path", "a=b")
    for text in ("=3", "epochs"):
        with pytest.raises(SchemaError, match="path=value"):
            split_override(text)


def test_replacing_below_a_bare_name_keeps_the_name():
    """`loss: contrastive` with `loss.weight` replaced is still contrastive."""
    document = parse("loss: contrastive", source="a").replaced(("loss", "weight"), parse("3", source="b"))
    assert document.data == {"loss": {"name": "contrastive", "weight": 3}}
    assert document.where(("loss", "weight")) == "b:1"


NESTED_ALIASES = "b0: &a0 [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"b{level}: &a{level} [{', '.join([f'*a{level - 1}'] * 9)}]\n" for level in range(1, 12)
)


@pytest.mark.fault(
    "aliases of aliases, 20,000 brackets, 5,000 digits",
    injected="YAML of 565 bytes that means billions of values, and its kin",
    promised="budgets of nodes, depth and digits: one short line before anything grows",
)
@pytest.mark.parametrize(
    ("text", "words"),
    [
        (NESTED_ALIASES, "more than 20,000 values, its aliases written out"),
        (NESTED_ALIASES.replace("[", "{k: [").replace("]", "]}"), "more than 20,000 values"),
        ("a: " + "[" * 20_000, "deeper than 40 levels"),
        ("a: " + "{b: " * 20_000, "deeper than 40 levels"),
        ("- " * 5_000 + "1", "deeper than 40 levels"),
        ("a: [" + "1, " * 30_000 + "1]", "more than 20,000 values"),
        ("seed: " + "9" * 5_000, "seed: a number of 5,000 digits; 100 are the most"),
        ("seed: -0x" + "f" * 5_000, "should be a whole number"),
        ("seed: 0x" + "f" * 5_000, "a number of 5,002 digits"),
        ("clip_norm: " + "9" * 5_000 + ".0", "finite"),
        ("x" * 1_000 + ": 1", "unknown key"),
    ],
)
def test_a_text_beyond_its_budget_is_one_short_line(text, words):
    """Aliases of aliases, depth, length and digits: refused by counting, before anything grows."""
    [line] = faults(text)
    assert words in line
    assert len(line) < 2_000


@pytest.mark.fault(
    "a spec that is a pipe, a device or very large",
    injected="mkfifo, /dev/zero, two megabytes",
    promised="one line; it is not read",
)
def test_a_file_that_never_ends_is_not_read(tmp_path):
    """A pipe without a writer, a device, a file of a megabyte and more."""
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "large.yaml").write_text("#" * 2_000_000)
    for path, words in (
        (tmp_path / "pipe.yaml", "is no file"),
        ("/dev/zero", "is no file"),
        (tmp_path, "is no file"),
        (tmp_path / "large.yaml", "larger than 1,000,000 bytes"),
    ):
        with pytest.raises(SchemaError, match=words):
            load(path)


@pytest.mark.fault(
    "a wrong value in a field of several forms",
    injected="wrong items in a list, wrong keys in a mapping",
    promised="the words and the path of the YAML, none of Python's types",
)
@pytest.mark.parametrize(
    ("seeds", "line"),
    [
        ("[a, 1]", "seeds.0: should be a whole number, not 'a'"),
        ("some", "seeds: should be a whole number, not 'some'"),
        ("{min: 3, max: 2.5}", "seeds.max: should be a whole number, not 2.5"),
        ("{min: 3, until: decidd}", "seeds.until: 'decidd' is none of 'decided' (did you mean 'decided'?)"),
    ],
)
def test_a_value_of_several_forms_is_judged_by_the_form_it_has(seeds, line):
    """A list as a list, a mapping as a mapping; no name of a Python type stands in the path."""
    with pytest.raises(SchemaError) as caught:
        validate(Spec, parse(f"ablation: a\nquestion: q\nbase: b\nseeds: {seeds}", source="s"))
    assert str(caught.value) == f"s:4: {line}"


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path):
    """Editors on Windows write one."""
    (tmp_path / "a.yaml").write_bytes(b"\xef\xbb\xbfepochs: 3\n")
    assert load(tmp_path / "a.yaml").data == {"epochs": 3}


def test_own_parts_are_offered_only_where_a_family_takes_them():
    """Settings of an entry that has own parts beside it, such as `data.preprocess`, take none themselves."""
    nested, whole = faults("data: {name: digits, preprocess: equalise}\nloss: focale")
    assert nested.endswith(
        "data.preprocess: unknown name 'equalise' (did you mean 'equalize'?); one of none, equalize, clahe"
    )
    assert whole.endswith("FILE.py:NAME of your own")


@pytest.mark.parametrize(
    ("yaml", "words"),
    [
        ("{name: multi_step, milestones: [30, 60]}", "multi_step (milestones [30, 60])"),
        ("{name: photo, aug_mix: true, hue: null}", "photo (aug_mix true, hue null)"),
        ("{name: photo, rand_augment: {num_ops: 3, magnitude: 5}}", "photo (rand_augment (num_ops 3, magnitude 5))"),
        ("{patience: 3}", "patience 3"),
        ("false", "false"),
    ],
)
def test_a_level_reads_as_it_was_written(yaml, words):
    """In tables and plans, nothing of Python's: neither True nor tuples nor braces; lists and tuples are one."""
    level = parse(f"level: {yaml}", source="").data["level"]
    assert level_text(level) == words
    assert level_text({"betas": (0.9, 0.99)}) == "betas [0.9, 0.99]"

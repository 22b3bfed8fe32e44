"""Which code is an own part, which arguments does it take, and what is told of a wrong one? All without running it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.own import own_parts
from ablation_suite.core.config.run_config import RunConfig
from ablation_suite.core.config.schema import Document, SchemaError, parse, validate
from ablation_suite.core.own import kept
from ablation_suite.core.own.source import known, of_file
from ablation_suite.core.runs.identity import run_id

LOSS = """
raise RuntimeError("a plan runs none of this")
from torch import nn
class Poly(nn.Module):
    def __init__(self, epsilon: float = 1.0, mode: str | None = None, steps: "tuple[int, ...]" = (1, 2)):
        pass
"""


def read(text: str, folder: Path) -> RunConfig:
    return validate(RunConfig, parse(text, source=str(folder / "spec.yaml")))


def fault(text: str, folder: Path) -> str:
    with pytest.raises(SchemaError) as error:
        read(text, folder)
    return str(error.value)


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = folder / f"{name}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_a_part_is_read_beside_the_yaml_that_names_it_and_never_run(tmp_path):
    """The file of the base and the file of an override are found from their own places; defaults are put in."""
    write(tmp_path, {"my_losses": LOSS})
    loss = read("loss: my_losses.py:Poly", tmp_path).loss
    assert loss.name == "my_losses.py:Poly"
    assert loss.settings == {"epsilon": 1.0, "mode": None, "steps": (1, 2)}
    same = read("loss: {name: my_losses.py:Poly, epsilon: 1}", tmp_path).loss
    assert same.model_dump_json() == loss.model_dump_json()
    assert read("loss: {name: my_losses.py:Poly, epsilon: 2}", tmp_path).loss != loss


def test_an_override_is_relative_to_the_current_folder(tmp_path, monkeypatch):
    """Its mark is the command line, which has no folder of its own."""
    write(tmp_path, {"my_losses": LOSS})
    monkeypatch.chdir(tmp_path)
    document = Document(data={"loss": "my_losses.py:Poly"}, source="command line")
    assert validate(RunConfig, document).loss.name == "my_losses.py:Poly"


def test_the_content_of_the_file_and_of_what_it_imports_decides(tmp_path):
    """A comment in a helper's helper is another run; a file beside it that nothing imports, and the place, are not."""
    nets = "import blocks\nfrom pkg import more\nclass Net:\n    pass\n"
    files = {"nets": nets, "blocks": "import deep", "deep": "", "pkg/__init__": "", "pkg/more": "", "other": "1"}
    for folder in (tmp_path / "a", tmp_path / "b"):
        write(folder, files)

    def identity(folder: str) -> str:
        return run_id(read("model: {backbone: nets.py:Net}", tmp_path / folder), "data")

    first = identity("a")
    source = of_file(tmp_path / "a/nets.py")
    assert set(source.files) == {"nets.py", "blocks.py", "deep.py", "pkg/__init__.py", "pkg/more.py"}
    assert identity("b") == first
    write(tmp_path / "a", {"other": "2"})
    assert identity("a") == first
    write(tmp_path / "a", {"deep": "# a comment"})
    assert identity("a") != first
    write(tmp_path / "a", {"deep": ""})
    assert identity("a") == first


def test_an_installed_module_counts_by_the_version_of_its_distribution(tmp_path):
    """torch's own loss, whose arguments are read from torch's files while torch is not imported."""
    code = (
        "import sys; from ablation_suite.core.config.run_config import RunConfig\n"
        "from ablation_suite.core.config.schema import parse, validate\n"
        "text = 'optimizer: {name: \"torch.optim:Adagrad\", lr: 0.5}'\n"
        "entry = validate(RunConfig, parse(text, source='x')).optimizer\n"
        "print(entry.code); print(entry.settings['lr'], entry.settings['eps']); print('torch' in sys.modules)\n"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()
    from importlib.metadata import version

    assert lines == [f"torch {version('torch')}", "0.5 1e-10", "False"]


def test_a_module_that_nobody_installed_counts_by_its_files(tmp_path, monkeypatch):
    """It is found on the path, and its package's files are its code; the same file by its name is another root's."""
    files = {
        "ownpkg/__init__": "",
        "ownpkg/losses": "from ownpkg.deep import VALUE\ndef poly(a=1): ...",
        "ownpkg/deep": "",
    }
    write(tmp_path / "lib", files)
    monkeypatch.syspath_prepend(tmp_path / "lib")
    first = read("loss: ownpkg.losses:poly", tmp_path).loss
    assert set(known[first.code].files) == {"ownpkg/__init__.py", "ownpkg/losses.py", "ownpkg/deep.py"}
    by_file = read("loss: lib/ownpkg/losses.py:poly", tmp_path).loss
    assert "losses.py" in known[by_file.code].files
    assert read("loss: ownpkg.losses:poly", tmp_path).loss == first
    write(tmp_path / "lib", {"ownpkg/deep": "# edited"})
    assert read("loss: ownpkg.losses:poly", tmp_path).loss.code != first.code


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("loss: nothing.py:Poly", ["spec.yaml:1: loss: ", "nothing.py: no such file"]),
        ("loss: poly", ["unknown name 'poly'", "supervised_contrastive", ", or FILE.py:NAME of your own"]),
        ("loss: my_losses.py:Pol", ["has no 'Pol' (did you mean 'Poly'?)"]),
        ("loss: {name: my_losses.py:Poly, epsilom: 2}", ["loss.epsilom: ", "(did you mean 'epsilon'?)"]),
        ("loss: {name: my_losses.py:Poly, epsilon: x}", ["loss.epsilon: should be a number, not 'x'"]),
        ("loss: {name: my_losses.py:Poly, mode: 3}", ["loss.mode: should be text or null, not 3"]),
        ("loss: {name: my_losses.py:Poly, epsilon: .inf}", ["loss.epsilon: has a value that is no plain"]),
        ("loss: {name: my_losses.py:Poly, code: 1a2b}", ["`code` is set by the suite; remove it"]),
        (f"loss: {{name: my_losses.py:Poly, code: {'a' * 20}}}", ["is not here; only a spec that names a file"]),
        ("loss: nowhere.losses:Poly", ["no module 'nowhere.losses' can be imported"]),
        ("loss: my_losses.py:not-a-name", ["'", "is no name of a part"]),
        ("loss: {name: needs.py:needs}", ["needs the argument 'must'"]),
        (
            "loss: needs.py:other",
            ["needs the argument 'pred'; one that is called in the run itself has to name logits, "],
        ),
        ("model: {head: {name: needs.py:given, num_classes: 3}}", ["model.head.num_classes: is given to given by the"]),
        ("loss: broken.py:x", ["broken.py:2: is no valid Python"]),
        ("loss: missing.py:x", ["missing.py:1: needs the package 'no_such_package', which is not installed"]),
        ("loss: lost.py:x", ["lost.py:1: imports 'pkg.gone', and there is no such file"]),
        ("loss: placed.py:step", ["step takes logits, targets by place alone, and is called by names; remove the / "]),
        ("loss: {name: placed.py:Made, b: 2}", ["Made takes a, b by place alone"]),
        ("model: {head: placed.py:Head}", ["Head takes num_inputs by place alone"]),
        ("optimizer: needs.py:free", ["optimizer.lr: free needs an argument 'lr' that is a number"]),
    ],
)
def test_a_wrong_part_is_one_line_that_says_where(text, words, tmp_path):
    """Each fault has the line of the YAML, the key, and what is there instead."""
    write(
        tmp_path,
        {
            "my_losses": LOSS,
            "needs": "def needs(must, may=1): pass\ndef given(num_inputs, num_classes): pass\ndef free(): pass\n"
            "def other(pred, targets): pass\n",
            "placed": "def step(logits, targets, /, epsilon=1.0): pass\n"
            "class Made:\n    def __init__(self, a, b=1, /): pass\n"
            "class Head:\n    def __init__(self, num_inputs=1, /, *, num_classes=2): pass\n",
            "broken": "x = 1\ndef (",
            "missing": "import no_such_package",
            "lost": "import pkg.gone",
            "pkg/here": "",
        },
    )
    message = fault(text, tmp_path)
    assert "\n" not in message
    for each in words:
        assert each in message


def test_faults_of_a_signature_are_told_together(tmp_path):
    """Two wrong arguments are two lines."""
    write(tmp_path, {"my_losses": LOSS})
    assert len(fault("loss: {name: my_losses.py:Poly, epsilon: x, a: 1}", tmp_path).splitlines()) == 2


def test_an_argument_by_place_alone_keeps_its_default(tmp_path):
    """It has no name to be set by, and the part is called without it."""
    write(tmp_path, {"placed": "class Loss:\n    def __init__(self, a=1, /, b=2): pass\n"})
    assert read("loss: placed.py:Loss", tmp_path).loss.settings == {"b": 2}


def test_an_import_that_may_fail_needs_no_package(tmp_path):
    """What stands in a try, in a function or behind a condition is the part's own business."""
    text = "try:\n    import no_such_package\nexcept ImportError:\n    pass\ndef f(a=1):\n    import no_such_package\n"
    write(tmp_path, {"part": text})
    assert read("loss: part.py:f", tmp_path).loss.settings == {"a": 1}


@pytest.mark.parametrize(
    ("text", "settings"),
    [
        ("class Base:\n    def __init__(self, a=1): ...\nclass Part(Base): ...", {"a": 1}),
        ("from beside import Part", {"b": 2.0}),
        ("from beside import *", {"b": 2.0}),
        ("from beside import Part as Other\nPart = Other", {"b": 2.0}),
        ("from dataclasses import dataclass\n@dataclass\nclass Part:\n    c: float = 3", {"c": 3.0}),
        ("def Part(*, d=(1, [2])): ...", {"d": (1, (2,))}),
        ("def Part(e=len, f=-1, **rest): ...", {"f": -1}),
        ("if True:\n    class Part: ...", {}),
    ],
)
def test_arguments_are_read_through_bases_imports_and_aliases(text, settings, tmp_path):
    """Plain defaults alone are put in; others count by the source."""
    write(tmp_path, {"part": text, "beside": "class Part:\n    def __init__(self, b: float = 2): ..."})
    found = read("loss: part.py:Part", tmp_path).loss.model_dump(mode="json")
    expected = {"name": "part.py:Part", "code": found["code"], **settings}
    assert found == validate(RunConfig, Document(data={"loss": expected})).loss.model_dump(mode="json")
    assert {key: value for key, value in found.items() if key in settings}.keys() == settings.keys()


def test_a_file_beside_a_part_does_not_stand_for_ours(tmp_path):
    """A folder `ablation_suite` or a `random.py` beside a part is neither part of it nor in the way."""
    part = "import ablation_suite.core\nimport random\nclass Part: ..."
    write(tmp_path, {"part": part, "random": "raise SystemExit"})
    write(tmp_path, {"ablation_suite/core": "raise SystemExit"})
    read("loss: part.py:Part", tmp_path)
    assert set(of_file(tmp_path / "part.py").files) == {"part.py"}


def test_kept_code_comes_back_as_it_was_or_not_at_all(tmp_path):
    """A run folder's copy is verified against the version that the config names."""
    write(tmp_path, {"my_losses": LOSS + "import beside", "beside": "x = 1"})
    config = read("loss: my_losses.py:Poly", tmp_path).model_dump(mode="json")
    code = config["loss"]["code"]
    kept.keep(tmp_path / "run", config)
    source = known.pop(code)
    with pytest.raises(SchemaError, match="is not here"):
        validate(RunConfig, Document(data=config))
    kept.admit(tmp_path / "run", config)
    assert known[code].files == source.files
    del known[code]
    (tmp_path / "run/code" / code / "beside.py").write_text("x = 2")
    with pytest.raises(OwnPartError, match="is not what was kept, and is not run"):
        kept.admit(tmp_path / "run", config)
    assert code not in known
    with pytest.raises(OwnPartError, match="has no code of os:system"):
        kept.admit(tmp_path / "run", {"loss": {"name": "os:system"}})


def test_every_own_part_of_a_config_is_found(tmp_path):
    """Whatever family it stands in."""
    write(tmp_path, {"part": "def a(lr=1.0): ...\ndef b(): ..."})
    config = read("{model: {head: part.py:b, backbone: part.py:b}, optimizer: part.py:a, loss: part.py:b}", tmp_path)
    assert [each.name for each in own_parts(config)] == ["part.py:b", "part.py:b", "part.py:b", "part.py:a"]

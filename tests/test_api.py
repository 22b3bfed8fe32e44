"""Do the functions of `import ablation_suite as abl` do what the verbs do?"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import ablation_suite as abl
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.schema import SchemaError

BASE = {"data": "digits", "epochs": 1, "model": {"backbone": {"name": "bottleneck", "planes": [8], "blocks": [1]}}}
SPEC = {
    "ablation": "drop",
    "question": "Does dropout help?",
    "base": BASE,
    "seeds": 2,
    "arms": {"more": {"model.head.dropout": 0.5}},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The answer to a small question, and the results folder that holds its four runs."""
    results = tmp_path_factory.mktemp("results")
    return abl.run(SPEC, results=results, tracker="off", executor="inline"), results


def test_a_dictionary_asks_the_question_of_the_same_yaml(tmp_path):
    """The same cells, and a file that every printed command can name later."""
    (tmp_path / "base.yaml").write_text(json.dumps(BASE))
    (tmp_path / "drop.yaml").write_text(json.dumps({**SPEC, "base": "base.yaml"}))
    asked = abl.plan(SPEC, results=tmp_path / "results")
    assert [cell.run_id for cell in asked.cells] == [cell.run_id for cell in abl.plan(tmp_path / "drop.yaml").cells]
    assert Path(asked.ablation.source).is_file()
    assert abl.plan({**SPEC, "base": "quickstart"}, "epochs=2", results=tmp_path).cells[0].config.epochs == 2


def test_files_of_own_parts_in_a_dictionary_are_seen_from_the_current_folder(tmp_path, monkeypatch):
    """As those of an override are, wherever they stand: the base, what is shared, an arm, a metric."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/parts.py").write_text(
        "def cost(probabilities, labels): ...\ndef plain(logits, targets): ...\ndef rate(step, least=0.0): ...\n"
    )
    spec = {
        **SPEC,
        "base": {**BASE, "schedule": {"name": "own/parts.py:rate", "least": 0.5}},
        "shared": {"optimizer": "torch.optim:Adagrad"},
        "metrics": ["test/accuracy", "test/own/parts.py:cost"],
        "arms": {"mine": {"loss": "own/parts.py:plain"}, "other": {"schedule": "own/parts.py:rate"}},
    }
    asked = abl.plan(spec, results=tmp_path / "results")
    configs = {cell.arm: cell.config for cell in asked.cells}
    assert configs["mine"].loss.name == "parts.py:plain"
    assert (configs["mine"].schedule.settings, configs["other"].schedule.settings) == ({"least": 0.5}, {"least": 0.0})
    assert asked.ablation.metrics[1].name == "test/parts.py:cost"
    with pytest.raises(SchemaError, match=r"nowhere\.py: no such file"):
        abl.plan({**SPEC, "metric": "test/nowhere.py:cost"}, results=tmp_path / "results")


def test_faults_of_a_dictionary_are_those_of_a_yaml(tmp_path):
    """Each has its dotted path and the nearest name."""
    with pytest.raises(SchemaError, match=r"model\.head\.dropuot.*dropout"):
        abl.plan({**SPEC, "arms": {"more": {"model.head.dropuot": 0.5}}}, results=tmp_path)
    with pytest.raises(SchemaError, match="devise"):
        abl.open(tmp_path, devise="cpu")
    with pytest.raises(SchemaError, match=r"ablation: '\.\./\.\./up' is no usable name"):
        abl.plan({**SPEC, "ablation": "../../up"}, results=tmp_path / "results")
    assert not list(tmp_path.glob("up*"))
    with pytest.raises(UserError, match="a spec is a path, the name of a shipped one or a dictionary, not "):
        abl.plan([SPEC], results=tmp_path)


def test_a_run_answers_and_shows_its_table(trained):
    """Sentence, frame and notebook say the same."""
    answer, _ = trained
    assert "“more”" in str(answer)
    frame = answer.table()
    assert list(frame["arm"]) == ["baseline", "more"]
    assert f"<b>{SPEC['question']}</b>" in answer._repr_html_()
    with pytest.raises(UserError, match=r"no table 'anwser' .did you mean 'answer'"):
        answer.table("anwser")


def test_the_store_gives_runs_epochs_and_images(trained):
    """Accuracies counted from the frame of images are those of the records."""
    _, results = trained
    store = abl.open(results)
    runs = store.runs()
    assert set(runs["arm"]) == {"baseline", "more"}
    assert set(runs["model.head.dropout"]) == {0.0, 0.5}
    assert len(store.epochs()) == 4
    counted = store.images("test").groupby("run_id")["correct"].mean()
    np.testing.assert_allclose(counted, runs["test/accuracy"][counted.index])
    one = next(iter(store))
    assert store[one.run_id[:8]] == one
    assert one.outcomes("val")["probabilities"].shape[1] == 10
    with pytest.raises(UserError, match=r"no labelled images of the split 'tset'"):
        one.outcomes("tset")


@pytest.mark.slow
def test_a_question_in_blocks_has_an_answer_over_them_and_one_in_each(tmp_path):
    """As mapping, sentence, frame and notebook; a plan is asked for one block at a time."""
    spec = {**SPEC, "blocks": {"one": {"data.size": 8}, "two": {"data.size": 9}}, "metrics": ["test/macro_f1"]}
    settings = {"results": tmp_path, "tracker": "off", "executor": "inline"}
    answer = abl.run(spec, **settings)
    assert list(answer) == ["one", "two"]
    assert str(answer).startswith("Over the 2 blocks “more”")
    assert list(answer.table()["arm"]) == ["baseline", "more"]
    assert "“more”" in str(answer["two"])
    assert "<th>one: Macro F1 %</th>" in answer._repr_html_()
    assert abl.report(spec, results=tmp_path).path == tmp_path / "report/drop/blocks.html"
    assert len(abl.plan(spec, "block=two", results=tmp_path).cells) == 4
    with pytest.raises(UserError, match="plan one of them with block=one, block=two"):
        abl.plan(spec, results=tmp_path)
    with pytest.raises(UserError, match=r"no block 'twoo' .did you mean 'two'"):
        answer["twoo"]


def test_what_is_not_there_is_said(trained, tmp_path):
    """A results folder or a split that does not exist is no empty frame."""
    with pytest.raises(UserError, match="no such results folder"):
        abl.open(tmp_path / "nowhere")
    with pytest.raises(UserError, match=r"no split 'tset' .did you mean 'test'"):
        abl.open(trained[1]).images("tset")


def test_runs_are_compared_with_the_first(trained):
    """The difference is that of the two records."""
    _, results = trained
    runs = abl.open(results).runs()
    _, other = abl.compare(*runs.index[:2], results=results)
    assert other.difference == pytest.approx(runs["test/accuracy"].iloc[1] - runs["test/accuracy"].iloc[0])


def test_a_report_is_written_from_what_is_there(trained, tmp_path):
    """The page lies where it was asked for, and nothing is trained."""
    answer, results = trained
    written = abl.report(SPEC, results=results, out=tmp_path)
    assert written.path == tmp_path / "drop" / "report.html"
    assert str(written) == str(answer)
    assert "missing, never begun" in abl.report(SPEC, "seeds=3", results=results, out=tmp_path).path.read_text()


def test_the_package_itself_imports_next_to_nothing():
    """Each function is loaded when first used."""
    code = "import ablation_suite, sys; print([m for m in ('torch', 'numpy', 'pydantic', 'click') if m in sys.modules])"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert asked.stdout == "[]\n"


@pytest.mark.slow
def test_the_notebook_answers_its_question_from_start_to_end(tmp_path, monkeypatch):
    """Every cell runs, and the last ones show the table and a page that exists."""
    nbformat, nbclient = pytest.importorskip("nbformat"), pytest.importorskip("nbclient")
    pytest.importorskip("ipykernel")
    monkeypatch.setenv("ABLATE_RESULTS", str(tmp_path / "results"))
    path = Path(__file__).parents[1] / "ablation_suite" / "question.ipynb"
    notebook = nbformat.read(path, as_version=4)
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = json.dumps([cell.get("outputs", []) for cell in notebook.cells])
    assert "text/html" in shown
    assert list((tmp_path / "results" / "report").glob("*/report.html"))

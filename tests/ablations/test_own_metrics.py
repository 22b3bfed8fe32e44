"""Is a metric of the user's own computed, tried, reported and checked as those of the suite are?"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from sklearn import metrics as sklearn

from ablation_suite.ablations.effect import require_steps
from ablation_suite.ablations.plan import jobs, make_plans
from ablation_suite.ablations.reading import read_spec
from ablation_suite.cli import ablate
from ablation_suite.core.config.errors import OwnPartError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.config.schema import SchemaError
from ablation_suite.core.metrics import OwnMetric, metric_fault
from ablation_suite.core.metrics.measures import metric_of
from ablation_suite.core.metrics.own import try_metric
from ablation_suite.core.own.source import known
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import aside
from ablation_suite.core.scheduling.attempt import DONE, Datasets, work

CLASSES = list("abcd")
CODE = """import numpy as np
from sklearn.metrics import f1_score


class Cost:
    def __init__(self, classes, price: float = 3.0):
        self.prices = np.where(np.arange(len(classes)) < 2, price, 1.0)

    def __call__(self, probabilities, labels):
        return self.prices[labels] * (probabilities.argmax(axis=1) != labels)


def f1(probabilities, labels, average="macro"):
    return f1_score(labels, probabilities.argmax(axis=1), average=average)
"""
BASE = "{data: digits, model: {backbone: {name: bottleneck, planes: [8], blocks: [1]}}, epochs: 1, batch_size: 256}"
SPEC = """ablation: costs
question: Does dropout lower the cost?
base: base.yaml
seeds: 2
metrics:
  - {name: "test/costs.py:Cost", price: 5.0, unit: euro, text: price of a mistake, higher_is_better: false}
  - test/costs.py:f1
arms: {dropout: {model.head.dropout: 0.5}}
"""


@pytest.fixture
def folder(tmp_path, monkeypatch) -> Path:
    """A folder with a spec that is decided by an own metric."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ABLATE_CACHE", str(tmp_path / "cache"))
    (tmp_path / "costs.py").write_text(CODE)
    (tmp_path / "base.yaml").write_text(BASE)
    (tmp_path / "spec.yaml").write_text(SPEC)
    return tmp_path


def sample(num_images: int = 60) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    return rng.dirichlet(np.ones(4), num_images), rng.integers(0, 4, num_images)


def entry(name: str, **settings) -> OwnMetric:
    return OwnMetric.model_validate({"name": name, **settings})


def contributions(metric: OwnMetric, probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return metric_of(metric.key, CLASSES, {metric.measure: metric}).contributions(probabilities, labels)


def typed(*words: object):
    return CliRunner().invoke(ablate, list(map(str, words)), standalone_mode=False)


def test_an_array_is_what_each_image_contributes(folder):
    """With the arguments of the spec, and the classes, which the run gives by name."""
    probabilities, labels = sample()
    found = contributions(entry("test/costs.py:Cost", price=5.0, unit="euro"), probabilities, labels)
    wrong = probabilities.argmax(1) != labels
    np.testing.assert_array_equal(
        found, [(5.0 if label < 2 else 1.0) * bad for label, bad in zip(labels, wrong, strict=True)]
    )


def test_one_number_is_spread_over_the_images_by_leaving_each_out(folder):
    """Mean and variance are the jackknife's, by its definition; they are near those of the influence function."""
    probabilities, labels = sample()
    predicted = probabilities.argmax(1)
    found = contributions(entry("test/costs.py:f1"), probabilities, labels)
    assert found.mean() == pytest.approx(sklearn.f1_score(labels, predicted, average="macro"), rel=1e-12)
    without = np.array(
        [sklearn.f1_score(np.delete(labels, i), np.delete(predicted, i), average="macro") for i in range(60)]
    )
    variance = 59 / 60 * ((without - without.mean()) ** 2).sum()
    assert found.var(ddof=1) / 60 == pytest.approx(variance, rel=1e-9)
    influence = metric_of("test/macro_f1", CLASSES).contributions(probabilities, labels)
    assert np.corrcoef(found, influence)[0, 1] > 0.99
    assert found.var() == pytest.approx(influence.var(), rel=0.15)


WRONG = {
    "gives one number (2,)": (
        "return np.zeros(2)",
        "costs.py:bad: gives an array (2,); a metric gives one number, or (60,)",
    ),
    "is nan": ("return np.nan", "costs.py:bad: is no finite number on 60 images"),
    "is no share": ("return 7.0", "costs.py:bad: is 7, and a metric in % is a share from 0 to 1; give it a `unit:`"),
    "raises": ("raise KeyError('x')", "costs.py:5: test/costs.py:bad, asked for its value: KeyError: 'x'"),
    "writes into the labels": ("labels[0] = 1", "costs.py:5: test/costs.py:bad, asked for its value: ValueError"),
    "gives nothing": ("return None", "costs.py:bad: gives a NoneType; a metric gives one number, or (60,)"),
    "gives words": ("return 'high'", "test/costs.py:bad: gives a str; a metric gives one number, or (60,)"),
    "draws": ("return np.random.random()", "costs.py:bad: changes the global random state of NumPy's"),
}


@pytest.mark.parametrize("what", WRONG)
def test_what_is_no_metric_is_one_line_when_it_is_tried(what, folder):
    """On the labels of the split and predictions at random; the line is the user's own where there is one."""
    code, told = WRONG[what]
    (folder / "costs.py").write_text(f"import numpy as np\n\n\ndef bad(probabilities, labels):\n    {code}\n")
    with pytest.raises(OwnPartError) as error:
        try_metric(entry("test/costs.py:bad"), CLASSES, sample()[1])
    assert told in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("costs.py:Cost", "metric: 'costs.py:Cost' is no metric; write it SPLIT/METRIC, such as test/costs.py:Cost"),
        ("test/cost.py:Cost", "spec.yaml:5: metric: {folder}/cost.py: no such file"),
        ("{name: test/costs.py:Cost, prize: 2}", "spec.yaml:5: metric.prize: Cost has no argument 'prize'"),
        ("{name: test/accuracy, price: 2}", "spec.yaml:5: metric: test/accuracy takes no settings"),
        ("{name: test/costs.py:Cost, unit: a b}", "spec.yaml:5: metric.unit: "),
        ("{name: train/costs.py:Cost}", "spec.yaml:5: metric: 'train/costs.py:Cost' is no metric"),
    ],
)
def test_a_spec_that_names_no_metric_is_one_line(metric, told, folder):
    """With the line of the YAML, as every other fault."""
    head, _, tail = SPEC.partition("metrics:")
    (folder / "spec.yaml").write_text(f"{head}metric: {metric}\narms: {tail.partition('arms: ')[2]}")
    try:
        faults = read_spec(folder / "spec.yaml").faults
    except SchemaError as error:
        faults = error.faults
    assert len(faults) == 1
    assert told.format(folder=folder) in str(faults[0]).replace(f"{folder}/spec.yaml", "spec.yaml")


def test_a_class_may_be_called_as_a_file_is():
    """`recall/` is followed by a class, whatever its name."""
    assert metric_fault("test/recall/costs.py:Cost") == ""


@pytest.mark.slow
def test_a_metric_that_ends_the_process_stops_a_run_before_it_trains(folder):
    """And costs one line, in `check` too."""
    (folder / "costs.py").write_text(CODE.replace("return f1_score", "import os\n    os._exit(3)\n    return f1_score"))
    runtime = Runtime(cache=str(folder / "cache"), results="results")
    told = "test/costs.py:f1, asked for its value: the whole process ends with exit status 3"
    with pytest.raises(SchemaError, match=told):
        require_steps(make_plans(["spec.yaml"], runtime), runtime)
    result = typed("check", "spec.yaml")
    assert (result.return_value, result.stderr.count("\n")) == (2, 1)
    assert told in result.stderr


def test_own_parts_and_own_metrics_are_tried_by_one_process_and_a_fault_of_all_is_one_line(folder, monkeypatch):
    """Blocks of one metric too; the part of every arm is blamed once, and a part of one arm where it stands."""
    started = []

    class Counted(aside.Aside):
        def __init__(self, module, *rest, **variables):
            started.append(module)
            super().__init__(module, *rest, **variables)

    monkeypatch.setattr(aside, "Aside", Counted)
    runtime = Runtime(results=str(folder / "results"), cache=str(folder / "cache"))
    (folder / "parts.py").write_text(
        "from torch.nn import functional\n\ndef plain(logits, targets):\n    return 1 / 0\n"
    )
    blocks = "blocks: {one: {batch_size: 64}, two: {batch_size: 32}}\n"
    (folder / "spec.yaml").write_text(SPEC + blocks + "shared: {loss: parts.py:plain}\n")
    with pytest.raises(SchemaError) as caught:
        require_steps(make_plans(["spec.yaml"], runtime), runtime)
    assert str(caught.value) == "spec.yaml: parts.py:4: ZeroDivisionError: division by zero"
    assert len(started) == 1
    (folder / "spec.yaml").write_text(SPEC.replace("model.head.dropout: 0.5", "loss: parts.py:plain") + blocks)
    with pytest.raises(SchemaError) as caught:
        require_steps(make_plans(["spec.yaml"], runtime), runtime)
    assert str(caught.value).splitlines() == [
        f"spec.yaml: block {block}, arms.dropout: parts.py:4: ZeroDivisionError: division by zero"
        for block in ("one", "two")
    ]
    assert len(started) == 2


@pytest.mark.slow
def test_a_report_is_decided_by_an_own_metric_and_checked_by_the_code_that_made_it(folder):
    """The code is kept beside the page; it is run where the page lies in the user's own results alone."""
    runtime = Runtime(device="cpu", compile="off", tracker="off", results="results", cache=str(folder / "cache"))
    plan = make_plans(["spec.yaml"], runtime)[0]
    for run_id, job in jobs([plan]).items():
        run = RunFolder(runtime.store / run_id)
        run.create(job)
        assert work(run, runtime, Datasets()) == DONE, run.failure()
    assert typed("report", "spec.yaml").return_value == 0
    page = folder / "results" / "report" / "costs"
    written = json.loads((page / "report.json").read_text())
    of_baseline = plan.of_arm("baseline")
    costs = []
    for cell in of_baseline:
        outputs = np.load(runtime.store / cell.run_id / "outputs.npz")
        wrong = outputs["test_probabilities"].argmax(1) != outputs["test_labels"]
        costs.append(np.mean(wrong * np.where(outputs["test_labels"] < 2, 5.0, 1.0)))
    row = written["tables"]["answer"][0]
    assert row["score_euro"] == pytest.approx(np.mean(costs), rel=1e-4)
    assert (written["unit"], written["higher_is_better"]) == ("euro", False)
    assert written["metric"] == "price of a mistake"
    (folder / "costs.py").unlink()  # the kept version is the one that counts
    known.clear()
    assert typed("report", "--check", "results/report").return_value == 0
    known.clear()
    result = typed("report", "--check", "results/report", "--results", "elsewhere")
    assert result.return_value == 1
    assert "whose code would be run, and does not lie in elsewhere" in result.stdout
    (kept,) = page.glob("code/*/costs.py")
    kept.write_text(kept.read_text().replace("3.0", "4.0"))
    known.clear()
    result = typed("report", "--check", "results/report")
    assert result.return_value == 1
    assert "not what was kept" in result.stdout

"""From run folders to a folder of reports: complete, the same every time, and checkable years later."""

from __future__ import annotations

import json
import re
import shutil

import numpy as np
import pytest

from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.reports import beside
from ablation_suite.reports.build import build_report
from ablation_suite.reports.check import ReportError, check_reports
from ablation_suite.reports.compare import compare_runs, comparison_json, comparison_text
from ablation_suite.reports.design import design_of
from ablation_suite.reports.reader import Reader
from tests.reports.make_runs import TRUTHS, make_store

TWO_ARMS = {name: TRUTHS[name] for name in ("baseline", "wide")}
SMALL = {"seeds": 2, "epochs": 4, "num_images": 60}


@pytest.fixture
def written(tmp_path):
    """A store with one small ablation, and its report beside it."""
    plan = make_store(tmp_path / "runs", TWO_ARMS, **SMALL)
    build_report([plan], tmp_path / "runs", tmp_path / "report")
    return plan, tmp_path


def faults(root):
    return [fault for found in check_reports(root / "report").values() for fault in found]


def change_record(root, run_id, change):
    path = root / "runs" / run_id / "record.json"
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


def files(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_report_has_all_its_parts(written):
    """Page, text, data, a CSV and a LaTeX file per table, three figures in three formats."""
    _, root = written
    found = set(files(root / "report" / "contrastive"))
    assert {"report.html", "report.md", "report.json"} <= found
    tables = {name.removeprefix("tables/").removesuffix(".csv") for name in found if name.endswith(".csv")}
    assert {"answer", "runs", "cost", "metrics", "classes"} <= tables
    assert {f"tables/{name}.tex" for name in tables} <= found
    assert {f"figures/{n}.{f}" for n in ("curves", "differences", "cost") for f in ("svg", "png", "pdf")} <= found


def test_the_same_runs_give_the_same_bytes(written):
    """A second writing changes no byte of any file."""
    plan, root = written
    first = files(root / "report")
    shutil.rmtree(root / "report")
    build_report([plan], root / "runs", root / "report")
    assert files(root / "report") == first


def test_several_ablations_get_an_index_and_share_their_runs(tmp_path):
    """The index comes first, and links to each report."""
    plans = [make_store(tmp_path / "runs", TWO_ARMS, ablation=name, **SMALL) for name in ("one", "two")]
    pages = build_report(plans, tmp_path / "runs", tmp_path / "report")
    assert [str(page.relative_to(tmp_path / "report")) for page in pages] == [
        "index.html", "one/report.html", "two/report.html",
    ]  # fmt: skip
    assert "one/report.md" in (tmp_path / "report/index.md").read_text()
    places = [tmp_path / "report/one", tmp_path / "report/two", tmp_path / "report"]
    assert check_reports(tmp_path / "report") == {place: [] for place in places}


@pytest.mark.parametrize("name", ["index.html", "index.md", "index.csv", "index.tex"])
def test_an_index_that_somebody_edited_is_named(tmp_path, name):
    """So is one that lacks a report, since nothing can then be computed again."""
    plans = [make_store(tmp_path / "runs", TWO_ARMS, ablation=each, **SMALL) for each in ("one", "two")]
    build_report(plans, tmp_path / "runs", tmp_path / "report")
    path = tmp_path / "report" / name
    path.write_text(path.read_text().replace("wide", "wider", 1))
    assert check_reports(tmp_path / "report")[tmp_path / "report"] == [f"{name}: does not hold what the runs say"]
    shutil.rmtree(tmp_path / "report/two")
    told = check_reports(tmp_path / "report")[tmp_path / "report"]
    assert told == ["index.html: cannot be checked without the report of two"]


def test_an_untouched_report_passes_its_check(written):
    """Every number is what the runs say."""
    assert faults(written[1]) == []


def test_a_report_that_moved_with_its_runs_passes_too(written, tmp_path):
    """The way from the report to the runs is relative."""
    _, root = written
    shutil.move(root / "report", tmp_path / "elsewhere-report")
    shutil.move(root / "runs", tmp_path / "moved-runs")
    (tmp_path / "new").mkdir()
    shutil.move(tmp_path / "elsewhere-report", tmp_path / "new/report")
    shutil.move(tmp_path / "moved-runs", tmp_path / "new/runs")
    assert faults(tmp_path / "new") == []


@pytest.mark.parametrize("place", ["tables.answer.1.score_percent", "series.val/loss.0.mean", "answer"])
def test_a_number_that_drifted_is_named(written, place):
    """Whatever was changed in the report, the check says where, and what the runs say."""
    _, root = written
    path = root / "report/contrastive/report.json"
    report = json.loads(path.read_text())
    *steps, last = place.split(".")
    inside = report
    for step in steps:
        inside = inside[int(step) if step.isdigit() else step]
    inside[last] = [99.0] if isinstance(inside[last], list) else 99.0 if isinstance(inside[last], float) else "Yes."
    path.write_text(json.dumps(report))
    assert any(fault.startswith(place) for fault in faults(root))


def test_a_table_that_somebody_edited_is_named(written):
    """The CSV is compared byte for byte."""
    _, root = written
    path = root / "report/contrastive/tables/answer.csv"
    path.write_text(path.read_text().replace("undecided", "higher"))
    assert faults(root) == ["tables/answer.csv: does not hold what the runs say"]


def test_a_page_that_somebody_edited_is_named(written):
    """Every number on the page is held, thumbnails aside."""
    _, root = written
    path = root / "report/contrastive/report.html"
    text = path.read_text()
    path.write_text(text.replace("undecided", "higher"))
    assert faults(root) == ["report.html: does not hold what the runs say"]
    at = text.index("<b>", text.index('class="sheet"'))
    path.write_text(f'{text[:at]}<img src="data:image/png;base64,AAAA" alt="cat">{text[at:]}')
    assert faults(root) == []


def test_a_report_that_the_last_epoch_answers_is_what_its_runs_say(tmp_path):
    """Their records tell the accuracy of the kept epoch, which is another."""
    plan = make_store(tmp_path / "runs", TWO_ARMS, **SMALL, with_test=False, with_last=True)
    for cell in plan.cells:
        change_record(tmp_path, cell.run_id, lambda record: record["metrics"].update(best_epoch=1))
    build_report([plan], tmp_path / "runs", tmp_path / "report")
    assert Reader(tmp_path / "runs").results(design_of(plan)).epoch == "last"
    assert faults(tmp_path) == []
    change_record(tmp_path, plan.cells[0].run_id, lambda record: record["metrics"].update({"val/accuracy": 0.123}))
    assert any("its record says accuracy 0.123" in fault for fault in faults(tmp_path))


def test_a_run_that_is_gone_is_named(written):
    """A missing seed fails the check, with its arm and id."""
    plan, root = written
    shutil.rmtree(root / "runs" / plan.cells[1].run_id)
    assert f"run baseline, seed 1 ({plan.cells[1].run_id}): missing, never begun" in faults(root)


@pytest.mark.parametrize(
    ("what", "change"),
    [
        ("recipe", lambda record: record.update(recipe=2)),
        ("torch", lambda record: record["provenance"]["packages"].update(torch="3.0.0")),
        ("device", lambda record: record["provenance"].update(device={"name": "cuda", "model": "H100"})),
        ("CPU threads", lambda record: record["provenance"].update(threads=4)),
        ("memory format", lambda record: record["provenance"].update(memory_format="contiguous_format")),
        ("preference for deterministic kernels", lambda record: record["provenance"].update(deterministic="off")),
        ("source of the suite", lambda record: record["provenance"]["suite"].update(source="ba9876543210")),
        ("data", lambda record: record.update(data_fingerprint="other")),
    ],
)
def test_runs_that_were_not_made_alike_fail_the_check(tmp_path, what, change):
    """Recipe, library versions, device or data that differ are told by the check, and by the report itself."""
    plan = make_store(tmp_path / "runs", TWO_ARMS, **SMALL)
    change_record(tmp_path, plan.cells[-1].run_id, change)
    build_report([plan], tmp_path / "runs", tmp_path / "report")
    (fault,) = faults(tmp_path)
    assert fault.startswith(f"{what} differs between the runs: ")
    assert f"{what} differs between the runs" in (tmp_path / "report/contrastive/report.html").read_text()


def test_a_record_that_its_outputs_contradict_is_named(written):
    """An accuracy in the record that is not that of the stored probabilities is found."""
    plan, root = written
    run_id = plan.cells[0].run_id
    change_record(root, run_id, lambda record: record["metrics"].update({"test/accuracy": 0.999}))
    assert any(fault.startswith(f"run {run_id}: its record says accuracy 0.999") for fault in faults(root))


def test_a_folder_without_reports_is_an_error(tmp_path):
    """One line for the user, no traceback."""
    with pytest.raises(ReportError, match=r"holds no report\.json"):
        check_reports(tmp_path)
    (tmp_path / "report.json").write_text("[]")


@pytest.mark.fault(
    "a torn report.json", injected="one of three cut, one no report at all", promised="each is named, the third checked"
)
@pytest.mark.slow
def test_a_damaged_report_costs_itself_alone(tmp_path):
    """Of three reports two are torn or no report at all: each has its fault, and the third is checked."""
    plans = [make_store(tmp_path / "runs", TWO_ARMS, ablation=name, **SMALL) for name in ("a", "b", "c")]
    build_report(plans, tmp_path / "runs", tmp_path / "report")
    whole = (tmp_path / "report/a/report.json").read_text()
    (tmp_path / "report/a/report.json").write_text(whole[:200])
    (tmp_path / "report/b/report.json").write_text(json.dumps({**json.loads(whole), "design": {"factors": []}}))
    found = {path.name: faults for path, faults in check_reports(tmp_path / "report").items()}
    assert "cannot be read" in found["a"][0]
    assert "is no report of this suite" in found["b"][0]
    assert found["c"] == []


DAMAGE = {
    "torn": lambda path: path.write_bytes(path.read_bytes()[:700]),
    "empty": lambda path: path.write_bytes(b""),
    "no object": lambda path: path.write_text("[1, 2]"),
    "other types": lambda path: path.write_text(json.dumps({**json.loads(path.read_text()), "metrics": [], "cost": 3})),
    "text for a number": lambda path: path.write_text(path.read_text().replace('accuracy": 0', 'accuracy": "0"')[:-1]),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
    "binary": lambda path: path.write_bytes(bytes(range(256))),
}


@pytest.mark.fault(
    "a damaged record under reports and comparisons",
    injected="torn, other types, a folder in its place",
    promised="the others are reported, the damaged run is named",
)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_record_costs_its_run_and_is_told(written, damage):
    """The report is written of the others, says which run is damaged, and its check and the comparison go on."""
    plan, root = written
    broken = plan.cells[1].run_id
    DAMAGE[damage](root / "runs" / broken / "record.json")
    assert any(broken in fault and "damaged" in fault for fault in faults(root))
    build_report([plan], root / "runs", root / "report")
    page = (root / "report/contrastive/report.html").read_text()
    assert "1 of 4 planned runs is not counted" in page
    assert re.search(rf"baseline, seed 1 \({broken}\): damaged, [^<]*record\.json", page)
    assert str(root) not in page
    split, runs = compare_runs(folders_of(plan, root, 0, 1, 2))
    assert [run.difference is None for run in runs] == [True, True, False]
    assert re.match(r"damaged, .*record\.json", runs[1].refusal)
    assert f"not compared with {plan.cells[0].run_id}: damaged" in "\n".join(comparison_text(split, runs))
    assert comparison_json(split, runs)["runs"][1]["accuracy_percent"] is None
    with pytest.raises(ReportError, match=f"run {broken}: damaged, .*record.json.*; put another run first"):
        compare_runs(folders_of(plan, root, 1, 0))


@pytest.mark.parametrize("seeds", [1, 2])
def test_arms_that_are_alike_to_the_bit_have_a_report(tmp_path, seeds):
    """A difference of nothing at all is drawn and told as any other."""
    plan = make_store(tmp_path / "runs", TWO_ARMS, **{**SMALL, "seeds": seeds})
    for one, other in zip(plan.of_arm("baseline"), plan.of_arm("wide"), strict=True):
        source = tmp_path / "runs" / one.run_id
        shutil.copy(source / "outputs.npz", tmp_path / "runs" / other.run_id)
        same = {key: json.loads((source / "record.json").read_text())[key] for key in ("metrics", "history")}
        change_record(tmp_path, other.run_id, lambda record, same=same: record.update(same))
    build_report([plan], tmp_path / "runs", tmp_path / "report")
    assert faults(tmp_path) == []


@pytest.mark.fault(
    "a loss that is infinite or no number",
    injected="inf and NaN among the metrics and the epochs of a run",
    promised="the report is written, checked and drawn with all other numbers",
)
@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan])
def test_a_loss_beyond_all_numbers_stops_no_report(written, value):
    """A test image that was given the probability 0 is enough for one."""
    plan, root = written

    def change(record):
        record["metrics"] |= {name: value for name in record["metrics"] if name.endswith("loss")}
        record["history"][1]["val/loss"] = record["history"][2]["train/loss"] = value

    change_record(root, plan.cells[1].run_id, change)
    build_report([plan], root / "runs", root / "report")
    assert faults(root) == []
    split, runs = compare_runs(folders_of(plan, root, 0, 1, 2))
    assert runs[1].difference is not None
    assert "\n".join(comparison_text(split, runs))


@pytest.mark.parametrize(("value", "name"), [(1.0, "Validation error"), (0.0, "Validation accuracy")])
def test_curves_that_are_all_perfect_or_all_wrong_are_drawn(written, value, name):
    """Every seed of every arm, from the first epoch on: errors have no logarithm then, and a scale has no extent."""
    plan, root = written

    def change(record):
        for row in record["history"]:
            row["val/accuracy"] = row["train/accuracy"] = value

    for cell in plan.cells:
        change_record(root, cell.run_id, change)
    (page,) = build_report([plan], root / "runs", root / "report")
    assert name in page.read_text(encoding="utf-8")
    assert faults(root) == []


@pytest.mark.fault("escape sequences in a record", injected="ESC and U+202E in a setting", promised="spelled out")
def test_no_record_gives_orders_to_the_terminal(written):
    """A setting that holds an escape sequence or turns the text round is spelled out."""
    plan, root = written
    change_record(root, plan.cells[2].run_id, lambda record: record["config"].update({"a\x1b[2J": "b\u202ec\r"}))
    text = "\n".join(comparison_text(*compare_runs(folders_of(plan, root, 0, 2))))
    assert r"a\x1b[2J: None -> b\u202ec\r" in text
    assert all(each.isprintable() for each in text.splitlines())


@pytest.mark.fault(
    "damaged outputs.npz", injected="two bytes in their place", promised="no other run is kept from being compared"
)
def test_damaged_outputs_keep_no_other_run_from_being_compared(written):
    """As a damaged record."""
    plan, root = written
    (root / "runs" / plan.cells[1].run_id / "outputs.npz").write_bytes(b"PK")
    _, runs = compare_runs(folders_of(plan, root, 0, 1, 2))
    assert runs[1].refusal.startswith("damaged, outputs.npz: ")
    assert runs[2].difference is not None


def folders_of(plan, root, *cells):
    return [RunFolder(root / "runs" / plan.cells[index].run_id) for index in cells]


def test_runs_of_no_common_spec_are_compared_image_by_image(written):
    """The difference is that of the stored probabilities; one run a side gives neither interval nor p."""
    plan, root = written
    split, runs = compare_runs(folders_of(plan, root, 0, 2))
    right = []
    for cell in (plan.cells[0], plan.cells[2]):
        with np.load(root / "runs" / cell.run_id / "outputs.npz") as arrays:
            right.append((arrays["test_probabilities"].argmax(1) == arrays["test_labels"]).mean())
    said = comparison_json(split, runs)["runs"][1]
    assert said["difference_pp"] == pytest.approx(100 * (right[1] - right[0]), abs=1e-4)
    assert set(said) == {"run_id", "settings", "accuracy_percent", "difference_pp", "refusal"}
    text = "\n".join(comparison_text(split, runs))
    assert "model.backbone: None -> wide" in text
    assert "these two runs differ by " in text
    assert "one seed a side says nothing about the change" in text
    assert "[" not in text


def test_runs_on_other_images_are_not_compared_and_why_is_said(tmp_path):
    """The accuracies are shown, the difference is refused with the reason."""
    plan = make_store(tmp_path / "runs", TWO_ARMS, **SMALL)
    other = make_store(tmp_path / "runs", TWO_ARMS, ablation="other", **{**SMALL, "num_images": 50})
    folders = [*folders_of(plan, tmp_path, 0), *folders_of(other, tmp_path, 0)]
    _, runs = compare_runs(folders)
    assert runs[1].difference is None
    assert runs[1].refusal == "50 images against 60"


def test_an_unfinished_run_cannot_be_compared(written):
    """Refused with the state that it is in."""
    plan, root = written
    (root / "runs" / plan.cells[0].run_id / "record.json").unlink()
    with pytest.raises(ReportError, match="only finished runs can be compared"):
        compare_runs(folders_of(plan, root, 0, 2))


@pytest.mark.slow
def test_figures_that_are_drawn_beside_are_those_that_are_drawn_here(tmp_path, monkeypatch):
    """Byte by byte, over blocks too; the pages do not wait for them."""
    truths = {name: TRUTHS[name] for name in ("baseline", "wide")}
    made = [
        make_store(tmp_path / "runs", truths, ablation=f"q-{b}", block=b, family="q", seeds=2, epochs=2, num_images=40)
        for b in ("one", "two")
    ]
    build_report(made, tmp_path / "runs", tmp_path / "here")
    monkeypatch.setattr(beside, "_WORTH_IT", 1)
    monkeypatch.setattr(beside, "cores", lambda: 3)
    build_report(made, tmp_path / "runs", tmp_path / "beside")
    here, there = (sorted(folder.rglob("figures/*.*")) for folder in (tmp_path / "here", tmp_path / "beside"))
    assert [path.name for path in here] == [path.name for path in there]
    assert len(here) > 12
    assert [path.read_bytes() for path in here] == [path.read_bytes() for path in there]


def test_figures_that_fail_beside_are_no_report_without_figures(tmp_path, monkeypatch):
    """The reason is told."""
    monkeypatch.setattr(beside, "_WORTH_IT", 1)
    monkeypatch.setattr(beside, "cores", lambda: 3)
    with pytest.raises(RuntimeError, match="the figures were not drawn"), beside.Figures(5, 2) as figures:
        figures.add(tmp_path, "no analysis")

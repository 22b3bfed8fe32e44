"""Does W&B get the words of the report? A written report, cut where W&B's curves go."""

from __future__ import annotations

import csv

import pytest

from ablation_suite.commands.report import publish_report
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.tracking import wandb_artifacts
from ablation_suite.reports.build import build_report
from ablation_suite.reports.wandb_page import read_page
from tests.reports.make_runs import TRUTHS, make_store

ARMS = {name: TRUTHS[name] for name in ("baseline", "wide")}


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """A plan of four runs, and the folder of its report."""
    tmp_path = tmp_path_factory.mktemp("written")
    plan = make_store(tmp_path / "runs", ARMS, seeds=2, epochs=3, num_images=40)
    build_report([plan], tmp_path / "runs", tmp_path / "report")
    return plan, tmp_path / "report" / "contrastive"


def test_the_page_holds_every_word_of_the_report_but_the_figures(written):
    """Title, then the answer with its table above the curves, all other tables below, nothing lost between them."""
    _, folder = written
    page = read_page(folder)
    lines = (folder / "report.md").read_text().splitlines()
    expected = [line for line in lines[1:] if line and not line.startswith("![")]
    assert f"# {page.title}" == lines[0]
    assert [line for line in (page.above + page.below).splitlines() if line] == expected
    assert "| baseline |" in page.above
    assert page.above.count("## ") == 1


def test_the_page_names_the_runs_of_each_arm(written):
    """The baseline first, its runs those of the plan."""
    plan, folder = written
    assert {arm: list(runs) for arm, runs in read_page(folder).arms.items()} == {
        arm: [cell.run_id for cell in plan.of_arm(arm)] for arm in ("baseline", "wide")
    }


def test_the_page_has_the_differences_and_the_pictures(written):
    """The numbers of the answer's table, and the PNG of each figure."""
    _, folder = written
    page = read_page(folder)
    with open(folder / "tables" / "answer.csv") as file:
        [wide] = [row for row in csv.DictReader(file) if row["arm"] == "wide"]
    assert page.differences == {"wide": tuple(float(wide[name]) for name in ("difference_pp", "low_pp", "high_pp"))}
    assert [row["arm"] for row in page.rows] == ["baseline", "wide"]
    assert {path.name for path in page.figures} == {path.name for path in (folder / "figures").glob("*.png")} != set()
    assert page.metric == "test/accuracy"


def test_publishing_says_where_and_what_is_missing(written, tmp_path, monkeypatch, capsys):
    """The addresses on stdout; on stderr the package for a W&B Report and the runs that W&B does not hold."""
    plan, folder = written
    monkeypatch.setattr(wandb_artifacts, "log_report", lambda *given: (["https://wandb.example/run"], ""))
    monkeypatch.setattr("ablation_suite.commands.report.can_save_reports", lambda: False)
    publish_report(plan, folder, Runtime(results=str(tmp_path)))
    printed = capsys.readouterr()
    assert printed.out == "published: https://wandb.example/run\n"
    assert "pip install wandb-workspaces" in printed.err
    assert "4 of 4 runs are not at W&B yet" in printed.err

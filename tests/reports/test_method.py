"""Is every claim of the paragraph for a method section true of the runs that it is about?"""

from __future__ import annotations

import json
import re
import shutil
import subprocess

import pytest

from ablation_suite.ablations.spec import Seeds
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.blocks import over_all_blocks
from ablation_suite.reports.build import build_report
from ablation_suite.reports.check import check_reports
from ablation_suite.reports.cited import cited_files
from ablation_suite.reports.design import design_of
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.references import _SOURCES, bibtex
from tests.reports.make_runs import TRUTHS, Truth, make_store

TWO = {"baseline": Truth(delta={}), "smooth": Truth(delta={"loss.label_smoothing": 0.1}, effect=0.02)}
THREE = TWO | {"wide": TRUTHS["wide"]}
CONFIG = {
    "epochs": 12,
    "batch_size": 64,
    "optimizer": {"name": "adam", "lr": 0.003},
    "schedule": {"name": "cosine"},
    "selection": "best",
    "data": {"name": "digits"},
    "loss": {"name": "cross_entropy"},
}


def told(store, truths=THREE, config=None, change=None, **settings):
    """The paragraph as Markdown, of runs whose configs have these settings; `change` edits those of single records."""
    plan = make_store(store, truths, **{"seeds": 3, "epochs": 1, "num_images": 80, **settings})
    for cell in plan.cells:
        path = store / cell.run_id / "record.json"
        record = json.loads(path.read_text())
        known, own = CONFIG if config is None else config, record["config"]
        record["config"] = {**known, **own, "loss": {**known.get("loss", {}), **own.get("loss", {})}}
        if change:
            change(cell, record["config"])
        path.write_text(json.dumps(record))
    return cited_files(analyse(Reader(store).results(design_of(plan))).method)["method.md"].replace("\\", "")


def test_what_all_runs_share_is_said_with_its_source(tmp_path):
    """Epochs, batch, optimizer, schedule, the kept epoch, seeds, images and the adjustment over two arms."""
    text = told(tmp_path)
    for claim in (
        "We compared “smooth” and “wide” with the baseline “baseline”.",
        "“smooth” sets loss.label_smoothing = 0.1; “wide” sets model.backbone = wide.",
        "All runs were trained for 12 epochs in batches of 64 with Adam [@kingma2015] at a learning rate of 0.003, "
        "under a learning rate that falls as half a cosine [@loshchilov2017], in PyTorch 2.14.1 [@paszke2019].",
        "Each arm has 3 seeds.",
        "Runs of one seed share the split, the order of the images and the initial values",
        "Of each run the epoch with the highest validation accuracy was kept.",
        "80 test images of 10 classes (data set “digits”), which had no part in training or selection.",
        "The p values of the 2 comparisons were adjusted by Holm’s method [@holm1979]",
    ):
        assert claim in text


@pytest.mark.parametrize(
    ("change", "gone"),
    [
        ({"epochs": 24}, ["for 12 epochs", "the order of the images"]),
        ({"batch_size": 32}, ["in batches of", "the order of the images"]),
        ({"optimizer": {"name": "sgd", "lr": 0.003}}, ["with Adam", "kingma2015"]),
        ({"schedule": {"name": "constant"}}, ["cosine", "loshchilov2017"]),
        ({"selection": "last"}, ["the epoch with the highest", "the last epoch was kept"]),
        ({"data": {"name": "digits", "sampler": "balanced"}}, ["the order of the images"]),
        ({"loss": {"name": "contrastive"}}, ["the order of the images"]),
    ],
)
def test_what_one_run_does_not_share_is_not_said(tmp_path, change, gone):
    """One record of one arm is enough to take a claim, and the publication with it, away."""
    text = told(tmp_path, change=lambda cell, config: config.update(change) if cell.arm == "wide" else None)
    assert [word for word in gone if word in text] == []


def test_last_year_s_records_without_settings_claim_none(tmp_path):
    """Nothing is made up where a record does not say it."""
    text = told(tmp_path, config={})
    assert "epochs" not in text
    assert "Adam" not in text
    assert "was kept" not in text


@pytest.mark.parametrize(
    ("settings", "there", "gone"),
    [
        ({"truths": TWO}, ["There is one comparison"], ["Holm", "holm1979"]),
        ({"seeds": 1}, ["1 seed.", "differences have no interval"], ["Satterthwaite", "Holm", "0.8"]),
        (
            {"with_test": False, "epochs": 10},
            ["80 validation images", "so that they are optimistic"],
            ["no part in training", "of the last epoch"],
        ),
        ({"with_test": False, "epochs": 10, "with_last": True}, ["of the last epoch on 80 val"], ["optimistic"]),
        ({"margin": 2.0}, ["within ±2 pp", "schuirmann1987"], []),
        ({}, [], ["equivalent", "schuirmann1987", "jennison1989", "hampel1974", "control"]),
        ({"rule": Seeds(min=2, max=9, until="decided")}, ["from 2 to at most 9", "jennison1989"], []),
        ({"metric": "test/auroc", "metrics": ("test/auroc",)}, ["AUROC [@delong1988]", "hampel1974"], ["beside it"]),
        (
            {"metric": "test/nll", "metrics": ("test/nll", "test/brier")},
            ["NLL; beside it", "brier1950"],
            ["hampel1974"],
        ),
        ({"tuned": "x.yaml"}, ["a search of its own"], ["The other settings of these arms"]),
    ],
)
def test_the_statistics_that_are_told_are_those_that_were_used(tmp_path, settings, there, gone):
    """Each method is named with its publication where it was applied, and only there."""
    text = told(tmp_path, **settings)
    assert [word for word in there if word not in text] == []
    assert [word for word in gone if word in text] == []


def test_runs_that_are_missing_are_counted(tmp_path):
    """And the seeds of the arms are a span."""
    plan = make_store(tmp_path, TWO, seeds=3, epochs=1, num_images=80)
    shutil.rmtree(tmp_path / plan.of_arm("smooth")[0].run_id)
    text = cited_files(analyse(Reader(tmp_path).results(design_of(plan))).method)["method.md"]
    assert "Each arm has 2 to 3 seeds; 1 of 6 planned runs have no result and count for nothing." in text


def test_sources_are_those_that_are_cited(tmp_path):
    """Neither one more nor one less, in Markdown and LaTeX alike."""
    plan = make_store(tmp_path, THREE, seeds=3, epochs=1, num_images=80, margin=1.0)
    files = cited_files(analyse(Reader(tmp_path).results(design_of(plan))).method)
    entries = re.findall(r"@\w+\{(\w+),", files["references.bib"])
    assert entries == sorted(set(re.findall(r"@(\w+)\]", files["method.md"])))
    assert entries == sorted(set(re.findall(r"\\cite\{(\w+)\}", files["method.tex"])))


def test_the_paragraph_is_written_and_checked(tmp_path):
    """Beside each report and beside the page over blocks; a changed word is found."""
    made = [
        make_store(tmp_path / "runs", TWO, ablation=f"q-{b}", block=b, family="q", seeds=2, epochs=1, num_images=60)
        for b in ("one", "two")
    ]
    build_report(made, tmp_path / "runs", tmp_path / "report")
    over = (tmp_path / "report/q/method.md").read_text().replace("\\", "")
    assert "was made in 2 blocks (one and two)" in over
    family = [Reader(tmp_path / "runs").results(design_of(plan)) for plan in made]
    num = sum(f"{key}: p_adjusted" in row.values and row.values[f"{key}: p_adjusted"] is not None
              for row in over_all_blocks(family).tables[0].rows for key in ("one", "two", "over blocks"))  # fmt: skip
    assert f"All {num} p values" in over
    assert not any(check_reports(tmp_path / "report").values())
    page = tmp_path / "report/q-one/method.tex"
    page.write_text(page.read_text().replace("2 seeds", "3 seeds"))
    assert check_reports(tmp_path / "report")[page.parent] == ["method.tex: does not hold what the runs say"]


@pytest.mark.skipif(not (shutil.which("pdflatex") and shutil.which("bibtex")), reason="no LaTeX here")
def test_latex_and_bibtex_take_every_source(tmp_path):
    """All entries at once, cited by a text with the names of arms that LaTeX would run."""
    (tmp_path / "references.bib").write_text(bibtex(_SOURCES))
    hostile = {"baseline": Truth(delta={}), "a_b & 50 % \\input": Truth(delta={"a": 1})}
    plan = make_store(tmp_path / "runs", hostile, seeds=2, epochs=1, num_images=60)
    text = cited_files(analyse(Reader(tmp_path / "runs").results(design_of(plan))).method)["method.tex"]
    cites = "".join(f"\\cite{{{key}}}" for key in _SOURCES)
    (tmp_path / "x.tex").write_text(
        f"\\documentclass{{article}}\\begin{{document}}{text}{cites}"
        "\\bibliographystyle{plain}\\bibliography{references}\\end{document}"
    )
    for command in (["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"], ["bibtex", "x"]) * 2:
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout[-1500:]
    assert "Warning--" not in done.stdout

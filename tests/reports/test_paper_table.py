"""Does a table for a paper hold what the report holds, in the places that its layout names?"""

from __future__ import annotations

import csv
import io
import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import f1_score
from statsmodels.stats.multitest import multipletests

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.metrics.measures import _PLAIN
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.blocks import over_all_blocks
from ablation_suite.reports.build import build_report
from ablation_suite.reports.check import check_reports
from ablation_suite.reports.design import design_of
from ablation_suite.reports.judged import OVER, judged
from ablation_suite.reports.latex import NARROW_WIDTH, TEXT_WIDTH, to_latex
from ablation_suite.reports.layout import AXES, CELLS, layout_of
from ablation_suite.reports.paper_table import paper_table
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.writers import to_csv
from tests.reports.make_runs import TRUTHS, Truth, make_store
from tests.reports.test_tables import compiled, needs_pdflatex

THREE = {name: TRUTHS[name] for name in ("baseline", "wide", "no-encoding")}
METRICS = ("test/macro_f1", "test/accuracy", "test/nll")
SMALL = {"seeds": 3, "epochs": 2, "num_images": 200, "metric": METRICS[0], "metrics": METRICS}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The plans of two blocks, decided by macro F1, and their results."""
    store = tmp_path_factory.mktemp("runs")
    truths = THREE | {"worse": Truth(delta={"a": 1}, effect=-0.3)}
    plans = [
        make_store(store, truths, ablation=f"q-{block}", block=block, family="q", seed_noise=noise, **SMALL)
        for block, noise in (("small", 0.006), ("large", 0.05))
    ]
    return store, plans, [Reader(store).results(design_of(plan)) for plan in plans]


def cells(table):
    """The texts of a table by row and column."""
    return [[row.texts.get(column.key, "") for column in table.columns] for row in table.rows]


def test_arms_by_metrics_say_what_the_tables_of_the_report_say(made):
    """The same strings: of the metric that decides from the first table, of the others from the further one."""
    results = made[2][0]
    analysis = analyse(results)
    decided = [row.values["arm"] for row in analysis.tables["answer"].rows if row.values["verdict"] == "lower"]
    assert decided == ["worse"]
    table = paper_table([results], layout_of("arms=rows,metrics=columns", "mean,difference,p,verdict"))
    for ours, answer, further in zip(
        table.rows, analysis.tables["answer"].rows, analysis.tables["further"].rows, strict=True
    ):
        assert ours.texts["Macro F1: mean"] == answer.texts["accuracy"]
        assert ours.texts["Accuracy: mean"] == further.texts["accuracy"]
        assert ours.texts["NLL: mean"] == further.texts["nll"]
        if ours.values["arm"] != "baseline":
            assert ours.texts["Macro F1: difference"] == answer.texts["difference"]
            assert (ours.texts["Macro F1: p"], ours.texts["Macro F1: verdict"]) == (
                answer.texts["p"],
                answer.texts["verdict"],
            )
            assert ours.texts["NLL: difference"] == further.texts["nll_difference"]
    assert "Accuracy: p" not in [column.key for column in table.columns]
    assert [row.values["arm"] for row in table.rows if "Macro F1: difference" in row.strong] == decided


def test_arms_by_blocks_have_the_family_of_the_page_over_blocks(made):
    """Differences and p are those of its bars, which Holm adjusts together with the means over blocks."""
    family = made[2]
    table = paper_table(family, layout_of("arms=rows,blocks=columns", "difference,p"))
    bars = {(bar.arm, bar.block): bar for bar in over_all_blocks(family).bars}
    told = judged(family)
    raw = {(arm, OVER): over.interval.p for arm, over in told.over.items()}
    raw |= {(arm, block): told.compared[block][arm].interval.p for arm, block in bars if block != OVER}
    adjusted = dict(zip(raw, multipletests(list(raw.values()), method="holm")[1], strict=True))
    for row in table.rows[1:]:
        for block in ("small", "large", OVER):
            bar = bars[row.values["arm"], block]
            assert bar.p == pytest.approx(adjusted[bar.arm, block])
            assert row.values[f"{block}: p_adjusted"] == pytest.approx(bar.p, rel=1e-5)
            assert row.texts[f"{block}: difference"] == bar.text
            assert (f"{block}: difference" in row.strong) == (bar.p < 0.05)
    turned = paper_table(family, layout_of("blocks=rows,arms=columns", "difference,p"))
    assert [row.texts["wide: difference"] for row in turned.rows] == [
        table.rows[1].texts[f"{block}: difference"] for block in ("small", "large", OVER)
    ]


def test_seeds_are_told_one_by_one(made):
    """Each is the macro F1 of one run by scikit-learn, and the difference is to the same seed of the baseline."""
    store, plans, family = made
    table = paper_table(family[:1], layout_of("arms=rows,seeds=rows", "mean,difference"))
    found = {}
    for arm in ("baseline", "wide"):
        for cell in plans[0].of_arm(arm):
            arrays = np.load(store / cell.run_id / "outputs.npz")
            guesses = arrays["test_probabilities"].argmax(1)
            found[arm, cell.seed] = 100 * f1_score(arrays["test_labels"], guesses, average="macro")
    for row in (row.values for row in table.rows if (row.values["arm"], row.values["seed"]) in found):
        assert row["score_percent"] == pytest.approx(found[row["arm"], row["seed"]], rel=1e-5)
        if row["arm"] == "wide":
            expected = found["wide", row["seed"]] - found["baseline", row["seed"]]
            assert row["difference_pp"] == pytest.approx(expected, abs=1e-4)
    assert not any(row.strong for row in table.rows)


def test_what_no_column_changes_stands_once_where_the_words_put_it(made):
    """Changes before the metrics, parameters and seeds behind them; costs that blocks change stand in each."""
    table = paper_table(made[2][:1], layout_of("arms=rows,metrics=columns", "changes,mean,parameters,n"))
    assert [column.title for column in table.columns] == [
        "Arm", "Changes", "Macro F1 %", "Accuracy %", "NLL nats", "Parameters", "Seeds",
    ]  # fmt: skip
    by_block = paper_table(made[2], layout_of("arms=rows,blocks=columns", "mean,parameters"))
    assert [column.title for column in by_block.columns[3:]] == ["large: Macro F1 %", "large: Parameters"]


def test_metrics_in_rows_keep_their_own_units(made):
    """No heading names a unit that holds for some rows only, and the values of a file do."""
    table = paper_table(made[2][:1], layout_of("metrics=rows,arms=columns"))
    assert not [column.title for column in table.columns if "pp" in column.title or "%" in column.title]
    assert [row.texts["metric"] for row in table.rows] == ["Macro F1 (%)", "Accuracy (%)", "NLL (nats)"]
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))
    assert rows[2]["wide: difference_nats"]
    assert not rows[2]["wide: difference_pp"]
    assert rows[0]["wide: difference_pp"]


@pytest.mark.parametrize(
    ("table", "columns", "told"),
    [
        ("arm=rows", None, "no axis 'arm' (did you mean 'arms'?); there are arms, metrics, blocks, seeds"),
        ("arms=row", None, "'row' is no place (did you mean 'rows'?); write arms=rows or arms=columns"),
        ("arms", None, "arms has no place; write arms=rows or arms=columns"),
        ("metrics=rows", None, "the arms are what is compared; add arms=rows or arms=columns"),
        ("arms=columns", None, "no axis stands in rows; write one as arms=rows"),
        ("arms=rows,arms=columns", None, "arms stands twice"),
        ("arms=rows,,metrics=columns", None, "a word is missing between its commas"),
        ("arms=rows", "meen", "no column 'meen' (did you mean 'mean'?); there are changes, mean, difference"),
        ("arms=rows", "mean,mean", "a word stands twice"),
        ("arms=rows,seeds=columns", "p", "p is of all seeds together; a table of single seeds has changes, mean"),
        ("arms=rows,blocks=columns", "verdict", "verdict is of one block alone"),
        ("metrics=rows,arms=columns", "parameters", "the same in every row of metrics=rows,arms=columns"),
    ],
)
def test_a_layout_that_is_none_is_one_line_with_the_choices(table, columns, told):
    """What was typed, what is wrong with it, and what there is instead."""
    with pytest.raises(UserError) as error:
        layout_of(table, columns)
    assert told in str(error.value)
    assert "\n" not in str(error.value)


def test_blocks_that_a_spec_does_not_have_are_no_axis(made, tmp_path):
    """It is told before a page is written."""
    plan = make_store(tmp_path / "runs", THREE, seeds=2, epochs=1, num_images=30)
    with pytest.raises(UserError, match="the spec has no blocks; leave blocks out"):
        build_report([plan], tmp_path / "runs", tmp_path / "out", layouts=[layout_of("arms=rows,blocks=columns")])
    assert not (tmp_path / "out").exists()


def test_tables_that_were_asked_for_are_written_and_checked(made, tmp_path):
    """Those over blocks beside the page over the blocks, the others with each block; a changed digit is found."""
    store, plans, _ = made
    layouts = [layout_of("arms=rows,metrics=columns"), layout_of("arms=rows,blocks=columns", "mean")]
    build_report(plans, store, tmp_path / "report", layouts=layouts)
    for path in ("q-small/tables/arms-by-metrics", "q-large/tables/arms-by-metrics", "q/tables/arms-by-blocks-mean"):
        for suffix in (".md", ".csv", ".tex", ".narrow.tex"):
            assert (tmp_path / "report" / f"{path}{suffix}").is_file()
    assert not any(check_reports(tmp_path / "report").values())
    for path in ("q-small/tables/arms-by-metrics.md", "q/tables/arms-by-blocks-mean.tex"):
        file = tmp_path / "report" / path
        file.write_text(re.sub(r"\d\d\.\d", "12.3", file.read_text(), count=1))
        folder = file.parent.parent
        assert check_reports(tmp_path / "report")[folder] == [f"tables/{file.name}: does not hold what the runs say"]


@needs_pdflatex
@pytest.mark.parametrize("layout", ["arms=rows,metrics=columns", "arms=rows,seeds=rows,metrics=columns,blocks=columns"])
def test_a_table_for_a_paper_compiles_in_one_column_and_in_two(made, tmp_path, layout):
    """Nothing is too wide, and each part of a table that is set in parts says what its rows are."""
    wanted = layout_of(layout, "mean,difference")
    table = paper_table(made[2] if "blocks" in layout else made[2][:1], wanted)
    for room, options in ((TEXT_WIDTH, ""), (NARROW_WIDTH, "twocolumn")):
        text = to_latex(table, room)
        assert not re.search(r"Overfull \\hbox|Missing character", compiled(tmp_path, text, options))
        parts = text.split(r"\begin{tabular}")[1:]
        assert ["Seed" in part for part in parts] == ["seeds" in layout for _ in parts]


def test_the_guide_names_every_metric_axis_and_cell_there_is():
    """REPORTS.md lists what `--columns`, `--table` and `metrics:` take, no word more or less."""
    text = " ".join((Path(__file__).parents[2] / "REPORTS.md").read_text().split())

    def words(before, after):
        return re.findall(r"[\w/]+", text.split(before)[1].split(after)[0].replace(" and ", " "))

    assert words("what the cells hold: ", ". Bold") == list(CELLS)
    assert words("The axes are ", ", each in rows") == list(AXES)
    named = words("Metrics are ", ", each of `val`")
    assert set(named) == {*_PLAIN, "top_K", "recall/CLASS"}

"""Do the tables say what the runs say, in honest digits, and does no name break out of its cell?"""

from __future__ import annotations

import csv
import io
import json
import math
import re
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest
from sklearn.metrics import f1_score, log_loss

from ablation_suite.ablations.spec import Seeds
from ablation_suite.core.metrics.measures import metric_of
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.analysis import analyse
from ablation_suite.reports.design import Design, DesignArm, design_of
from ablation_suite.reports.glance import glance
from ablation_suite.reports.latex import NARROW_WIDTH, TEXT_WIDTH, to_latex
from ablation_suite.reports.latex_text import latex
from ablation_suite.reports.page import report_html, report_markdown
from ablation_suite.reports.quantities import accuracy, accuracy_places, detectable, detectable_images
from ablation_suite.reports.reader import Reader
from ablation_suite.reports.statistics.comparison import Comparison, Interval
from ablation_suite.reports.statistics.intervals import difference_interval
from ablation_suite.reports.tables import Column, Row, Table
from ablation_suite.reports.wording import _each, _summary
from ablation_suite.reports.writers import markdown, to_csv, to_markdown
from tests.reports.make_runs import CLASSES, TRUTHS, Truth, make_store

HOSTILE = (
    "<img src=x onerror=alert(1)>", "=cmd()", "\\input{x}", "_x", "$a$", "a|b", "50% & #1", "$", "@SUM(A1)", "[x](y)",
)  # fmt: skip
FOREIGN = (
    '16 "narrow" paths', "x^2~y", "--- `a' ---", "模型", "café Řeş ß", "λ=0.9, Δ", "a\u202eb\u2066", "a\x1b[31m\x07b",
    "🙂", "ق", "e\u0301\u0301",
)  # fmt: skip


TWO_ARMS = {name: TRUTHS[name] for name in ("baseline", "wide")}


def analysis_of(store, truths=TRUTHS, **settings):
    plan = make_store(store, truths, **{"seeds": 3, "epochs": 3, "num_images": 120, **settings})
    return plan, analyse(Reader(store).results(design_of(plan)))


def row(table, arm):
    return next(each for each in table.rows if each.values["arm"] == arm)


ACCURACY = metric_of("test/accuracy", CLASSES)
DESIGN = Design(
    ablation="a", question="q", metric="val/accuracy", baseline="base", margin=None, rule=None, factors={}, arms=(),
    cells=(), spec="a.yaml", overrides=(),
)  # fmt: skip


def arm_of(name):
    return DesignArm(name=name, changes="", compound=False, note="", levels=())


def comparison(arm, detectable, num_images=100, detectable_range=None):
    """An undecided one with a given smallest detectable difference."""
    interval = Interval(
        estimate=0.01, low=-0.1, high=0.12, p=0.8, degrees_of_freedom=2, method="crossed", level=0.95, critical=4.3
    )
    return Comparison(
        arm=arm, n=3, num_pairs=3, num_images=num_images, mean=0.9, sd=0.01, difference=0.01, interval=interval, p=0.8,
        p_adjusted=1.0, smallest_detectable=detectable, verdict="undecided",
        detectable_range=detectable_range,
    )  # fmt: skip


def outputs(store, plan, arm):
    found = []
    for cell in plan.of_arm(arm):
        with np.load(store / cell.run_id / "outputs.npz") as arrays:
            found.append(arrays["test_probabilities"].argmax(1) == arrays["test_labels"])
    return np.array(found)  # S N


def test_means_and_differences_are_those_of_the_stored_probabilities(tmp_path):
    """Recomputed with numpy from the files alone."""
    plan, analysis = analysis_of(tmp_path)
    treated, baseline = outputs(tmp_path, plan, "wide"), outputs(tmp_path, plan, "baseline")
    values = row(analysis.tables["answer"], "wide").values
    assert values["score_percent"] == pytest.approx(100 * treated.mean(), rel=1e-5)
    assert values["sd_percent"] == pytest.approx(100 * treated.mean(axis=1).std(ddof=1), rel=1e-5)
    assert values["difference_pp"] == pytest.approx(100 * (treated.mean() - baseline.mean()), rel=1e-5, abs=1e-9)
    assert values["low_pp"] < values["difference_pp"] < values["high_pp"]
    assert values["parameters_ratio"] == pytest.approx(1.9, rel=1e-5)
    assert row(analysis.tables["answer"], "baseline").values["difference_pp"] is None


def test_the_last_epoch_and_validation_stand_beside_the_answer(tmp_path):
    """Test answers; validation of the kept epoch and test of the last epoch are kept."""
    plan, analysis = analysis_of(tmp_path)
    records = [json.loads((tmp_path / cell.run_id / "record.json").read_text()) for cell in plan.of_arm("wide")]
    values = row(analysis.tables["answer"], "wide").values
    columns = {"val_accuracy_percent": "val/accuracy", "last_epoch_accuracy_percent": "last/test/accuracy"}
    for column, metric in columns.items():
        assert values[column] == pytest.approx(100 * np.mean([each["metrics"][metric] for each in records]), rel=1e-5)


def test_without_a_test_split_the_optimism_is_told(tmp_path):
    """The accuracy of images that the epoch was chosen on is called optimistic."""
    _, analysis = analysis_of(tmp_path, with_test=False, epochs=10)
    assert "optimistic" in analysis.tables["answer"].note
    assert "validation images" in analysis.answer


def test_on_validation_images_the_last_epoch_answers_and_the_kept_one_stands_beside_it(tmp_path):
    """Means and differences are those of the last epoch's probabilities; those of the kept one are told apart."""
    plan, analysis = analysis_of(tmp_path, with_test=False, with_last=True, epochs=10)
    means = {}
    for arm in ("wide", "baseline"):
        files = [np.load(tmp_path / cell.run_id / "outputs.npz") for cell in plan.of_arm(arm)]
        for key in ("last_val_probabilities", "val_probabilities"):
            correct = [each[key].argmax(axis=1) == each["val_labels"] for each in files]
            means[arm, key] = 100 * np.mean(correct)
    last, kept = (
        means["wide", key] - means["baseline", key] for key in ("last_val_probabilities", "val_probabilities")
    )
    assert abs(last - kept) > 0.1
    answer = row(analysis.tables["answer"], "wide").values
    assert answer["score_percent"] == pytest.approx(means["wide", "last_val_probabilities"], rel=1e-5)
    assert answer["difference_pp"] == pytest.approx(last, rel=1e-4)
    beside = row(analysis.tables["metrics"], "wide").values
    assert beside["kept_difference_pp"] == pytest.approx(kept, rel=1e-4)
    assert beside["kept_low_pp"] < kept < beside["kept_high_pp"]
    assert beside["val_accuracy_percent"] == pytest.approx(means["wide", "val_probabilities"], rel=1e-5)
    for text in (analysis.answer, analysis.tables["answer"].note):
        assert "The last epoch of each run answers" in text
        assert "optimistic" not in text


def test_one_run_without_its_last_epoch_makes_the_kept_epoch_answer_for_all(tmp_path):
    """One rule for all runs: an arm judged by its best epoch against one judged by its last would win by that."""
    plan = make_store(tmp_path, TWO_ARMS, seeds=2, epochs=10, with_test=False, with_last=True)
    path = tmp_path / plan.cells[0].run_id / "outputs.npz"
    with np.load(path) as arrays:
        rest = {name: arrays[name] for name in arrays.files if name != "last_val_probabilities"}
    np.savez(path, **rest)
    results = Reader(tmp_path).results(design_of(plan))
    assert (results.epoch, results.selected, results.of_kept) == ("kept", True, None)
    assert all(np.array_equal(run.outputs.predicted, outputs_of(tmp_path, run)) for run in results.runs)
    assert "optimistic" in analyse(results).answer


def outputs_of(store, run):
    """The classes that the kept epoch of a run gave the validation images."""
    with np.load(store / run.run_id / "outputs.npz") as arrays:
        return arrays["val_probabilities"].argmax(axis=1)


def test_test_images_are_answered_by_the_kept_epoch(tmp_path):
    """They have chosen nothing, and no sentence about the epoch stands there."""
    results = Reader(tmp_path).results(design_of(make_store(tmp_path, TWO_ARMS, seeds=2, epochs=10, with_last=True)))
    assert (results.split, results.epoch, results.selected, results.of_kept) == ("test", "kept", False, None)
    assert "epoch" not in analyse(results).answer


@pytest.mark.parametrize(("shift", "word"), [(0.09, "Validation lies 9.0 pp above"), (-0.2, "below test"), (0.01, "")])
def test_a_validation_accuracy_far_from_test_is_not_left_without_a_word(tmp_path, shift, word):
    """47 % beside 38 % says something about the splits or the selection; a hundredth on 360 images does not."""
    plan = make_store(tmp_path, {"baseline": TRUTHS["baseline"]}, seeds=2, epochs=2, num_images=360)
    for cell in plan.cells:
        path = tmp_path / cell.run_id / "record.json"
        record = json.loads(path.read_text())
        record["metrics"]["val/accuracy"] = record["metrics"]["test/accuracy"] + shift
        path.write_text(json.dumps(record))
    (gap,) = [each for each in analyse(Reader(tmp_path).results(design_of(plan))).doubts if each.kind == "gap"]
    assert gap.flag == bool(word)
    assert word in gap.text


def test_compound_arms_are_marked_in_every_form(tmp_path):
    """CSV, LaTeX and Markdown say that the arm changes several things."""
    _, analysis = analysis_of(tmp_path)
    table = analysis.tables["answer"]
    assert row(table, "as-published").values["compound"] is True
    for text in (to_latex(table), to_markdown(table)):
        shown = text.replace(r"\_", "_").replace(r"\penalty500 ", "")
        assert "compound: loss.weight = 15.0, epochs = 30" in shown
    assert "“as-published” changes several things at once" in analysis.answer


def test_missing_runs_show_in_n_and_in_the_sentence(tmp_path):
    """An arm that lost a run is compared on the pairs that are left, and the table says so."""
    plan = make_store(tmp_path, seeds=3, epochs=2, num_images=80)
    shutil.rmtree(tmp_path / plan.of_arm("wide")[1].run_id)
    analysis = analyse(Reader(tmp_path).results(design_of(plan)))
    found = row(analysis.tables["answer"], "wide")
    assert found.texts["n"] == "2 of 3"
    assert (found.values["n"], found.values["pairs"]) == (2, 2)
    assert "1 of 18 planned runs is not counted" in analysis.answer
    assert any("wide, seed 1" in problem for problem in analysis.problems)
    assert [each.values["status"] for each in analysis.tables["runs"].rows].count("missing") == 1


@pytest.mark.parametrize("margin", [None, 50.0])
@pytest.mark.parametrize("names", [("baseline", "better"), ("baseline", "better", "b", "c", "d")])
def test_one_seed_has_no_verdict(tmp_path, names, margin):
    """However large the difference of two runs: no table and no text claims anything of it."""
    truths = {name: Truth(delta={"a": index}, effect=0.3 * (index > 0)) for index, name in enumerate(names)}
    _, analysis = analysis_of(tmp_path, truths, seeds=1, num_images=1500, margin=margin)
    for table in ("answer", "classes"):
        text = to_markdown(analysis.tables[table]) + to_csv(analysis.tables[table])
        assert not re.search(r"higher|lower|equivalent|undecided|\\\[", text)
    for each in analysis.tables["answer"].rows[1:]:
        values = each.values
        assert values["verdict"] == "one seed"
        assert values["difference_pp"] > 1
        assert [values[key] for key in ("low_pp", "high_pp", "p", "p_adjusted", "detectable_pp")] == [None] * 5
    assert "one seed a side says nothing about the change" in analysis.answer
    assert not re.search("accurate|interval|apart from|equivalent", analysis.answer)
    for page in (report_markdown(analysis), report_html(analysis)):
        assert "one seed a side says nothing about the change" in page


def test_two_arms_with_one_seed_leave_the_family_alone(tmp_path):
    """An arm with one pair has no p, and does not count among the comparisons that the others' p allow for."""
    names = ("baseline", "wide", "grouped")
    plan = make_store(tmp_path / "a", {name: TRUTHS[name] for name in names}, seeds=3, epochs=2, num_images=120)
    for cell in plan.of_arm("grouped")[1:]:
        shutil.rmtree(tmp_path / "a" / cell.run_id)
    analysis = analyse(Reader(tmp_path / "a").results(design_of(plan)))
    found = row(analysis.tables["answer"], "wide").values
    assert found["p_adjusted"] == found["p"]
    assert row(analysis.tables["answer"], "grouped").values["verdict"] == "one seed"
    assert "“grouped” against “baseline”: these two runs differ by " in analysis.answer
    assert "This rests on 3 seeds, paired" in analysis.answer


def test_a_grid_of_one_seed_claims_no_effect(tmp_path):
    """Its effects are differences without interval and p."""
    truths = {
        ",".join(map(str, levels)): Truth(delta=dict(zip("ab", levels, strict=True)), effect=0.1 * sum(levels))
        for levels in ((0, 0), (0, 1), (1, 0), (1, 1))
    }
    _, analysis = analysis_of(tmp_path, truths, seeds=1, grid={"a": (0, 1), "b": (0, 1)})
    for each in analysis.tables["effects"].rows:
        assert each.values["difference_pp"] is not None
        assert (each.values["low_pp"], each.values["high_pp"], each.values["p_adjusted"]) == (None, None, None)
        assert "[" not in each.texts["difference"]


def test_one_seed_leaves_the_training_noise_unknown(tmp_path):
    """The sentence and the table's note both say it."""
    _, analysis = analysis_of(tmp_path, seeds=1)
    assert "training noise is unknown" in analysis.answer
    assert "training noise is unknown" in analysis.tables["answer"].note
    assert row(analysis.tables["answer"], "wide").texts["accuracy"].count("±") == 0


def test_one_seed_has_a_difference_and_no_verdict_on_every_surface(tmp_path):
    """Table, sentence and class table show what was seen and judge nothing, though the arm is far ahead."""
    truths = {"baseline": Truth(delta={}, effect=-0.4), "better": Truth(delta={"a": 1}, effect=0.4)}
    _, analysis = analysis_of(tmp_path, truths, seeds=1)
    found = row(analysis.tables["answer"], "better")
    assert found.values["verdict"] == "one seed"
    assert found.values["difference_pp"] > 10
    assert (found.values["low_pp"], found.values["p_adjusted"], found.values["detectable_pp"]) == (None, None, None)
    assert found.texts["difference"].startswith("+")
    assert "[" not in found.texts["difference"]
    told = "“better” against “baseline”: these two runs differ by +98.3 pp; one seed a side says nothing"
    assert told in analysis.answer
    assert "more accurate" not in analysis.answer
    by_class = analysis.tables["classes"].rows[0]
    assert by_class.values["arm: better: difference_pp"] is not None
    assert "[" not in by_class.texts["arm: better"]


def test_nothing_finished_is_said_and_nothing_fails(tmp_path):
    """A report of a grid that has not begun names the baseline."""
    plan = make_store(tmp_path / "runs", seeds=2, epochs=2, num_images=30)
    shutil.rmtree(tmp_path / "runs")
    analysis = analyse(Reader(tmp_path / "runs").results(design_of(plan)))
    assert analysis.answer.startswith("The baseline “baseline” has no finished run")
    assert {each.values["verdict"] for each in analysis.tables["answer"].rows} == {"baseline", "no pairs"}


def test_a_baseline_that_has_no_such_metric_is_not_called_unfinished(tmp_path):
    """Its runs are finished, and the sentence says what they lack."""
    plan = make_store(tmp_path, seeds=2, epochs=2, num_images=30)
    results = Reader(tmp_path).results(design_of(plan))
    lost = {"record": None, "outputs": None, "problem": "test/m.py:f: is no finite number on 30 images"}
    runs = tuple(replace(run, **lost) if run.arm == "baseline" else run for run in results.runs)
    assert analyse(replace(results, runs=runs)).answer == (
        "No run of the baseline “baseline” has what was asked for, so there is nothing to compare: test/m.py:f: is no "
        "finite number on 30 images."
    )


def test_a_clear_difference_is_called_by_its_direction(tmp_path):
    """A large true effect is found, in both directions, and the equivalent arm is called so."""
    effects = {"baseline": 0.0, "better": 0.12, "worse": -0.12}
    truths = {name: Truth(delta={"a": effect} if effect else {}, effect=effect) for name, effect in effects.items()}
    _, analysis = analysis_of(tmp_path, truths, seeds=5, num_images=1500)
    verdicts = {each.values["arm"]: each.values["verdict"] for each in analysis.tables["answer"].rows}
    assert verdicts == {"baseline": "baseline", "better": "higher", "worse": "lower"}
    assert "“better” is more accurate than “baseline” by" in analysis.answer
    assert "“worse” is less accurate than “baseline” by" in analysis.answer


def test_a_grid_reports_effects_and_only_real_compounds(tmp_path):
    """Of a 2 x 2 grid, one cell changes two factors; main effects and the interaction get a row each."""
    levels = {"model.backbone": ("narrow", "wide"), "loss": ("plain", "contrastive")}
    truths = {"baseline": Truth(delta={"model.backbone": "narrow", "loss": "plain"})}
    for backbone, loss in (("narrow", "contrastive"), ("wide", "plain"), ("wide", "contrastive")):
        truths[f"{backbone},{loss}"] = Truth(delta={"model.backbone": backbone, "loss": loss}, compound=True)
    _, analysis = analysis_of(tmp_path, truths, grid=levels)
    compound = {each.values["arm"] for each in analysis.tables["answer"].rows if each.values["compound"]}
    assert compound == {"wide,contrastive"}
    assert row(analysis.tables["answer"], "wide,plain").values["changes"] == "model.backbone = wide"
    assert [each.values["interaction"] for each in analysis.tables["effects"].rows] == [False, False, True]


def test_seeds_as_needed_are_judged_by_the_sequential_rule(tmp_path):
    """Having looked after every seed makes the interval wider than a fixed design's."""
    rule = {"min": 3, "max": 10, "until": "decided", "precision": None}
    _, fixed = analysis_of(tmp_path / "fixed", num_images=300)
    _, looked = analysis_of(tmp_path / "looked", num_images=300, rule=Seeds(**rule))
    values = [row(each.tables["answer"], "wide").values for each in (fixed, looked)]
    widths = [each["high_pp"] - each["low_pp"] for each in values]
    assert widths[1] > widths[0]
    assert "looked" in looked.tables["answer"].note


@pytest.mark.parametrize(
    ("rule", "split", "wanted", "unwanted"),
    [
        ({"until": "decided", "max": 3}, "val", ["“wide” (after 3) stayed without"], ["ended its own search"]),
        ({"until": "decided"}, "test", ["until the validation images gave an answer or"], ["stayed without"]),
        ({"precision": 80}, "val", ["Seeds were added until the interval was within ±80 pp"], ["answer", "more"]),
        ({"precision": 1.5}, "val", ["are within ±1.5 pp, up to 10; “wide” is to get more."], ["were added"]),
        ({"until": "decided", "min": 4}, "test", ["Seeds are added until", "“wide” is to get more."], ["were added"]),
    ],
)
def test_seeds_are_said_to_have_brought_an_answer_only_where_they_did(tmp_path, rule, split, wanted, unwanted):
    """An arm like its baseline stays without one; on test images nobody knows what the validation images said."""
    truths = {"baseline": TRUTHS["baseline"], "wide": Truth(delta=TRUTHS["wide"].delta, effect=0.0)}
    seeds = Seeds(**{"min": 3, "max": 10, **rule})
    _, found = analysis_of(tmp_path, truths, seeds=3, num_images=100, rule=seeds, metric=f"{split}/accuracy")
    [check] = [doubt.text for doubt in found.doubts if doubt.kind == "seeds"]
    for told in (found.tables["answer"].note, check):
        assert all(each in told for each in wanted), told
        assert not any(each in told for each in unwanted), told


def test_the_winners_curse_is_said_of_an_arm_that_ended_its_own_search(tmp_path):
    """With the estimate that is free of it in sentence, note and file; a fixed design says nothing of it."""
    truths = {"baseline": TRUTHS["baseline"], "wide": Truth(delta=TRUTHS["wide"].delta, effect=0.4)}
    rule = Seeds(min=3, max=10, until="decided")
    _, found = analysis_of(tmp_path, truths, seeds=6, num_images=400, rule=rule, metric="val/accuracy")
    note = found.tables["answer"].note
    assert "Seeds were added until there was an answer. A difference that ended its own search is too large" in note
    values = row(found.tables["answer"], "wide").values
    assert 0 < values["freed_difference_pp"] <= values["difference_pp"]
    assert "freed from that, the estimates are “wide” +" in note
    assert "finds it too large on average: freed from that, " in found.answer
    for settings in ({}, {"rule": rule, "metric": "test/accuracy"}):
        _, other = analysis_of(tmp_path / str(len(settings)), truths, seeds=6, num_images=400, **settings)
        assert row(other.tables["answer"], "wide").values["freed_difference_pp"] is None
        assert "too large on average" not in other.answer + other.tables["answer"].note


def test_the_images_of_most_disagreement_are_those_with_the_widest_gap(tmp_path):
    """Ranked as numpy ranks them: share of seeds right, highest arm minus lowest."""
    plan, analysis = analysis_of(tmp_path)
    shares = np.array([outputs(tmp_path, plan, arm).mean(axis=0) for arm in TRUTHS])  # A N
    first = analysis.tables["disagreements"].rows[0]
    index = int(str(first.values["image"]).removeprefix("test/").removesuffix(".png"))
    assert np.ptp(shares[:, index]) == np.ptp(shares, axis=0).max()
    assert first.values["arm: wide"] == pytest.approx(shares[1, index], rel=1e-5)


@pytest.mark.parametrize(
    ("uncertainty", "places"), [(14.0, 0), (2.3, 0), (1.4, 1), (0.4, 1), (0.13, 2), (0.02, 2), (0.0, 3)]
)
def test_digits_follow_the_uncertainty(uncertainty, places):
    """One significant digit of the uncertainty, two where it begins with a 1; by hand."""
    assert digits.decimals(uncertainty) == places


def test_an_interval_that_excludes_zero_never_reads_as_if_it_touched_it():
    """Rounded ends keep their side of zero, and zero itself has no sign."""
    assert digits.with_interval(1.3, 0.02, 2.6, 1) == "+1.3 [>0, +2.6]"
    assert digits.with_interval(-1.3, -2.6, -0.02, 1) == "−1.3 [−2.6, <0]"
    assert digits.with_interval(2.1, -0.02, 4.2, 1) == "+2.1 [<0, +4.2]"
    assert digits.with_interval(0.01, -1.2, 1.22, 1) == "0.0 [−1.2, +1.2]"


@pytest.mark.parametrize(
    ("half_widths", "images", "ends", "places"),
    [
        ((2.41, 0.73), 5000, (), 2),  # +2.15 [−0.26, +4.56] stands beside a narrower one
        ((4.11,), 1000, (), 1),
        ((14.0,), 1000, (), 0),
        ((2.41,), 1000, (-0.26, 4.56), 1),
        ((14.0,), 1000, (-0.3, 27.0), 1),
        ((14.0,), 1000, (-0.003, 27.0), 2),  # and no more
        ((14.0,), 1000, (0.0, 27.0), 0),
        ((0.0, None), 1000, (), 1),
        ((0.73,), 100, (), 0),  # one image of a hundred is a whole point
    ],
)
def test_digits_come_from_the_column(half_widths, images, ends, places):
    """Two significant digits of its smallest uncertainty, one more where an end would read as zero; by hand."""
    assert digits.column([(each, 100 / images) for each in half_widths], ends) == places


@pytest.mark.parametrize(("images", "runs", "places"), [(4, 1, 0), (20, 1, 0), (100, 1, 0), (359, 1, 1), (359, 5, 2)])
def test_no_accuracy_is_finer_than_one_image(images, runs, places):
    """Whatever the spread over seeds: 1 of 20 images is 5 %, and no tenth of a percent was measured there."""
    assert accuracy_places([(0.0004, images, runs)]) == places
    assert accuracy(0.95, 0.0004, accuracy_places([(0.0004, images, runs)])).startswith(f"{95:.{places}f} ± ")


def test_a_column_of_a_report_has_one_number_of_decimals_and_no_end_on_the_wrong_side(tmp_path):
    """Every difference of a table has the same decimals, each end its sign, and the sentence has the table's string."""
    _, analysis = analysis_of(tmp_path, seeds=4, num_images=300, seed_noise=0.02)
    for table in ("answer", "classes"):
        for column in (each for each in analysis.tables[table].columns if each.sort.endswith("difference_pp")):
            rows = [each for each in analysis.tables[table].rows if each.values.get(column.sort) is not None]
            shown = [re.findall(r"\d+(?:\.\d+)?|[<>]0", each.texts[column.key]) for each in rows]
            assert len({len(number.partition(".")[2]) for row in shown for number in row if number[0] not in "<>"}) == 1
            for each in rows:
                (ends,) = re.findall(r"\[(.*), (.*)\]", each.texts[column.key])
                for end, text in zip(("low_pp", "high_pp"), ends, strict=True):
                    value = each.values[column.sort.replace("difference_pp", end)]
                    assert text[0] in ("+>" if value > 0 else "−<" if value < 0 else "0"), (value, text)
    told = re.search(r"“(\S+)”: ([+−]\S+) pp \(95 % interval (\S+) to (\S+)\)", analysis.answer)
    if told:
        assert row(analysis.tables["answer"], told[1]).texts["difference"] == f"{told[2]} [{told[3]}, {told[4]}]"


def test_what_could_have_shown_is_told_of_the_worst_arm():
    """Of undecided arms the sentence names the largest of their smallest detectable differences: it holds for all."""
    rows = {
        f"arm{index}": comparison(f"arm{index}", detectable) for index, detectable in enumerate((0.02, 0.31, 0.05, 0.1))
    }
    told = " ".join(_summary([(arm_of(name), row) for name, row in rows.items()], DESIGN, ACCURACY, 1))
    assert "a true one of 31 pp (31 of 100 images) would have been found four times in five" in told


@pytest.mark.parametrize(
    ("ends", "shown", "sentence"),
    [
        ((0.018, 0.022), "2 pp = 2 of 100 images", "a true one of 2 pp (2 of 100 images) would have been found"),
        ((0.012, 0.041), "1.2 to 4.1 pp = 1 to 4 of 100 images", "one of 1.2 to 4.1 pp (1 to 4 of 100 images) would"),
        ((0.011, 0.09), "too few to say", "so few seeds and images cannot say what difference would have been found"),
        ((0.4, 1.3), "too few to say", "so few seeds and images cannot say what difference would have been found"),
        ((1.1, 4.0), "none", "with so few seeds and images no difference could have shown"),
    ],
    ids=["known", "a range", "too wide a range", "an impossible end", "impossible"],
)
def test_what_could_have_shown_is_a_range_where_the_seeds_do_not_say_it_closer(ends, shown, sentence):
    """At three seeds the standard error is off by up to four times; what it would have found is as uncertain."""
    told = comparison("arm", 0.02, detectable_range=ends)
    assert detectable(told) == shown
    assert sentence in next(iter(_each([(arm_of("arm"), told)], DESIGN, ACCURACY, 1)))


def test_no_difference_is_told_that_is_impossible():
    """408 pp, or 16 of 4 images, are none: then nothing could have shown, in the sentence, the table and its values."""
    few = comparison("few", 4.08, num_images=4)
    (told,) = _each([(arm_of("few"), few)], DESIGN, ACCURACY, 0)
    assert told.endswith("and with so few seeds and images no difference could have shown.")
    assert (detectable(few), detectable_images(few)) == ("none", None)


@pytest.mark.parametrize(
    ("name", "size", "shown"),
    [
        ("nll", 1.4, "1.4 nats"),
        ("nll", 3e-5, "0.00003 nats"),
        ("nll", 0.0, "too few to say"),
        ("brier", 1.4, "140 pp"),
        ("brier", 2.4, "none"),
        ("macro_f1", 1.4, "none"),
    ],
)
def test_what_is_impossible_depends_on_the_metric(name, size, shown):
    """Two models can lie as many nats apart as they like, two Brier scores up to 2, shares up to 1; none by zero."""
    assert detectable(comparison("arm", size), metric_of(f"test/{name}", ())) == shown


def test_a_report_of_four_images_tells_no_impossible_number(tmp_path):
    """Two seeds, four images: no detectable difference above 100 pp or the number of images anywhere."""
    _, analysis = analysis_of(tmp_path, seeds=2, num_images=4, seed_noise=0.3)
    found = [each.values for each in analysis.tables["answer"].rows if each.values["difference_pp"] is not None]
    assert any(values["detectable_pp"] is None for values in found)
    assert all((values["detectable_pp"] or 0) <= 100 and (values["detectable_images"] or 0) <= 4 for values in found)


@pytest.mark.fault(
    "formulas as names of arms", injected="=, +, - and @ at the beginning", promised="no spreadsheet runs one"
)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_spreadsheet_runs_no_formula(name):
    """No cell of the CSV begins with what Excel or LibreOffice takes for a formula, and it still reads back."""
    (_, (cell, number)) = csv.reader(io.StringIO(to_csv(table_of(name))))
    assert cell[0] not in "=+-@\t\r"
    assert cell.removeprefix("'") == name
    assert number == "-1.5"


@pytest.mark.parametrize("name", [*HOSTILE, *FOREIGN])
def test_latex_has_no_live_command_from_a_name(name):
    """Every special character of LaTeX is spelled out: what is left are escapes of our own, and ASCII."""
    text = latex(name)
    for own in (r"\textbackslash{}", r"\{", r"\}", r"\$", r"\&", r"\#", r"\%", r"\_", r"\textless{}", r"\textgreater{}",
                r"\textbar{}", "{[}", "{]}", "-{}", r"\textasciicircum{}", r"\textasciitilde{}", r"\'{e}", r"\c{s}",
                r"\ss{}", r"$\lambda$", r"$\Delta$", r"{\ttfamily\char34}", r"{\ttfamily\char18}", r"\v{R}",
                r"{\ttfamily\char13}"):  # fmt: skip
        text = text.replace(own, "")
    assert text.isascii()
    assert text.isprintable()
    assert not set(text) & set('\\{}$&#^_%~"<>|')


def test_latex_names_what_its_fonts_lack():
    """By code point, so that two such names do not become one; accents and Greek letters are set as they are."""
    assert latex("模型") == "{[}U+6A21{]}{[}U+578B{]}"
    assert latex("a\u202eb") == "a{[}U+202E{]}b"
    assert latex("café λ") == r"caf\'{e} $\lambda$"


def test_latex_has_a_cell_for_each_column():
    """Ampersands of names do not add columns, and rows end where they should."""
    lines = to_latex(table_of("a & b")).splitlines()
    (row_line,) = [line for line in lines if "a \\& b" in line]
    assert row_line.replace("\\&", "").count("&") == 1
    assert row_line.endswith(r"\tabularnewline")
    assert lines[2] == r"\toprule"


def test_a_table_that_is_too_wide_is_set_in_blocks_that_lose_nothing():
    """Forty number columns below each other, each block with the names of its rows."""
    keys = [f"c{index}" for index in range(40)]
    numbers = [Column(key=key, heading=key, sort=key) for key in keys]
    columns = (Column(key="arm", heading="Arm", sort="arm", number=False), *numbers)
    texts = {"arm": "first", **{key: f"{index}.25" for index, key in enumerate(keys)}}
    text = to_latex(Table(name="t", title="T", columns=columns, rows=(Row(values={}, texts=texts),)))
    assert text.count(r"\begin{tabular}") == text.count("first") > 1
    assert [text.count(f" {index}.25 ") for index in range(40)] == [1] * 40


def compiled(folder, text, options=""):
    """The log of pdflatex on a default document with a text; it has ended without an error."""
    (folder / "x.tex").write_text(
        f"\\documentclass[{options}]{{article}}"
        "\\usepackage{booktabs}\\pagestyle{empty}\\textheight=9in\n"
        f"\\begin{{document}}\n{text}\\end{{document}}\n"
    )
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "x.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True)
    log = (folder / "x.log").read_text(errors="replace")
    assert done.returncode == 0, log[-2000:]
    return log


needs_pdflatex = pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")


@pytest.mark.fault(
    "names that LaTeX would run or stop at",
    injected="quotes, percent, backslash, U+202E",
    promised="every table compiles in a default document",
)
@needs_pdflatex
@pytest.mark.slow
@pytest.mark.parametrize("names", [TRUTHS, HOSTILE, FOREIGN, ("a" * 80, "W" * 79, "m_" * 40)])
def test_latex_compiles_with_booktabs_and_fits_the_column(tmp_path, names):
    """pdflatex takes every table of a report of one column and of two, whatever the names, and none is too wide."""
    truths = {"baseline": TRUTHS["baseline"]} | {name: TRUTHS["as-published"] for name in names if name != "baseline"}
    _, analysis = analysis_of(tmp_path / "runs", truths, seeds=2, classes=(*CLASSES[:7], *list(truths)[1:4]))
    for name, table in {**analysis.tables, "index": glance([analysis]).table}.items():
        for room, options in ((TEXT_WIDTH, ""), (NARROW_WIDTH, "twocolumn")):
            log = compiled(tmp_path, to_latex(table, room), options)
            assert not re.search(r"Overfull \\hbox|Missing character", log), (name, options, log)


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are(name):
    """No pipe adds a column, no tag, link or emphasis is born from a name."""
    line = to_markdown(table_of(name)).splitlines()[2]
    assert line.replace("\\|", "").count("|") == 3
    assert "<" not in line
    unescaped = markdown(name)
    for mark in "*_[]`$":
        assert unescaped.count(mark) == unescaped.count(f"\\{mark}")


def table_of(name):
    columns = (Column(key="arm", heading="Arm", sort="arm", number=False), Column(key="x", heading="x", sort="x"))
    row = Row(values={"arm": name, "x": -1.5}, texts={"arm": name, "x": "−1.5"})
    return Table(name="t", title="T", columns=columns, rows=(row,))


def test_another_metric_decides_and_further_ones_stand_beside(tmp_path):
    """Sentence, heading and mean are those of macro F1 by scikit-learn; NLL stands beside, in nats."""
    names = ("test/macro_f1", "test/accuracy", "test/nll")
    truths = {"baseline": Truth(delta={}, effect=-0.4), "better": Truth(delta={"a": 1}, effect=0.4)}
    plan, analysis = analysis_of(tmp_path, truths, metric=names[0], metrics=names)
    found, table = row(analysis.tables["answer"], "better"), analysis.tables["answer"]
    runs = [np.load(tmp_path / cell.run_id / "outputs.npz") for cell in plan.of_arm("better")]
    predicted = [(each["test_labels"], each["test_probabilities"].argmax(1)) for each in runs]
    expected = np.mean([f1_score(labels, guesses, average="macro") for labels, guesses in predicted])
    assert found.values["score_percent"] == pytest.approx(100 * expected, rel=1e-5)
    assert "“better” is higher in macro F1 than “baseline” by " in analysis.answer
    assert "Test macro F1 %" in [column.heading for column in table.columns]
    assert "images" not in found.texts["detectable"]
    beside = row(analysis.tables["further"], "better").values
    assert beside["accuracy_percent"] == pytest.approx(100 * np.mean([np.mean(a == b) for a, b in predicted]), rel=1e-5)
    losses = [log_loss(each["test_labels"], each["test_probabilities"], labels=range(10)) for each in runs]
    assert beside["nll_nats"] == pytest.approx(np.mean(losses), rel=1e-3)
    assert beside["nll_difference_nats"] < 0 < beside["accuracy_difference_pp"]


def test_a_metric_whose_lower_values_are_better_says_so(tmp_path):
    """A verdict is a direction; the sentence tells whether it is good."""
    truths = {"baseline": Truth(delta={}, effect=-0.4), "better": Truth(delta={"a": 1}, effect=0.4)}
    _, analysis = analysis_of(tmp_path, truths, metric="test/brier", metrics=("test/brier",))
    assert "“better” is lower in Brier score (better) than “baseline” by " in analysis.answer
    assert "A lower Brier score is better." in analysis.tables["answer"].note


def test_a_metric_that_finished_runs_cannot_give_is_told_of_each(tmp_path):
    """Nothing else is shown in its place."""
    plan = make_store(
        tmp_path, {"baseline": Truth(delta={})}, seeds=1, epochs=1, num_images=30, metric="test/recall/newt"
    )
    (run,) = Reader(tmp_path).results(design_of(plan)).runs
    assert "there is no class 'newt'" in run.problem
    assert run.status == "finished"


def test_images_that_belong_together_are_judged_as_one(tmp_path):
    """The interval is that of the groups' sums, by hand: tens of the first hundred, the others alone."""
    plan = make_store(tmp_path, TWO_ARMS, seeds=4, epochs=3, num_images=120, groups="000{ten}*.png")
    groups = np.array([index // 10 if index < 100 else index - 90 for index in range(120)])  # N
    sides = [outputs(tmp_path, plan, arm) for arm in ("wide", "baseline")]
    sums = [np.stack([side[:, groups == group].sum(axis=1) / 4 for group in range(30)], axis=1) for side in sides]
    by_hand = difference_interval(*sums)
    analysis = analyse(Reader(tmp_path).results(design_of(plan)))
    values = row(analysis.tables["answer"], "wide").values
    assert (values["low_pp"], values["high_pp"]) == pytest.approx((100 * by_hand.low, 100 * by_hand.high), rel=1e-4)
    assert values["difference_pp"] == pytest.approx(100 * (sides[0].mean() - sides[1].mean()), rel=1e-4)
    assert values["images"] == 120
    assert "120 test images, which count as 30 groups" in analysis.answer
    assert "30 groups" in analysis.tables["answer"].note


@pytest.mark.parametrize(
    ("told", "words"), [("plants.csv", "their group in plants.csv"), ("near_duplicates", "the picture that they show")]
)
def test_images_are_judged_by_the_groups_that_their_runs_keep(tmp_path, told, words):
    """The same interval as by a rule on names that says the same."""
    plan = make_store(tmp_path, TWO_ARMS, seeds=4, epochs=3, num_images=120, groups="000{ten}*.png")
    by_rule = row(analyse(Reader(tmp_path).results(design_of(plan))).tables["answer"], "wide").values
    for cell in plan.cells:
        folder = tmp_path / cell.run_id
        with np.load(folder / "outputs.npz") as arrays:
            kept = dict(arrays)
        tens = [name[:9] if name[5:8] == "000" else name for name in kept["test_names"]]
        np.savez(folder / "outputs.npz", **kept, test_groups=np.array(tens))
        record = json.loads((folder / "record.json").read_text())
        record["config"]["data"] = {"name": "folder", "path": "plants", "groups": told}
        (folder / "record.json").write_text(json.dumps(record))
    design = replace(design_of(plan), groups=None)
    analysis = analyse(Reader(tmp_path).results(design))
    values = row(analysis.tables["answer"], "wide").values
    assert (values["low_pp"], values["high_pp"]) == (by_rule["low_pp"], by_rule["high_pp"])
    assert f"Images that agree in {words} are one sample: 30 groups." in analysis.tables["answer"].note


def test_without_groups_the_report_says_that_each_image_counts_alone(tmp_path):
    """The assumption that near-duplicates break is told where it is made, and only there."""
    told = [analysis_of(tmp_path / str(rule), groups=rule)[1].tables["answer"].note for rule in (None, "{x}.png")]
    assert ["a sample of its own" in each for each in told] == [True, False]


@pytest.mark.parametrize("metric", ["test/accuracy", "test/brier", "test/nll"])
def test_no_table_of_a_tiny_comparison_shows_the_impossible(tmp_path, metric):
    """Six images and two seeds know next to nothing, and no accuracies lie more than 100 pp apart; Brier scores 2."""
    levels = {"model.backbone": ("narrow", "wide"), "loss": ("plain", "contrastive")}
    truths = {"baseline": Truth(delta={"model.backbone": "narrow", "loss": "plain"})}
    for backbone, loss in (("narrow", "contrastive"), ("wide", "plain"), ("wide", "contrastive")):
        delta = {"model.backbone": backbone, "loss": loss}
        truths[f"{backbone},{loss}"] = Truth(delta=delta, compound=True, effect=-0.1)
    _, analysis = analysis_of(tmp_path, truths, grid=levels, seeds=2, num_images=6, seed_noise=0.3, metric=metric)
    most = {"test/accuracy": 100.0, "test/brier": 200.0, "test/nll": math.inf}[metric]
    seen = 0
    for name, table in analysis.tables.items():
        for each in table.rows:
            widest = (2 if each.values.get("interaction") else 1) * (most if name in ("answer", "effects") else 100.0)
            for key, value in each.values.items():
                if ("low" in key or "high" in key) and value is not None:
                    seen += 1
                    assert abs(float(value)) <= widest, (name, key, value)
    assert seen > 10

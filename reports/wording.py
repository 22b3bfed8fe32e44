"""What may be said? A careful answer in a few sentences, made by rule from the comparisons."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ablation_suite.core.metrics.measures import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.design import Design, DesignArm
from ablation_suite.reports.quantities import SPLITS, listed, quoted
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import Comparison

MOST_TOLD_ONE_BY_ONE = 3
Rows = Sequence[tuple[DesignArm, Comparison]]


def answer(results: Results, compared: Mapping[str, Comparison], audit: Sequence[Mapping[str, str]] = ()) -> str:
    """Answer the question with no more certainty and no more digits than the runs give.

    audit: findings as `arm`, `kind`, `text`, `severity`; confounds beside the factor itself qualify the answer.
    """
    return " ".join(_sentences(results, compared, audit))


def claim(results: Results, compared: Mapping[str, Comparison]) -> str:
    """What to read first: which of two or three arms are decided, else the first sentence of the answer."""
    design = results.design
    speaking = [(arm, compared[arm.name]) for arm in design.contenders if compared[arm.name].interval]
    if not 1 < len(speaking) <= MOST_TOLD_ONE_BY_ONE:
        return _sentences(results, compared, ())[0]
    baseline, parts = quoted(design.baseline), []
    for verdict in ("higher", "lower", "equivalent"):
        found = _of_verdict(speaking, verdict)
        what = "equivalent to" if verdict == "equivalent" else f"{direction(results.metric, verdict)} than"
        if found:
            parts.append(f"{_names([arm.name for arm, _ in found])} {_is(found)} {what} {baseline}")
    undecided = len(_of_verdict(speaking, "undecided"))
    if not parts:
        return f"{'Neither' if undecided == 2 else 'None'} of the {undecided} arms can be told apart from {baseline}."
    if undecided:
        parts.append("the other one is undecided" if undecided == 1 else f"the other {undecided} are undecided")
    return f"{'; '.join(parts)}."


def _sentences(results: Results, compared: Mapping[str, Comparison], audit: Sequence[Mapping[str, str]]) -> list[str]:
    design = results.design
    if not results.of_arm(design.baseline):
        baseline = quoted(design.baseline)
        finished = [run for run in results.runs if run.arm == design.baseline and run.status == "finished"]
        if finished:
            why = finished[0].problem
            return [f"No run of the baseline {baseline} has what was asked for, so there is nothing to compare: {why}."]
        return [f"The baseline {baseline} has no finished run, so there is nothing to compare with yet."]
    rows = [(arm, compared[arm.name]) for arm in design.contenders]
    speaking = [(arm, row) for arm, row in rows if row.interval]
    single = [(arm, row) for arm, row in rows if row.difference is not None and not row.interval]
    if not speaking and not single:
        return ["No arm has a finished run that can be paired with the baseline yet."]
    places = texts.answer_places(compared.values(), results.metric.scale)
    tell = _each if len(speaking) <= MOST_TOLD_ONE_BY_ONE else _summary
    told = [*tell(speaking, design, results.metric, places), *_single(single, design, results.metric, places)]
    control = _control(compared[design.control], results.metric, places) if design.control else ()
    basis = [_basis(results, speaking or single), *epoch_told(results)]
    return [*told, *basis, *control, *_caveats(results, rows, audit)]


def families(num_comparisons: Sequence[int]) -> str:
    """What the adjusted p values of several ablations in one report hold for, given each one's comparisons."""
    found = [number for number in num_comparisons if number]
    if len(found) < 2:
        return ""
    return (
        f"{sum(found)} comparisons in {len(found)} ablations. p values are adjusted within each ablation, not over the "
        f"report: where nothing differs at all, one false call or more is to be expected in up to "
        f"{100 * (1 - 0.95 ** len(found)):.0f} % of such reports."
    )


def epoch_told(results: Results) -> Iterator[str]:
    """Which epoch answers on validation images, and whether these chose it."""
    if results.selected:
        yield (
            "The kept epoch answers, because not all runs have outputs of their last one; it was chosen on these same "
            "images, so that accuracies are optimistic, and a difference is biased where arms' curves move unlike."
        )
    elif results.of_kept:
        yield (
            "The last epoch of each run answers, which nobody chose; the kept one was chosen on these same images, and "
            "stands under “Other metrics”."
        )


def _each(rows: Rows, design: Design, metric: Metric, places: int) -> Iterator[str]:
    baseline = quoted(design.baseline)
    for arm, row in rows:
        name = quoted(arm.name)
        if row.verdict in ("higher", "lower"):
            size = digits.fixed(metric.scale * abs(row.difference or 0.0), places)
            interval = _interval(row, places, metric)
            told = f"{size} {metric.unit} ({interval}){_freed(row, places, metric)}"
            yield f"{name} is {direction(metric, row.verdict)} than {baseline} by {told}."
        elif row.verdict == "equivalent":
            yield (
                f"{name} is equivalent to {baseline} within ±{design.margin:g} {metric.unit}: "
                f"the difference is {_told(row, places, metric)}."
            )
        elif _excludes_zero(row):
            yield (
                f"{name} differs from {baseline} by {_told(row, places, metric)}, which would count alone but "
                f"not among {len(rows)} comparisons (adjusted p {_p(row)}): undecided."
            )
        else:
            yield (
                f"{name} cannot be told apart from {baseline}: the difference is {_told(row, places, metric)}, "
                f"{_could_have_shown(row, metric)}."
            )


def _summary(rows: Rows, design: Design, metric: Metric, places: int) -> Iterator[str]:
    """For many arms: how many are higher, lower, equivalent and undecided, and the largest of each direction."""
    baseline, total = quoted(design.baseline), len(rows)
    for verdict in ("higher", "lower"):
        found = _of_verdict(rows, verdict)
        if found:
            arm, row = max(found, key=lambda pair: abs(pair[1].difference or 0.0))
            most = "" if len(found) == 1 else "most of all "
            yield (
                f"{len(found)} of {total} arms {_is(found)} {direction(metric, verdict)} than {baseline}, "
                f"{most}{quoted(arm.name)}: {_told(row, places, metric)}{_freed(row, places, metric)}."
            )
    equivalent = _of_verdict(rows, "equivalent")
    if equivalent:
        margin = f"±{design.margin:g} {metric.unit}"
        yield f"{len(equivalent)} of {total} {_is(equivalent)} equivalent to {baseline} within {margin}."
    undecided = _of_verdict(rows, "undecided")
    if undecided:
        _, worst = max(undecided, key=lambda pair: pair[1].smallest_detectable or 0.0)
        which = "None" if len(undecided) == total else f"{len(undecided)}"
        can = "can" if len(undecided) == total else "cannot"
        told = _could_have_shown(worst, metric)
        yield f"{which} of {total} arms {can} be told apart from {baseline}, {told}."
    alone = [(arm, row) for arm, row in undecided if _excludes_zero(row)]
    if alone:
        unit = metric.unit
        shown = [
            f"{quoted(arm.name)} ({_signed(row, places, metric)} {unit}, adjusted p {_p(row)})"
            for arm, row in alone[:3]
        ]
        more = [f"{len(alone) - 3} more"] if len(alone) > 3 else []
        yield f"{listed(shown + more)} would count alone, but not among {total} comparisons."


def _single(rows: Rows, design: Design, metric: Metric, places: int) -> Iterator[str]:
    """Arms with one seed a side: how far the runs lie apart, and that this is no verdict."""
    baseline = quoted(design.baseline)
    if len(rows) <= MOST_TOLD_ONE_BY_ONE:
        for arm, row in rows:
            apart = texts.two_runs(row.difference or 0.0, places, metric.unit, metric.scale)
            yield f"{quoted(arm.name)} against {baseline}: {apart}."
        return
    low, high = (
        texts.one_pair(end(row.difference or 0.0 for _, row in rows), places, metric.scale) for end in (min, max)
    )
    yield (
        f"{len(rows)} arms have one run beside the one of {baseline}: these differ from it by {low} to {high} "
        f"{metric.unit}; one seed a side says nothing about the changes."
    )


def _basis(results: Results, rows: Rows) -> str:
    pairs = sorted({row.num_pairs for _, row in rows})
    images = f"{rows[0][1].num_images} {SPLITS[results.split]} images"
    if results.groups is not None:
        images += f", which count as {len(set(results.groups.tolist()))} groups"
    if pairs == [1]:
        return f"This rests on 1 seed and {images}: the training noise is unknown."
    seeds = f"{pairs[0]} seeds" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]} seeds"
    return f"This rests on {seeds}, paired, and {images}."


def _control(row: Comparison, metric: Metric, places: int) -> Iterator[str]:
    """What the baseline against itself says about how far these intervals can be trusted."""
    if row.interval is None:
        if row.difference is not None:
            apart = f"{texts.one_pair(row.difference, places, metric.scale)} {metric.unit}"
            yield f"The control, the baseline on another seed, differs from it by {apart} by chance alone."
        return
    told = f"The control, the baseline on other seeds, differs from it by {_told(row, places, metric)}"
    if row.interval.excludes_zero:
        yield (
            f"{told}: a false alarm. Chance gives one to 1 control in 20; where it is not chance, "
            "the intervals of the arms are too narrow as well."
        )
    else:
        yield f"{told}: zero is inside, as it should be."


def _caveats(results: Results, rows: Rows, audit: Sequence[Mapping[str, str]]) -> Iterator[str]:
    compound = [arm.name for arm, _ in rows if arm.compound and not results.design.factors]
    if compound:
        verb = "changes" if len(compound) == 1 else "change"
        yield f"{_names(compound)} {verb} several things at once, so that no single one of them is credited."
    for arm, kinds in _confounds(audit).items():
        yield f"Besides its factor, {quoted(arm)} differs in {listed(kinds)}, so that not all is the factor's doing."
    silent = [arm.name for arm, row in rows if row.difference is None]
    if silent:
        yield f"Nothing can be said yet about {_names(silent)}."
    problems = results.problems()
    if problems:
        yield f"{len(problems)} of {len(results.runs)} planned runs {_is(problems)} not counted; they are named below."


def _confounds(audit: Sequence[Mapping[str, str]]) -> dict[str, list[str]]:
    """Arm -> the kinds of confounds beside its factor, in the order of the audit."""
    found: dict[str, list[str]] = {}
    for finding in audit:
        if finding["severity"] == "confound" and finding["kind"] != "factor":
            kinds = found.setdefault(finding["arm"], [])
            kinds += [finding["kind"]] if finding["kind"] not in kinds else []
    return found


def direction(metric: Metric, verdict: str) -> str:
    """More accurate; of other metrics, which way they went and whether that is good."""
    if metric.name == "accuracy":
        return "more accurate" if verdict == "higher" else "less accurate"
    good = "" if metric.higher_is_better else " (worse)" if verdict == "higher" else " (better)"
    return f"{verdict} in {metric.text}{good}"


def _of_verdict(rows: Rows, verdict: str) -> Rows:
    return [(arm, row) for arm, row in rows if row.verdict == verdict]


def _excludes_zero(row: Comparison) -> bool:
    return row.interval is not None and row.interval.excludes_zero


def _is(items: Sequence[object]) -> str:
    return "is" if len(items) == 1 else "are"


def _names(names: Sequence[str]) -> str:
    return listed([quoted(name) for name in names])


def _signed(row: Comparison, places: int, metric: Metric) -> str:
    return digits.signed(metric.scale * (row.difference or 0.0), places)


def _told(row: Comparison, places: int, metric: Metric) -> str:
    return f"{_signed(row, places, metric)} {metric.unit} ({_interval(row, places, metric)})"


def _freed(row: Comparison, places: int, metric: Metric) -> str:
    """What is left of a difference that ended its own search, which is too large on average."""
    if row.freed is None:
        return ""
    size = f"{digits.fixed(metric.scale * abs(row.freed), places)} {metric.unit}"
    return f"; a rule that stops at a difference finds it too large on average: freed from that, {size}"


def _p(row: Comparison) -> str:
    return digits.p_value(row.p_adjusted or 0.0)


def _interval(row: Comparison, places: int, metric: Metric) -> str:
    assert row.interval is not None
    ends = digits.ends(metric.scale * row.interval.low, metric.scale * row.interval.high, places)
    low, high = (end.replace(">0", "just above 0").replace("<0", "just below 0") for end in ends)
    return f"{100 * row.interval.level:.0f} % interval {low} to {high}"


def _could_have_shown(row: Comparison, metric: Metric) -> str:
    """What the seeds and images of an undecided comparison would have found, or why that cannot be said."""
    if not texts.can_show(row, metric):
        return "and with so few seeds and images no difference could have shown"
    if not texts.is_known(row, metric):
        return "and so few seeds and images cannot say what difference would have been found"
    size, images = texts.detectable_sizes(row, metric)
    size = f"{size} ({images})" if metric.counts_images else size
    return f"and a true one of {size} would have been found four times in five"

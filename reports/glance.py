"""What do several ablations say at a glance? One table over all of their arms, a claim, and which runs they share."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from ablation_suite.reports import rounding as digits
from ablation_suite.reports.analysis import Analysis
from ablation_suite.reports.cost_drawing import CostPanel, cost_panel
from ablation_suite.reports.drawings import IntervalBar, IntervalPlot, interval_plot
from ablation_suite.reports.palette import DIFFERENT
from ablation_suite.reports.plots import bar_of
from ablation_suite.reports.quantities import EQUAL, MISSING, introduced
from ablation_suite.reports.report_page import difference_places, sides
from ablation_suite.reports.tables import Column, Row, Table, Value
from ablation_suite.reports.wording import families

_DECIDED = ("higher", "lower", "equivalent")
_MOST_ROWS_WITH_COST = 12


@dataclass(frozen=True, kw_only=True)
class Glance:
    """The index: its claim, its numbers, its table and what is drawn beside it."""

    claim: str
    told: str
    families: str
    shared: str
    facts: dict[str, str]
    table: Table
    units: str
    """In what the differences are told."""
    plot: IntervalPlot | None
    cost: CostPanel | None
    places: dict[str, int]
    """Key of a row -> its place in the palette."""


def glance(analyses: Sequence[Analysis]) -> Glance:
    """Everything that the index says of these ablations."""
    rows = [(analysis, row) for analysis in analyses for row in analysis.tables["answer"].rows]
    arms = [(analysis, row) for analysis, row in rows if row.values["arm"] != analysis.design.baseline]
    units = list(dict.fromkeys(analysis.unit for analysis in analyses))
    places = {
        unit: difference_places([row.values for analysis, row in arms if analysis.unit == unit], unit) for unit in units
    }
    table = _table(arms, places)
    unit = units[0]
    alike = [analysis for analysis in analyses if analysis.unit == unit]
    bars = {
        str(row.values["key"]): _bar(analysis, row) if analysis.unit == unit else None
        for analysis, row in _zipped(arms, table)
    }
    found = {key: bar for key, bar in bars.items() if bar is not None}
    ink = {key: 1 + index % DIFFERENT for index, key in enumerate(bars)}
    plot = interval_plot(found, f"{unit}{sides(alike)}", partial(digits.signed, places=places[unit])) if found else None
    return Glance(
        claim=_claim(analyses, table),
        told=" ".join(_told(table, places)) or "No arm has a finished run that can be paired with its baseline yet.",
        families=families([_num_compared(analysis) for analysis in analyses]),
        shared=" ".join(_shared(analyses)),
        facts=_facts(analyses),
        table=table,
        units=_units(units),
        plot=plot,
        cost=_cost(table, found, ink),
        places=ink,
    )


def _zipped(arms: Sequence[tuple[Analysis, Row]], table: Table) -> Iterator[tuple[Analysis, Row]]:
    """The analyses with the rows of the index."""
    return ((analysis, row) for (analysis, _), row in zip(arms, table.rows, strict=True))


def _bar(analysis: Analysis, row: Row) -> IntervalBar | None:
    first = analysis.design.measures[0]
    return bar_of(row.values, analysis.strokes[first].get(str(row.values["arm"]), []), unit=analysis.unit)


def _table(arms: Sequence[tuple[Analysis, Row]], places: Mapping[str, int]) -> Table:
    several = len({analysis.metric for analysis, _ in arms}) > 1
    unit, word = next(((analysis.unit, analysis.word) for analysis, _ in arms), ("pp", "percent"))
    rows = [
        _row(index, analysis, row, places[analysis.unit], several=several) for index, (analysis, row) in enumerate(arms)
    ]
    is_adjusted = any(row.values["p_adjusted"] != row.values["p"] for row in rows)
    judged = any(row.values["p"] is not None for row in rows)
    size = (
        " with 95 % intervals. “Unseen below”: the true difference that these seeds and images find four times in five"
        if judged
        else ""
    )
    return Table(
        name="index",
        title="All differences at a glance",
        note="Each arm minus the baseline of its ablation, paired by seed and image, "
        f"in {' or '.join(map(introduced, places))}{size}. Parameters and time are relative "
        "to the baseline.",
        columns=(
            Column(key="question", heading="Question", sort="question", number=False),
            Column(key="arm", heading="Arm", sort="arm", number=False),
            Column(
                key="baseline_score",
                heading="Baseline" + (" %" if list(places) == ["pp"] else ""),
                sort=f"baseline_{word}",
            ),
            Column(key="difference", heading=f"Difference{' [95 %]' if judged else ''}", sort=f"difference_{unit}"),
            *([Column(key="p", heading="Adjusted p", sort="p_adjusted")] if is_adjusted else []),
            Column(key="verdict", heading="Verdict", sort="verdict", number=False),
            Column(key="detectable", heading="Unseen below", sort=f"detectable_{unit}", paper=False),
            *(
                Column(key=key, heading=heading, sort=f"{key}_ratio", paper=False)
                for key, heading in (("parameters", "Param."), ("train_seconds", "Time"))
                if _varies(rows, f"{key}_ratio")
            ),
        ),
        rows=tuple(rows),
    )


def _row(index: int, analysis: Analysis, row: Row, places: int, *, several: bool) -> Row:
    """A row of the index; where it holds several metrics, the row says its own and the unit of its difference."""
    design, found, unit = analysis.design, row.values, analysis.unit
    baseline = next(each for each in analysis.tables["answer"].rows if each.values["arm"] == design.baseline)
    values: dict[str, Value] = {
        "key": f"row {index}",
        "ablation": design.ablation,
        "question": design.question,
        "arm": found["arm"],
        "baseline": design.baseline,
        f"baseline_{analysis.word}": baseline.values[f"score_{analysis.word}"],
        "unit": unit,
        **{name: found[name] for name in ("metric", f"difference_{unit}", f"low_{unit}", f"high_{unit}")},
        **{name: found[name] for name in ("p", "p_adjusted", "verdict", "n", "planned", "pairs", "images")},
        **{name: found[name] for name in (f"detectable_{unit}", "detectable_images")},
        **{name: found[name] for name in ("parameters_ratio", "train_seconds_ratio")},
    }
    difference, low, high = (values[f"{name}_{unit}"] for name in ("difference", "low", "high"))
    if difference is None:
        shown = MISSING
    elif low is None or high is None:
        shown = digits.signed(float(difference), places)
    else:
        shown = digits.with_interval(float(difference), float(low), float(high), places)
    ratios = {name: values[f"{name}_ratio"] for name in ("parameters", "train_seconds")}
    if several and shown != MISSING:
        shown = f"{shown} {analysis.unit}"
    pp, _, images = row.texts["detectable"].partition(" = ")
    return Row(
        values=values,
        texts={
            "question": design.question,
            "arm": f"{found['arm']} against {design.baseline}" + (f", {analysis.metric}" if several else ""),
            "baseline_score": baseline.texts["accuracy"],
            "difference": shown,
            "p": row.texts["p"],
            "verdict": row.texts["verdict"],
            "detectable": f"{pp} ({images})" if images else pp,
            **{name: MISSING if value is None else digits.ratio(float(value)) for name, value in ratios.items()},
        },
        strong=frozenset(["difference"]) if found["verdict"] in _DECIDED else frozenset(),
    )


def _varies(rows: Sequence[Row], key: str) -> bool:
    ratios = [float(row.values[key]) for row in rows if row.values[key]]  # type: ignore[arg-type]
    return any(max(ratio, 1 / ratio) > EQUAL for ratio in ratios)


def _claim(analyses: Sequence[Analysis], table: Table) -> str:
    decided = {str(row.values["ablation"]) for row in table.rows if row.values["verdict"] in _DECIDED}
    num = len(analyses)
    if not decided:
        return f"{num} questions, none decided"
    return f"{num} questions, {'all' if len(decided) == num else len(decided)} decided"


def _told(table: Table, places: Mapping[str, int]) -> Iterator[str]:
    """The decided arms with their numbers, then what the undecided ones have in common, then those of one seed."""
    decided = [row for row in table.rows if row.values["verdict"] in _DECIDED]
    for row in decided[:4]:
        yield f"“{row.values['arm']}” is {_verdict(row)} “{row.values['baseline']}”: {_size(row)}."
    if len(decided) > 4:
        yield f"{len(decided) - 4} more arms are decided."
    for unit in dict.fromkeys(str(row.values["unit"]) for row in table.rows):
        undecided = [row for row in table.rows if row.values["verdict"] == "undecided" and row.values["unit"] == unit]
        if not undecided:
            continue
        ends = [float(row.values[f"difference_{unit}"]) for row in undecided]  # type: ignore[arg-type]
        low, high = (digits.signed(end, places[unit]) for end in (min(ends), max(ends)))
        between = (
            f"differences lie between {low} and {high} {unit}" if low != high else f"the difference is {low} {unit}"
        )
        alone = len(undecided) == 1
        which = "One change" if alone else f"{len(undecided)} changes"
        yield f"{which} cannot be told apart from {'its baseline' if alone else 'their baselines'}: {between}."
        sizes = (row.values[f"detectable_{unit}"] for row in undecided)
        found = [float(size) for size in sizes if size is not None]
        if found:
            first, last = (digits.fixed(end, digits.decimals(min(found))) for end in (min(found), max(found)))
            span = first if first == last else f"{first} to {last}"
            known = "" if len(found) == len(undecided) else ", where that is known"
            yield f"True ones of {span} {unit} would have been found four times in five{known}."
    single = sum(row.values["verdict"] == "one seed" for row in table.rows)
    if single:
        which = "One arm has" if single == 1 else f"{single} arms have"
        yield f"{which} one seed a side, which says nothing about {'it' if single == 1 else 'them'}."


def _units(units: Sequence[str]) -> str:
    """The unit of the plot, and that of the rows that it leaves out."""
    first, *others = units
    left_out = (f"some in {introduced(unit)}, which are not drawn" for unit in others)
    return "; ".join([f"in {introduced(first)}", *left_out])


def _size(row: Row) -> str:
    unit = f" {row.values['unit']}"
    return row.texts["difference"].removesuffix(unit) + unit


def _verdict(row: Row) -> str:
    return "equivalent to" if row.values["verdict"] == "equivalent" else f"{row.values['verdict']} than"


def _num_compared(analysis: Analysis) -> int:
    rows = analysis.tables["answer"].rows
    return sum(row.values["p"] is not None and row.values["arm"] != analysis.design.control for row in rows)


def _shared(analyses: Sequence[Analysis]) -> Iterator[str]:
    """Which ablations share runs: if these were lucky, all of their rows move together."""
    users: dict[str, list[str]] = {}
    for analysis in analyses:
        for run in dict.fromkeys(run for _, _, run in analysis.design.cells):
            users.setdefault(run, []).append(analysis.design.ablation)
    for names, num in Counter(map(tuple, users.values())).items():
        if len(names) > 1:
            told = f"{', '.join(names[:-1])} and {names[-1]}"
            yield f"{told} share {num} run{'s' if num > 1 else ''}: if these were lucky, all of their rows move."


def _facts(analyses: Sequence[Analysis]) -> dict[str, str]:
    runs = {row.values["run_id"]: row.values["status"] for each in analyses for row in each.tables["runs"].rows}
    rows = [row.values for each in analyses for row in each.tables["answer"].rows]
    seeds, images = sorted({int(row["n"] or 0) for row in rows}), sorted({int(row["images"] or 0) for row in rows})
    return {
        "Ablations": str(len(analyses)),
        "Data": ", ".join(dict.fromkeys(each.data for each in analyses if each.data)) or MISSING,
        "Images": _span(images),
        "Seeds": _span(seeds),
        "Metric": ", ".join(dict.fromkeys(each.metric for each in analyses)),
        "Finished": f"{sum(status == 'finished' for status in runs.values())} of {len(runs)} runs",
    }


def _span(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"


def _cost(table: Table, bars: dict[str, IntervalBar], places: dict[str, int]) -> CostPanel | None:
    """Differences against training time; none of many arms, whose names would cover each other."""
    timed = {
        str(row.values["key"]): (float(row.values["train_seconds_ratio"]), bars[str(row.values["key"])])
        for row in table.rows
        if row.values["train_seconds_ratio"] and str(row.values["key"]) in bars
    }
    if not timed or len(timed) > _MOST_ROWS_WITH_COST or not _varies(table.rows, "train_seconds_ratio"):
        return None
    names = {str(row.values["key"]): str(row.values["arm"]) for row in table.rows}
    return cost_panel("training time", timed, places, names)

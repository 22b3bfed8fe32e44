"""What may be said? One careful sentence that answers the question, made by rule from the comparisons."""

from __future__ import annotations

from collections.abc import Sequence

from reports import digits
from reports.design import Design, DesignArm
from reports.results import Results
from reports.statistics import Comparison

_SPLITS = {"val": "validation", "test": "test"}


def answer(results: Results, compared: dict[str, Comparison]) -> str:
    """Answer the question in a sentence or two, with no more certainty and no more digits than the runs give."""
    design = results.design
    arms = [arm for arm in design.arms if arm.name != design.baseline]
    if not results.of_arm(design.baseline):
        return f"No run of the baseline {_quoted(design.baseline)} is finished, so there is nothing to compare with yet."
    rows = [(arm, compared[arm.name]) for arm in arms]
    speaking = [(arm, row) for arm, row in rows if row.interval]
    if not speaking:
        return "No arm has a finished run that can be paired with the baseline yet."
    text = _each(speaking, design) if len(speaking) <= 3 else _summary(speaking, design)
    return " ".join([text, _basis(results, [row for _, row in speaking]), *_caveats(results, rows)])


def _each(rows: Sequence[tuple[DesignArm, Comparison]], design: Design) -> str:
    clauses = [_clause(arm, row, design) for arm, row in rows]
    return "; ".join(clauses) + "."


def _clause(arm: DesignArm, row: Comparison, design: Design) -> str:
    name, baseline = _quoted(arm.name), _quoted(design.baseline)
    ends = _interval(row)
    if row.verdict in ("higher", "lower"):
        direction = "more" if row.verdict == "higher" else "less"
        return f"{name} is {direction} accurate than {baseline} by {_size(row)} pp ({ends})"
    if row.verdict == "equivalent":
        return f"{name} and {baseline} are equivalent within ±{design.margin:g} pp ({_signed(row)} pp, {ends})"
    return (
        f"{name} and {baseline} cannot be told apart: {_signed(row)} pp ({ends}), and a true difference below about "
        f"{_detectable(row)} would likely have gone unseen"
    )


def _summary(rows: Sequence[tuple[DesignArm, Comparison]], design: Design) -> str:
    """For many arms: how many are higher, lower, equivalent, undecided, and the largest of each direction."""
    parts = []
    for verdict, word in (("higher", "more accurate"), ("lower", "less accurate")):
        found = [(arm, row) for arm, row in rows if row.verdict == verdict]
        if found:
            arm, row = max(found, key=lambda pair: abs(pair[1].difference or 0.0))
            which = "" if len(found) == 1 else ", most of all"
            parts.append(
                f"{len(found)} of {len(rows)} arms {_is(found)} {word} than {_quoted(design.baseline)}{which} "
                f"({_quoted(arm.name)}: {_signed(row)} pp, {_interval(row)})"
            )
    equivalent = [row for _, row in rows if row.verdict == "equivalent"]
    if equivalent:
        parts.append(f"{len(equivalent)} {_is(equivalent)} equivalent to it within ±{design.margin:g} pp")
    undecided = [row for _, row in rows if row.verdict == "undecided"]
    if undecided:
        worst = max(undecided, key=lambda row: row.smallest_detectable or 0.0)
        whom = "it" if parts else _quoted(design.baseline)
        num = f"{len(undecided)}" if parts else f"{len(undecided)} of {len(rows)} arms"
        parts.append(
            f"{num} cannot be told apart from {whom} (true differences below about {_detectable(worst)} "
            "would likely have gone unseen)"
        )
    return "; ".join(parts) + "."


def _basis(results: Results, rows: Sequence[Comparison]) -> str:
    pairs = sorted({row.num_pairs for row in rows})
    seeds = "1 seed" if pairs == [1] else f"{pairs[0]} seeds" if len(pairs) == 1 else f"{pairs[0]} to {pairs[-1]} seeds"
    where = f"{rows[0].num_images} {_SPLITS[results.split]} images"
    if pairs == [1]:
        return f"This rests on {seeds} and {where}: the training noise is unknown, and the intervals count the images alone."
    return f"This rests on {seeds}, paired, and {where}."


def _caveats(results: Results, rows: Sequence[tuple[DesignArm, Comparison]]) -> list[str]:
    found = []
    compound = [arm.name for arm, _ in rows if arm.compound and not results.design.factors]
    if compound:
        verb = "changes" if len(compound) == 1 else "change"
        found.append(f"{_names(compound)} {verb} several things at once, so that no single one of them is credited.")
    silent = [arm.name for arm, row in rows if not row.interval]
    if silent:
        found.append(f"Nothing can be said yet about {_names(silent)}.")
    problems = results.problems()
    if problems:
        found.append(f"{len(problems)} of {len(results.runs)} planned runs {_is(problems)} not counted; they are named below.")
    return found


def _is(items: Sequence[object]) -> str:
    return "is" if len(items) == 1 else "are"


def _names(names: Sequence[str]) -> str:
    quoted = [_quoted(name) for name in names]
    return quoted[0] if len(quoted) == 1 else f"{', '.join(quoted[:-1])} and {quoted[-1]}"


def _quoted(name: str) -> str:
    return f"“{name}”"


def _places(row: Comparison) -> int:
    assert row.interval is not None
    return digits.interval_decimals(100 * row.interval.low, 100 * row.interval.high)


def _signed(row: Comparison) -> str:
    return digits.signed(100 * (row.difference or 0.0), _places(row))


def _size(row: Comparison) -> str:
    return digits.fixed(100 * abs(row.difference or 0.0), _places(row))


def _interval(row: Comparison) -> str:
    assert row.interval is not None
    low, high = (digits.signed(100 * end, _places(row)) for end in (row.interval.low, row.interval.high))
    return f"{100 * row.interval.level:.0f} % interval {low} to {high}"


def _detectable(row: Comparison) -> str:
    pp = 100 * (row.smallest_detectable or 0.0)
    num_images = max(1, round(pp / 100 * row.num_images))
    return f"{digits.fixed(pp, digits.decimals(pp))} pp ({num_images} of {row.num_images} images)"

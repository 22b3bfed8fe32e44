"""What does a table for a paper hold? Arms, metrics, blocks and seeds where a layout puts them, and what it chose."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from itertools import product

from ablation_suite.core.metrics.measures import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.judged import OVER, Judged, judged
from ablation_suite.reports.layout import CELLS, TableLayout, refuse_blocks
from ablation_suite.reports.quantities import MISSING, SPLITS, capital
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.comparison import Comparison
from ablation_suite.reports.statistics.intervals import Interval
from ablation_suite.reports.tables import Column, Row, Table, Value, mean_cost, verdict_of

Key = dict[str, str]
"""Axis -> which of its arms, metrics, blocks or seeds."""
_SINGULAR = {"arms": "arm", "metrics": "metric", "blocks": "block", "seeds": "seed"}
_COSTS: dict[str, tuple[str, str, Callable[[float], str]]] = {
    "parameters": ("parameters", "Parameters", digits.count),
    "flops": ("flops_per_image", "FLOPs per image", digits.count),
    "images": ("images_seen", "Images seen", digits.count),
    "time": ("train_seconds", "Training", digits.seconds),
}
_TO_THE_BASELINE = ("difference", "p", "verdict", "unseen")
_OF_THE_FIRST_METRIC = ("p", "verdict", "unseen")
_BOLD = ("higher", "lower", "equivalent")


def paper_table(family: Sequence[Results], layout: TableLayout) -> Table:
    """The table of a layout over the results of one ablation, or of all blocks of a spec where these have a place.

    LayoutError where the spec has nothing to put on an axis.
    """
    design = family[0].design
    if not design.family:
        refuse_blocks([layout])
    source = _Source(family=tuple(family), layout=layout)
    columns = list(source.columns())
    rows = []
    for row in source.keys(layout.rows):
        key = {_SINGULAR[axis]: source.value(axis, row[axis]) for axis in layout.rows}
        shown = {_SINGULAR[axis]: source.row_label(axis, row[axis]) for axis in layout.rows}
        values, strong = dict(key), set()
        for column, of_column, word in columns:
            cell = source.cell({**source.usual, **row, **of_column}, word)
            prefix = f"{column.group}: " if column.group else ""
            values |= {f"{prefix}{name}": value for name, value in cell.values.items()}
            shown[column.key] = cell.text
            strong |= {column.key} if cell.decided else set()
        rows.append(Row(values=values, texts=shown, strong=frozenset(strong)))
    heads = [Column(key=name, heading=name.capitalize(), sort=name, number=False) for name in key]
    return Table(
        name=layout.name,
        title=design.question.removesuffix(f" ({design.block})") if "blocks" in layout.axes else design.question,
        note=" ".join(source.notes()),
        columns=(*heads, *(column for column, _, _ in columns)),
        rows=tuple(rows),
        num_heads=len(heads),
    )


@dataclass(frozen=True, kw_only=True)
class _Cell:
    """A text, the values behind it under names that say their unit, and whether it is set in bold."""

    text: str = ""
    values: dict[str, Value] = field(default_factory=dict)
    decided: bool = False


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Where the rows, columns and cells of a table come from."""

    family: tuple[Results, ...]
    layout: TableLayout

    @cached_property
    def metrics(self) -> list[Metric]:
        """The metrics that are shown, the one that decides first."""
        names = self.family[0].design.measures
        return [self.family[0].measure(name) for name in (names if "metrics" in self.layout.axes else names[:1])]

    @cached_property
    def told(self) -> dict[str, Judged]:
        """Metric -> its comparisons."""
        return {metric.name: judged(self.family, metric.name) for metric in self.metrics}

    @property
    def usual(self) -> Key:
        """What an axis without a place stands at."""
        return {"metrics": self.metrics[0].name, "blocks": self.family[0].design.block}

    def keys(self, axes: Sequence[str]) -> list[Key]:
        """All combinations of what stands on some axes, the outermost first."""
        return [dict(zip(axes, names, strict=True)) for names in product(*map(self._on, axes))]

    def _on(self, axis: str) -> list[str]:
        design = self.family[0].design
        if axis == "arms":
            return [arm.name for arm in design.arms]
        if axis == "metrics":
            return [metric.name for metric in self.metrics]
        if axis == "seeds":
            return list(map(str, sorted({seed for results in self.family for _, seed, _ in results.design.cells})))
        blocks = [results.design.block for results in self.family]
        over = "seeds" not in self.layout.axes and any(each.over for each in self.told.values())
        return [*blocks, OVER] if over and {"difference", "p"} & set(self.layout.cells) else blocks

    def columns(self) -> Iterator[tuple[Column, Key, str]]:
        """Each column beside those of the rows, with what it is about and its word.

        What no axis of the columns changes stands once, before the others or behind them as the words do.
        """
        words, keys = self.layout.cells, self.keys(self.layout.columns)
        grouped = [word for word in words if set(CELLS[word]) & set(self.layout.columns)]
        first = words.index(grouped[0]) if grouped else len(words)
        yield from (self._column({}, word) for word in words[:first])
        for key in keys if grouped else ():
            for word in grouped:
                about = {axis: name for axis, name in key.items() if axis in CELLS[word]}
                is_first = key is next(each for each in keys if about.items() <= each.items())
                if is_first and not self._is_empty(key, word):  # else another column says the same
                    yield self._column(about, word)
        yield from (self._column({}, word) for word in words[first:] if word not in grouped)

    def _column(self, about: Key, word: str) -> tuple[Column, Key, str]:
        group = ", ".join(self.label(axis, name) for axis, name in about.items())
        heading, value = self._heading({**self.usual, **about}["metrics"], word)
        prefix = f"{group}: " if group else ""
        number = word not in ("changes", "verdict")
        column = Column(key=prefix + word, heading=heading, sort=prefix + value, number=number, group=group)
        return column, about, word

    def _is_empty(self, key: Key, word: str) -> bool:
        """Whether nothing stands in a column."""
        design = self.family[0].design
        return (
            (key.get("blocks") == OVER and word not in ("difference", "p"))
            or (key.get("arms") == design.baseline and word in _TO_THE_BASELINE)
            or (key.get("metrics", self.metrics[0].name) != self.metrics[0].name and word in _OF_THE_FIRST_METRIC)
        )

    def _heading(self, measure: str, word: str) -> tuple[str, str]:
        """The heading of a column and the value that sorts it; no unit where the rows have several."""
        metric = self.family[0].measure(measure)
        of_rows = "metrics" in self.layout.rows
        named = "metrics" in self.layout.axes
        headings = {
            "changes": ("Changes", "changes"),
            "mean": (
                ("Mean" if of_rows else metric.sign) if named else f"{capital(metric.text)} {metric.sign}",
                f"score_{metric.word}",
            ),
            "difference": ("Difference" if of_rows else f"Difference ({metric.unit})", f"difference_{metric.unit}"),
            "p": ("Adjusted p", "p_adjusted"),
            "verdict": ("Verdict", "verdict"),
            "unseen": ("Unseen below", f"detectable_{metric.unit}"),
            "n": ("Seeds", "n"),
            **{each: (heading, name) for each, (name, heading, _) in _COSTS.items()},
        }
        return headings[word]

    def value(self, axis: str, name: str) -> Value:
        """What a row is about, as a file has it."""
        return int(name) if axis == "seeds" else f"{self.family[0].split}/{name}" if axis == "metrics" else name

    def label(self, axis: str, name: str) -> str:
        """The same for people."""
        if axis == "seeds":
            return f"Seed {name}"
        return capital(self.family[0].measure(name).text) if axis == "metrics" else name

    def row_label(self, axis: str, name: str) -> str:
        """The same where the headings of the columns do not say what it is."""
        if axis == "seeds":
            return name
        return self.label(axis, name) + (f" ({self.family[0].measure(name).sign})" if axis == "metrics" else "")

    def cell(self, key: Key, word: str) -> _Cell:
        """What stands in the place of a key."""
        arm, block, metric = key["arms"], key["blocks"], self.family[0].measure(key["metrics"])
        told, design = self.told[metric.name], self.family[0].design
        if self._is_empty(key, word):
            return _Cell()
        if word == "changes":
            changes = design.arm(arm).changes
            return _Cell(text=changes or MISSING, values={"changes": changes})
        if block == OVER:
            over = told.over.get(arm)
            return self._compared(told, metric, arm, block, word, over.interval if over else None)
        results = next(each for each in self.family if each.design.block == block)
        row = told.compared[block][arm]
        if word in _COSTS:
            name, _, write = _COSTS[word]
            cost = mean_cost(results.of_arm(arm)).get(name)
            return _Cell(text=MISSING if cost is None else write(cost), values={name: texts.significant(cost)})
        if word == "n":
            planned = sum(each == arm for each, _, _ in results.design.cells)
            return _Cell(text=f"{row.n}" if row.n == planned else f"{row.n} of {planned}", values={"n": row.n})
        if "seeds" in key:
            return _of_seed(results, metric, told, arm, int(key["seeds"]), word)
        if word == "mean":
            return _mean(told.compared[block], metric, row)
        if word == "verdict":
            verdict = verdict_of(results, row)
            return _Cell(text=verdict, values={"verdict": verdict}, decided=verdict in _BOLD)
        if word == "unseen":
            known = row.smallest_detectable if texts.is_known(row, metric) else None
            size = texts.scaled(known, metric.scale)
            return _Cell(text=texts.detectable(row, metric), values={f"detectable_{metric.unit}": size})
        if row.interval is None and row.difference is not None and word == "difference":
            return _one_pair(told, metric, row.difference)
        return self._compared(told, metric, arm, block, word, row.interval)

    def _compared(
        self, told: Judged, metric: Metric, arm: str, block: str, word: str, interval: Interval | None
    ) -> _Cell:
        """A difference with its interval, or its p; bold where that of the metric that decides is decided."""
        p = told.adjusted.get((arm, block))
        decided = metric.name == self.metrics[0].name and arm != self.family[0].design.control
        if len(self.family) > 1:
            decided &= p is not None and p < 0.05
        else:
            decided &= told.compared[block][arm].verdict in _BOLD
        if word == "p":
            text = MISSING if p is None else digits.p_value(p)
            return _Cell(text=text, values={"p_adjusted": texts.significant(p)}, decided=decided)
        ends = (interval.estimate, interval.low, interval.high) if interval else (None, None, None)
        names = (f"{end}_{metric.unit}" for end in ("difference", "low", "high"))
        return _Cell(
            text=texts.difference(interval, told.places, metric.scale),
            values={name: texts.scaled(end, metric.scale) for name, end in zip(names, ends, strict=True)},
            decided=decided,
        )

    def notes(self) -> Iterator[str]:
        """What a reader has to know: what the numbers are over, and what bold type means."""
        first, shown = self.metrics[0], set(self.layout.cells)
        images = {len(each.reference.labels) for each in self.family if each.reference}
        span = (
            f"{min(images, default=0)} to {max(images, default=0)}" if len(images) > 1 else f"{max(images, default=0)}"
        )
        of_runs = "seeds" in self.layout.axes
        most_seeds = 1 if of_runs else max(results.most_seeds for results in self.family)
        judged_at_all = not of_runs and any(told.adjusted for told in self.told.values())
        each = f"; {texts.over_seeds(most_seeds)}" if "mean" in shown else ""
        yield f"{SPLITS[self.family[0].split].capitalize()}, {span} images{each}."
        if "difference" in shown:
            what = "with 95 % intervals, paired by seed and image" if judged_at_all else "by seed, of single runs"
            yield f"Differences to {self.family[0].design.baseline}, {what}."
        if of_runs:
            return
        if shown & set(_TO_THE_BASELINE) and judged_at_all:
            over = "all differences of it in this table" if len(self.family) > 1 else "the arms"
            yield f"Bold: decided in {first.text}, by Holm over {over}."
            if len(self.metrics) > 1:
                yield "The intervals of the other metrics stand beside it and are not adjusted for their number."
        if "blocks" in self.layout.axes and OVER in self._on("blocks"):
            yield "Over blocks: the mean of the blocks' differences; it speaks of these blocks, not of others."
        lower = [metric.text for metric in self.metrics if not metric.higher_is_better]
        if lower:
            yield f"Lower is better: {', '.join(lower)}."


def _mean(rows: dict[str, Comparison], metric: Metric, row: Comparison) -> _Cell:
    cells = ((each.sd, each.num_images, each.n) for each in rows.values() if each.mean is not None)
    text = texts.accuracy(row.mean, row.sd, texts.accuracy_places(cells, metric.scale), metric.scale)
    values = {"score": row.mean, "sd": row.sd}
    return _Cell(
        text=text, values={f"{name}_{metric.word}": texts.scaled(each, metric.scale) for name, each in values.items()}
    )


def _of_seed(results: Results, metric: Metric, told: Judged, arm: str, seed: int, word: str) -> _Cell:
    """The value of one run, or its difference to the baseline's of the same seed."""
    ours, theirs = (results.scores(each, metric.name).get(seed) for each in (arm, results.design.baseline))
    if ours is None or (word == "difference" and (theirs is None or not results.comparable(arm))):
        return _Cell(text=MISSING)
    if word == "difference":
        assert theirs is not None
        return _one_pair(told, metric, float(ours.mean() - theirs.mean()))
    places = texts.accuracy_places([(None, len(ours), 1)], metric.scale)
    value = texts.scaled(float(ours.mean()), metric.scale)
    return _Cell(
        text=texts.accuracy(float(ours.mean()), None, places, metric.scale), values={f"score_{metric.word}": value}
    )


def _one_pair(told: Judged, metric: Metric, difference: float) -> _Cell:
    text = texts.one_pair(difference, told.places, metric.scale)
    return _Cell(text=text, values={f"difference_{metric.unit}": texts.scaled(difference, metric.scale)})

"""What would a method section say of an ablation? A paragraph whose every claim holds of these runs, with its sources.

What is not the same in all runs, or not known of them, is not said.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ablation_suite.core.config.levels import value_at
from ablation_suite.reports import quantities as texts
from ablation_suite.reports.cited import Cite, Text, joined
from ablation_suite.reports.quantities import SPLITS, listed, quoted
from ablation_suite.reports.results import Results
from ablation_suite.reports.rule_wording import wanting_seeds
from ablation_suite.reports.statistics.comparison import Comparison

_MOST_NAMED = 8
_OPTIMIZERS = {
    "adam": ("Adam", "kingma2015"),
    "adamw": ("AdamW", "loshchilov2019"),
    "sgd": ("stochastic gradient descent", ""),
    "rmsprop": ("RMSprop", ""),
}
_SCHEDULES = {
    "constant": ("a constant learning rate", ""),
    "cosine": ("a learning rate that falls as half a cosine", "loshchilov2017"),
    "step": ("a learning rate that falls in steps", ""),
    "linear": ("a learning rate that falls linearly", ""),
}
_MEANS = ("accuracy", "nll", "brier", "calibration_error")
"""Metrics that are means over images; so is top-k accuracy."""
_METRIC_SOURCES = {
    "brier": "brier1950",
    "calibration_error": "guo2017",
    "kappa": "cohen1968",
    "auroc": "delong1988",
}


def method(results: Results, compared: Mapping[str, Comparison]) -> Text:
    """The paragraph of one ablation: what was compared, trained, paired, kept, measured, and how it is judged."""
    if all(row.difference is None for row in compared.values()):
        return ["No arm has a finished run that can be paired with the baseline yet."]
    parts = (
        _design(results),
        _training(results),
        _seeds(results, compared),
        _selection(results),
        _metric(results, compared),
        _interval(results, compared),
        _family(results, compared),
    )
    return joined([sentence for part in parts for sentence in part])


def method_over_blocks(family: Sequence[Results], num_differences: int) -> Text:
    """What the page over blocks does with the differences of each; num_differences: of which Holm's family has."""
    blocks = listed([results.design.block for results in family])
    return joined(
        [
            [f"The comparison of {_arms(family[0])} was made in {len(family)} blocks ({blocks})."],
            [
                "The differences of the blocks were averaged with equal weights; variances of blocks with images of "
                "their own add, with Satterthwaite’s degrees of freedom",
                Cite("satterthwaite1946"),
                ", and blocks on the same images were averaged image by image and seed by seed before.",
            ],
            [
                f"All {num_differences} p values, of the blocks and of their means, were adjusted together by Holm’s "
                "method",
                Cite("holm1979"),
                ".",
            ]
            if num_differences > 1
            else [],
            [
                "Whether the blocks agree was asked of Cochran’s Q",
                Cite("cochran1954"),
                ", whose p was corrected for the estimated standard errors",
                Cite("welch1951"),
                ", and of I squared",
                Cite("higgins2002"),
                ". The mean speaks of these blocks alone.",
            ],
        ]
    )


def _design(results: Results) -> Iterator[Text]:
    design = results.design
    if design.factors:
        factors = listed([f"{factor} ({', '.join(levels)})" for factor, levels in design.factors.items()])
        yield [f"A full factorial of {factors} was trained; {quoted(design.baseline)} is its baseline."]
    elif design.contenders:
        yield [f"We compared {_arms(results)}."]
    told = [f"{quoted(arm.name)} sets {arm.changes}" for arm in design.contenders if arm.changes and not arm.compound]
    if not design.factors and 0 < len(told) <= _MOST_NAMED:
        rest = "" if design.tuned else ". The other settings of these arms are those of the baseline"
        yield [f"{'; '.join(told)}{rest}."]
    compound = [arm.name for arm in design.contenders if arm.compound]
    if compound and not design.factors:
        verb = "changes" if len(compound) == 1 else "change"
        yield [f"{listed([*map(quoted, compound)])} {verb} several settings at once."]
    if design.control:
        yield ["As a control the baseline was trained once more on other seeds."]


def _arms(results: Results) -> str:
    design = results.design
    names = [quoted(arm.name) for arm in design.contenders]
    arms = listed(names) if len(names) <= _MOST_NAMED else f"{len(names)} arms"
    return f"{arms} with the baseline {quoted(design.baseline)}"


def _training(results: Results) -> Iterator[Text]:
    """Settings that all runs share."""
    configs = [run.record["config"] for run in results.runs if run.usable and run.record]
    if not configs:
        return
    epochs, batch = _shared(configs, "epochs"), _shared(configs, "batch_size")
    text: Text = ["All runs were trained"]
    if epochs is not None:
        text.append(f" for {'at most ' if _shared(configs, 'early_stopping') else ''}{epochs} epochs")
    if batch is not None:
        text.append(f" in batches of {batch}")
    name, lr = _shared(configs, "optimizer.name"), _shared(configs, "optimizer.lr")
    if name in _OPTIMIZERS:
        words, key = _OPTIMIZERS[name]
        text += [f" with {words}", *([Cite(key)] if key else [])]
        text += [f" at a learning rate of {lr:g}"] if isinstance(lr, int | float) else []
    schedule = _shared(configs, "schedule.name")
    if schedule in _SCHEDULES and len(text) > 1:
        words, key = _SCHEDULES[schedule]
        text += [f", under {words}", *([Cite(key)] if key else [])]
    versions = _torch_versions(results)
    if len(versions) == 1:
        text += [f"{',' * (len(text) > 1)} in PyTorch {versions.pop()}", Cite("paszke2019")]
    if len(text) > 1:
        yield [*text, "."]


def _torch_versions(results: Results) -> set[str]:
    records = [run.record for run in results.runs if run.usable and run.record]
    found = [((record.get("provenance") or {}).get("packages") or {}).get("torch") for record in records]
    return {str(version) for version in found} if found and all(found) else set()


def _seeds(results: Results, compared: Mapping[str, Comparison]) -> Iterator[Text]:
    design = results.design
    usable = [run for run in results.runs if run.usable]
    counts = sorted({row.n for row in compared.values() if row.n})
    span = f"{counts[0]} to {counts[-1]} seeds" if len(counts) > 1 else f"{counts[0]} seed{'s' * (counts[0] > 1)}"
    without = [quoted(arm) for arm, row in compared.items() if not row.n]
    each = f"{listed(without)} {_has(without)} no result, every other arm {span}" if without else f"Each arm has {span}"
    missing = len(results.runs) - len(usable)
    yield [
        each
        + (f"; {missing} of {len(results.runs)} planned runs have no result and count for nothing." if missing else ".")
    ]
    rule = design.rule
    if rule:
        were, was = ("are", "is") if wanting_seeds(results, compared.values()) else ("were", "was")
        until = (
            f"its interval {was} within ±{rule['precision']:g} {results.metric.unit}"
            if rule["precision"] is not None
            else f"its difference {was} decided, or more would hardly decide it,"
        )
        yield [
            f"Seeds {were} added to an arm one at a time, from {rule['min']} to at most {rule['max']}, until {until} "
            "on validation images."
        ]
    configs = [run.record["config"] for run in usable if run.record]
    if max(counts) and len(design.arms) > 1:
        order = all(_is_shared(configs, path) for path in ("data", "batch_size", "epochs", "loss.name"))
        shares = "the split, the order of the images and " if order else ""
        but = f", but for those of {quoted(design.control)}," if design.control else ""
        yield [
            f"Runs of one seed{but} share {shares}the initial values of all tensors that agree in name and shape, so "
            "that arms are compared seed by seed and image by image."
        ]


def _selection(results: Results) -> Iterator[Text]:
    configs = [run.record["config"] for run in results.runs if run.usable and run.record]
    selection = _shared(configs, "selection") if configs else None
    if selection == "best":
        yield ["Of each run the epoch with the highest validation accuracy was kept."]
    elif selection == "last":
        yield ["Of each run the last epoch was kept."]
    if results.design.tuned:
        yield ["Every arm was trained under the settings that a search of its own had found on validation images."]
    if results.reference is None:
        return
    num = f"{len(results.reference.labels)} {SPLITS[results.split]} images of {results.reference.num_classes} classes"
    data = (_shared(configs, "data.path") or _shared(configs, "data.name")) if configs else None
    num += f" (data set {quoted(str(data))})" if data else ""
    if results.groups is not None:
        num_groups = len(set(results.groups.tolist()))
        yield [f"Images that agree in {results.grouped_by} count as one sample, {num_groups} in all."]
    if results.split == "test":
        yield [f"All results are those of {num}, which had no part in training or selection."]
    elif results.selected:
        yield [f"All results are those of {num}, the same on which the epoch was chosen, so that they are optimistic."]
    elif results.of_kept:
        yield [f"All results are those of the last epoch on {num}, because the kept epoch was chosen on these."]
    else:
        yield [f"All results are those of {num}."]


def _metric(results: Results, compared: Mapping[str, Comparison]) -> Iterator[Text]:
    metrics = [results.measure(name) for name in results.design.measures]
    first, *others = metrics
    text: Text = [f"The arms are compared by {first.text}", *_source(first.name)]
    if others:
        text.append("; beside it stand " if len(others) > 1 else "; beside it stands ")
        for index, metric in enumerate(others):
            text += [", " if 0 < index < len(others) - 1 else " and " if index else "", metric.text]
            text += _source(metric.name)
        if any(row.interval for row in compared.values()):
            text.append(", whose intervals are not adjusted for their number")
    yield [*text, "."]
    own = [m.text for m in metrics if m.name in results.design.own]
    if own:
        yield [
            f"The sampling of images enters {listed(own)} by what each image contributes to it; to a metric that is "
            "given as one number, that is what is lost where the image is left out",
            Cite("efron1981"),
            ".",
        ]
    nonlinear = [
        m.text for m in metrics if m.name not in {*_MEANS, *results.design.own} and not m.name.startswith("top_")
    ]
    if nonlinear:
        yield [
            f"The sampling of images enters {listed(nonlinear)} by the influence of each image",
            Cite("hampel1974"),
            ".",
        ]


def _source(name: str) -> Text:
    return [Cite(_METRIC_SOURCES[name])] if name in _METRIC_SOURCES else []


def _interval(results: Results, compared: Mapping[str, Comparison]) -> Iterator[Text]:
    intervals = [row.interval for row in compared.values() if row.interval]
    if not intervals:
        if any(row.difference is not None for row in compared.values()):
            yield ["With one seed a side the training noise is unknown, so that differences have no interval."]
        return
    level = f"{100 * intervals[0].level:.0f} %"
    if {each.method for each in intervals} == {"crossed"}:
        yield [
            f"Differences have {level} intervals in which seeds and images both count as samples: the variance of the "
            "mean comes from the mean squares of a crossed layout, its degrees of freedom are Satterthwaite’s",
            Cite("satterthwaite1946"),
            ", and no interval is narrower than those over seeds alone or images alone. The spread of the images "
            "counts two more, one that speaks for each side",
            Cite("bonett2012"),
            ".",
        ]
    else:
        yield [f"Differences have {level} t intervals over seeds."]
    if results.design.rule:
        yield [
            "Intervals and p values are repeated ones, which hold at all looks together",
            Cite("jennison1989"),
            ".",
        ]


def _family(results: Results, compared: Mapping[str, Comparison]) -> Iterator[Text]:
    design, unit = results.design, results.metric.unit
    family = [row for arm, row in compared.items() if arm != design.control and row.p is not None]
    if len(family) > 1:
        yield [
            f"The p values of the {len(family)} comparisons were adjusted by Holm’s method",
            Cite("holm1979"),
            "; an arm counts as different where its adjusted p is below 0.05.",
        ]
    elif family:
        yield ["There is one comparison; it counts as different where its p is below 0.05."]
    if design.margin is not None and family:
        adjusted = ", adjusted likewise" if len(family) > 1 else ""
        yield [
            f"An arm counts as equivalent where its interval lies within ±{design.margin:g} {unit} and two one-sided "
            "tests",
            Cite("schuirmann1987"),
            f" reject a difference of so much{adjusted}.",
        ]
    if any(row.smallest_detectable is not None and texts.is_known(row, results.metric) for row in family):
        yield ["What could have gone unseen is told as the true difference that is found with a probability of 0.8."]


def _has(names: Sequence[str]) -> str:
    return "has" if len(names) == 1 else "have"


def _is_shared(configs: Sequence[Mapping[str, Any]], path: str) -> bool:
    values = [value_at(config, path) for config in configs]
    return all(value == values[0] for value in values)


def _shared(configs: Sequence[Mapping[str, Any]], path: str) -> Any:
    """The value at a dotted path, where all configs have the same; else None."""
    return value_at(configs[0], path) if _is_shared(configs, path) else None

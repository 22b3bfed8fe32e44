"""What else is there to know about the arms? Secondary metrics, costs, and the effects of a grid."""

from __future__ import annotations

from collections.abc import Callable

from ablation_suite.core.metrics.measures import Metric
from ablation_suite.reports import quantities as texts
from ablation_suite.reports import rounding as digits
from ablation_suite.reports.compared import comparisons
from ablation_suite.reports.quantities import MISSING, SPLITS
from ablation_suite.reports.results import Results
from ablation_suite.reports.statistics.factorial import Effect, factorial_effects
from ablation_suite.reports.tables import ARM, Column, Row, Table, Value, mean_cost


def further_table(results: Results) -> Table | None:
    """The metrics that were asked for beside the one that decides, with paired differences; None without any."""
    measures = results.design.measures[1:]
    if not measures or results.reference is None:
        return None
    arms = [arm.name for arm in results.design.arms]
    values: dict[str, dict[str, Value]] = {arm: {"arm": arm, "n": len(results.of_arm(arm))} for arm in arms}
    shown = {arm: {"arm": arm} for arm in arms}
    columns, with_intervals = [ARM], False
    for name in measures:
        metric, compared = results.measure(name), comparisons(results, name)
        scale, unit, of_difference = metric.scale, metric.word, metric.unit
        cells = ((row.sd, row.num_images, row.n) for row in compared.values() if row.mean is not None)
        places, of_ends = texts.accuracy_places(cells, scale), texts.answer_places(compared.values(), scale)
        for arm, row in compared.items():
            found = row.interval
            with_intervals |= found is not None
            values[arm] |= {
                f"{name}_{unit}": texts.scaled(row.mean, scale),
                f"{name}_sd_{unit}": texts.scaled(row.sd, scale),
                f"{name}_difference_{of_difference}": texts.scaled(row.difference, scale),
                f"{name}_low_{of_difference}": texts.scaled(found.low if found else None, scale),
                f"{name}_high_{of_difference}": texts.scaled(found.high if found else None, scale),
            }
            shown[arm][name] = texts.accuracy(row.mean, row.sd, places, scale)
            shown[arm][f"{name}_difference"] = texts.row_difference(row, of_ends, scale)
        heading = metric.text[0].upper() + metric.text[1:]
        columns += [
            Column(key=name, heading=f"{heading} {metric.sign}", sort=f"{name}_{unit}"),
            Column(
                key=f"{name}_difference",
                heading=f"Difference ({of_difference}){'' if metric.higher_is_better else ', lower is better'}",
                sort=f"{name}_difference_{of_difference}",
            ),
        ]
    return Table(
        name="further",
        title="The other metrics that were asked for",
        note=_further_note(results, with_intervals=with_intervals),
        columns=tuple(columns),
        rows=tuple(Row(values=values[arm], texts=shown[arm]) for arm in arms),
    )


def _further_note(results: Results, *, with_intervals: bool) -> str:
    means = f"{SPLITS[results.split].capitalize()} images, {texts.over_seeds(results.most_seeds)}, and the paired"
    decides = f"{texts.capital(results.metric.text)} decides"
    if not with_intervals:
        return f"{means} difference. {decides}; one seed a side says nothing about the changes."
    return (
        f"{means} difference with its 95 % interval. {decides}; these intervals stand beside it and are not adjusted "
        "for their number."
    )


def metrics_table(results: Results) -> Table:
    """Secondary metrics of the answering split, and which epochs were kept."""
    loss, of_kept = f"{results.split}_loss", results.of_kept
    beside = (
        f" Kept epoch: the one that was chosen on these images; its differences in {results.metric.text}, as if it had "
        "not been, count for nothing."
        if of_kept
        else " Validation and last epoch are accuracies."
        if results.split == "test"
        else " Last epoch is an accuracy."
    )
    return Table(
        name="metrics",
        title="Other metrics",
        note=f"{SPLITS[results.split].capitalize()} images, {texts.over_seeds(results.most_seeds)}; "
        f"percent but for loss and epoch.{beside} By chance: the calibration error of a predictor whose confidences "
        "are true, on as many images.",
        columns=(
            ARM,
            *_epoch_columns(results),
            Column(key="top_5", heading="Top-5", sort="top_5_percent"),
            Column(key="macro_f1", heading="Macro F1", sort="macro_f1_percent"),
            Column(key="calibration_error", heading="Calibration error", sort="calibration_error_percent"),
            Column(key="calibration_error_by_chance", heading="By chance", sort="calibration_error_by_chance_percent"),
            Column(key=loss, heading="Loss", sort=loss),
            Column(key="best_epoch", heading="Kept epoch", sort="best_epoch"),
        ),
        rows=_metrics_rows(results),
    )


def _epoch_columns(results: Results) -> list[Column]:
    """The accuracies of the epochs and splits that do not answer."""
    last = Column(key="last", heading="Last epoch", sort="last_accuracy_percent")
    if results.of_kept:
        unit = results.metric.unit
        return [
            Column(key="val", heading="Accuracy of the kept epoch", sort="val_accuracy_percent"),
            Column(key="kept_difference", heading=f"Its difference ({unit})", sort=f"kept_difference_{unit}"),
        ]
    if results.split == "test":
        return [Column(key="val", heading="Validation", sort="val_accuracy_percent"), last]
    return [last] if results.epoch == "kept" else []


def _metrics_rows(results: Results) -> tuple[Row, ...]:
    """One row per arm, made column by column, because the digits are those of the column."""
    arms = [arm.name for arm in results.design.arms]
    values: dict[str, dict[str, Value]] = {arm: {"arm": arm, "n": len(results.of_arm(arm))} for arm in arms}
    shown = {arm: {"arm": arm} for arm in arms}
    for key, name in (("val", "val/accuracy"), ("last", f"last/{results.split}/accuracy")):
        found = {arm: texts.mean_and_sd(texts.metric(results.of_arm(arm), name)) for arm in arms}
        num_images = len(results.reference.labels) if results.reference else 1
        places = texts.accuracy_places((sd, num_images, len(results.of_arm(arm))) for arm, (_, sd) in found.items())
        for arm, (mean, sd) in found.items():
            values[arm] |= {f"{key}_accuracy_percent": texts.percent(mean), f"{key}_sd_percent": texts.percent(sd)}
            shown[arm][key] = texts.accuracy(mean, sd, places)
    for key in ("top_5", "macro_f1", "calibration_error", "calibration_error_by_chance"):
        outputs = {arm: list(results.outputs(arm).values()) for arm in arms}
        found = {arm: texts.mean_and_sd([getattr(each, key) for each in outputs[arm]]) for arm in arms}
        sizes = {arm: (len(each[0].labels), len(each)) for arm, each in outputs.items() if each}
        places = texts.accuracy_places((found[arm][1], *size) for arm, size in sizes.items())
        for arm, (mean, sd) in found.items():
            values[arm] |= {f"{key}_percent": texts.percent(mean), f"{key}_sd_percent": texts.percent(sd)}
            shown[arm][key] = texts.accuracy(mean, sd, places)
    if results.of_kept:
        compared = comparisons(results.of_kept)
        unit, scale = results.metric.unit, results.metric.scale
        places = texts.answer_places(compared.values(), scale)
        for arm, row in compared.items():
            low, high = (row.interval.low, row.interval.high) if row.interval else (None, None)
            ends = {"difference": row.difference, "low": low, "high": high}
            values[arm] |= {f"kept_{name}_{unit}": texts.scaled(end, scale) for name, end in ends.items()}
            shown[arm]["kept_difference"] = texts.row_difference(row, places, scale)
    for key, step in ((f"{results.prefix}/loss", 0.001), ("best_epoch", 1.0)):
        name = key.removeprefix("last/").replace("/", "_")
        found = {arm: texts.mean_and_sd(texts.metric(results.of_arm(arm), key)) for arm in arms}
        places = digits.column(((sd, step / 10 if sd else step) for _, sd in found.values()), most=3)
        for arm, (mean, sd) in found.items():
            values[arm] |= {name: texts.significant(mean), f"{name}_sd": texts.significant(sd)}
            spread = f" ± {digits.fixed(sd, places)}" if sd is not None else ""
            shown[arm][name] = MISSING if mean is None else digits.fixed(mean, places) + spread
    return tuple(Row(values=values[arm], texts=shown[arm]) for arm in arms)


def cost_table(results: Results) -> Table:
    """What each arm cost, as the mean over its runs."""
    return Table(
        name="cost",
        title="What it cost",
        note="Means over seeds. FLOPs are those of one forward pass, two per multiply-add.",
        columns=(ARM, *(Column(key=key, heading=heading, sort=key) for key, (heading, _) in _COSTS.items())),
        rows=tuple(_cost_row(results, arm.name) for arm in results.design.arms),
    )


_COSTS: dict[str, tuple[str, Callable[[float], str]]] = {
    "parameters": ("Parameters", digits.count),
    "head_parameters": ("In the head", digits.count),
    "flops_per_image": ("FLOPs per image", digits.count),
    "images_seen": ("Images seen", digits.count),
    "optimizer_steps": ("Steps", digits.count),
    "train_seconds": ("Training", digits.seconds),
    "images_per_second": ("Images/s", digits.count),
    "peak_memory_bytes": ("Peak memory", digits.size),
}


def _cost_row(results: Results, arm: str) -> Row:
    cost = mean_cost(results.of_arm(arm))
    values: dict[str, Value] = {"arm": arm, **{key: texts.significant(cost.get(key)) for key in _COSTS}}
    shown = {key: write(cost[key]) if key in cost else MISSING for key, (_, write) in _COSTS.items()}
    return Row(values=values, texts={"arm": arm, **shown})


def effects_table(results: Results) -> Table | None:
    """Main effects and two-way interactions of a grid; None without a grid or where a cell of it has no run."""
    design, reference = results.design, results.reference
    arms = [arm for arm in design.arms if not arm.control]
    if reference is None or not design.factors or not all(results.comparable(arm.name) for arm in arms):
        return None
    scores = {arm.levels: results.scores(arm.name) for arm in arms}
    try:
        effects = factorial_effects(scores, design.factors)
    except ValueError:  # the grid is not full yet; the table of runs names what is missing
        return None
    metric, num_images = results.metric, len(reference.labels)
    pairs = ((effect.interval if effect.num_pairs > 1 else None, num_images, effect.num_pairs) for effect in effects)
    places = texts.difference_places(pairs, metric.scale)
    return Table(
        name="effects",
        title="Main effects and interactions",
        note=f"Averaged over the levels of all other factors, in {results.metric.unit}"
        + (" with 95 % intervals; p by Holm over all rows. " if any(e.num_pairs > 1 for e in effects) else ". ")
        + "An interaction is how much the first effect changes when the second factor does. "
        "One seed says nothing about the training noise, so that it has neither interval nor p.",
        columns=(
            Column(key="effect", heading="Effect", sort="effect", number=False),
            Column(key="difference", heading=f"Difference ({metric.unit})", sort=f"difference_{metric.unit}"),
            Column(key="p", heading="Adjusted p", sort="p_adjusted"),
            Column(key="n", heading="Seeds", sort="n"),
        ),
        rows=tuple(_effect_row(effect, places, metric) for effect in effects),
    )


def _effect_row(effect: Effect, places: int, metric: Metric) -> Row:
    parts = zip(effect.factors, effect.levels, effect.references, strict=True)
    name = " × ".join(f"{factor} {reference} → {level}" for factor, level, reference in parts)
    widest = len(effect.factors) * metric.widest  # an interaction is a difference of differences
    interval = effect.interval.within(widest) if effect.num_pairs > 1 else None
    values: dict[str, Value] = {
        "effect": name,
        "interaction": len(effect.factors) > 1,
        f"difference_{metric.unit}": texts.scaled(effect.interval.estimate, metric.scale),
        f"low_{metric.unit}": texts.scaled(interval.low if interval else None, metric.scale),
        f"high_{metric.unit}": texts.scaled(interval.high if interval else None, metric.scale),
        "p_adjusted": texts.significant(effect.p_adjusted) if interval else None,
        "n": effect.num_pairs,
    }
    shown = {
        "effect": name,
        "difference": texts.difference(interval, places, metric.scale)
        if interval
        else texts.one_pair(effect.interval.estimate, places, metric.scale),
        "p": digits.p_value(effect.p_adjusted) if interval else MISSING,
        "n": str(effect.num_pairs),
    }
    return Row(values=values, texts=shown)

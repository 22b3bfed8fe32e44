"""How is the report of a search written, and what stands on its page, also where there is nothing to draw?"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import shell_line
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.files import write_atomic
from ablation_suite.reports.captions import SWEEP_FIGURES
from ablation_suite.reports.drawings import IntervalBar, IntervalPlot, interval_plot
from ablation_suite.reports.page import rendered
from ablation_suite.reports.quantities import listed
from ablation_suite.reports.sweep_analysis import SweepAnalysis, analyse, saved_text
from ablation_suite.reports.sweep_drawings import curves, history, score_of
from ablation_suite.reports.sweep_figures import draw_sweep
from ablation_suite.reports.sweep_front import front_planes, front_table
from ablation_suite.reports.sweep_importance import Importance, words
from ablation_suite.reports.sweep_map import parallel, parameter_axis, setting_map
from ablation_suite.reports.tables import Table
from ablation_suite.reports.writers import to_csv
from ablation_suite.sweeps.parameter import Parameter
from ablation_suite.sweeps.progress import as_overrides, short
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.study import Study
from ablation_suite.sweeps.trial import Trial, reproduce_command


def write_sweep_report(study: Study, runtime: Runtime, out: Path, given: Sequence[str] = ()) -> list[Path]:
    """Write the report of a study and return the paths of its pages; printed commands get the options `given`."""
    analysis = analyse(study, runtime.store)
    figures = draw_sweep(analysis)
    files = {f"figures/{name}": content for name, content in figures.items()}
    tables = {**analysis.tables, **({"front": front_table(analysis)} if analysis.front else {})}
    files |= {f"tables/{name}.csv": to_csv(table).encode() for name, table in tables.items()}
    files |= {name: text.encode() for name, text in sweep_pages(analysis, figures, given).items()}
    for name, content in files.items():
        path = out / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, content)
    return [out / "report.html", out / "report.md"]


def sweep_pages(analysis: SweepAnalysis, figures: Collection[str], given: Sequence[str] = ()) -> dict[str, str]:
    """`report.html`, which needs no other file, and `report.md`, which shows the figures of these names."""
    context = sweep_context(analysis, given)
    shown = {name: caption for name, caption in SWEEP_FIGURES.items() if f"{name}.svg" in figures}
    return {
        "report.html": rendered("sweep.html", **context),
        "report.md": rendered("sweep.md", **context, captions=shown, saved=saved_text(analysis.effort)),
    }


_NARROW = 0.5
"""Settings that span more of their range say little."""


def sweep_context(analysis: SweepAnalysis, given: Sequence[str] = ()) -> dict[str, Any]:
    """Everything that `sweep.html` and `sweep.md` tell; printed commands get the options `given`."""
    score = score_of(analysis)
    trials, best = analysis.tables.get("trials"), analysis.best
    return {
        "analysis": analysis,
        "sweep": analysis.sweep,
        "tables": analysis.tables,
        "claim": claim(analysis),
        "facts": _facts(analysis),
        "planes": (
            front_planes(analysis)
            if analysis.sweep.is_multi
            else [plane for plane in (history(analysis, score), curves(analysis, score)) if plane]
        ),
        "front": front_table(analysis) if analysis.front else None,
        "commands": {each.number: reproduce_command(each, given) for each in analysis.front},
        "has_ground": analysis.rivals is not None and bool(analysis.rivals.numbers),
        "map": setting_map(analysis, score),
        "importances": [each for each in map(_drawn, (analysis.early, analysis.importance)) if each],
        "untrained": any(each.outcome == "infeasible" for each in analysis.trials),
        "doubt": _doubt(analysis),
        "parallel": parallel(analysis, score),
        "complete": _complete(trials, analysis.sweep.maximize) if trials else None,
        "others": _others(trials) if trials else None,
        "settings": shell_line(as_overrides(analysis.sweep.space.portable(best.values))) if best else "",
        "command": reproduce_command(best, given) if best else "",
    }


def claim(analysis: SweepAnalysis) -> str:
    """Which settings the search has found, as far as the trials that are as good as the best one tell."""
    alike = _alike(analysis)
    parameters = analysis.sweep.space.parameters
    if len(alike) < 2:
        return ""
    told = [
        (each, said)
        for each in parameters
        if (len(parameters) == 1 or each.path in (analysis.early or analysis.importance).telling)
        and (said := _where(each, alike))
    ]
    names = analysis.sweep.space.names
    silent = [names[each.path] for each in parameters if each.path not in {found.path for found, _ in told}]
    if not told:
        return "These trials do not tell where the good settings lie."
    rest = f"; on {listed(silent)} these trials say little" if silent else ""
    return f"{', '.join(f'{names[each.path]} {said}' for each, said in told)}{rest}."


def _alike(analysis: SweepAnalysis) -> list[Trial]:
    """The best trial and those that the validation images cannot tell from it."""
    if analysis.best is None or analysis.rivals is None:
        return []
    numbers = {analysis.best.number, *analysis.rivals.numbers}
    return [trial for trial in analysis.trials if trial.number in numbers]


def _where(parameter: Parameter, alike: Sequence[Trial]) -> str:
    """Where in its range the good trials have a parameter; nothing where that is most of the range."""
    values = [trial.values[parameter.path] for trial in alike if parameter.path in trial.values]
    if parameter.kind == "choice":
        found = [str(label) for label in parameter.labels if label in values]
        return " or ".join(found) if values and len(found) < len(parameter.labels) else ""
    axis = parameter_axis(parameter, 0, 1)
    if not values or axis.at(max(values)) - axis.at(min(values)) > _NARROW:
        return ""
    return f"from {short(min(values))} to {short(max(values))}"


def _facts(analysis: SweepAnalysis) -> dict[str, str]:
    sweep, effort, rivals = analysis.sweep, analysis.effort, analysis.rivals
    spec = sweep.spec
    images = f"{rivals.num_images} validation images, " if rivals else ""
    found = {
        "Trials": analysis.counts or "none yet",
        "Saved": f"{effort.saved_epochs} of {effort.trained_epochs + effort.saved_epochs} epochs",
        **({"Begun": "; ".join(map(str.strip, analysis.begun_with))} if analysis.begun_with else {}),
        "Sampler": _entry(spec.sampler),
        "Pruner": "none: of several objectives no trial is stopped early" if sweep.is_multi else _entry(spec.pruner),
        "Seeds": f"{spec.seeds} per trial",
        "Judge": f"{images}{', '.join(sweep.objectives)}",
        **({"Epoch": epoch} if (epoch := judged_epoch(sweep)) else {}),
        "Spec": " ".join([sweep.source, *sweep.overrides]),
    }
    return found


def judged_epoch(sweep: Sweep) -> str:
    """Which epoch of a run its score is that of; nothing where that is itself a setting of the search."""
    if any(each.path == "selection" for each in sweep.space.parameters):
        return ""
    if sweep.config.selection == "last":
        return "trials are judged by the last epoch of their runs"
    return "trials are judged by the kept epoch of their runs, the best on these same images, so by a little too much"


def _entry(entry: Any) -> str:
    """An entry of a menu with what was set otherwise than by default."""
    changed = entry.model_dump(exclude_defaults=True, exclude={"name"})
    told = ", ".join(f"{name.replace('_', ' ')} {short(value)}" for name, value in changed.items())
    return f"{entry.name} ({told})" if told else str(entry.name)


def _drawn(found: Importance | None) -> dict[str, Any] | None:
    """The shares on one axis from 0 to 100, with the words that stand above them."""
    if found is None or not found.shares:
        return None
    percent = {path: 100 * share for path, share in found.shares.items()}
    ends = {path: (100 * low, 100 * high) for path, (low, high) in found.ends.items()}
    bars = {
        path: IntervalBar(
            estimate=share, low=ends[path][0] if path in ends else None, high=ends[path][1] if path in ends else None
        )
        for path, share in percent.items()
    }
    when = "at the end" if found.step is None else f"after step {found.step}"
    return {
        "title": f"{found.num_trials} {'complete ' if found.step is None else ''}trials, {when}",
        "plot": _from_0_to_100(bars),
        "texts": {path: _share_text(path, found, percent, ends) for path in percent},
    }


def _from_0_to_100(bars: dict[str, IntervalBar]) -> IntervalPlot:
    return interval_plot(bars, "Share, %", "{:.0f}".format, beside=[IntervalBar(estimate=100.0)], most=5, signs=False)


def _share_text(path: str, found: Importance, percent: dict[str, float], ends: dict[str, tuple[float, float]]) -> str:
    if not found.says(path):
        return f"{percent[path]:.0f} %, too few trials"
    low, high = ends[path]
    return f"{percent[path]:.0f} % [{low:.0f}, {high:.0f}]"


def _doubt(analysis: SweepAnalysis) -> str:
    """How far the shares can be trusted, and whether the two bases name the same setting first."""
    early, final = analysis.early, analysis.importance
    bases = [each for each in (early, final) if each and each.shares]
    told = " ".join(words(each) for each in bases if each.ends or each is bases[-1])
    if early and early.shares and final.shares:
        first, last = (max(each.shares, key=lambda path: each.shares[path]) for each in (early, final))
        if first != last:
            names = analysis.sweep.space.names
            told += (
                f" The two bases disagree: early {names[first]} comes first, among the survivors {names[last]}. "
                "Quote no order of importance from them."
            )
    return told


def _complete(trials: Table, maximize: bool) -> Table:
    """The complete trials, the best first, without the columns that are the same in all."""
    rows = [row for row in trials.rows if row.values["outcome"] == "complete"]
    rows.sort(key=lambda row: (-1 if maximize else 1) * float(row.values["score"] or 0.0))
    columns = tuple(column for column in trials.columns if column.key != "outcome")
    return replace(trials, title="The complete trials, best first", note="", rows=tuple(rows), columns=columns)


def _others(trials: Table) -> Table:
    rows = tuple(row for row in trials.rows if row.values["outcome"] != "complete")
    return replace(trials, title="The other trials", rows=rows)

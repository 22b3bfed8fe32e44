"""Which trials does no other one beat in everything? The front of several objectives, and how much lies behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ablation_suite.sweeps.objectives import is_maximised, measure_text
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.trial import Trial, best

Point = Mapping[str, float]


def front(trials: Iterable[Trial], objectives: Sequence[str]) -> list[Trial]:
    """The trials that may be best and that none of these beats: as good in all objectives and better in one.

    The best in the first objective comes first; equals all stay, as in `optuna.Study.best_trials`.
    """
    found = [each for each in trials if each.may_be_best]
    losses = np.array([_losses(each.objectives, objectives) for each in found]).reshape(len(found), len(objectives))
    as_good = (losses[:, None] <= losses[None, :]).all(axis=2)  # (N, N): whether row is as good as column everywhere
    beaten = np.any(as_good & ~as_good.T, axis=0)
    kept = [(tuple(row), trial) for row, trial, out in zip(losses, found, beaten.tolist(), strict=True) if not out]
    return [trial for _, trial in sorted(kept, key=lambda pair: (pair[0], pair[1].number))]


def best_in(objective: str, trials: Iterable[Trial], objectives: Sequence[str]) -> Trial | None:
    """The trial of the front that is best in one objective; of equals the best in the others, and then the first."""
    names = [objective, *(name for name in objectives if name != objective)]
    return next(iter(front(trials, names)), None)


def reference_point(sweep: Sweep, trials: Iterable[Trial]) -> dict[str, float]:
    """Where the hypervolume is measured from: what the sweep says, or a tenth beyond the worst seen of each objective.

    At the worst itself the ends of the front would add nothing, and where all trials cost the same no trial would.
    """
    if sweep.spec.reference:
        return {name: sweep.spec.reference[name] for name in sweep.objectives}
    found = [each.objectives for each in trials if each.may_be_best]
    return {
        name: 0.9 * min(each[name] for each in found) if is_maximised(name) else 1.1 * max(each[name] for each in found)
        for name in sweep.objectives
        if found
    }


def hypervolume(trials: Iterable[Trial], reference: Point) -> float:
    """The volume of what is worse than one of these trials and better than the reference point, in all objectives.

    In the objectives' own units (Zitzler and Thiele 1999); a trial that is not better in all of them adds nothing.
    """
    names = list(reference)
    worst = _losses(reference, names)
    points = [_losses(each.objectives, names) for each in trials if each.may_be_best]
    inside = [point for point in points if (point < worst).all()]
    return _volume(np.array(inside), worst) if inside else 0.0


def unfounded(trials: Iterable[Trial], leaders: Sequence[Trial], sweep: Sweep) -> list[Trial]:
    """The imported trials without a run that would be the best, or on the front, if they had one."""
    told = [replace(each, runs=("?",)) for each in trials if each.is_imported and not each.runs]
    all_of_them = [*leaders, *told]
    if sweep.is_multi:
        ahead = front(all_of_them, sweep.objectives)
    else:
        ahead = [each for each in [best(all_of_them, sweep.maximize)] if each]
    return [each for each in ahead if each in told]


def front_sentence(sweep: Sweep, trials: Sequence[Trial]) -> str:
    """How large the front is, and how much lies behind it as seen from where."""
    found = front(trials, sweep.objectives)
    point = reference_point(sweep, trials)
    among = sum(each.may_be_best for each in trials)
    told = " and ".join(f"{name} {measure_text(name, value)}" for name, value in point.items())
    whose = "" if sweep.spec.reference else ", a tenth beyond the worst seen"
    return (
        f"front: {len(found)} of {among} complete trials, "
        f"hypervolume {hypervolume(found, point):.4g} against {told}{whose}"
    )


def _losses(point: Point, names: Sequence[str]) -> NDArray[np.float64]:
    """The objectives as numbers of which less is better."""
    return np.array([-point[name] if is_maximised(name) else point[name] for name in names])


def _volume(points: NDArray[np.float64], worst: NDArray[np.float64]) -> float:
    """Slice after slice along the first of M axes, each as thick as the way to the next of N points."""
    points = points[np.argsort(points[:, 0], kind="stable")]
    if points.shape[1] == 1:
        return float(worst[0] - points[0, 0])
    ends = np.append(points[1:, 0], worst[0])
    slices = zip(points[:, 0], ends, strict=True)
    return sum(
        float(end - begin) * _volume(points[: place + 1, 1:], worst[1:])
        for place, (begin, end) in enumerate(slices)
        if end > begin
    )

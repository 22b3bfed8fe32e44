"""What do other tools make of the same experiments? Those that are installed; the page names those that are not."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from importlib import import_module
from io import StringIO
from itertools import product

import numpy as np

from ablation_suite.reports.statistics.intervals import difference_interval
from tests.benchmarks.calibration.crossed import Array
from tests.benchmarks.calibration.draw import Correct, latent

Said = tuple[float | None, float | None, bool]
"""The ends of an interval of the difference, where a tool has one, and whether it calls the arms different."""
RESAMPLES = 500
ALMOST = 0.2
"""Below this violation ratio deep-significance's guide calls one stochastic order almost that of the other."""
FIRST_OF = {"deepsig: ASO": 40}
"""Tools that take seconds for one experiment, and how many they are given."""


def rivals(repetitions: int) -> Iterator[str]:
    """Every tool on the same runs, in the way that its own documentation shows."""
    repetitions = max(repetitions // 10, 1)
    tools, missing = _installed()
    absent = f" Not installed when this was written: {', '.join(missing)}." if missing else ""
    yield (
        "Two alike arms, 87 % right, 1,000 images. What other tools say of the runs' accuracies: baycomp's correlated "
        "t test, the middle 95 % of its posterior; rliable's stratified bootstrap, paired by seed; a mixed model of "
        "statsmodels with a random intercept of the seed, Wald interval; autorank's choice of a test, its p below "
        "0.05; deep-significance's almost stochastic order of the better arm over the other, a violation ratio below "
        f"{ALMOST} with 100 resamples, of the first {FIRST_OF['deepsig: ASO']} repetitions, and its paired bootstrap "
        "test, twice the p of one side below 0.05. It has no interval of a difference. All "
        f"of them are given accuracies, as their guides do, and no images. {repetitions} repetitions, "
        f"a standard error of 0.015 at 0.95; wanted are coverage of 0.95 and alarms of 0.05; the half-width is the "
        f"median.{absent}"
    )
    yield ""
    yield "| seeds | images | seed noise | tool | coverage | half-width (pp) | false alarms |"
    yield "| --: | --: | --: | --- | --: | --: | --: |"
    for index, (seeds, images, noise) in enumerate(product((3, 5, 10), (1000,), (0.0, 0.05, 0.15))):
        drawn = latent(seeds, images, [noise] * 2, [0.87] * 2)(repetitions, np.random.default_rng([14, index]))
        for name, tool in tools.items():
            with warnings.catch_warnings(), redirect_stdout(StringIO()):  # warnings of too few samples, tables
                warnings.simplefilter("ignore")
                found = [tool(each) for each in drawn[: FIRST_OF.get(name)]]
            yield f"| {seeds} | {images} | {noise:g} | {name} | {_told(found)} |"


def _told(found: list[Said]) -> str:
    ends = np.array([(low, high) for low, high, _ in found if low is not None and high is not None]).reshape(-1, 2)
    alarms = f"{np.mean([called for *_, called in found]):.3f}"
    if not len(ends):
        return f"no interval | | {alarms}"
    covered = np.mean((ends[:, 0] <= 0) & (ends[:, 1] >= 0))
    return f"{covered:.3f} | {100 * np.median(ends[:, 1] - ends[:, 0]) / 2:.2f} | {alarms}"


def _installed() -> tuple[dict[str, Callable[[Correct], Said]], list[str]]:
    tools: dict[str, Callable[[Correct], Said]] = {"this suite": _ours}
    missing = []
    makers = {
        "baycomp": ("baycomp", _baycomp),
        "rliable": ("rliable.library", _rliable),
        "statsmodels": ("statsmodels.formula.api", _statsmodels),
        "autorank": ("autorank", _autorank),
        "deepsig: ASO": ("deepsig", _almost_stochastic_order),
        "deepsig: bootstrap": ("deepsig", _paired_bootstrap),
    }
    for name, (module, tool) in makers.items():
        try:
            import_module(module)
            tools[name] = tool
        except (ImportError, TypeError):  # or one whose own imports no longer fit
            missing.append(name)
    return tools, missing


def _means(correct: Correct) -> Array:
    """The accuracies of the runs (2, S)."""
    return np.asarray(correct.mean(axis=2), dtype=np.float64)


def _interval(low: float, high: float) -> Said:
    return low, high, low > 0 or high < 0


def _ours(correct: Correct) -> Said:
    found = difference_interval(correct[1], correct[0])
    return _interval(found.low, found.high)


def _baycomp(correct: Correct) -> Said:
    from baycomp import CorrelatedTTest

    baseline, treated = _means(correct)
    if np.ptp(treated - baseline) == 0:
        return _interval(*[float((treated - baseline)[0])] * 2)
    drawn = CorrelatedTTest.sample(treated, baseline, runs=1, nsamples=5000)
    return _interval(*map(float, np.quantile(drawn, (0.025, 0.975))))


def _rliable(correct: Correct) -> Said:
    from rliable.library import StratifiedBootstrap

    apart = (_means(correct)[1] - _means(correct)[0])[:, None]  # runs by tasks
    boot = StratifiedBootstrap(apart, random_state=np.random.RandomState(0))
    low, high = boot.conf_int(lambda x: np.array([x.mean()]), reps=RESAMPLES, size=0.95, method="percentile")[:, 0]
    return _interval(float(low), float(high))


def _statsmodels(correct: Correct) -> Said:
    import pandas as pd
    from statsmodels.formula.api import mixedlm

    means = _means(correct)
    seeds = np.arange(means.shape[1])
    frame = pd.DataFrame({"y": 100 * means.ravel(), "arm": np.repeat([0, 1], len(seeds)), "seed": np.tile(seeds, 2)})
    try:
        low, high = mixedlm("y ~ arm", frame, groups="seed").fit().conf_int().loc["arm"] / 100
    except np.linalg.LinAlgError:
        return None, None, False
    return _interval(float(low), float(high))


def _autorank(correct: Correct) -> Said:
    import pandas as pd
    from autorank import autorank

    baseline, treated = _means(correct)
    try:
        found = autorank(pd.DataFrame({"baseline": baseline, "treated": treated}), alpha=0.05)
    except ValueError:  # says itself that there are too few
        return None, None, False
    return None, None, bool(found.pvalue < 0.05)


def _almost_stochastic_order(correct: Correct) -> Said:
    from deepsig import aso

    worse, better = sorted(_means(correct), key=np.mean)
    if np.array_equal(worse, better):
        return None, None, False
    ratio = aso(better, worse, num_bootstrap_iterations=100, dt=0.02, show_progress=False, seed=0)
    return None, None, bool(ratio < ALMOST)


def _paired_bootstrap(correct: Correct) -> Said:
    from deepsig import bootstrap_test

    worse, better = sorted(_means(correct), key=np.mean)
    return None, None, bool(2 * bootstrap_test(better, worse, num_samples=RESAMPLES, seed=0) < 0.05)

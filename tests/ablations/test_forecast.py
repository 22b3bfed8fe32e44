"""Does the forecast add up as a grid does?"""

from __future__ import annotations

import json

import pytest

from ablation_suite.ablations import forecast as module
from ablation_suite.ablations.forecast import duration, forecast, makespan, run_seconds, step_duration
from ablation_suite.ablations.plan import folder, make_plans
from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from tests.core.tracked_run import BARE_RECORD

TIMING = {
    "num_steps": 10, "step": 0.1, "begin": 2.0, "evaluate": 0.5, "test": 0.25, "save": 0.05,
    "memory": 3 * 2**30, "load": 0.01, "flops_per_image": 1, "product_rate": 1.0,
}  # fmt: skip


@pytest.fixture
def measured(monkeypatch, tmp_path):
    """A runtime of two jobs, and an instrument that reads TIMING for every config and keeps what it was asked."""
    asked = []

    def measure(groups, workers, runtime, timed):
        asked.append((len(groups), workers))
        for number in range(len(groups)):
            timed(number, TIMING)
        return 4.0, [TIMING] * len(groups)

    monkeypatch.setattr(module, "measure", measure)
    return Runtime(device="cpu", jobs=2, results=str(tmp_path)), asked


def test_a_run_is_its_steps_validations_checkpoints_and_the_evaluation_at_its_end():
    """By hand: 0.15 + 2 to begin, 3 x (1 + 0.5 + 1.2 x 0.05) of epochs, 0.5 + 2 x 0.25 at the end."""
    assert run_seconds(TIMING, epochs=3) == pytest.approx(0.15 + 2.0 + 3 * 1.56 + 1.0)


@pytest.mark.parametrize(
    ("seconds", "workers", "end"),
    [([3, 1, 1, 1], 2, 3), ([1, 1, 1, 3], 2, 4), ([1, 2, 3], 1, 6), ([1, 2, 3], 5, 3), ([2, 2, 2], 2, 4)],
)
def test_each_run_goes_to_the_worker_that_is_free_first(seconds, workers, end):
    """By hand; the order of the grid is kept, so that a long run at its end leaves a worker idle."""
    assert makespan(seconds, workers) == end


def test_each_config_is_measured_once_however_many_seeds_and_specs_share_it(measured):
    """Two specs of three seeds share one arm: 3 configs, 9 runs of one length, five rounds on two workers."""
    runtime, asked = measured
    found = forecast(make_plans(["quickstart/1-backbone", "quickstart/2-scaling"], runtime), runtime)
    assert asked == [(3, 2)]
    assert [arm["num_runs"] for arm in found["arms"]] == [3, 3, 3]
    assert found["seconds"] == pytest.approx(4.0 + 5 * run_seconds(TIMING, epochs=12))
    assert found["memory_bytes"] == 2 * 3 * 2**30
    assert "2 side by side" in found["text"]


def test_a_cluster_is_planned_by_its_workers_their_hours_and_the_longest_run(measured, monkeypatch):
    """By hand: nine runs of 22 s, 4 s to start. Three rounds on four workers, one on sixteen, of which nine start."""
    runtime, _ = measured
    monkeypatch.setattr(module, "RUN_SECONDS", 22.0 - run_seconds(TIMING, epochs=12) + module.RUN_SECONDS)
    plans = make_plans(["quickstart/1-backbone", "quickstart/2-scaling"], runtime)
    found = forecast(plans, runtime, [4, 16])
    assert [each["seconds"] for each in found["on"]] == pytest.approx([4 + 3 * 22, 4 + 22])
    assert [each["worker_seconds"] for each in found["on"]] == pytest.approx([4 * 4 + 9 * 22, 9 * 4 + 9 * 22])
    assert found["critical_path_seconds"] == pytest.approx(26)
    assert found["text"].splitlines()[-3:-1] == [
        "on 4 workers: 70 s, 0.059 worker-hours",
        "on 16 workers: 26 s, 0.065 worker-hours",
    ]
    assert found["text"].splitlines()[-1].startswith("critical path: 26 s, one run of ")
    monkeypatch.setattr(module, "cuda_devices", lambda runtime: (0,))
    assert "on 4 GPUs: 70 s, 0.059 GPU-hours" in forecast(plans, runtime, [4])["text"]


def test_finished_runs_cost_nothing(measured):
    """One of six runs is left, on one worker; then none, and nothing is measured."""
    runtime, asked = measured
    plans = make_plans(["quickstart/1-backbone"], runtime)
    *others, last = plans[0].cells
    for cell in others:
        folder(cell, runtime.store).path.mkdir(parents=True)
        folder(cell, runtime.store).record_path.write_text(json.dumps(BARE_RECORD))
    assert forecast(plans, runtime)["seconds"] == pytest.approx(4.0 + run_seconds(TIMING, epochs=12))
    assert asked == [(1, 1)]
    folder(last, runtime.store).path.mkdir()
    folder(last, runtime.store).record_path.write_text(json.dumps(BARE_RECORD))
    assert forecast(plans, runtime)["seconds"] == 0.0
    assert len(asked) == 1


def test_a_forecast_that_takes_long_tells_each_arm_as_it_was_timed(measured, monkeypatch):
    """Large networks on a small machine take minutes, and a kill for want of memory may end them."""
    runtime, _ = measured
    plans, told = make_plans(["quickstart/1-backbone"], runtime), []
    forecast(plans, runtime, tell=told.append)
    assert told == []
    monkeypatch.setattr(module, "SILENT_SECONDS", 0.0)
    text = forecast(plans, runtime, tell=told.append)["text"]
    assert [line.partition(":")[0] for line in told] == ["timed 1 of 2", "timed 2 of 2"]
    assert all(
        line.partition(":")[2].split() == row.split() for line, row in zip(told, text.splitlines(), strict=False)
    )


def test_an_arm_whose_timing_ends_the_process_is_named(monkeypatch, tmp_path):
    """Of two processes one times both arms, the other is gone in the second: nothing is added up from half a grid."""

    class Ending:
        ending = "was killed because memory ran out"

        def __init__(self, number):
            self.number = number

        def __enter__(self):
            return self

        def __exit__(self, *error):
            return None

        def answers(self):
            return iter([{"ready": 0.0, "timing": TIMING}] * self.number)

    processes = iter([Ending(2), Ending(1)])
    monkeypatch.setattr(module, "Aside", lambda *order, **variables: next(processes))
    monkeypatch.setattr(module, "require_steps", lambda plans, runtime: None)
    runtime = Runtime(device="cpu", jobs=2, results=str(tmp_path))
    with pytest.raises(UserError) as told:
        forecast(make_plans(["quickstart/1-backbone"], runtime), runtime)
    assert str(told.value) == "16 narrow paths cannot be timed: one of 2 processes was killed because memory ran out"


@pytest.mark.parametrize(("seconds", "text"), [(90, "90 s"), (600, "10 min"), (9000, "2.5 h"), (4_000_000, "1,111 h")])
def test_a_duration_is_told_in_the_unit_that_reads_most_easily(seconds, text):
    """Seconds up to two minutes, minutes up to two hours; tenths of an hour while they matter."""
    assert duration(seconds) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.0397, "39.7 ms"), (28.8239, "28.8 s")])
def test_a_step_that_takes_seconds_is_told_in_seconds(seconds, text):
    """Large networks on a CPU take half a minute."""
    assert step_duration(seconds) == text

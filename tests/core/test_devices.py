"""Are runs spread over the CUDA devices, as many on each as it takes?"""

from __future__ import annotations

import pytest

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.scheduling import devices
from ablation_suite.core.scheduling.devices import cuda_devices, num_jobs, placed, runs_per_device

GIB = 2**30


@pytest.fixture
def machine(monkeypatch):
    """A machine with so many CUDA devices of 80 GiB, eight cores, and with or without MPS."""

    def make(num_devices: int, mps: bool = False):
        monkeypatch.setattr(devices, "cuda_memory", lambda: [80 * GIB] * num_devices)
        monkeypatch.setattr(devices, "has_mps", lambda: mps)
        monkeypatch.setattr(devices, "cores", lambda: 8)

    return make


def test_workers_go_to_the_device_that_has_the_fewest(machine):
    """Five workers on the devices 0 and 2, then one more where one has ended."""
    machine(3)
    runtime, taken = Runtime(device="cuda", devices=(0, 2)), []
    for _ in range(5):
        taken.append(placed(runtime, cuda_devices(runtime), taken).devices[0])
    assert taken == [0, 2, 0, 2, 0]
    taken.remove(2)
    assert placed(runtime, (0, 2), taken).devices == (2,)


@pytest.mark.parametrize(
    ("num_devices", "settings", "runs_each", "expected"),
    [
        (0, {}, 1, None),  # as on a CPU
        (1, {}, 1, 1),
        (2, {}, 1, 2),
        (2, {}, 3, 6),
        (4, {"devices": (0, 2)}, 1, 2),
        (2, {"device": "cuda:1"}, 3, 3),
        (2, {"jobs": 5}, 1, 5),
        (4, {}, 4, 8),  # a core for each
        (16, {}, 1, 16),  # but every device has a run
    ],
)
def test_auto_is_the_devices_times_what_each_takes(num_devices, settings, runs_each, expected, machine):
    """Not more than cores launch kernels, unless devices would idle; a number that is asked for is kept."""
    machine(num_devices)
    found = num_jobs(Runtime(**settings), runs_each)
    assert found == (expected or num_jobs(Runtime(device="cpu")))


@pytest.mark.parametrize(
    ("step_flops", "run_bytes", "mps", "expected"),
    [
        (1e9, GIB, True, 4),  # a small network: 0.03 ms of a step beside 2 ms of launches
        (1e9, GIB, False, 2),
        (3 * 8.18e9 * 64, 8 * GIB, True, 1),  # resnet50 at 224 px, batch 64: 52 ms beside 2 ms
        (2.5e10, GIB, True, 2),  # 0.83 ms beside 2 ms
        (1e9, 25 * GIB, True, 2),  # 72 GiB hold two of 31
        (1e9, 79 * GIB, True, 1),
    ],
)
def test_a_device_takes_more_runs_where_steps_are_short_and_memory_is_left(
    step_flops, run_bytes, mps, expected, machine
):
    """By hand, with 30 TFLOP/s and 0.9 x 80 GiB; without MPS, which lets kernels of processes run at once, two."""
    machine(1, mps)
    assert runs_per_device(step_flops, run_bytes, 80 * GIB) == expected


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"devices": (1, 4)}, r"devices: no CUDA device 4 here, there are 0, 1, 2"),
        ({"devices": (0,), "device": "cpu"}, r"device is cpu; leave one of them out"),
    ],
)
def test_devices_that_do_not_exist_are_told_before_anything_starts(settings, words, machine):
    """One line each."""
    machine(3)
    with pytest.raises(UserError, match=words):
        cuda_devices(Runtime(**settings))


def test_mps_is_seen_by_its_pipe(tmp_path, monkeypatch):
    """The daemon's control pipe lies where CUDA itself would look for it."""
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path))
    assert not devices.has_mps()
    (tmp_path / "control").touch()
    assert devices.has_mps()

"""Is the memory told that our processes have: the machine's, a container's, a batch system's?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ablation_suite.core.runs.memory import GIB, Memory, available_bytes, memory, num_oom_kills
from ablation_suite.core.scheduling.process import ProcessPool

MEMINFO = "MemTotal: 16777216 kB\nMemFree: 1 kB\nMemAvailable: 8388608 kB\n"
BASE = "{data: digits, model: {backbone: {name: bottleneck, planes: [PLANES], blocks: [1]}}, epochs: 1}"
SPEC = "ablation: tiny\nquestion: q\nbase: base.yaml\nseeds: 1\narms: {some: {model.head.dropout: 0.3}}\n"


def system(root: Path, group: str, files: dict[str, str]) -> Path:
    """A machine of 16 GiB with 8 free, as /proc and /sys show it."""
    files = {"proc/meminfo": MEMINFO, "proc/self/cgroup": group, "proc/vmstat": "nr_dirty 5\noom_kill 3\n", **files}
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def group(folder: str, limit: int | str, used: int, idle: int = 0, *, version: int = 2) -> dict[str, str]:
    names = (
        ("max", "current", "inactive_file")
        if version == 2
        else ("limit_in_bytes", "usage_in_bytes", "total_inactive_file")
    )
    return {
        f"{folder}/memory.{names[0]}": f"{limit}\n",
        f"{folder}/memory.{names[1]}": f"{used}\n",
        f"{folder}/memory.stat": f"anon 1\n{names[2]} {idle}\n",
    }


MACHINE = Memory(16 * GIB, 8 * GIB, "this machine")
LIMITED = Memory(4 * GIB, 3 * GIB, "this container or job (cgroup)")
SYSTEMS = {
    "no cgroups": ("", {}, MACHINE),
    "no limit": ("0::/user\n", group("sys/fs/cgroup/user", "max", GIB), MACHINE),
    "a job": ("0::/job\n", group("sys/fs/cgroup/job", 4 * GIB, 2 * GIB, GIB), LIMITED),
    "the group around": (
        "0::/job/step\n",
        group("sys/fs/cgroup/job", 4 * GIB, GIB) | group("sys/fs/cgroup/job/step", "max", GIB),
        LIMITED,
    ),
    "a container": ("0::/outside/a1b2\n", group("sys/fs/cgroup", 4 * GIB, GIB), LIMITED),
    "version 1": (
        "5:cpu:/job\n4:memory:/job\n",
        group("sys/fs/cgroup/memory/job", 4 * GIB, GIB, version=1) | group("sys/fs/cgroup/memory", 2**63, 1, version=1),
        LIMITED,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SYSTEMS)
def test_the_tightest_limit_is_told(name, tmp_path):
    """By hand: 4 GiB of which 1 is used, cache that nobody needs not counted; without a limit the machine's own."""
    text, files, expected = SYSTEMS[name]
    root = system(tmp_path, text, files)
    assert memory(root) == expected
    assert available_bytes(root) == expected.available_bytes
    assert num_oom_kills(root) == 3


@pytest.mark.parametrize(
    ("text", "counter"),
    [("0::/job\n", "sys/fs/cgroup/job/memory.events"), ("4:memory:/job\n", "sys/fs/cgroup/memory/memory.oom_control")],
)
def test_a_cgroup_that_counts_its_kills_is_believed_before_the_machine(text, counter, tmp_path):
    """Those of other containers are not ours; the second group is that of a container, at the top."""
    assert num_oom_kills(system(tmp_path, text, {counter: "low 0\noom 7\noom_kill 1\n"})) == 1


def test_memory_in_words():
    """What a message says."""
    assert str(LIMITED) == "this container or job (cgroup) has 4.0 GiB, 3.0 GiB of them free"


def test_where_nothing_is_known_the_machine_has_its_pages(tmp_path):
    """Without /proc, as on macOS."""
    total = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert memory(tmp_path) == Memory(total, total, "this machine")
    assert num_oom_kills(tmp_path) == 0


def ending_of_a_killed_worker(pool, folder) -> str:
    """What is told of a run whose worker gets SIGKILL from us."""
    pool.submit(folder.path)
    os.kill(pool.workers[0].process.pid, signal.SIGKILL)
    events = []
    while not events:
        events = pool.poll(1.0)
    return events[0].message


@pytest.mark.fault(
    "a worker killed for want of memory, unseen",
    injected="SIGKILL from outside, with little memory free",
    promised="the likely cause, the memory that there is, and what to set",
)
@pytest.mark.fault(
    "a worker killed by hand",
    injected="SIGKILL from outside, with memory free",
    promised="told as that; memory is not blamed",
)
def test_a_worker_that_was_killed_names_the_likely_cause(make_config, make_folder, runtime, monkeypatch):
    """Memory only where it was short, with the two settings that need less; where the kernel counted a kill, for sure.

    A batch size that is not known, of a damaged run, is left out.
    """
    place, folder = "ablation_suite.core.scheduling.process", make_folder(make_config())
    pool = ProcessPool(runtime.model_copy(update={"jobs": 2}))
    try:
        for free, kills, words in (
            (10, 3, "the worker was killed from outside (SIGKILL), not for want of memory: this machine has 16.0 GiB"),
            (1, 3, "the worker was killed (SIGKILL), most likely because memory ran out: this machine has 16.0 GiB"),
            (10, 4, "the kernel killed the worker because memory ran out: this machine has 16.0 GiB"),
        ):
            # When the worker starts, and when it has ended.
            monkeypatch.setattr(f"{place}.num_oom_kills", iter([3, kills]).__next__)
            monkeypatch.setattr(f"{place}.memory", lambda free=free: Memory(16 * GIB, free * GIB, "this machine"))
            monkeypatch.setattr(pool, "free_bytes", [free * GIB])
            told = ending_of_a_killed_worker(pool, folder)
            assert told.startswith(words)
            assert ("set fewer --jobs (2 now), or a smaller batch_size (64 now)" in told) == ("ran out" in told)
        os.truncate(folder.path / "run.json", 50)
        monkeypatch.setattr(f"{place}.num_oom_kills", iter([3, 4]).__next__)
        assert "or a smaller batch_size with more accumulate" in ending_of_a_killed_worker(pool, folder)
    finally:
        pool.close(detach=False)


@pytest.fixture
def limited() -> Iterator[list[str]]:
    """The words before a command that give it 0.75 GiB of memory; skips where no cgroup may be made."""
    tops = [Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup")]
    place = next((top / f"ablate-{os.getpid()}" for top in tops if list(top.glob("memory.*"))), tops[1] / "x")
    try:
        place.mkdir()
        name = "memory.limit_in_bytes" if (place / "memory.limit_in_bytes").exists() else "memory.max"
        (place / name).write_text(str(GIB * 3 // 4))
    except OSError:
        pytest.skip("no cgroup with a limit of memory may be made here")
    yield ["sh", "-c", f'echo $$ > {place}/cgroup.procs && exec "$@"', "sh"]
    place.rmdir()


@pytest.mark.fault(
    "a cgroup out of memory",
    injected="a cgroup of 0.75 GiB around a grid whose network needs more",
    promised="after three tries the run fails with the kernel's kill, the cgroup's memory and what to set",
)
@pytest.mark.slow
def test_a_grid_in_a_cgroup_that_is_too_small_is_told_so(limited, tmp_path):
    """The kernel kills the worker, and the driver lives to tell: 0.8 GiB, not the machine's memory."""
    (tmp_path / "base.yaml").write_text(BASE.replace("PLANES", "4000"))
    (tmp_path / "tiny.yaml").write_text(SPEC)
    verb = ["run", "tiny.yaml", "--tracker", "off", "--jobs", "1", "--arm", "some", "--compile", "off"]
    command = [*limited, sys.executable, "-m", "ablation_suite.cli", *verb]
    env = {**os.environ, "ABLATE_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1, done.stderr
    [line] = [line for line in done.stderr.splitlines() if line.startswith("failed")]
    assert "the kernel killed the worker because memory ran out: this container or job (cgroup) has 0.8 GiB" in line
    assert "set fewer --jobs (1 now), or a smaller batch_size (64 now)" in line
    assert len(list(tmp_path.glob("results/runs/*/attempts/*"))) == 3

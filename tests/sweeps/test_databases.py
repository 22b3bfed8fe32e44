"""Is a study in PostgreSQL or MySQL what it is in a file, with drivers that join, die, freeze and lose their server?"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend
from optuna.trial import FrozenTrial, TrialState

import ablation_suite.sweeps.opening
import ablation_suite.sweeps.study
from ablation_suite.sweeps.opening import open_storage
from ablation_suite.sweeps.session import journal_path
from ablation_suite.sweeps.spec import Sweep
from ablation_suite.sweeps.storage import Owner
from ablation_suite.sweeps.study import Study
from tests.sweeps.conftest import Ablate
from tests.sweeps.database_servers import PASSWORD, SERVERS, Server, running
from tests.sweeps.fake import make_fake_sweep, make_runtime, plain_storage, search, write_spec
from tests.sweeps.test_resume import CONDITIONAL, GRID

pytestmark = pytest.mark.slow
CONTEXT = multiprocessing.get_context("fork")
WEIGHTS = ["none", "/Gewichte/Straße 重み 😀.pt", f"/{'é' * 200}.pt", "/quote'\"\\%s{}.pt"]


@pytest.fixture(scope="session", params=SERVERS)
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A running server of each kind."""
    kind = SERVERS[request.param]
    if kind.missing():
        pytest.skip(f"no {request.param} here: {', '.join(kind.missing())} not found")
    with running(kind) as server:
        yield server


def stored(url: str, name: str = "fake") -> list[FrozenTrial]:
    """The trials of a database as plain Optuna reads them."""
    # Connections are not kept: a server that was restarted does not know them.
    with plain_storage(url, skip_table_creation=True) as storage:
        return optuna.load_study(study_name=name, storage=storage).trials


def facts(trials: list[FrozenTrial]) -> list[tuple[Any, ...]]:
    """What must not depend on where a trial is stored."""
    return [
        (each.number, each.state, each.params, each.values, each.intermediate_values, each.user_attrs.get("reason"))
        for each in trials
    ]


def journal_facts(sweep: Sweep, results: Path) -> list[tuple[Any, ...]]:
    journal = JournalFileBackend(str(journal_path(sweep, make_runtime(results))))
    return facts(optuna.load_study(study_name=sweep.name, storage=JournalStorage(journal)).trials)


def troubled(config: dict[str, Any]) -> str | None:
    """Some trials diverge, others fail."""
    rate, dropout = config["optimizer"]["lr"], config["model"]["head"]["dropout"]
    return "loss not finite" if rate > 0.03 else "no such data" if dropout > 0.7 else None


def test_a_server_is_proposed_the_trials_of_a_file(tmp_path: Path, server: Server) -> None:
    """Values, scores and curves are equal to the last bit on the server and in the journal."""
    sweep, url = make_fake_sweep(tmp_path, space=CONDITIONAL, trials=13), server.new_database()
    search(sweep, tmp_path / "file")
    search(sweep, tmp_path / "server", url=url)
    assert facts(stored(url)) == journal_facts(sweep, tmp_path / "file")


def test_outcomes_are_kept_apart_on_a_server(tmp_path: Path, server: Server) -> None:
    """Pruned, diverged and failed trials are as many as in the journal, and only those that failed are tried again."""
    pruner = {"name": "median", "startup_trials": 2}
    sweep, url = make_fake_sweep(tmp_path, sampler="random", pruner=pruner, trials=9), server.new_database()
    for _ in range(2):
        search(sweep, tmp_path / "file", fails=troubled)
        search(sweep, tmp_path / "server", url=url, fails=troubled)
    trials = stored(url)
    assert facts(trials) == journal_facts(sweep, tmp_path / "file")
    assert {each.state for each in trials} == {TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL}
    rows = server.execute(url, "SELECT state, COUNT(*) FROM trials GROUP BY state")
    diverged = server.execute(url, "SELECT COUNT(*) FROM trial_user_attributes WHERE value_json = '\"diverged\"'")
    assert dict(map(tuple, rows)) == Counter(each.state.name for each in trials)
    assert diverged[0][0] == sum(each.user_attrs.get("outcome") == "diverged" for each in trials) > 0
    retried = [trials[each.user_attrs["retry_of"]] for each in trials if "retry_of" in each.user_attrs]
    assert retried
    assert {each.state for each in retried} == {TrialState.FAIL}


def drive_together(sweeps: list[Sweep], folder: Path, url: str) -> None:
    """One driver for each of the sweeps, begun at once, each on a machine of its own."""
    gate = CONTEXT.Barrier(len(sweeps))

    def drive(sweep: Sweep, results: Path) -> None:
        gate.wait(60)
        search(sweep, results, url=url, size=2)

    children = [CONTEXT.Process(target=drive, args=(each, folder / str(i))) for i, each in enumerate(sweeps)]
    for child in children:
        child.start()
    for child in children:
        child.join(60)
        assert child.exitcode == 0


def test_drivers_on_two_machines_share_the_trials(tmp_path: Path, server: Server) -> None:
    """Begun together on an empty database they do as many trials as asked for, none twice, and both leave in peace."""
    sweep = make_fake_sweep(tmp_path, sampler="grid", space=GRID, trials=9, pruner="none")
    url = server.new_database()
    drive_together([sweep, sweep], tmp_path, url)
    trials = stored(url)
    assert len(trials) == 9
    assert {each.state for each in trials} == {TrialState.COMPLETE}
    assert len({str(each.params) for each in trials}) == len(trials)
    runs = [path.parent.name for path in tmp_path.glob("*/runs/*/record.json")]
    assert sorted(runs) == sorted(run for each in trials for run in each.user_attrs["runs"])


@dataclass(frozen=True, kw_only=True)
class BadDay:
    """A study of eight trials after one driver was killed, one frozen and one held up, and their processes."""

    trials: list[FrozenTrial]
    pids: dict[str, int]
    exit_codes: dict[str, int | None]

    def trials_of(self, name: str) -> list[FrozenTrial]:
        return [each for each in self.trials if f"-{self.pids[name]}-" in each.user_attrs["driver"]]

    def retries_of(self, failed: FrozenTrial) -> list[FrozenTrial]:
        return [each for each in self.trials if each.user_attrs.get("retry_of") == failed.number]


@pytest.fixture(scope="session")
def bad_day(server: Server, tmp_path_factory: pytest.TempPathFactory) -> BadDay:
    """Four drivers on four machines, where silence counts after seconds, on the day when summer time begins."""
    folder, url = tmp_path_factory.mktemp("bad-day"), server.new_database()
    sweep = make_fake_sweep(folder, sampler="random", pruner="none", trials=8)
    is_held, goes_on = CONTEXT.Event(), CONTEXT.Event()

    def hold_up() -> None:
        is_held.set()
        assert goes_on.wait(60)

    def begin(name: str, poll: int, act: Callable[[], object]) -> multiprocessing.process.BaseProcess:
        """A driver that acts at one of its polls; only the survivor looks for the dead, however slow the others are."""
        polls = iter(range(1000))

        def before_poll() -> None:
            if next(polls) == poll:
                act()

        def drive() -> None:
            if name != "survivor":
                optuna.storages.fail_stale_trials = lambda study: None
            search(sweep, folder / name, url=url, before_poll=before_poll)

        children[name] = CONTEXT.Process(target=drive)
        children[name].start()
        return children[name]

    children: dict[str, Any] = {}
    try:
        with pytest.MonkeyPatch.context() as patch:
            for module in (ablation_suite.sweeps.study, ablation_suite.sweeps.opening):
                patch.setattr(module, "HEARTBEAT_SECONDS", 1)
            patch.setattr(ablation_suite.sweeps.opening, "GRACE_SECONDS", 5)
            begin("killed", 6, lambda: os.kill(os.getpid(), signal.SIGKILL)).join(60)
            frozen = begin("frozen", 1, lambda: os.kill(os.getpid(), signal.SIGSTOP)).pid
            assert os.WIFSTOPPED(os.waitpid(frozen, os.WUNTRACED)[1])
            begin("slow", 1, hold_up)
            assert is_held.wait(60)
            server.execute(url, server.begin_summer_time)
            begin("survivor", -1, lambda: None)
        deadline = time.monotonic() + 60
        while server.execute(url, "SELECT COUNT(*) FROM trials WHERE state = 'FAIL'")[0][0] < 2:
            assert time.monotonic() < deadline
            time.sleep(0.2)
        goes_on.set()
        os.kill(frozen, signal.SIGCONT)
        for child in children.values():
            child.join(60)
        return BadDay(
            trials=stored(url),
            pids={name: child.pid for name, child in children.items()},
            exit_codes={name: child.exitcode for name, child in children.items()},
        )
    finally:
        for child in children.values():
            child.kill()


@pytest.mark.fault(
    "a machine that dies in mid-trial", injected="SIGKILL to its driver", promised="its trial falls to the survivor"
)
def test_a_dead_machines_trial_falls_to_the_survivor(bad_day: BadDay) -> None:
    """What the killed driver had finished stays, and what it had begun is done elsewhere with the same values."""
    assert bad_day.exit_codes["killed"] == -signal.SIGKILL
    finished, begun = bad_day.trials_of("killed")
    assert (finished.state, begun.state) == (TrialState.COMPLETE, TrialState.FAIL)
    (retry,) = bad_day.retries_of(begun)
    assert (retry.state, retry.params) == (TrialState.COMPLETE, begun.params)
    assert retry in bad_day.trials_of("survivor")


def test_a_slow_driver_that_beats_is_not_robbed(bad_day: BadDay) -> None:
    """A driver that waited for one run longer than the period of grace has ended its trial itself."""
    trials = bad_day.trials_of("slow")
    assert bad_day.exit_codes["slow"] == 0
    assert trials
    assert {each.state for each in trials} == {TrialState.COMPLETE}
    assert not any(bad_day.retries_of(each) for each in trials)


def test_a_frozen_driver_that_wakes_finds_its_trial_gone_and_leaves_it(bad_day: BadDay) -> None:
    """It neither crashes nor writes to the trial that was taken from it."""
    assert bad_day.exit_codes["frozen"] == 0
    lost = bad_day.trials_of("frozen")[0]
    assert (lost.state, lost.values, list(lost.intermediate_values)) == (TrialState.FAIL, None, [1])
    (retry,) = bad_day.retries_of(lost)
    assert (retry.state, retry.params) == (TrialState.COMPLETE, lost.params)


def test_after_a_bad_day_the_counts_are_right(bad_day: BadDay) -> None:
    """Eight trials are complete, the two that were taken over have failed, and none is left running or waiting."""
    states = Counter(each.state for each in bad_day.trials)
    assert states == {TrialState.COMPLETE: 8, TrialState.FAIL: 2}
    assert len({str(each.params) for each in bad_day.trials}) == 8
    assert bad_day.exit_codes["survivor"] == 0


@pytest.mark.parametrize("look", [(), ("status",)], ids=["search", "status"])
def test_a_server_that_says_no_is_one_line_without_the_password(
    tmp_path: Path, server: Server, ablate: Ablate, look: tuple[str, ...]
) -> None:
    """A wrong password, no such database, and nobody at the port: exit status 2, and no secret in any spelling."""
    spec = str(write_spec(tmp_path))
    wrong = PASSWORD.replace("s3cr", "Wr0ng")
    for url, message in [
        (server.url(server.home, password=wrong), "for user"),
        (server.url("no_such_database"), "no_such_database"),
        (server.url(server.home, port=1), "refused"),
    ]:
        status, out, err = ablate(*look, spec, "--storage", url)
        assert status == 2
        assert message in err
        assert len(err.splitlines()) == 1
        assert out == ""
        assert not any(secret in err for secret in ("s3cr", "Wr0ng"))


@pytest.mark.fault(
    "a database that stops in mid-search",
    injected="a real server that is stopped",
    promised="one line, and nothing is lost",
)
def test_a_server_that_stops_in_the_middle_is_one_line_and_loses_nothing(
    tmp_path: Path, server: Server, ablate: Ablate
) -> None:
    """Exit status 2 without a traceback; when it is back, the same command comes to what it would have come to."""
    spec, url = str(write_spec(tmp_path, trials=7)), server.new_database()
    polls = iter(range(1000))

    def cut_off() -> None:
        if next(polls) == 13:
            server.stop()

    status, _, err = ablate(spec, "--storage", url, before_poll=cut_off)
    server.start()
    assert status == 2
    begin, *trials, end = err.splitlines()
    assert begin.startswith("fake: 7 trials")
    assert trials
    assert all(line.startswith("trial ") for line in trials)
    assert end.startswith("storage ")
    assert "s3cr" not in err
    before = [each for each in stored(url) if each.state.is_finished()]
    assert len(before) == len(trials)
    assert ablate(spec, "--storage", url)[0] == 0
    assert stored(url)[: len(before)] == before
    sweep = make_fake_sweep(tmp_path, trials=7)
    search(sweep, tmp_path / "whole")
    assert facts(stored(url)) == journal_facts(sweep, tmp_path / "whole")


def test_a_server_that_restarts_while_a_run_trains_is_not_noticed(tmp_path: Path, server: Server) -> None:
    """Connections that broke in the meantime are made again, and the sweep goes on."""
    sweep, url = make_fake_sweep(tmp_path, trials=2), server.new_database()
    polls = iter(range(1000))

    def restart() -> None:
        if next(polls) in (1, 4):
            server.stop()
            server.start()

    search(sweep, tmp_path / "server", url=url, before_poll=restart)
    assert [each.state for each in stored(url)] == [TrialState.COMPLETE] * 2


def test_long_and_foreign_names_come_back_as_they_were(tmp_path: Path, server: Server) -> None:
    """A study's name of 100 characters, labels in any script, and a reason of any length that is cut."""
    name, url = "Größe 寸法 😀" + "n" * 90, server.new_database()
    space = {"model.weights": {"choice": WEIGHTS}}
    sweep = make_fake_sweep(tmp_path, sweep=name, space=space, sampler="grid", trials=None)
    reason = "Fehler 誤り 😀 " * 20_000
    owner = Owner(tmp_path, alone=False)
    with open_storage(url, tmp_path) as storage:
        study = Study(sweep, storage, owner, "fingerprint")
        while (trial := study.next_trial(len(WEIGHTS))) is not None:
            study.tell(trial.number, "diverged", reason=reason)
    owner.leave()
    trials = stored(url, name)
    assert [each.params["model.weights"] for each in trials] == WEIGHTS
    assert all(reason.startswith(each.user_attrs["reason"]) for each in trials)
    assert server.execute(url, "SELECT study_name FROM studies")[0][0] == name

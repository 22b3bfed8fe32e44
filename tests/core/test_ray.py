"""What is made of what Ray says, and of its silence? By a stand-in; `test_ray_real.py` asks Ray itself."""

from __future__ import annotations

import os
import sys
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.runs.provenance import versions
from ablation_suite.core.scheduling import ray as engine
from ablation_suite.core.scheduling import ray_cluster
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.ray import Ray, Trainer

DIED = """The actor died unexpectedly before finishing this task.
\tclass_name: Trainer
\tpid: 21244
The actor is dead because its worker process has died. Worker exit type: SYSTEM_ERROR Worker exit detail: Worker \
unexpectedly exits with a connection error code 2. End of file. Some common causes include: (1) the process was"""
"""Of Ray 2.60, where an actor was killed by SIGKILL."""
UNAVAILABLE = (
    "The actor 81dbcca is unavailable: The actor is temporarily unavailable: RpcError: RPC error: Socket closed"
)
"""The same where its node died; later on another."""


class ActorError(Exception):
    """Ray's own is not needed here."""


class StandIn:
    """Of the module ray: promises are lists, empty ones of an answer that has not come."""

    exceptions = SimpleNamespace(RayError=ActorError, RayActorError=ActorError)

    def __init__(self):
        self.killed = []

    def wait(self, promises, timeout):
        return [each for each in promises if each], []

    def get(self, promise, timeout=None):
        if isinstance(promise[0], Exception):
            raise promise[0]
        return promise[0]

    def kill(self, handle):
        self.killed.append(handle)


@pytest.fixture
def ray(monkeypatch):
    """The stand-in, which has one node."""
    module = StandIn()
    monkeypatch.setitem(sys.modules, "ray", module)
    monkeypatch.setattr(engine, "alive_nodes", lambda: [{"NodeID": "n"}])
    return module


@pytest.fixture
def actor():
    """An actor on the one node with a run; calls of it are answered by what stands first in `answers`."""
    answers: list[list] = []
    handle = SimpleNamespace(node=SimpleNamespace(remote=lambda: answers.pop(0) if answers else []))
    run = SimpleNamespace(folder=SimpleNamespace(run_id="a"))
    made = engine._Actor(handle=handle, node=["n"], run=run)
    return SimpleNamespace(made=made, answers=answers)


def test_an_actor_that_died_alone_is_replaced_at_once_and_its_cause_told(ray, actor, runtime):
    """It stands deep in what Ray says, whose first line is always the same."""
    pool = Ray(runtime)
    pool.actors.append(actor.made)
    actor.made.answer = [ActorError(DIED)]
    told = "its Ray actor ended: The actor is dead because its worker process has died"
    assert pool._hear(actor.made) == [Event(run_id="a", retry="counted", message=told)]
    assert (pool.actors, ray.killed) == ([], [actor.made.handle])


def test_an_actor_that_ray_lost_sight_of_is_asked_for_until_its_cause_is_known(ray, actor, runtime, monkeypatch):
    """Its process is dead, or its node; of the latter it is free of charge."""
    pool = Ray(runtime)
    pool.actors.append(actor.made)
    actor.made.answer = [ActorError(UNAVAILABLE)]
    actor.answers += [[], [ActorError(DIED)]]
    assert pool._hear(actor.made) == []
    assert pool._settle(actor.made) == []
    actor.made.call = [ActorError(UNAVAILABLE)]
    assert pool._settle(actor.made) == []
    assert pool._settle(actor.made) == []
    assert ray.killed == []
    assert [event.retry for event in pool._settle(actor.made)] == ["counted"]
    pool.actors.append(actor.made)
    actor.made.reason = UNAVAILABLE
    monkeypatch.setattr(engine, "alive_nodes", list)
    assert [event.retry for event in pool._settle(actor.made)] == [None, "free"]


@pytest.mark.fault(
    "a Ray actor that hangs",
    injected="an actor that answers no call; by hand, SIGSTOP",
    promised="told and killed in a minute, and its run tried again",
)
@pytest.mark.usefixtures("ray")
def test_an_actor_that_answers_no_call_for_a_minute_is_mute(actor):
    """Not one that has not begun, and not for a time in which the driver itself did not look."""
    made, node = actor.made, actor.made.node
    made.node = []
    for _ in range(9):
        made.looked_at -= 3600.0
        assert made.mute_words() is None
    made.node = node
    assert made.mute_words() is None
    for _ in range(2):
        made.looked_at -= 3600.0
        words = made.mute_words()
    assert words == "its Ray actor has not answered for 60 s and is killed"
    made.call = ["n"]
    assert made.mute_words() is None


def test_what_a_worker_is_killed_for_is_told_with_the_end_of_its_run():
    """The pool of an actor is as ours, and its people are ours."""
    trainer = Trainer.__new__(Trainer)
    trainer.lock, trainer.is_closing = threading.Lock(), False
    news = [Event(run_id="a", epoch=1, num_steps=3), Event(run_id="a", message="it hangs")]
    end = Event(run_id="a", retry="counted", message="killed")
    trainer.pool = SimpleNamespace(submit=lambda folder: None, poll=lambda seconds: [*news, end])
    assert [Event(**each) for each in trainer.train(str(Path("runs") / "a"))] == [news[1], end]


def test_a_node_whose_workers_are_nicer_than_we_are_is_one_line_at_check(tmp_path):
    """On a busy machine they would do nothing; where all was started with `nice`, somebody wants it so."""
    found = {"seen": "nonce", "versions": versions(), "niceness": os.nice(0)}
    ray_cluster._judge(found, "nonce", "ray: node n", tmp_path)
    with pytest.raises(UserError, match=r"^ray: node n starts workers at niceness \d+; start it with RAY_worker_nicen"):
        ray_cluster._judge({**found, "niceness": os.nice(0) + 1}, "nonce", "ray: node n", tmp_path)

"""How are runs trained on a Ray cluster? By warm actors, each of which keeps a worker process of ours on its node."""

from __future__ import annotations

import os
import sys
import threading
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ablation_suite.core.config.errors import UserError
from ablation_suite.core.config.runtime import Runtime
from ablation_suite.core.runs.run_folder import RunFolder
from ablation_suite.core.scheduling import ray_cluster
from ablation_suite.core.scheduling.devices import num_jobs
from ablation_suite.core.scheduling.elsewhere import LONGEST_LOOK_SECONDS, FarRun, abroad
from ablation_suite.core.scheduling.executors import Event
from ablation_suite.core.scheduling.process import GRACE_SECONDS, ProcessPool
from ablation_suite.core.scheduling.ray_cluster import alive_nodes, first_line, fitting_nodes, resources

LOOK_SECONDS = 1.0
"""Between two looks at the folders of the runs under way."""
LIMBO_SECONDS = 60.0
"""How long after an actor was lost its node may turn out to be dead."""
DIED_ALONE = "its worker process has died"
"""What Ray says of an actor whose process ended on a node that lives to tell."""
CALL_SECONDS, MUTE_SECONDS = 5.0, 60.0
"""Between two calls to an actor that it only has to answer, and for how long it may leave one unanswered."""


class Ray:
    """Runs go to idle actors; new ones are made as long as the cluster has room, and lost ones are replaced."""

    def __init__(self, runtime: Runtime):
        self.runtime = abroad(runtime)
        self.actors: list[_Actor] = []
        self.looked_at = 0.0

    def check(self) -> None:
        """Connect, or start a cluster on this machine, and look whether its nodes can do our work."""
        if self.runtime.device.startswith("cuda:"):
            raise UserError(f"--device {self.runtime.device} is of one machine; on a Ray cluster say --device cuda")
        ray_cluster.connect(self.runtime.ray_address)
        ray_cluster.check(self.runtime)

    def capacity(self) -> int:
        if self.runtime.jobs != "auto":
            return self.runtime.jobs
        needed = resources(self.runtime).items()
        rooms = (
            min(node["Resources"][name] // count for name, count in needed) for node in fitting_nodes(self.runtime)
        )
        room = max(1, int(sum(rooms)))
        # On this machine memory counts as well.
        return room if self.runtime.ray_address else min(room, num_jobs(self.runtime))

    def room(self) -> int:
        return self.capacity()

    def adopt(self) -> set[str]:
        return set()  # actors end with their driver

    def submit(self, folder: Path) -> None:
        idle = (actor for actor in self.actors if actor.run is None)
        actor = next(idle, None) or self._start()
        actor.run = FarRun(RunFolder(folder))
        actor.answer = actor.handle.train.remote(str(folder))

    def poll(self, seconds: float) -> list[Event]:
        import ray

        events = [event for actor in list(self.actors) if actor.lost_at for event in self._settle(actor)]
        answers = {actor.answer: actor for actor in self.actors if actor.answer is not None}
        if answers:
            ready, _ = ray.wait(list(answers), num_returns=len(answers), timeout=seconds)
            events += [event for answer in ready for event in self._hear(answers[answer])]
        elif not events:
            time.sleep(seconds)
        if time.monotonic() - self.looked_at >= LOOK_SECONDS:
            self.looked_at = time.monotonic()
            events += [event for actor in self.actors if actor.answer is not None for event in self._look(actor)]
        return events

    def cancel(self, run_id: str) -> None:
        for actor in self.actors:
            if actor.run is not None and actor.run.folder.run_id == run_id:
                actor.handle.cancel.remote(run_id)

    def close(self, detach: bool) -> None:
        import ray

        if not ray.is_initialized():
            return
        saved = [actor.handle.close.remote() for actor in self.actors]
        if saved:
            ray.wait(saved, num_returns=len(saved), timeout=GRACE_SECONDS + 2.0)
        for actor in self.actors:
            ray.kill(actor.handle)
        self.actors.clear()
        ray.shutdown()

    def _start(self) -> _Actor:
        import ray

        needed = resources(self.runtime)
        # A second thread, since a run may be cancelled while it trains. Retries are the scheduler's alone.
        remote: Any = ray.remote
        handle = remote(
            num_cpus=needed["CPU"],
            num_gpus=needed.get("GPU", 0),
            max_concurrency=2,
            max_restarts=0,
            max_task_retries=0,
        )(Trainer).remote(self.runtime.model_dump_json(), sys.argv, uuid.uuid4().hex[:8])
        actor = _Actor(handle=handle, node=handle.node.remote())
        self.actors.append(actor)
        return actor

    def _hear(self, actor: _Actor) -> list[Event]:
        """The end of a run that its actor tells, or that of the actor itself."""
        import ray

        assert actor.run is not None
        try:
            events = [Event(**each) for each in ray.get(actor.answer)]
        except ray.exceptions.RayActorError as error:
            actor.answer, actor.lost_at, actor.reason = None, time.monotonic(), _cause(error)
            actor.call = actor.handle.node.remote()
            return self._settle(actor)
        except ray.exceptions.RayError as error:
            message = f"ray: {first_line(error)}"
            events = [Event(run_id=actor.run.folder.run_id, retry="counted", message=message)]
        actor.answer = actor.run = None
        return events

    def _settle(self, actor: _Actor) -> list[Event]:
        """Free of charge where the node of a lost actor is dead; an actor that dies alone counts."""
        import ray

        assert actor.run is not None
        run_id = actor.run.folder.run_id
        try:
            node = ray.get(actor.node, timeout=0)
        except ray.exceptions.RayError:
            node = None  # it never began
        if node is None or node not in {each["NodeID"] for each in alive_nodes()}:
            self._let_go(actor)
            told = Event(run_id=run_id, message="its node is gone; it goes on elsewhere")
            return [told, Event(run_id=run_id, retry="free")]
        if actor.is_hung or DIED_ALONE in actor.reason or time.monotonic() - actor.lost_at > LIMBO_SECONDS:
            self._let_go(actor)
            return [Event(run_id=run_id, retry="counted", message=f"its Ray actor ended: {actor.reason}")]
        # Ray has lost sight of it, and is asked again until it knows why.
        if ray.wait([actor.call], timeout=0)[0]:
            try:
                ray.get(actor.call)
            except ray.exceptions.RayError as error:
                actor.reason = _cause(error)
            actor.call = actor.handle.node.remote()
        return []

    def _let_go(self, actor: _Actor) -> None:
        """Of a lost actor: it must not train any more when its run is given again."""
        import ray

        ray.kill(actor.handle)
        self.actors.remove(actor)

    def _look(self, actor: _Actor) -> list[Event]:
        import ray

        assert actor.run is not None
        events = actor.run.news()
        if (words := actor.run.hung_words() or actor.mute_words()) and not actor.is_hung:
            actor.is_hung = True
            ray.kill(actor.handle)
            events.append(Event(run_id=actor.run.folder.run_id, message=words))
        return events


def _cause(error: BaseException) -> str:
    """What Ray knows of the end of an actor, in one sentence; the first line of its errors says only that it ended."""
    lines = [line.strip() for line in str(error).splitlines()]
    return next((line.partition(". ")[0] for line in lines if "dead because" in line), first_line(error))


@dataclass(kw_only=True, eq=False)
class _Actor:
    handle: Any
    node: Any
    """The promise of its node's id, which is the first that it has to answer."""
    run: FarRun | None = None
    answer: Any = None
    """The promise of the end of its run."""
    is_hung: bool = False
    lost_at: float = 0.0
    reason: str = ""
    call: Any = None
    """The promise of an answer that says only that it lives; none before it has begun."""
    called_at: float = 0.0
    looked_at: float = 0.0
    mute_seconds: float = 0.0

    def mute_words(self) -> str | None:
        """For how long it has left a call unanswered, where that is too long; its worker may be done, or train on."""
        import ray

        now = time.monotonic()
        passed, self.looked_at = min(now - self.looked_at, LONGEST_LOOK_SECONDS), now
        if ray.wait([self.node if self.call is None else self.call], timeout=0)[0]:
            self.mute_seconds = 0.0
            if now - self.called_at >= CALL_SECONDS:
                self.call, self.called_at = self.handle.node.remote(), now
        elif self.call is not None:
            self.mute_seconds += passed
        if self.mute_seconds < MUTE_SECONDS:
            return None
        return f"its Ray actor has not answered for {self.mute_seconds:.0f} s and is killed"


class Trainer:
    """What an actor does on its node: it keeps a pool of one worker process, so that runs go as they do locally."""

    def __init__(self, runtime: str, argv: list[str], name: str):
        import ray

        of_ray = os.path.dirname(os.path.abspath(ray.__file__))
        sys.path[:] = [entry for entry in sys.path if entry != "/" and not entry.startswith(of_ray)]
        sys.argv = argv  # the command line that made the runs
        settings = Runtime.model_validate_json(runtime).model_copy(update={"jobs": 1})
        self.pool = ProcessPool(settings, name=f"ray-{name}")
        self.lock = threading.Lock()
        self.is_closing = False

    def node(self) -> str:
        """The id of its node."""
        import ray

        return ray.get_runtime_context().get_node_id()

    def train(self, folder: str) -> list[dict[str, Any]]:
        """Bring a run to its end, and tell what people should know and that end, as events."""
        told: list[Event] = []
        with self.lock:
            self.pool.submit(Path(folder))
            while not self.is_closing:
                for event in self.pool.poll(0.25):
                    if event.retry is not None:
                        return [asdict(each) for each in (*told, event)]
                    if event.message:
                        told.append(event)
        return [asdict(Event(run_id=Path(folder).name, retry="free"))]

    def cancel(self, run_id: str) -> None:
        """Ask the run to save itself and end."""
        self.pool.cancel(run_id)

    def close(self) -> None:
        """Let the worker save its run and end."""
        self.is_closing = True
        with self.lock:
            self.pool.close(detach=False)

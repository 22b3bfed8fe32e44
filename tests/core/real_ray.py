"""What does Ray itself do? A head without cores on this machine and nodes of one core each, as separate processes."""

from __future__ import annotations

import importlib.util
import uuid
from typing import Any

import pytest

from ablation_suite.core.scheduling import ray_cluster
from tests.core import processes


def why_not() -> str | None:
    """Why no Ray can be started here, or None."""
    return "ray is not installed" if importlib.util.find_spec("ray") is None else None


class RealRay:
    """Starts a cluster by Ray's own utility, and takes it down with all that was started meanwhile."""

    def __init__(self, num_nodes: int):
        name, value = "ABLATION_TESTS_RAY", uuid.uuid4().hex
        self.mark = f"{name}={value}"
        self.patch = pytest.MonkeyPatch()
        for each in {**ray_cluster.ENVIRONMENT, name: value}.items():
            self.patch.setenv(*each)
        try:
            from ray.cluster_utils import Cluster

            self.cluster: Any = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
            for _ in range(num_nodes):
                self.add_node()
        except BaseException:  # on a busy machine a node gives up, and leaves what it has begun
            self._end()
            raise

    @property
    def address(self) -> str:
        return self.cluster.address

    def add_node(self) -> Any:
        """One more node of one core."""
        return self.cluster.add_node(num_cpus=1)

    def actors(self) -> list[int]:
        """The processes of our actors, on any of its nodes."""
        return [each for each in processes.carrying(self.mark) if processes.command(each).startswith("ray::Trainer")]

    def close(self) -> None:
        self.cluster.shutdown()
        self._end()

    def _end(self) -> None:
        self.patch.undo()
        processes.end(self.mark)

"""How does a run look in MLflow? One MLflow run per run id, continued where an earlier attempt or sync stopped."""

from __future__ import annotations

import getpass
import logging
import os
import re
import shlex
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from ablation_suite.core.config.levels import leaves
from ablation_suite.core.runs.labels import USES
from ablation_suite.core.runs.ledger import Row
from ablation_suite.core.runs.provenance import scrub
from ablation_suite.core.tracking.projection import Shown

RUN_ID_TAG, LEDGER_TAG = "ablate.run_id", "ablate.ledger"
"""The hash of the config, and what tells one training of it from another."""
NO_PARAMS = ("ablations", "studies", "outcome", "score", "ledger", "provenance")
"""Parts of a config that are no parameters: they grow, and a parameter of MLflow is for ever; tags say them."""
LONGEST_PARAM = 500
LONGEST_TAG = 5000
DEFAULT_ENVIRONMENT = {
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "5",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}
"""MLflow's own: 120 seconds and seven retries (a server that is away holds a sync for many minutes), and talk."""


def open_sink(results: Path, run: Shown) -> MlflowSink:
    """Begin or continue the run at MLFLOW_TRACKING_URI, or else in files under `<results>/mlflow`."""
    return MlflowSink(_place(results), run)


def gone(results: Path, notes: Iterable[Mapping[str, Any]]) -> set[str]:
    """The ids of those published runs that are deleted by now."""
    client = MlflowClient(tracking_uri=_place(results))
    return {note["id"] for note in notes if not _is_there(client, note["id"])}


class MlflowSink:
    """Metrics by epoch; MLflow only appends, so that the epochs it holds are asked first."""

    def __init__(self, uri: str, run: Shown):
        self._client = MlflowClient(tracking_uri=uri)
        experiment = self._client.get_experiment_by_name(run.project)
        experiment_id = experiment.experiment_id if experiment else self._client.create_experiment(run.project)
        known = self._client.search_runs([experiment_id], f"tags.`{RUN_ID_TAG}` = '{run.run_id}'")
        ours = [each for each in known if each.data.tags.get(LEDGER_TAG, run.beside) == run.beside]
        self._id = (ours[0] if ours else self._create(experiment_id, run)).info.run_id
        self._client.update_run(self._id, status="RUNNING")
        self.held_epoch = max(self._epochs(), default=-1)
        self.name = self._id
        others = [each.info.run_id for each in known if each.info.run_id != self._id]
        self.told = f"another training of it is {others[0]}" if others else ""
        self.where = f"{scrub(uri).rstrip('/')}/#/experiments/{experiment_id}/runs/{self._id}"
        self._summary: dict[str, float] = {}

    def log(self, epoch: int, numbers: dict[str, float], time: float) -> None:
        """All numbers of an epoch in one request; `epoch` is one of them."""
        self._log(numbers, epoch, time)

    def summarise(self, numbers: dict[str, float], history: list[Row]) -> None:
        """Kept until the end, because MLflow keeps each value that a metric ever had."""
        self._summary = numbers

    def close(self, run: Shown) -> None:
        """Log the numbers of the whole run as `best/*`, `last/*` and `final/*`, and end the run."""
        named = {key if key.startswith(("best/", "last/")) else f"final/{key}": key for key in self._summary}
        end = run.end or time.time()
        self._log({name: self._summary[key] for name, key in named.items()}, 0, end)
        self._client.log_batch(self._id, tags=[RunTag(name, value) for name, value in _tags(run).items()])
        self._client.set_terminated(self._id, "FAILED" if run.has_failed else "FINISHED", end_time=int(1000 * end))

    def fault(self, history: list[Row]) -> str:
        """Whether there is a point of the metric `epoch` for each epoch."""
        num_held = len(self._epochs())
        return "" if num_held == len(history) else f"holds {num_held} epochs of {len(history)}"

    def _epochs(self) -> list[int]:
        return [point.step for point in self._client.get_metric_history(self._id, "epoch")]

    def _create(self, experiment_id: str, run: Shown) -> Any:
        begin = int(1000 * run.begin) if run.begin else None
        created = self._client.create_run(experiment_id, begin, {RUN_ID_TAG: run.run_id, **_tags(run)}, run.name)
        settings = {name: value for name, value in run.config.items() if name not in NO_PARAMS}
        params = [Param(name, str(value)[:LONGEST_PARAM]) for name, value in leaves(settings)]
        self._client.log_batch(created.info.run_id, params=params)
        return created

    def _log(self, numbers: dict[str, float], epoch: int, seconds: float) -> None:
        points = [Metric(name, float(value), int(1000 * seconds), epoch) for name, value in numbers.items()]
        self._client.log_batch(self._id, metrics=points)


def _place(results: Path) -> str:
    """Where MLflow keeps its runs, with its talk and its patience bounded."""
    for name, value in DEFAULT_ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a line per retry, beside our warning
    uri = os.environ.get("MLFLOW_TRACKING_URI")
    if not uri:
        # MLflow 3 wants to be told that files are meant; a database would need its migrations and SQLAlchemy.
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")
        uri = (results.absolute() / "mlflow").as_uri()
    return uri


def _is_there(client: MlflowClient, name: str) -> bool:
    try:
        return client.get_run(name).info.lifecycle_stage == "active"
    except MlflowException as error:
        if error.error_code == "RESOURCE_DOES_NOT_EXIST":
            return False
        raise


def _tags(run: Shown) -> dict[str, str]:
    """What is said of a run in MLflow, whose tags have names and values: who and what made it, and its uses."""
    provenance = run.config.get("provenance") or {}
    uses = {kind: run.config.get(kind) or {} for kind in USES}
    found = {
        LEDGER_TAG: run.beside,
        "group": run.group,
        "job_type": run.job_type,
        "tags": ", ".join(run.tags),
        "outcome": run.outcome,
        "mlflow.user": _user(),
        "mlflow.source.type": "LOCAL",
        "mlflow.source.name": shlex.join(provenance.get("command") or []),
        "mlflow.source.git.commit": ((provenance.get("suite") or {}).get("commit")),
        "mlflow.note.content": run.notes,
        **{
            f"{kind}.{_plain(name)}.{fact}": str(value)
            for kind, named in uses.items()
            for name, facts in named.items()
            for fact, value in leaves(facts)
        },
    }
    return {name: str(value)[:LONGEST_TAG] for name, value in found.items() if value}


def _plain(name: str) -> str:
    """A name with only what the name of a tag may hold."""
    return re.sub(r"[^\w. /-]", "-", name)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a number without a name, as in containers
        return str(os.getuid())

"""What would W&B's server hold now? A stand-in on the loopback that real clients talk to, and that can be slow or dead.

It follows the real server in what matters here: a run of a known id keeps its history, `UpsertBucket` tells the client
how many lines there are (so that a run begun anew appends behind them), and `file_stream` writes lines at an offset.
"""

from __future__ import annotations

import base64
import gzip
import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.core.wandb_content import Artifacts, Reports

KEY = "0123456789abcdef0123456789abcdef01234567"
"""The one API key that the server accepts."""


class WandbServer(ThreadingHTTPServer):
    """`history` and `summary` per run id; `health` is ok, error (500) or hang."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_port}"
        self.health = "ok"
        self.delay = 0.0
        self.runs: dict[str, dict[str, Any]] = {}
        self.history: dict[str, list[dict[str, Any]]] = {}
        self.summary: dict[str, dict[str, Any]] = {}
        self.exit_codes: dict[str, int] = {}
        self.uploads: dict[str, bytes] = {}
        self.artifacts = Artifacts(self.url, self.uploads)
        self.reports = Reports()
        self.operations: list[str] = []
        self.deleted: set[str] = set()
        self.stopped = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that left in the middle is no news here."""

    def environment(self, key: str = KEY) -> dict[str, str]:
        """The variables that send a W&B client here, and nowhere else."""
        return {"WANDB_BASE_URL": self.url, "WANDB_API_KEY": key, "WANDB_ERROR_REPORTING": "false"}

    def epochs(self, run_id: str) -> list[int]:
        """The epochs that the server holds of a run, in the order of its lines."""
        return [row["epoch"] for row in self.history.get(run_id, [])]

    def delete(self, run_id: str) -> None:
        """What a person does on the page of a run, whose id is then nobody's for ever."""
        for kept in (self.runs, self.history, self.summary, self.exit_codes):
            kept.pop(run_id, None)
        self.deleted.add(run_id)

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any]:
        """The data of a GraphQL operation."""
        name = given.get("name") or given.get("run") or str(given.get("id") or "").removeprefix("bucket-")
        if operation == "UpsertBucket":
            new = name not in self.runs
            if given.get("summaryMetrics"):
                self.summary[name] = json.loads(given["summaryMetrics"])
            self.runs[name] = {**self.runs.get(name, {}), **{key: value for key, value in given.items() if value}}
            return {"upsertBucket": {"bucket": self._bucket(name), "inserted": new}}
        if operation == "RunResumeStatus":
            bucket = self._bucket(name) if name in self.runs else None
            return {"model": {"id": "project", "name": "project", "entity": _ENTITY, "bucket": bucket}}
        if operation == "CreateRunFiles":
            files = [{"name": file, "uploadUrl": f"{self.url}/upload/{file}"} for file in given["files"]]
            return {"createRunFiles": {"runID": name, "uploadHeaders": [], "files": files}}
        if operation in ("Viewer", "GetDefaultEntity"):
            teams: dict[str, Any] = {"edges": []}
            return {
                "viewer": {"id": "me", "username": "me", "email": "", "flags": "{}", "entity": "me", "teams": teams}
            }
        if operation == "ServerFeaturesQuery":
            return {"serverInfo": {"features": []}}
        if operation == "RunFullHistory":
            return {"project": {"run": {"history": [json.dumps(row) for row in self.history.get(name, [])]}}}
        if operation == "GetRuns" or (operation == "Runs" and "filters" in given):
            return self._runs(json.loads(given["filters"]))
        if "project" in given and operation in ("Run", "GetRun", "RunHistoryKeys"):
            return {"project": {"run": self._bucket(name) if name in self.runs else None}}
        return self.artifacts.answer(operation, given) or self.reports.answer(operation, given) or {}

    def _runs(self, filters: dict[str, Any]) -> dict[str, Any]:
        """The runs whose config has these values, among those that are named."""
        wanted = {key.split(".")[1]: value for key, value in filters.items() if key != "name"}
        named = filters.get("name", {}).get("$in", list(self.runs))
        configs = {name: json.loads(self.runs[name].get("config") or "{}") for name in self.runs if name in named}
        found = [
            name
            for name, config in configs.items()
            if all((config.get(key) or {}).get("value") == value for key, value in wanted.items())
        ]
        edges = [{"node": self._bucket(name), "cursor": name} for name in found]
        page = {"endCursor": None, "hasNextPage": False}
        return {"project": {"internalId": "1", "runCount": len(found), "runs": {"edges": edges, "pageInfo": page}}}

    def _bucket(self, name: str) -> dict[str, Any]:
        run, history = self.runs[name], self.history.get(name, [])
        tail = [json.dumps(row) for row in history[-1:]]
        return {
            "id": f"bucket-{name}",
            "name": name,
            "displayName": run.get("displayName") or name,
            "projectId": 1,
            "project": {"id": "project", "name": run.get("project"), "entity": _ENTITY},
            "config": run.get("config") or "{}",
            "summaryMetrics": json.dumps(self.summary.get(name, {})),
            "historyLineCount": len(history),
            "historyTail": json.dumps(tail),
            "historyKeys": {"lastStep": history[-1]["_step"] if history else -1, "keys": {}},
            "eventsLineCount": 0,
            "eventsTail": "[]",
            "logLineCount": 0,
            "tags": run.get("tags") or [],
            "state": "finished",
            "wandbConfig": json.dumps({"t": 1}),
        }

    def stream(self, run_id: str, body: dict[str, Any]) -> None:
        """Write the lines of a `file_stream` request at their offset; what stands behind them stays.

        A client whose goodbye ran out of time goes on sending what it has, and may do so after a later one is done.
        """
        for name, chunk in (body.get("files") or {}).items():
            if name == "wandb-history.jsonl":
                lines = self.history.setdefault(run_id, [])
                begin, found = chunk["offset"], [json.loads(line) for line in chunk["content"]]
                lines[begin : begin + len(found)] = found
            if name == "wandb-summary.json":
                self.summary[run_id] = json.loads(chunk["content"][-1])
        if body.get("complete"):
            self.exit_codes[run_id] = body["exitcode"]


@contextmanager
def wandb_server() -> Iterator[WandbServer]:
    """A running server, stopped at the end together with all that still hangs on it."""
    server = WandbServer()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.stopped.set()
        server.shutdown()
        server.server_close()
        thread.join()


_ENTITY = {"id": "me", "name": "me"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: WandbServer

    def log_message(self, format: str, *args: Any) -> None:
        """Keep the tests quiet."""

    def do_GET(self) -> None:
        self._reply({})

    def do_PUT(self) -> None:
        self.server.uploads[self.path.removeprefix("/upload/")] = self._body()
        self._reply({})

    def do_POST(self) -> None:
        body = self._body()
        time.sleep(self.server.delay)
        if self.server.health == "hang":
            self.server.stopped.wait(60.0)
            return
        if self.server.health == "error":
            self._reply({"errors": [{"message": "internal error"}]}, 500)
        elif f"api:{KEY}" not in _basic(self.headers.get("Authorization", "")):
            self._reply({"errors": [{"message": "user is not logged in"}]}, 401)
        elif self.path.startswith("/graphql"):
            request = json.loads(body)
            found = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            operation = found.group(1) if found else ""
            given = request.get("variables") or {}
            self.server.operations.append(operation)
            if operation == "UpsertBucket" and given.get("name") in self.server.deleted:
                told = f"run me/digits/{given['name']} was previously created and deleted; try a new run name"
                self._reply({"errors": [{"message": told}]}, 409)
            else:
                self._reply({"data": self.server.answer(operation, given)})
        else:
            found = re.fullmatch(r"/files/[^/]+/[^/]+/([^/]+)/file_stream", self.path)
            if found:
                self.server.stream(found.group(1), json.loads(body))
            self._reply({"limits": {}})

    def _body(self) -> bytes:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        return gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body

    def _reply(self, value: Any, status: int = 200) -> None:
        data = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)


def _basic(header: str) -> str:
    return base64.b64decode(header.removeprefix("Basic ") + "==").decode(errors="replace")

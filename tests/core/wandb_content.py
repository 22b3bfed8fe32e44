"""What would W&B's server hold of artifacts and Reports? The part of the stand-in that takes their content."""

from __future__ import annotations

import base64
import json
from typing import Any

MOMENT = "2026-01-01T00:00:00Z"


class Artifacts:
    """Versions of artifacts; one is whole when the client has uploaded what it was asked for and committed it."""

    def __init__(self, url: str, uploads: dict[str, bytes]) -> None:
        self.url, self.uploads = url, uploads
        self.begun: list[dict[str, Any]] = []
        self.committed: list[dict[str, Any]] = []

    def files(self, collection: str) -> dict[str, bytes]:
        """Name -> content of the files in the last committed version of a collection."""
        number = max(k for k, each in enumerate(self.begun) if each["artifactCollectionName"] == collection)
        assert self.begun[number] in self.committed
        manifest = json.loads(self.uploads[f"{number}/wandb_manifest.json"])
        return {name: self.uploads[f"{number}/{name}"] for name in manifest["contents"]}

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The data of a GraphQL operation on artifacts; None for others."""
        if operation == "ArtifactType":
            return {"project": {"artifact": None}}
        if operation == "CreateArtifact":
            return {"createArtifact": {"artifact": self._begin(given["input"])}}
        if operation == "CreateArtifactManifest":
            file = self._file(given["artifactID"], given["name"])
            return {"createArtifactManifest": {"artifactManifest": {"id": given["artifactID"], "file": file}}}
        if operation == "CreateArtifactFiles":
            wanted = given["input"]["artifactFiles"]
            edges = [{"node": self._file(each["artifactID"], each["name"])} for each in wanted]
            return {"createArtifactFiles": {"files": {"edges": edges}}}
        if operation == "CommitArtifact":
            begun = self.begun[int(given["artifactID"])]
            self.committed.append(begun)
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": begun["digest"]}}}
        return None

    def _begin(self, given: dict[str, Any]) -> dict[str, Any]:
        """A version to be uploaded, or the one that has this content already."""
        same = [k for k, each in enumerate(self.begun) if each in self.committed and each["digest"] == given["digest"]]
        if not same:
            self.begun.append(given)
        number = str(same[0] if same else len(self.begun) - 1)
        sequence = {"id": given["artifactCollectionName"], "latestArtifact": {"id": number} if same else None}
        return {"id": number, "state": "COMMITTED" if same else "PENDING", "artifactSequence": sequence}

    def _file(self, artifact: str, name: str) -> dict[str, Any]:
        place = f"{artifact}/{name}"
        return {
            "id": place,
            "name": name,
            "displayName": name,
            "uploadUrl": f"{self.url}/upload/{place}",
            "uploadHeaders": [],
            "storagePath": place,
            "artifact": {"id": artifact},
        }


class Reports:
    """Saved Reports by id, as the last save left them."""

    def __init__(self) -> None:
        self.views: dict[str, dict[str, Any]] = {}
        self.num_saved = 0

    def blocks(self, number: str) -> list[dict[str, Any]]:
        """The blocks of a Report: text, panel grids."""
        return json.loads(self.views[number]["spec"])["blocks"]

    def answer(self, operation: str, given: dict[str, Any]) -> dict[str, Any] | None:
        """The data of a GraphQL operation on Reports; None for others."""
        if operation == "ProjectInternalId":
            return {"project": {"internalId": "project"}}
        if operation == "GetProjects":
            node = {"id": "project", "name": "digits", "entityName": "me", "isBenchmark": False, "user": None}
            edge = {"node": node | {"createdAt": MOMENT}, "cursor": "1"}
            return {"models": {"edges": [edge], "pageInfo": {"hasNextPage": False, "endCursor": "1"}}}
        if operation == "SpecificReport":
            return {"view": self.views.get(given["reportId"])}
        if operation == "upsertView":
            return {"upsertView": {"inserted": not given.get("id"), "view": self._save(given)}}
        return None

    def _save(self, given: dict[str, Any]) -> dict[str, Any]:
        self.num_saved += 1
        number = given.get("id") or base64.b64encode(f"View:{self.num_saved}".encode()).decode()
        project = {"id": "project", "name": given["projectName"], "entityName": given["entityName"]}
        kept = {key: given[key] for key in ("name", "displayName", "description", "type", "spec")}
        self.views[number] = {"id": number, "project": project, "createdAt": MOMENT, "updatedAt": MOMENT, **kept}
        return self.views[number]

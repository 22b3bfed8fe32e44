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
        self.used: list[tuple[str, str]] = []
        """(run, collection): what each run took as its input."""

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
        if operation == "ArtifactByID":
            return {"artifact": self._whole(int(given["id"]))}
        if operation == "ArtifactMembershipByName":
            wanted, _, alias = given["name"].partition(":")
            names = [each["artifactCollectionName"] for each in self.begun]
            if wanted not in names:
                return {"project": {"artifactCollectionMembership": None}}
            number = len(names) - 1 - names[::-1].index(wanted)
            return {"project": {"artifactCollectionMembership": self._membership(number, alias)}}
        if operation == "UseArtifact":
            use = given.get("input", given)  # of the client's core, and of its Python part
            number = int(use["artifactID"])
            self.used.append((use["runName"], self.begun[number]["artifactCollectionName"]))
            return {"useArtifact": {"artifact": self._whole(number)}}
        if operation == "CommitArtifact":
            begun = self.begun[int(given["artifactID"])]
            self.committed.append(begun)
            return {"commitArtifact": {"artifact": {"id": given["artifactID"], "digest": begun["digest"]}}}
        return None

    def _begin(self, given: dict[str, Any]) -> dict[str, Any]:
        """A version to be uploaded, or the one that has this content already."""
        keys = ("digest", "artifactCollectionName")
        alike = [k for k, each in enumerate(self.begun) if all(each[key] == given[key] for key in keys)]
        same = [k for k in alike if self.begun[k] in self.committed]
        if not same:
            self.begun.append(given)
        number = str(same[0] if same else len(self.begun) - 1)
        sequence = {"id": given["artifactCollectionName"], "latestArtifact": {"id": number} if same else None}
        return {"id": number, "state": "COMMITTED" if same else "PENDING", "artifactSequence": sequence}

    def _whole(self, number: int) -> dict[str, Any]:
        begun = self.begun[number]
        aliases = [
            {"__typename": "ArtifactAlias", "id": each["alias"], "alias": each["alias"], "artifactCollection": None}
            for each in begun.get("aliases") or []
        ]
        return {
            "__typename": "Artifact",
            "id": str(number),
            "artifactSequence": self._collection(begun["artifactCollectionName"]),
            "versionIndex": 0,
            "artifactType": {"name": begun["artifactTypeName"]},
            "description": None,
            "metadata": begun.get("metadata"),
            "ttlDurationSeconds": -2,
            "ttlIsInherited": True,
            "tags": [],
            "historyStep": None,
            "state": "COMMITTED",
            "size": 1,
            "digest": begun["digest"],
            "commitHash": "0",
            "fileCount": 1,
            "createdAt": MOMENT,
            "updatedAt": None,
            "aliases": aliases,
        }

    def _membership(self, number: int, alias: str) -> dict[str, Any]:
        return {
            "__typename": "ArtifactCollectionMembership",
            "id": str(number),
            "versionIndex": 0,
            "createdAt": MOMENT,
            "aliases": [{"__typename": "ArtifactAlias", "id": alias, "alias": alias}],
            "artifactCollection": self._collection(self.begun[number]["artifactCollectionName"]),
            "artifact": self._whole(number),
        }

    @staticmethod
    def _collection(name: str) -> dict[str, Any]:
        project = {"id": "project", "internalId": "1", "name": "digits", "entity": {"name": "me"}}
        return {"__typename": "ArtifactSequence", "name": name, "project": project}

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

"""One folder with our dashboards, as Grafana's newer API keeps them or, where that is not there, the older one.

A dashboard carries the digest of what we wrote as a tag, so a second run sees that nothing differs. One that a person
has saved since is kept as it is, unless the caller says otherwise.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.grafana.http import Door

DIGEST = "ocifree-digest:"
GROUP = "/apis/dashboard.grafana.app"
WANTED_VERSIONS = ("v1", "v1beta1")
_ROBOTS = ("sa-", "service-account:", "access-policy:", "api-key:")


@dataclass(frozen=True, slots=True)
class Found:
    """A dashboard as it is kept. `version` guards against a save in between."""

    spec: Mapping[str, Any]
    folder: str
    version: str
    saved_by: str

    @property
    def digest(self) -> str:
        tags = self.spec.get("tags") or ()
        return next((str(tag).removeprefix(DIGEST) for tag in tags if str(tag).startswith(DIGEST)), "")

    @property
    def saved_by_person(self) -> bool:
        return bool(self.saved_by) and not self.saved_by.startswith(_ROBOTS)


class Boards(Protocol):
    """How dashboards are kept."""

    def find(self, uid: str) -> Found | None: ...

    def save(self, spec: Mapping[str, Any], folder: str, before: Found | None) -> None: ...

    def remove(self, uid: str) -> None: ...


@dataclass(frozen=True, slots=True)
class Change:
    verb: Literal["create", "change", "keep", "remove"]
    uid: str
    title: str
    why: str = ""

    def __str__(self) -> str:
        return f"{self.verb} dashboard {self.title}" + (f": {self.why}" if self.why else "")


def boards_at(grafana: Door) -> Boards:
    """The newer API if this Grafana has it in a version that we write."""
    group = grafana.call("GET", f"{GROUP}/", "look which APIs Grafana has", absent=True)
    there = {str(one.get("version")) for one in (group or {}).get("versions", ())}
    version = next((one for one in WANTED_VERSIONS if one in there), None)
    if version is None:
        return LegacyBoards(grafana)
    settings = grafana.call("GET", "/api/frontend/settings", "read Grafana's settings")
    return AppBoards(grafana, f"{GROUP}/{version}/namespaces/{settings['namespace']}/dashboards", version)


def ensure_folder(grafana: Door, uid: str, title: str) -> str | None:
    """The folder is there afterwards. Returns what was done, if anything."""
    if grafana.call("GET", f"/api/folders/{uid}", "look for the folder", absent=True) is not None:
        return None
    grafana.call("POST", "/api/folders", "make the folder", body={"uid": uid, "title": title})
    return f"create folder {title}"


def planned(
    boards: Boards, wanted: Sequence[Mapping[str, Any]], folder: str, ours_before: Sequence[str], *, overwrite: bool
) -> list[Change]:
    """What has to be done so that `wanted` is there, and what we made before and no longer want is gone."""
    changes: list[Change] = []
    for spec in wanted:
        uid, title = str(spec["uid"]), str(spec["title"])
        found = boards.find(uid)
        if found is None:
            changes.append(Change("create", uid, title))
        elif found.saved_by_person and not overwrite:
            changes.append(Change("keep", uid, title, f"{found.saved_by} saved it"))
        elif found.saved_by_person or found.digest != digest_of(spec) or found.folder != folder:
            changes.append(Change("change", uid, title))
    for uid in ours_before:
        found = boards.find(uid) if uid not in {str(spec["uid"]) for spec in wanted} else None
        if found is None:
            continue
        verb: Literal["keep", "remove"] = "keep" if found.saved_by_person and not overwrite else "remove"
        changes.append(Change(verb, uid, str(found.spec.get("title", uid)), "no longer declared"))
    return changes


def apply(boards: Boards, wanted: Sequence[Mapping[str, Any]], folder: str, changes: Sequence[Change]) -> None:
    """Make the changes, and read every dashboard back that was written."""
    specs = {str(spec["uid"]): spec for spec in wanted}
    for change in changes:
        if change.verb == "remove":
            boards.remove(change.uid)
        elif change.verb != "keep":
            spec = marked(specs[change.uid])
            boards.save(spec, folder, boards.find(change.uid))
            _require_kept(boards.find(change.uid), specs[change.uid], folder)


def digest_of(spec: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()[:16]


def marked(spec: Mapping[str, Any]) -> dict[str, Any]:
    """With the digest of itself among its tags."""
    return {**spec, "tags": [*spec.get("tags", ()), DIGEST + digest_of(spec)]}


def _require_kept(found: Found | None, spec: Mapping[str, Any], folder: str) -> None:
    if found is None or found.digest != digest_of(spec) or found.folder != folder:
        raise NotVerified(
            f"dashboard {spec['title']} was saved, and reading it back disagrees",
            why="it is not there" if found is None else "its folder or its content is another",
            fix="ocifree up --select 'monitoring/dashboards' tries again",
        )


@dataclass(frozen=True, slots=True)
class LegacyBoards:
    """`/api/dashboards`, in every Grafana for years."""

    grafana: Door

    def find(self, uid: str) -> Found | None:
        told = self.grafana.call("GET", f"/api/dashboards/uid/{uid}", "look for a dashboard", absent=True)
        if told is None:
            return None
        meta = told["meta"]
        return Found(told["dashboard"], str(meta.get("folderUid", "")), str(meta["version"]), str(meta["updatedBy"]))

    def save(self, spec: Mapping[str, Any], folder: str, before: Found | None) -> None:
        version = int(before.version) if before else 0
        body = {"dashboard": {**spec, "version": version}, "folderUid": folder, "overwrite": False}
        self.grafana.call("POST", "/api/dashboards/db", "save a dashboard", body=body)

    def remove(self, uid: str) -> None:
        self.grafana.call("DELETE", f"/api/dashboards/uid/{uid}", "remove a dashboard", absent=True)


@dataclass(frozen=True, slots=True)
class AppBoards:
    """`/apis/dashboard.grafana.app`, objects in the manner of Kubernetes."""

    grafana: Door
    path: str
    version: str

    def find(self, uid: str) -> Found | None:
        told = self.grafana.call("GET", f"{self.path}/{uid}", "look for a dashboard", absent=True)
        if told is None:
            return None
        metadata = told["metadata"]
        notes = metadata.get("annotations", {})
        saved_by = notes.get("grafana.app/updatedBy") or notes.get("grafana.app/createdBy", "")
        return Found(
            told["spec"], str(notes.get("grafana.app/folder", "")), str(metadata["resourceVersion"]), str(saved_by)
        )

    def save(self, spec: Mapping[str, Any], folder: str, before: Found | None) -> None:
        uid = str(spec["uid"])
        metadata: dict[str, Any] = {"name": uid, "annotations": {"grafana.app/folder": folder}}
        if before is not None:
            metadata["resourceVersion"] = before.version
        body = {
            "apiVersion": f"dashboard.grafana.app/{self.version}",
            "kind": "Dashboard",
            "metadata": metadata,
            "spec": {name: value for name, value in spec.items() if name not in {"id", "uid", "version"}},
        }
        method, path = ("POST", self.path) if before is None else ("PUT", f"{self.path}/{uid}")
        self.grafana.call(method, path, "save a dashboard", body=body)

    def remove(self, uid: str) -> None:
        self.grafana.call("DELETE", f"{self.path}/{uid}", "remove a dashboard", absent=True)

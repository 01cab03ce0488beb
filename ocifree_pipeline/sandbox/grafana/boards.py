"""Folders and dashboards of the stack's Grafana, as the older API (`/api`) and the newer one (`/apis`) show them.

Both look at the same things. Every save makes a new version and remembers who saved: a service account or a person.
"""

from __future__ import annotations

from copy import deepcopy
from typing import Any

from ocifree_pipeline.sandbox.grafana import stack
from ocifree_pipeline.sandbox.world import World

ROBOT = "sa-1-ocifree"


class Refused(Exception):
    """An error of Grafana's API."""

    def __init__(self, status: int, message: str, /, **more: Any) -> None:
        super().__init__(message)
        self.status = status
        self.body = {"message": message, **more}


def folders(world: World) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack.facts(world).setdefault("folders", {})
    return found


def boards(world: World) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = stack.facts(world).setdefault("boards", {})
    return found


# folders --------------------------------------------------------------------------------------------------------------


def make_folder(world: World, body: dict[str, Any]) -> dict[str, Any]:
    title, uid = str(body.get("title") or ""), str(body.get("uid") or world.fresh("folder", 14))
    if not title:
        raise Refused(400, "folder title cannot be empty")
    if uid in folders(world):
        raise Refused(412, "a folder with the same UID already exists", status="version-mismatch")
    if any(one["title"] == title for one in folders(world).values()):
        raise Refused(409, "a folder with the same name already exists in the current location")
    made = {"uid": uid, "title": title, "url": f"/dashboards/f/{uid}", "version": 1, "createdBy": ROBOT}
    folders(world)[uid] = made
    return made


def folder(world: World, uid: str) -> dict[str, Any]:
    found = folders(world).get(uid)
    if found is None:
        raise Refused(404, "folder not found", status="not-found")
    return found


def remove_folder(world: World, uid: str) -> None:
    """With all that is inside."""
    folder(world, uid)
    if any(one["folderUid"] == uid for one in stack.facts(world).get("ruleGroups", {}).values()):
        raise Refused(400, "folder cannot be deleted: folder contains alert rules")
    del folders(world)[uid]
    for name in [name for name, one in boards(world).items() if one["folder"] == uid]:
        del boards(world)[name]


# dashboards -----------------------------------------------------------------------------------------------------------


def save(
    world: World, spec: dict[str, Any], folder_uid: str, *, overwrite: bool, version: int | None, by: str = ROBOT
) -> dict[str, Any]:
    """A new version. Refused when somebody else saved since `version`, unless it is overwritten."""
    spec = deepcopy(spec)
    if not spec.get("title"):
        raise Refused(400, "Dashboard title cannot be empty", status="empty-name")
    if folder_uid and folder_uid not in folders(world):
        raise Refused(400, "folder not found", status="not-found")
    uid = str(spec.get("uid") or world.fresh("dashboard", 14))
    found = boards(world).get(uid)
    if found is not None and not overwrite and version != found["version"]:
        raise Refused(412, "The dashboard has been changed by someone else", status="version-mismatch")
    number = 1 if found is None else found["version"] + 1
    spec |= {"uid": uid, "version": number}
    spec["id"] = found["spec"]["id"] if found else 1 + len(boards(world))
    boards(world)[uid] = {
        "spec": spec,
        "folder": folder_uid,
        "version": number,
        "createdBy": found["createdBy"] if found else by,
        "updatedBy": by,
        "updated": world.clock.stamp(),
    }
    return boards(world)[uid]


def board(world: World, uid: str) -> dict[str, Any]:
    found = boards(world).get(uid)
    if found is None:
        raise Refused(404, "Dashboard not found", status="not-found")
    return found


def remove(world: World, uid: str) -> dict[str, Any]:
    found = board(world, uid)
    del boards(world)[uid]
    return found


def edit_as_person(world: World, uid: str, login: str = "you@example.org", **changes: Any) -> None:
    """What somebody does in the browser."""
    found = board(world, uid)
    save(world, found["spec"] | changes, found["folder"], overwrite=True, version=None, by=login)


# how the older API shows them -----------------------------------------------------------------------------------------


def as_saved(found: dict[str, Any]) -> dict[str, Any]:
    spec = found["spec"]
    return {
        "id": spec["id"],
        "uid": spec["uid"],
        "url": f"/d/{spec['uid']}/",
        "status": "success",
        "version": found["version"],
        "folderUid": found["folder"],
    }


def as_read(world: World, found: dict[str, Any]) -> dict[str, Any]:
    spec = found["spec"]
    meta = {
        "type": "db",
        "url": f"/d/{spec['uid']}/",
        "version": found["version"],
        "createdBy": found["createdBy"],
        "updatedBy": found["updatedBy"],
        "updated": found["updated"],
        "folderUid": found["folder"],
        "folderTitle": folders(world).get(found["folder"], {}).get("title", "Dashboards"),
        "provisioned": False,
    }
    return {"dashboard": spec, "meta": meta}


def search(world: World, folder_uids: list[str]) -> list[dict[str, Any]]:
    return [
        {"uid": uid, "title": one["spec"]["title"], "type": "dash-db", "folderUid": one["folder"], "url": f"/d/{uid}/"}
        for uid, one in boards(world).items()
        if not folder_uids or one["folder"] in folder_uids
    ]


# how the newer API shows them -----------------------------------------------------------------------------------------


def as_resource(found: dict[str, Any], version: str, namespace: str) -> dict[str, Any]:
    spec = {name: value for name, value in found["spec"].items() if name not in {"id", "uid", "version"}}
    return {
        "apiVersion": f"dashboard.grafana.app/{version}",
        "kind": "Dashboard",
        "metadata": {
            "name": found["spec"]["uid"],
            "namespace": namespace,
            "resourceVersion": str(found["version"]),
            "generation": found["version"],
            "annotations": {
                "grafana.app/folder": found["folder"],
                "grafana.app/createdBy": _identity(found["createdBy"]),
                "grafana.app/updatedBy": _identity(found["updatedBy"]),
                "grafana.app/updatedTimestamp": found["updated"],
            },
        },
        "spec": spec,
    }


def save_resource(world: World, body: dict[str, Any], name: str | None) -> dict[str, Any]:
    """POST when `name` is None, else PUT. A PUT with a resourceVersion that is not the current one conflicts."""
    metadata, spec = body.get("metadata") or {}, body.get("spec")
    if not isinstance(spec, dict) or not isinstance(metadata, dict):
        raise Refused(400, "spec and metadata are required", reason="BadRequest")
    uid = str(metadata.get("name") or "")
    if not uid or (name is not None and uid != name):
        raise Refused(400, "the name of the object does not match the name on the URL", reason="BadRequest")
    there = boards(world).get(uid)
    if name is None and there is not None:
        raise Refused(409, f'dashboards.dashboard.grafana.app "{uid}" already exists', reason="AlreadyExists")
    if name is not None and there is None:
        raise Refused(404, f'dashboards.dashboard.grafana.app "{uid}" not found', reason="NotFound")
    wanted = metadata.get("resourceVersion")
    if there is not None and wanted not in {None, "", str(there["version"])}:
        raise Refused(409, "the object has been modified; please apply your changes to the latest version", reason="Conflict")  # noqa: E501  # fmt: skip
    folder_uid = str((metadata.get("annotations") or {}).get("grafana.app/folder", ""))
    return save(world, spec | {"uid": uid}, folder_uid, overwrite=True, version=None)


def _identity(login: str) -> str:
    return f"service-account:{login.removeprefix('sa-1-')}" if login.startswith("sa-") else f"user:{login}"

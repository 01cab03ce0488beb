"""What the storages of a cluster may hold, and disk images that a node fetches by itself."""

from __future__ import annotations

from typing import Any

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.proxmox.api import Api

LOCAL = "local"
IMAGE = "import"
TEMPLATE = "vztmpl"
FOR_GUESTS = (IMAGE, "rootdir", "snippets", TEMPLATE)
FETCH_SECONDS = 1800.0


def allow(api: Api) -> list[str]:
    """The storages of the nodes take what guests are made from too. Returns what was changed."""
    has = _kinds(api)
    missing = [kind for kind in FOR_GUESTS if kind not in has]
    if not missing:
        return []
    api.put(f"/storage/{LOCAL}", content=",".join([*has, *missing]))
    if not set(FOR_GUESTS) <= set(_kinds(api)):
        raise NotVerified(
            f"the storage {LOCAL} does not take {', '.join(missing)}",
            why="it was set, and reading it back does not show it",
            fix=f"look at it: pvesh get /storage/{LOCAL}",
        )
    return [f"let the storage {LOCAL} take {', '.join(missing)}"]


def volume_of(kind: str, name: str) -> str:
    return f"{LOCAL}:{kind}/{name}"


def volume(api: Api, node: str, kind: str, name: str) -> str | None:
    """The id of a file on the node's own storage; None when it is not there."""
    wanted = volume_of(kind, name)
    rows: list[dict[str, Any]] = api.get(f"/nodes/{node}/storage/{LOCAL}/content", content=kind)
    return next((str(row["volid"]) for row in rows if row["volid"] == wanted), None)


def fetch(api: Api, node: str, kind: str, name: str, *, url: str, sha256: str) -> str:
    """Let the node fetch a file: it is nearer to the internet than this computer. The digest is checked there."""
    api.wait(
        api.post(
            f"/nodes/{node}/storage/{LOCAL}/download-url",
            content=kind,
            filename=name,
            url=url,
            checksum=sha256,
            **{"checksum-algorithm": "sha256"},
        ),
        FETCH_SECONDS,
    )
    found = volume(api, node, kind, name)
    if found is None:
        raise NotVerified(
            f"{name} is not on {node}",
            why="its download ended well, and the storage does not list it",
            fix=f"look at it: pvesm list {LOCAL}",
        )
    return found


def _kinds(api: Api) -> list[str]:
    return sorted(str(api.get(f"/storage/{LOCAL}").get("content", "")).split(","))

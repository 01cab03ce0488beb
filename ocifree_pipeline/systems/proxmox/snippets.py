"""User data for guests, as files on the nodes: the API cannot write them, and they hold secrets.

Each node has its own, so that a guest starts wherever it is moved to.
"""

from __future__ import annotations

import hashlib

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.proxmox.node import PRIVATE, Node

FOLDER = "/var/lib/vz/snippets"


def volume_of(name: str) -> str:
    return f"local:snippets/{name}"


def place(node: Node, name: str, content: SecretStr) -> list[str]:
    """The file holds this, and only root reads it. It is compared by digest: a secret is not read back."""
    path = f"{FOLDER}/{name}"
    if _is_so(node, path, content):
        return []
    node.put(path, content, PRIVATE)
    if not _is_so(node, path, content):
        raise NotVerified(
            f"{path} on {node.name} is not as it was written",
            why="its digest or its mode differs",
            fix=f"look at the space that {node.name} has left: df /var/lib/vz",
        )
    return [f"write {path} on {node.name}"]


def _is_so(node: Node, path: str, content: SecretStr) -> bool:
    digest = hashlib.sha256(content.get_secret_value().encode()).hexdigest()
    found = node.run(["sha256sum", path])
    if found.exit != 0 or found.stdout.split()[:1] != [digest]:
        return False
    return node.run(["stat", "-c", "%a", path]).stdout.strip() == PRIVATE.lstrip("0")

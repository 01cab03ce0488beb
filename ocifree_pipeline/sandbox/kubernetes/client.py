"""How controllers speak to the API: by verbs and objects. Only ``call`` knows how a request gets there."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.kubernetes.calls import APPLY_PATCH, JSON, MERGE_PATCH
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

Ask = Callable[[str, str, Mapping[str, str], Any, str], Tree]
"""Method, path, query, body and its type; the answer's object, or Refusal."""


@dataclass(frozen=True, slots=True)
class Client:
    """``resource`` names are like ``v1/pods`` and ``apps/v1/deployments``.

    What it returns belongs to the API: copy before changing it.
    """

    ask: Ask

    def get(self, resource: str, namespace: str, name: str) -> Tree | None:
        try:
            return self.ask("GET", path(resource, namespace, name), {}, None, JSON)
        except Refusal as refusal:
            if refusal.code == 404:
                return None
            raise

    def list(self, resource: str, namespace: str = "", labels: str = "", fields: str = "") -> list[Tree]:
        query = {"labelSelector": labels, "fieldSelector": fields}
        try:
            found = self.ask("GET", path(resource, namespace), {k: v for k, v in query.items() if v}, None, JSON)
        except Refusal as refusal:
            if refusal.code == 404:
                return []
            raise
        items: list[Tree] = found["items"]
        kind = {"apiVersion": found["apiVersion"], "kind": str(found["kind"]).removesuffix("List")}
        # Over a network the items of a list do not say what they are.
        return [one if "kind" in one else kind | one for one in items]

    def create(self, resource: str, body: Tree) -> Tree:
        namespace = body["metadata"].get("namespace", "")
        return self.ask("POST", path(resource, namespace), {}, body, JSON)

    def replace(self, resource: str, body: Tree) -> Tree:
        metadata = body["metadata"]
        return self.ask("PUT", path(resource, metadata.get("namespace", ""), metadata["name"]), {}, body, JSON)

    def patch(self, resource: str, namespace: str, name: str, body: Tree, sub: str = "") -> Tree:
        """A merge patch; ``sub`` is ``status`` for what only controllers say."""
        return self.ask("PATCH", path(resource, namespace, name, sub), {}, body, MERGE_PATCH)

    def set_status(self, resource: str, tree: Tree, status: Tree) -> None:
        """Say what is; nothing is written when that is known."""
        if tree.get("status") == status:
            return
        metadata = tree["metadata"]
        where = path(resource, metadata.get("namespace", ""), metadata["name"], "status")
        self.ask("PUT", where, {}, tree | {"status": status}, JSON)

    def bind(self, namespace: str, pod: str, node: str) -> None:
        """Nobody may write the node of a pod, not even its scheduler: it is bound once."""
        target = {"apiVersion": "v1", "kind": "Node", "name": node}
        body = {"apiVersion": "v1", "kind": "Binding", "metadata": {"name": pod}, "target": target}
        self.ask("POST", path("v1/pods", namespace, pod, "binding"), {}, body, JSON)

    def ensure(self, resource: str, body: Tree) -> Tree:
        """The object, created if it is missing."""
        metadata = body["metadata"]
        found = self.get(resource, metadata.get("namespace", ""), metadata["name"])
        return self.create(resource, body) if found is None else found

    def apply(self, resource: str, body: Tree, manager: str, *, force: bool = True) -> Tree:
        metadata = body["metadata"]
        where = path(resource, metadata.get("namespace", ""), metadata["name"])
        query = {"fieldManager": manager, "force": "true" if force else "false"}
        return self.ask("PATCH", where, query, body, APPLY_PATCH)

    def delete(self, resource: str, namespace: str, name: str, **options: str) -> None:
        try:
            self.ask("DELETE", path(resource, namespace, name), options, None, JSON)
        except Refusal as refusal:
            if refusal.code != 404:
                raise


def path(resource: str, namespace: str = "", name: str = "", sub: str = "") -> str:
    *group, version, plural = resource.split("/")
    root = f"/apis/{group[0]}/{version}" if group else f"/api/{version}"
    parts = [root, *(["namespaces", namespace] if namespace else []), plural, name, sub]
    return "/".join(one for one in parts if one)

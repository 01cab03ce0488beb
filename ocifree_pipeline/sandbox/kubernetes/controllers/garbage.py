"""What goes when something else has gone: objects whose owners are gone, and what is in a namespace that ends.

Also what comes with a namespace: its default service account and the certificate of the cluster.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.conditions import own_key, split
from ocifree_pipeline.sandbox.kubernetes.objects import FOREGROUND, ORPHAN
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree

ROOT_CERTIFICATE = "kube-root-ca.crt"


def _itself(_here: Here, tree: Tree) -> Iterable[str]:
    """The uid tells dependents; kind and place tell how to find the object."""
    from ocifree_pipeline.sandbox.kubernetes.store import key_of

    return (f"{tree['apiVersion']}|{tree['kind']}|{tree['metadata']['uid']}|{key_of(tree)}",)


@dataclass(frozen=True, slots=True)
class Garbage:
    """Woken for every object of every kind (``*``)."""

    name: str = "garbage"
    watches: dict[str, Keys] = field(default_factory=lambda: {"*": _itself})

    def reconcile(self, here: Here, key: str) -> float | None:
        version, kind, uid, place = key.split("|", 3)
        resource = here.resource(version, kind)
        if resource is None:
            return None
        namespace, name = split(place)
        found = here.client.get(resource, namespace, name)
        if found is None or found["metadata"]["uid"] != uid:
            for other, dependent in here.dependents(uid):
                _delete(here, other, dependent)
            return None
        metadata = found["metadata"]
        finalizers = metadata.get("finalizers") or []
        if metadata.get("deletionTimestamp") and ORPHAN in finalizers:
            for other, dependent in here.dependents(uid):
                _let_go(here, other, dependent, uid)
            _finish(here, resource, found, ORPHAN)
        elif metadata.get("deletionTimestamp") and FOREGROUND in finalizers:
            blocking = list(here.dependents(uid))
            for other, dependent in blocking:
                _delete(here, other, dependent)
            if not list(here.dependents(uid)):
                _finish(here, resource, found, FOREGROUND)
        else:
            self._check_owners(here, resource, found)
        return None

    def _check_owners(self, here: Here, resource: str, tree: Tree) -> None:
        """An object that was made after its owner had gone goes too."""
        metadata = tree["metadata"]
        owners = metadata.get("ownerReferences") or []
        if not owners or metadata.get("deletionTimestamp"):
            return
        for one in owners:
            its = here.resource(one["apiVersion"], one["kind"])
            if its is None:
                return
            place = metadata.get("namespace", "") if here.is_namespaced(one["apiVersion"], one["kind"]) else ""
            owner = here.client.get(its, place, one["name"])
            if owner is not None and owner["metadata"]["uid"] == one["uid"]:
                return
        _delete(here, resource, tree)


def _delete(here: Here, resource: str, tree: Tree) -> None:
    if not tree["metadata"].get("deletionTimestamp"):
        here.client.delete(resource, tree["metadata"].get("namespace", ""), tree["metadata"]["name"])


def _let_go(here: Here, resource: str, tree: Tree, uid: str) -> None:
    metadata = tree["metadata"]
    left = [one for one in metadata["ownerReferences"] if one["uid"] != uid]
    patch = {"metadata": {"ownerReferences": left or None}}
    here.client.patch(resource, metadata.get("namespace", ""), metadata["name"], patch)


def _finish(here: Here, resource: str, tree: Tree, finalizer: str) -> None:
    metadata = tree["metadata"]
    left = [one for one in metadata["finalizers"] if one != finalizer]
    patch = {"metadata": {"finalizers": left or None}}
    here.client.patch(resource, metadata.get("namespace", ""), metadata["name"], patch)


@dataclass(frozen=True, slots=True)
class Namespaces:
    name: str = "namespaces"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "namespaces": own_key,
            "*": lambda _here, tree: [tree["metadata"]["namespace"]] if _leaves(tree) else (),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        found = here.client.get("v1/namespaces", "", key)
        if found is None:
            return None
        if not found["metadata"].get("deletionTimestamp"):
            account: Tree = {"metadata": {"name": "default", "namespace": key}}
            here.client.ensure("v1/serviceaccounts", account)
            certificate = here.state["settings"].get("certificate", "")
            body: Tree = {"metadata": {"name": ROOT_CERTIFICATE, "namespace": key}, "data": {"ca.crt": certificate}}
            here.client.ensure("v1/configmaps", body)
            return None
        left = False
        for resource, tree in list(here.inside(key)):
            _delete(here, resource, tree)
        for _ in here.inside(key):
            left = True
            break
        if not left and (found["spec"].get("finalizers") or []):
            here.client.ask("PUT", f"/api/v1/namespaces/{key}/finalize", {}, found | {"spec": {}}, "application/json")
        return None


def _leaves(tree: Tree) -> bool:
    """Whether an object in a namespace is on its way out: the namespace may be waiting for that."""
    metadata = tree["metadata"]
    return bool(metadata.get("namespace")) and bool(metadata.get("deletionTimestamp"))

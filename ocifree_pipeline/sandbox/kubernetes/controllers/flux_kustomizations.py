"""kustomize-controller: what stands in a folder of a source is applied, waited for, and pruned.

The plain form is played: all YAML files below the path, or those that a ``kustomization.yaml`` lists as resources.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.catalogue import releases
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true, key, own_key, split
from ocifree_pipeline.sandbox.kubernetes.controllers.flux import (
    FINALIZER,
    GIT,
    KUSTOMIZATIONS,
    ready,
    runs,
    seconds,
    waits,
    when_it_comes_up,
)
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at
from ocifree_pipeline.sandbox.kubernetes.yamls import load_yaml

CONTROLLER = "kustomize-controller"
LATER = frozenset({"Namespace", "CustomResourceDefinition"})
FAILURES = ("BuildFailed", "ReconciliationFailed")
Entry = list[str]
"""Resource, namespace and name of something that was applied."""


@dataclass(frozen=True, slots=True)
class Kustomizations:
    name: str = "kustomizations"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "kustomizations.kustomize.toolkit.fluxcd.io": own_key,
            "gitrepositories.source.toolkit.fluxcd.io": lambda here, source: [
                key(one)
                for one in here.client.list(KUSTOMIZATIONS)
                if one["spec"]["sourceRef"]["name"] == source["metadata"]["name"]
            ],
            "pods": when_it_comes_up(CONTROLLER, KUSTOMIZATIONS),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(KUSTOMIZATIONS, namespace, name)
        if tree is None or not runs(here, CONTROLLER):
            return None
        metadata, spec = tree["metadata"], tree["spec"]
        if metadata.get("deletionTimestamp"):
            if spec["prune"]:
                _prune(here, _applied(tree), [])
            left = [one for one in metadata.get("finalizers") or () if one != FINALIZER]
            here.client.patch(KUSTOMIZATIONS, namespace, name, {"metadata": {"finalizers": left or None}})
            return None
        if FINALIZER not in (metadata.get("finalizers") or []):
            patch = {"metadata": {"finalizers": [*(metadata.get("finalizers") or ()), FINALIZER]}}
            tree = here.client.patch(KUSTOMIZATIONS, namespace, name, patch)
        if spec.get("suspend") or (waits(tree, *FAILURES) and not here.timed):
            return None
        reference = spec["sourceRef"]
        source = here.client.get(GIT, reference.get("namespace", namespace), reference["name"])
        if reference["kind"] != "GitRepository" or source is None or not is_true(source, "Ready"):
            said = "Source artifact not found, retrying in 30s"
            here.client.set_status(KUSTOMIZATIONS, tree, ready(tree, False, "ArtifactFailed", said, here.stamp))
            return None
        return _converge(here, tree, source)


def _converge(here: Here, tree: Tree, source: Tree) -> float:
    spec, revision = tree["spec"], source["status"]["artifact"]["revision"]
    again = seconds(spec.get("retryInterval", spec["interval"]))
    try:
        objects = _built(here, tree, source)
    except (Refusal, ValueError) as error:
        here.client.set_status(KUSTOMIZATIONS, tree, ready(tree, False, "BuildFailed", str(error), here.stamp))
        return again
    entries: list[Entry] = []
    for one in sorted(objects, key=lambda found: found["kind"] not in LATER):
        try:
            entries.append(_apply(here, tree, one))
        except Refusal as refusal:
            said = f"{one['kind']}/{one['metadata']['name']} dry-run failed: {refusal.message}"
            here.client.set_status(KUSTOMIZATIONS, tree, ready(tree, False, "ReconciliationFailed", said, here.stamp))
            return again
    if spec["prune"]:
        _prune(here, _applied(tree), entries)
    inventory = {"entries": [{"id": "_".join(one), "v": "|".join(one)} for one in entries]}
    waiting = [one for one in entries if spec.get("wait") and not _is_there(here, one)]
    if waiting:
        said = f"Running health checks for revision {revision} with a timeout of {spec.get('timeout', '5m0s')}"
        status = ready(tree, "Unknown", "Progressing", said, here.stamp)
    else:
        status = ready(tree, True, "ReconciliationSucceeded", f"Applied revision: {revision}", here.stamp)
        status["lastAppliedRevision"] = revision
    here.client.set_status(KUSTOMIZATIONS, tree, status | {"inventory": inventory, "lastAttemptedRevision": revision})
    return 5.0 if waiting else seconds(spec["interval"])


def _built(here: Here, tree: Tree, source: Tree) -> list[Tree]:
    files: dict[str, str] = here.state["repositories"][source["spec"]["url"]]["files"]
    folder = str(tree["spec"].get("path", "./")).removeprefix("./").strip("/")
    prefix = f"{folder}/" if folder else ""
    names = _listed(files, prefix) or sorted(
        one for one in files if one.startswith(prefix) and one.endswith((".yaml", ".yml"))
    )
    if not names:
        raise Refusal(
            500, "", f"kustomization path not found: stat /tmp/kustomization/{folder}: no such file or directory"
        )
    found: list[Tree] = []
    for name in names:
        if name not in files:
            raise Refusal(500, "", f"accumulating resources: open {name}: no such file or directory")
        found += load_yaml(files[name])
    for one in found:
        if "sops" in one:
            raise Refusal(501, "", f"the sandbox does not decrypt {one['kind']}/{one['metadata']['name']}")
    return found


def _listed(files: dict[str, str], prefix: str) -> list[str]:
    text = files.get(f"{prefix}kustomization.yaml")
    if text is None:
        return []
    listed: list[str] = []
    for one in load_yaml(text)[0].get("resources") or ():
        place = f"{prefix}{one.removeprefix('./')}".rstrip("/")
        listed += _listed(files, f"{place}/") or [place]
    return listed


def _apply(here: Here, tree: Tree, one: Tree) -> Entry:
    resource = here.resource(one["apiVersion"], one["kind"])
    if resource is None:
        raise Refusal(404, "NotFound", f'no matches for kind "{one["kind"]}" in version "{one["apiVersion"]}"')
    metadata = one["metadata"]
    if here.is_namespaced(one["apiVersion"], one["kind"]):
        target = tree["spec"].get("targetNamespace")
        metadata["namespace"] = target or metadata.get("namespace") or "default"
    metadata["labels"] = (metadata.get("labels") or {}) | {
        "kustomize.toolkit.fluxcd.io/name": tree["metadata"]["name"],
        "kustomize.toolkit.fluxcd.io/namespace": tree["metadata"]["namespace"],
    }
    here.client.apply(resource, one, CONTROLLER)
    return [resource, metadata.get("namespace", ""), metadata["name"]]


def _applied(tree: Tree) -> list[Entry]:
    return [one["v"].split("|") for one in at(tree, "status", "inventory", "entries", default=[])]


def _prune(here: Here, before: Iterable[Entry], now: list[Entry]) -> None:
    for resource, namespace, name in reversed(list(before)):
        if [resource, namespace, name] not in now:
            here.client.delete(resource, namespace, name)


def _is_there(here: Here, entry: Entry) -> bool:
    tree = here.client.get(*entry)
    if tree is None:
        return False
    if entry[0] in releases.WORKLOADS.values():
        return releases.is_there(tree)
    conditions = {one["type"] for one in at(tree, "status", "conditions", default=[])}
    return "Ready" not in conditions or is_true(tree, "Ready")

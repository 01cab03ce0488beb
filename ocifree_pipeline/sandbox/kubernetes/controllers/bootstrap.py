"""What Talos does with inline and extra manifests: it applies them when the API is up, again and again until they fit.

They are created, and never changed afterwards: what is there already is left alone.
"""

from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.catalogue.addresses import manifests
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree
from ocifree_pipeline.sandbox.kubernetes.yamls import load_yaml

MANAGER = "talos"
RETRY_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Manifests:
    name: str = "manifests"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            "customresourcedefinitions.apiextensions.k8s.io": lambda here, _tree: _unfinished(here),
            "namespaces": lambda here, _tree: _unfinished(here),
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        known: Tree | None = here.state["manifests"].get(key)
        if known is None:
            return None
        try:
            objects = manifests(key) if known["url"] else load_yaml(known["text"])
        except ValueError as error:
            known["problem"] = str(error)
            return None
        if objects is None:
            known["problem"] = f"failed to download {key}: the sandbox does not know what stands at this address"
            return None
        if known["url"]:
            rule = here.strikes(f"download/{key}")
            if rule is not None:
                known["problem"] = f"failed to download {key}: {rule.message}"
                return RETRY_SECONDS
        problems = [problem for number, one in enumerate(objects) if (problem := _create(here, known, number, one))]
        known["problem"] = "; ".join(problems)
        return RETRY_SECONDS if problems else None


def _unfinished(here: Here) -> list[str]:
    return [name for name, one in here.state["manifests"].items() if one["problem"]]


def _create(here: Here, known: Tree, number: int, tree: Tree) -> str:
    if number in known["done"]:
        return ""
    resource = here.resource(tree.get("apiVersion", ""), tree.get("kind", ""))
    name = (tree.get("metadata") or {}).get("name", "")
    if resource is None:
        return f'no matches for kind "{tree.get("kind")}" in version "{tree.get("apiVersion")}"'
    metadata = tree["metadata"]
    if here.is_namespaced(tree["apiVersion"], tree["kind"]):
        metadata.setdefault("namespace", "default")
    try:
        if here.client.get(resource, metadata.get("namespace", ""), name) is None:
            here.client.apply(resource, tree, MANAGER)
    except Refusal as refusal:
        return refusal.message
    known["done"].append(number)
    return ""

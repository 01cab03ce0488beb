"""Resource quotas: how much of them is used."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes import quotas
from ocifree_pipeline.sandbox.kubernetes.conditions import key, own_key, split
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

QUOTAS = "v1/resourcequotas"


def _of_namespace(here: Here, pod: Tree) -> Iterable[str]:
    return [key(one) for one in here.client.list(QUOTAS, pod["metadata"]["namespace"])]


@dataclass(frozen=True, slots=True)
class Quotas:
    name: str = "quotas"
    watches: dict[str, Keys] = field(default_factory=lambda: {"resourcequotas": own_key, "pods": _of_namespace})

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        tree = here.client.get(QUOTAS, namespace, name)
        if tree is None:
            return None
        hard = {one: value for one, value in at(tree, "spec", "hard", default={}).items() if quotas.is_counted(one)}
        found = quotas.used(here.client.list("v1/pods", namespace), hard)
        used = {one: quotas.shown(value, one) for one, value in found.items()}
        here.client.set_status(QUOTAS, tree, {"hard": at(tree, "spec", "hard", default={}), "used": used})
        return None

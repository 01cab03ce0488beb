"""Disruption budgets: how many of the pods that one speaks of may be missed now."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.conditions import condition, is_true, key, own_key, split, with_conditions
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.selectors import selects
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

PODS, BUDGETS = "v1/pods", "policy/v1/poddisruptionbudgets"
DONE = frozenset({"Succeeded", "Failed"})


def _of_pod(here: Here, pod: Tree) -> Iterable[str]:
    return [key(one) for one in here.client.list(BUDGETS, pod["metadata"]["namespace"])]


@dataclass(frozen=True, slots=True)
class Disruptions:
    name: str = "disruptions"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {"poddisruptionbudgets.policy": own_key, "pods": _of_pod},
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        budget = here.client.get(BUDGETS, namespace, name)
        if budget is None or budget["metadata"].get("deletionTimestamp"):
            return None
        pods = [
            one
            for one in here.client.list(PODS, namespace)
            if _speaks_of(budget, one) and at(one, "status", "phase") not in DONE
        ]
        healthy = sum(is_true(one, "Ready") and not one["metadata"].get("deletionTimestamp") for one in pods)
        wanted = _needed(budget["spec"], len(pods))
        allowed = max(0, healthy - wanted) if pods else 0
        said = condition("DisruptionAllowed", allowed > 0, "SufficientPods" if allowed else "InsufficientPods")
        status = {
            "currentHealthy": healthy,
            "desiredHealthy": wanted,
            "disruptionsAllowed": allowed,
            "expectedPods": len(pods),
            "observedGeneration": at(budget, "metadata", "generation", default=1),
            "conditions": with_conditions(budget, [said], here.stamp, generation=True),
        }
        here.client.set_status(BUDGETS, budget, status)
        return None


def _speaks_of(budget: Tree, pod: Tree) -> bool:
    return selects(at(budget, "spec", "selector"), at(pod, "metadata", "labels", default={}))


def _needed(spec: Tree, expected: int) -> int:
    """How many have to be healthy. Parts of a hundred are rounded up, as in life."""
    if (most := spec.get("maxUnavailable")) is not None:
        return max(0, expected - _number(most, expected))
    return _number(spec.get("minAvailable", 0), expected)


def _number(value: object, of: int) -> int:
    text = str(value)
    return -(-of * int(text.rstrip("%")) // 100) if text.endswith("%") else int(text)

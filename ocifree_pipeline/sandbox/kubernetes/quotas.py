"""Limits of namespaces: what a container gets that does not say what it needs, and how much all pods may take."""

from collections.abc import Iterable
from decimal import Decimal

from ocifree_pipeline.sandbox.kubernetes import statuses
from ocifree_pipeline.sandbox.kubernetes.conditions import amount
from ocifree_pipeline.sandbox.kubernetes.store import Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

DONE = frozenset({"Succeeded", "Failed"})
SHORT = {"cpu": "requests.cpu", "memory": "requests.memory"}
COMPUTED = frozenset({"requests.cpu", "requests.memory", "limits.cpu", "limits.memory", "cpu", "memory"})


def admit(pod: Tree, store: Store) -> None:
    """Complete a new pod by the limit ranges of its namespace. Refusal when no quota has room for it."""
    namespace = pod["metadata"]["namespace"]
    for limits in store.all("limitranges", namespace):
        _complete(pod, limits)
    for quota in store.all("resourcequotas", namespace):
        _check(pod, quota, store)


def used(store_pods: Iterable[Tree], hard: Iterable[str]) -> dict[str, Decimal]:
    """What pods that have not ended take of the named resources."""
    pods = [one for one in store_pods if at(one, "status", "phase") not in DONE]
    return {name: sum((_taken(one, name) for one in pods), Decimal(0)) for name in hard}


def is_counted(name: str) -> bool:
    """Whether a resource of a quota is played."""
    return name in COMPUTED or name in {"pods", "count/pods"}


def shown(value: Decimal, name: str) -> str:
    """A number as a quantity: processors in thousandths, memory in bytes of powers of two."""
    if name.endswith("cpu"):
        return f"{value.normalize():f}" if value == value.to_integral() else f"{int(value * 1000)}m"
    for unit, bits in (("Gi", 30), ("Mi", 20), ("Ki", 10)):
        if name.endswith("memory") and value and value % (1 << bits) == 0:
            return f"{int(value) >> bits}{unit}"
    return f"{int(value)}"


def _complete(pod: Tree, limits: Tree) -> None:
    for one in limits["spec"]["limits"]:
        if one["type"] != "Container":
            continue
        for container in pod["spec"].get("containers") or ():
            resources = container.setdefault("resources", {})
            for part, given in (("limits", "default"), ("requests", "defaultRequest")):
                values = one.get(given) or {}
                if values:
                    resources[part] = values | (resources.get(part) or {})


def _check(pod: Tree, quota: Tree, store: Store) -> None:
    hard = {name: value for name, value in (at(quota, "spec", "hard", default={})).items() if is_counted(name)}
    name = quota["metadata"]["name"]
    metadata = pod["metadata"]
    missing = [
        f"{one} for: {container['name']}"
        for one in sorted(hard)
        if one in COMPUTED
        for container in pod["spec"].get("containers") or ()
        if _of(container, one) is None
    ]
    if missing:
        said = f"failed quota: {name}: must specify {'; '.join(missing)}"
        raise statuses.forbidden("pods", "", metadata.get("name", ""), said)
    now = used(store.all("pods", metadata["namespace"]), hard)
    over = [one for one in sorted(hard) if now[one] + _taken(pod, one) > amount(hard[one])]
    if over:
        wanted = ",".join(f"{one}={shown(_taken(pod, one), one)}" for one in over)
        taken = ",".join(f"{one}={shown(now[one], one)}" for one in over)
        limited = ",".join(f"{one}={hard[one]}" for one in over)
        said = f"exceeded quota: {name}, requested: {wanted}, used: {taken}, limited: {limited}"
        raise statuses.forbidden("pods", "", metadata.get("name", ""), said)


def _taken(pod: Tree, name: str) -> Decimal:
    if name in {"pods", "count/pods"}:
        return Decimal(1)
    return sum((amount(_of(one, name) or 0) for one in pod["spec"].get("containers") or ()), Decimal(0))


def _of(container: Tree, name: str) -> object:
    part, _, resource = SHORT.get(name, name).partition(".")
    found: object = at(container, "resources", part, resource)
    if found is None and part == "requests":
        found = at(container, "resources", "limits", resource)
    return found

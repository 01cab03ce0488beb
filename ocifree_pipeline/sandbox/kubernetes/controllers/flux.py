"""What the controllers of Flux share: their pods have to run, and they tell how far they are in the same words."""

from collections.abc import Iterable

from ocifree_pipeline.sandbox.kubernetes.catalogue.addresses import FLUX_NAMESPACE
from ocifree_pipeline.sandbox.kubernetes.conditions import condition, is_true, key, with_conditions
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

SOURCES = "source.toolkit.fluxcd.io/v1"
REPOSITORIES = f"{SOURCES}/helmrepositories"
CHARTS = f"{SOURCES}/helmcharts"
GIT = f"{SOURCES}/gitrepositories"
RELEASES = "helm.toolkit.fluxcd.io/v2/helmreleases"
KUSTOMIZATIONS = "kustomize.toolkit.fluxcd.io/v1/kustomizations"
FINALIZER = "finalizers.fluxcd.io"
REQUESTED, HANDLED = "reconcile.fluxcd.io/requestedAt", "lastHandledReconcileAt"
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


def runs(here: Here, controller: str) -> bool:
    """Whether a controller has a pod that is ready."""
    return any(is_true(one, "Ready") for one in here.client.list("v1/pods", FLUX_NAMESPACE, labels=f"app={controller}"))


def when_it_comes_up(controller: str, resource: str) -> Keys:
    """A controller that comes up looks at everything."""

    def keys(here: Here, pod: Tree) -> Iterable[str]:
        if at(pod, "metadata", "labels", "app") != controller or not is_true(pod, "Ready"):
            return ()
        return [key(one) for one in here.client.list(resource)]

    return keys


def ready(tree: Tree, status: str | bool, reason: str, message: str, now: str) -> Tree:
    """The status of an object with its condition Ready; what else is known stays."""
    said = condition("Ready", status, reason, message)
    found = (tree.get("status") or {}) | {
        "observedGeneration": tree["metadata"]["generation"],
        "conditions": with_conditions(tree, [said], now, generation=True),
    }
    return found | ({HANDLED: _asked(tree)} if _asked(tree) else {})


def _asked(tree: Tree) -> str:
    """When somebody asked by an annotation to look at once."""
    return str(at(tree, "metadata", "annotations", REQUESTED, default=""))


def seconds(duration: str) -> float:
    """``1h30m`` as seconds."""
    total, number = 0.0, ""
    rest = duration
    while rest:
        digits = rest[: len(rest) - len(rest.lstrip("0123456789."))]
        rest = rest[len(digits) :]
        unit = "ms" if rest.startswith("ms") else rest[:1]
        rest = rest[len(unit) :]
        number = digits
        total += float(number or 0) * UNITS.get(unit, 1.0)
    return total


def shown(duration: float) -> str:
    """Seconds as Go writes them: ``5m0s``."""
    minutes, rest = divmod(int(duration), 60)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest}s"


def waits(tree: Tree, *reasons: str) -> bool:
    """Whether what is wanted now was tried and failed for one of those reasons: time will try again."""
    if at(tree, "status", "observedGeneration") != tree["metadata"]["generation"]:
        return False
    if _asked(tree) != at(tree, "status", HANDLED, default=""):
        return False
    return any(
        one["type"] == "Ready" and one["status"] == "False" and one["reason"] in reasons
        for one in at(tree, "status", "conditions", default=[])
    )

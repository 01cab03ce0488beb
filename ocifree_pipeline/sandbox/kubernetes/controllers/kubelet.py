"""The kubelets of all nodes: they pull images, start the containers of pods, and end them."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from ipaddress import IPv4Network

from ocifree_pipeline.sandbox.kubernetes import events
from ocifree_pipeline.sandbox.kubernetes.catalogue import images
from ocifree_pipeline.sandbox.kubernetes.conditions import condition, is_true, key, own_key, split, with_conditions
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

PODS = "v1/pods"
PULL_SECONDS = 4.0
BACK_OFF_SECONDS, LONGEST_BACK_OFF = 10.0, 300.0
DONE = frozenset({"Succeeded", "Failed"})
PULLING, STARTING = "pulling", "ContainerCreating"


def _on_it(here: Here, node: Tree) -> Iterable[str]:
    return [key(one) for one in here.client.list(PODS, fields=f"spec.nodeName={node['metadata']['name']}")]


def _wanting(here: Here, volume_source: Tree) -> Iterable[str]:
    """Pods that wait for something of that name."""
    namespace = volume_source["metadata"].get("namespace", "")
    return [
        key(one)
        for one in here.client.list(PODS, namespace, fields="status.phase=Pending")
        if at(one, "spec", "nodeName")
    ]


@dataclass(frozen=True, slots=True)
class Kubelet:
    name: str = "kubelet"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {"pods": own_key, "nodes": _on_it, "secrets": _wanting, "configmaps": _wanting}
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        namespace, name = split(key)
        pod = here.client.get(PODS, namespace, name)
        node_name = at(pod, "spec", "nodeName")
        if pod is None or not node_name:
            return None
        node = here.client.get("v1/nodes", "", node_name)
        if node is None:
            here.client.delete(PODS, namespace, name, gracePeriodSeconds="0")
            return None
        machine = here.state["machines"].get(node_name)
        if machine is not None and not machine["running"]:
            _miss(here, pod, node)
            return None
        if pod["metadata"].get("deletionTimestamp"):
            here.client.delete(PODS, namespace, name, gracePeriodSeconds="0")
            return None
        if at(pod, "status", "phase") in DONE:
            return None
        if at(pod, "status", "phase") == "Running":
            if not is_true(pod, "Ready") and not _crashed(pod):
                _say(here, pod, _running(here, pod, node))
            return None
        if _backs_off(pod) and not here.timed:
            return None
        return _start(here, pod, node)


def _backs_off(pod: Tree) -> bool:
    """Whether the next try waits for its time."""
    return any(
        at(one, "state", "waiting", "reason") in {"ImagePullBackOff", "CrashLoopBackOff"}
        for one in at(pod, "status", "containerStatuses", default=[])
    )


def _waits_for(pod: Tree, message: str) -> bool:
    return any(
        at(one, "state", "waiting", "message") == message for one in at(pod, "status", "containerStatuses", default=[])
    )


def _crashed(pod: Tree) -> bool:
    return any("waiting" in one.get("state", {}) for one in at(pod, "status", "containerStatuses", default=[]))


def _miss(here: Here, pod: Tree, node: Tree) -> None:
    """The machine is silent: after a while nobody believes that its pods are ready."""
    if is_true(pod, "Ready") and not is_true(node, "Ready"):
        lost = [condition(kind, False, "NodeNotReady") for kind in ("Ready", "ContainersReady")]
        _say(here, pod, pod["status"] | {"conditions": with_conditions(pod, lost, here.stamp)})


def _start(here: Here, pod: Tree, node: Tree) -> float | None:
    spec = pod["spec"]
    missing = _missing(here, pod)
    network = spec.get("hostNetwork") or is_true(node, "Ready")
    if missing or not network:
        message = missing or "network is not ready: cni plugin not initialized"
        if not _waits_for(pod, message):
            reason = "FailedMount" if missing else "NetworkNotReady"
            events.tell(here, pod, reason, message, by="kubelet", warns=True)
        _say(here, pod, _waiting(here, pod, STARTING, message))
        return None
    if "startTime" not in (pod.get("status") or {}):
        _say(here, pod, _waiting(here, pod, STARTING, "") | {"startTime": here.stamp})
        return _start(here, _again(here, pod), node)
    left = here.left(pod["status"]["startTime"], PULL_SECONDS)
    if left > 0:
        return left
    failing = _pull_failure(here, pod)
    if failing is not None:
        image, message = failing
        events.tell(here, pod, "Failed", message, by="kubelet", warns=True)
        status = _waiting(here, pod, "ImagePullBackOff", f'Back-off pulling image "{image}": {message}')
        tries = max((one["restartCount"] for one in status["containerStatuses"]), default=0)
        annotated = int(at(pod, "metadata", "annotations", "sandbox.ocifree/pulls", default=0)) + 1
        marked = {"metadata": {"annotations": {"sandbox.ocifree/pulls": str(annotated)}}}
        here.client.patch(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"], marked)
        _say(here, _again(here, pod), status)
        return float(min(BACK_OFF_SECONDS * 2 ** min(annotated - 1 + tries, 10), LONGEST_BACK_OFF))
    if spec.get("restartPolicy", "Always") == "Always":
        _say(here, pod, _running(here, pod, node))
        return None
    return _run_to_the_end(here, pod, node)


def _run_to_the_end(here: Here, pod: Tree, node: Tree) -> float | None:
    """What the container does is done by the catalogue of images, as the pod's service account would."""
    _say(here, pod, _running(here, pod, node))
    pod = _again(here, pod)
    container = pod["spec"]["containers"][0]
    rule = here.strikes(f"run/{container['image']}")
    try:
        if rule is not None:
            raise Refusal(rule.status, rule.code, rule.message)
        images.run(here, pod, container)
    except Refusal as refusal:
        return _failed(here, pod, refusal.message)
    ended = _ended(here, pod, 0, "Completed", "")
    _say(here, pod, ended | {"phase": "Succeeded"})
    return None


def _failed(here: Here, pod: Tree, message: str) -> float | None:
    if pod["spec"].get("restartPolicy") == "Never":
        _say(here, pod, _ended(here, pod, 1, "Error", message) | {"phase": "Failed"})
        return None
    statuses = at(pod, "status", "containerStatuses", default=[])
    count = max((one["restartCount"] for one in statuses), default=0) + 1
    events.tell(here, pod, "BackOff", f"Back-off restarting failed container: {message}", by="kubelet", warns=True)
    status = _waiting(here, pod, "CrashLoopBackOff", f"back-off restarting failed container: {message}")
    for one in status["containerStatuses"]:
        one["restartCount"] = count
        one["lastState"] = {"terminated": {"exitCode": 1, "reason": "Error", "message": message}}
    _say(here, pod, status | {"phase": "Pending"})
    return float(min(BACK_OFF_SECONDS * 2 ** (count - 1), LONGEST_BACK_OFF))


def _pull_failure(here: Here, pod: Tree) -> tuple[str, str] | None:
    for one in (*(pod["spec"].get("initContainers") or ()), *pod["spec"]["containers"]):
        rule = here.strikes(f"pull/{one['image']}")
        if rule is not None:
            return one["image"], f'ErrImagePull: failed to pull and unpack image "{one["image"]}": {rule.message}'
    return None


def _missing(here: Here, pod: Tree) -> str:
    """What the pod refers to and is not there."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or ():
        for kind, resource, field_name in (
            ("secret", "v1/secrets", "secretName"),
            ("configMap", "v1/configmaps", "name"),
        ):
            source = volume.get(kind) or {}
            wanted = source.get(field_name)
            if wanted and not source.get("optional") and here.client.get(resource, namespace, wanted) is None:
                return f'MountVolume.SetUp failed for volume "{volume["name"]}" : {kind.lower()} "{wanted}" not found'
    for container in pod["spec"]["containers"]:
        for one in container.get("env") or ():
            for kind, resource in (("secretKeyRef", "v1/secrets"), ("configMapKeyRef", "v1/configmaps")):
                source = at(one, "valueFrom", kind)
                if (
                    source
                    and not source.get("optional")
                    and here.client.get(resource, namespace, source["name"]) is None
                ):
                    return f'{resource.removeprefix("v1/").removesuffix("s")} "{source["name"]}" not found'
    return ""


# status ---------------------------------------------------------------------------------------------------------------


def _again(here: Here, pod: Tree) -> Tree:
    return here.client.get(PODS, pod["metadata"]["namespace"], pod["metadata"]["name"]) or pod


def _say(here: Here, pod: Tree, status: Tree) -> None:
    here.client.set_status(PODS, pod, status)


def _containers(pod: Tree, state: Tree, *, ready: bool) -> list[Tree]:
    before = {one["name"]: one for one in at(pod, "status", "containerStatuses", default=[])}
    return [
        {
            "name": one["name"],
            "image": one["image"],
            "imageID": f"{one['image'].partition('@')[0]}" if ready else "",
            "ready": ready,
            "started": ready,
            "restartCount": before.get(one["name"], {}).get("restartCount", 0),
            "state": state,
            "lastState": before.get(one["name"], {}).get("lastState", {}),
        }
        for one in pod["spec"]["containers"]
    ]


def _waiting(here: Here, pod: Tree, reason: str, message: str) -> Tree:
    state = {"waiting": {"reason": reason} | ({"message": message} if message else {})}
    names = ", ".join(one["name"] for one in pod["spec"]["containers"])
    said = f"containers with unready status: [{names}]"
    new = [
        condition("Initialized", True, ""),
        condition("Ready", False, "ContainersNotReady", said),
        condition("ContainersReady", False, "ContainersNotReady", said),
        condition("PodScheduled", True, ""),
    ]
    return (pod.get("status") or {}) | {
        "phase": "Pending",
        "conditions": with_conditions(pod, new, here.stamp),
        "containerStatuses": _containers(pod, state, ready=False),
    }


def _running(here: Here, pod: Tree, node: Tree) -> Tree:
    internal = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
    ip = at(pod, "status", "podIP") or (internal if pod["spec"].get("hostNetwork") else _free_address(here, node))
    new = [condition(kind, True, "") for kind in ("Initialized", "Ready", "ContainersReady", "PodScheduled")]
    return (pod.get("status") or {}) | {
        "phase": "Running",
        "hostIP": internal,
        "hostIPs": [{"ip": internal}],
        "podIP": ip,
        "podIPs": [{"ip": ip}],
        "qosClass": at(pod, "status", "qosClass") or _quality(pod["spec"]),
        "conditions": with_conditions(pod, new, here.stamp),
        "containerStatuses": _containers(pod, {"running": {"startedAt": here.stamp}}, ready=True),
    }


def _quality(spec: Tree) -> str:
    """How well a pod is kept when memory runs short."""
    given = [one.get("resources") or {} for one in (*spec["containers"], *(spec.get("initContainers") or ()))]
    if not any(one.get("requests") or one.get("limits") for one in given):
        return "BestEffort"
    limits = [one.get("limits") or {} for one in given]
    sure = all({"cpu", "memory"} <= limit.keys() for limit in limits)
    asked = [one.get("requests") or limit for one, limit in zip(given, limits, strict=True)]
    return "Guaranteed" if sure and asked == limits else "Burstable"


def _ended(here: Here, pod: Tree, code: int, reason: str, message: str) -> Tree:
    state = {
        "terminated": {
            "exitCode": code,
            "reason": reason,
            "startedAt": at(pod, "status", "startTime", default=here.stamp),
            "finishedAt": here.stamp,
        }
        | ({"message": message} if message else {})
    }
    why = "PodCompleted" if code == 0 else "PodFailed"
    new = [condition("Ready", False, why), condition("ContainersReady", False, why)]
    return (pod.get("status") or {}) | {
        "conditions": with_conditions(pod, new, here.stamp),
        "containerStatuses": _containers(pod, state, ready=False),
    }


def _free_address(here: Here, node: Tree) -> str:
    taken = {
        at(one, "status", "podIP") for one in here.client.list(PODS, fields=f"spec.nodeName={node['metadata']['name']}")
    }
    hosts = IPv4Network(node["spec"]["podCIDR"]).hosts()
    next(hosts)  # the gateway of the node
    return next(str(one) for one in hosts if str(one) not in taken)

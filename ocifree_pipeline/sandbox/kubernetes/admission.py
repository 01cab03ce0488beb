"""What an API server does to objects of built-in kinds before it stores them: defaults, and rules beyond schemas."""

import base64
import binascii
import hashlib
from ipaddress import IPv4Address, IPv4Network
from typing import Any

from ocifree_pipeline.sandbox.kubernetes import quotas, statuses
from ocifree_pipeline.sandbox.kubernetes.kinds import Kind
from ocifree_pipeline.sandbox.kubernetes.selectors import selects
from ocifree_pipeline.sandbox.kubernetes.statuses import Cause
from ocifree_pipeline.sandbox.kubernetes.store import Store
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at
from ocifree_pipeline.sandbox.kubernetes.validation import QUANTITY

WORKLOADS = frozenset({"Deployment", "DaemonSet", "ReplicaSet", "StatefulSet"})
NOT_PLAYED = frozenset(
    {
        "CronJob",
        "HorizontalPodAutoscaler",
        "Ingress",
        "MutatingWebhookConfiguration",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "ReplicationController",
        "ValidatingAdmissionPolicy",
        "ValidatingWebhookConfiguration",
    }
)
NODE_PORTS = range(30000, 32768)
REGISTRY_NAMES = 5
"""The lowest addresses of the service network are kept for services that ask for one."""


def not_played(kind: Kind, tree: Tree) -> list[str]:
    """What is kept as it is given, and nobody acts on it."""
    if kind.custom is None and kind.kind in NOT_PLAYED:
        return [f"the sandbox keeps this {kind.kind} and does not act on it"]
    if kind.kind == "Service" and tree["spec"]["type"] == "LoadBalancer":
        return ["the sandbox orders no load balancer: the service waits for its address"]
    return []


def admit(kind: Kind, tree: Tree, old: Tree | None, store: Store, service_cidr: str) -> None:
    """Complete ``tree``, which is changed. Refusal when it breaks a rule."""
    if kind.custom is not None:
        return
    if kind.kind in WORKLOADS:
        _workload(kind.kind, tree)
    elif kind.kind == "Job":
        _job(tree, old)
    elif kind.kind == "CronJob":
        _pod_spec(at(tree, "spec", "jobTemplate", "spec", "template", "spec", default={}))
    elif kind.kind == "Pod":
        _pod(tree)
        if old is None:
            quotas.admit(tree, store)
    elif kind.kind == "Service":
        _service(tree, old, store, service_cidr)
    elif kind.kind == "Secret":
        _secret(tree)
    elif kind.kind == "Namespace":
        tree["metadata"].setdefault("labels", {})["kubernetes.io/metadata.name"] = tree["metadata"]["name"]
        if old is None:
            tree.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
            tree["status"] = {"phase": "Active"}
    causes = list(_problems(kind, tree, old))
    if causes:
        raise statuses.invalid(kind.kind, kind.group, tree["metadata"]["name"], causes)


# defaults -------------------------------------------------------------------------------------------------------------


def _workload(kind: str, tree: Tree) -> None:
    spec = tree.setdefault("spec", {})
    if kind != "DaemonSet":
        spec.setdefault("replicas", 1)
    if kind in {"Deployment", "DaemonSet", "StatefulSet"}:
        spec.setdefault("revisionHistoryLimit", 10)
    if kind == "Deployment":
        spec.setdefault("progressDeadlineSeconds", 600)
        strategy = spec.setdefault("strategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            rolling.setdefault("maxSurge", "25%")
            rolling.setdefault("maxUnavailable", "25%")
    elif kind in {"DaemonSet", "StatefulSet"}:
        strategy = spec.setdefault("updateStrategy", {})
        if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
            rolling = strategy.setdefault("rollingUpdate", {})
            if kind == "DaemonSet":
                rolling.setdefault("maxSurge", 0)
                rolling.setdefault("maxUnavailable", 1)
            else:
                rolling.setdefault("partition", 0)
    if kind == "StatefulSet":
        spec.setdefault("podManagementPolicy", "OrderedReady")
    _pod_spec(at(spec, "template", "spec", default={}))


def _job(tree: Tree, old: Tree | None) -> None:
    spec = tree.setdefault("spec", {})
    spec.setdefault("completions", 1)
    spec.setdefault("parallelism", 1)
    spec.setdefault("backoffLimit", 6)
    spec.setdefault("completionMode", "NonIndexed")
    spec.setdefault("suspend", False)
    if old is None and not spec.get("manualSelector"):
        uid = tree["metadata"]["uid"]
        labels = {"batch.kubernetes.io/controller-uid": uid, "batch.kubernetes.io/job-name": tree["metadata"]["name"]}
        metadata = spec.setdefault("template", {}).setdefault("metadata", {})
        metadata["labels"] = (metadata.get("labels") or {}) | labels
        spec["selector"] = {"matchLabels": {"batch.kubernetes.io/controller-uid": uid}}
    _pod_spec(at(spec, "template", "spec", default={}))


def _pod(tree: Tree) -> None:
    spec = tree.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("serviceAccountName", "default")
    spec.setdefault("enableServiceLinks", True)
    tolerations = spec.setdefault("tolerations", [])
    for taint in ("not-ready", "unreachable"):
        key = f"node.kubernetes.io/{taint}"
        if not any(one.get("key") in {key, None} for one in tolerations):
            tolerations.append({"key": key, "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300})
    tree.setdefault("status", {}).setdefault("phase", "Pending")


def _pod_spec(spec: Tree) -> None:
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("securityContext", {})
    spec.setdefault("schedulerName", "default-scheduler")
    if spec.get("serviceAccount") and not spec.get("serviceAccountName"):
        spec["serviceAccountName"] = spec["serviceAccount"]
    for container in (*(spec.get("containers") or ()), *(spec.get("initContainers") or ())):
        if not isinstance(container, dict):
            continue
        image = str(container.get("image", ""))
        latest = ":" not in image.rpartition("/")[2] or image.endswith(":latest")
        container.setdefault("imagePullPolicy", "Always" if latest and "@" not in image else "IfNotPresent")
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("resources", {})
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")


def _service(tree: Tree, old: Tree | None, store: Store, service_cidr: str) -> None:
    spec = tree.setdefault("spec", {})
    kind = spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port.get("port"))
    if kind == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = at(old, "spec", "clusterIP") or _free_address(tree, store, service_cidr)
    spec.setdefault("clusterIPs", [spec["clusterIP"]])
    spec.setdefault("ipFamilies", ["IPv4"])
    spec.setdefault("ipFamilyPolicy", "SingleStack")
    if kind in {"NodePort", "LoadBalancer"}:
        spec.setdefault("externalTrafficPolicy", "Cluster")
        before = {one.get("name", ""): one.get("nodePort") for one in at(old, "spec", "ports", default=[])}
        if kind == "NodePort" or spec.setdefault("allocateLoadBalancerNodePorts", True):
            for port in spec.get("ports") or ():
                if not port.get("nodePort"):
                    port["nodePort"] = before.get(port.get("name", "")) or _free_port(tree, store)
    if old is None:
        tree.setdefault("status", {}).setdefault("loadBalancer", {})


def _free_address(tree: Tree, store: Store, service_cidr: str) -> str:
    network = IPv4Network(service_cidr)
    taken = {at(one, "spec", "clusterIP") for one in store.all("services")}
    wanted = _place(tree, network.num_addresses - REGISTRY_NAMES - 2)
    for offset in range(network.num_addresses - REGISTRY_NAMES - 2):
        number = (wanted + offset) % (network.num_addresses - REGISTRY_NAMES - 2) + REGISTRY_NAMES + 1
        found = str(network.network_address + number)
        if found not in taken:
            return found
    raise statuses.Refusal(500, "InternalError", "failed to allocate a serviceIP: range is full")


def _free_port(tree: Tree, store: Store) -> int:
    taken = {port.get("nodePort") for one in store.all("services") for port in at(one, "spec", "ports", default=[])}
    taken |= {port.get("nodePort") for port in tree["spec"].get("ports") or ()}
    start = _place(tree, len(NODE_PORTS))
    return next(
        port
        for offset in range(len(NODE_PORTS))
        if (port := NODE_PORTS[(start + offset) % len(NODE_PORTS)]) not in taken
    )


def _place(tree: Tree, size: int) -> int:
    """Where to begin to look: the same for the same name in every world."""
    metadata = tree["metadata"]
    digest = hashlib.sha256(f"{metadata.get('namespace')}/{metadata['name']}".encode()).digest()
    return int.from_bytes(digest[:4]) % size


def _secret(tree: Tree) -> None:
    tree.setdefault("type", "Opaque")
    plain = tree.pop("stringData", None)
    if plain:
        coded = {name: base64.b64encode(value.encode()).decode() for name, value in plain.items()}
        tree["data"] = (tree.get("data") or {}) | coded


# rules ----------------------------------------------------------------------------------------------------------------


def _problems(kind: Kind, tree: Tree, old: Tree | None) -> Any:
    spec = tree.get("spec") or {}
    if kind.kind in WORKLOADS:
        labels = at(spec, "template", "metadata", "labels", default={})
        if spec.get("selector") is not None and not selects(spec["selector"], labels):
            yield Cause(
                "FieldValueInvalid",
                f"Invalid value: {labels}: `selector` does not match template `labels`",
                "spec.template.metadata.labels",
            )
        if old is not None and at(old, "spec", "selector") != spec.get("selector"):
            yield Cause(
                "FieldValueInvalid", f"Invalid value: {spec.get('selector')}: field is immutable", "spec.selector"
            )
        yield from _pod_problems(at(spec, "template", "spec", default={}), "spec.template.spec")
    elif kind.kind == "Job":
        if old is not None and at(old, "spec", "template") != spec.get("template"):
            yield Cause("FieldValueInvalid", "Invalid value: field is immutable", "spec.template")
        if at(spec, "template", "spec", "restartPolicy") == "Always":
            yield Cause(
                "FieldValueNotSupported",
                'Unsupported value: "Always": supported values: "OnFailure", "Never"',
                "spec.template.spec.restartPolicy",
            )
        yield from _pod_problems(at(spec, "template", "spec", default={}), "spec.template.spec")
    elif kind.kind == "Pod":
        yield from _pod_problems(spec, "spec")
    elif kind.kind == "Service":
        before, address = at(old, "spec", "clusterIP"), spec.get("clusterIP")
        if before and address and before != address and spec["type"] != "ExternalName":
            yield Cause(
                "FieldValueInvalid", f'Invalid value: "{address}": may not change once set', "spec.clusterIPs[0]"
            )
        for index, port in enumerate(spec.get("ports") or ()):
            yield from _port(port.get("port"), f"spec.ports[{index}].port")
            if len(spec["ports"]) > 1 and not port.get("name"):
                yield Cause("FieldValueRequired", "Required value", f"spec.ports[{index}].name")
    elif kind.kind == "Secret":
        yield from _coded_problems(tree)
    if kind.kind in {"Secret", "ConfigMap"} and at(old, "immutable") and at(old, "data") != tree.get("data"):
        yield Cause("FieldValueForbidden", "Forbidden: field is immutable when `immutable` is set", "data")


def _coded_problems(tree: Tree) -> Any:
    for name, value in (tree.get("data") or {}).items():
        try:
            base64.b64decode(value or "", validate=True)
        except (binascii.Error, ValueError):
            raise statuses.bad_request(
                'Secret in version "v1" cannot be handled as a Secret: illegal base64 data in field data.' + name
            ) from None
    needed = {"kubernetes.io/tls": ("tls.crt", "tls.key"), "kubernetes.io/dockerconfigjson": (".dockerconfigjson",)}
    for name in needed.get(tree["type"], ()):
        if name not in (tree.get("data") or {}):
            yield Cause("FieldValueRequired", "Required value", f"data[{name}]")


def _pod_problems(spec: Tree, place: str) -> Any:
    seen: set[str] = set()
    if not spec.get("containers"):
        yield Cause("FieldValueRequired", "Required value", f"{place}.containers")
    for group in ("initContainers", "containers"):
        for index, given in enumerate(spec.get(group) or ()):
            one, here = given or {}, f"{place}.{group}[{index}]"
            if not one.get("image"):
                yield Cause("FieldValueRequired", "Required value", f"{here}.image")
            if one.get("name") in seen:
                yield Cause("FieldValueDuplicate", f'Duplicate value: "{one["name"]}"', f"{here}.name")
            seen.add(one.get("name", ""))
            for number, port in enumerate(one.get("ports") or ()):
                yield from _port(port.get("containerPort"), f"{here}.ports[{number}].containerPort")
            yield from _quantities(one.get("resources") or {}, f"{here}.resources")
            mounts = {volume["name"] for volume in spec.get("volumes") or ()}
            for number, mount in enumerate(one.get("volumeMounts") or ()):
                if mount["name"] not in mounts:
                    yield Cause(
                        "FieldValueNotFound", f'Not found: "{mount["name"]}"', f"{here}.volumeMounts[{number}].name"
                    )


def _quantities(resources: Tree, place: str) -> Any:
    for part in ("limits", "requests"):
        for name, value in (resources.get(part) or {}).items():
            if not QUANTITY.fullmatch(str(value)):
                yield Cause(
                    "FieldValueInvalid",
                    f'Invalid value: "{value}": quantities must match the regular expression '
                    "'^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
                    f"{place}.{part}[{name}]",
                )


def _port(number: Any, place: str) -> Any:
    if not isinstance(number, int) or not 0 < number < 65536:
        yield Cause("FieldValueInvalid", f"Invalid value: {number}: must be between 1 and 65535, inclusive", place)


def first_address(service_cidr: str) -> str:
    """The address of the service ``kubernetes``."""
    return str(IPv4Address(int(IPv4Network(service_cidr).network_address) + 1))

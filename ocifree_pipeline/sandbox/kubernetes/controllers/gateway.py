"""Gateway API as Cilium serves it: classes, gateways, routes, and the words in which their state is told."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.kubernetes.client import Client
from ocifree_pipeline.sandbox.kubernetes.conditions import condition, is_true, key, split, with_conditions
from ocifree_pipeline.sandbox.kubernetes.controllers import cilium
from ocifree_pipeline.sandbox.kubernetes.running import Here, Keys
from ocifree_pipeline.sandbox.kubernetes.selectors import selects
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

GROUP = "gateway.networking.k8s.io"
CLASSES, GATEWAYS, ROUTES = (f"{GROUP}/v1/{one}" for one in ("gatewayclasses", "gateways", "httproutes"))


def _all(here: Here, _tree: Tree) -> Iterable[str]:
    found = [f"class {key(one)}" for one in here.client.list(CLASSES)]
    found += [f"gateway {key(one)}" for one in here.client.list(GATEWAYS)]
    return [*found, *(f"route {key(one)}" for one in here.client.list(ROUTES))]


def _when_cilium_comes_up(here: Here, pod: Tree) -> Iterable[str]:
    labels = at(pod, "metadata", "labels", default={})
    concerns = labels.get("app") == "cilium-operator" or labels.get("k8s-app") in {"cilium", "cilium-envoy"}
    return _all(here, pod) if concerns else ()


@dataclass(frozen=True, slots=True)
class Gateways:
    name: str = "gateways"
    watches: dict[str, Keys] = field(
        default_factory=lambda: {
            **{f"{one}.{GROUP}": _all for one in ("gatewayclasses", "gateways", "httproutes")},
            "pods": _when_cilium_comes_up,
            "services": _all,
            "secrets": lambda here, secret: _all(here, secret) if secret.get("type") == "kubernetes.io/tls" else (),
            "namespaces": _all,
        }
    )

    def reconcile(self, here: Here, key: str) -> float | None:
        kind, _, place = key.partition(" ")
        namespace, name = split(place)
        resource = {"class": CLASSES, "gateway": GATEWAYS, "route": ROUTES}[kind]
        tree = here.client.get(resource, namespace, name)
        enabled = cilium.configuration(here).get("enable-gateway-api") == "true"
        if tree is None or not enabled or not cilium.operator_runs(here):
            return None
        if kind == "class":
            if tree["spec"]["controllerName"] == cilium.CLASS:
                _say(here, CLASSES, tree, [condition("Accepted", True, "Accepted", "Valid GatewayClass")])
        elif kind == "gateway":
            _gateway(here, tree)
        else:
            _route(here, tree)
        return None


def _say(here: Here, resource: str, tree: Tree, new: list[Tree], **more: object) -> None:
    conditions = with_conditions(tree, new, here.stamp, generation=True)
    here.client.set_status(resource, tree, (tree.get("status") or {}) | {"conditions": conditions} | more)


def _is_ours(here: Here, gateway: Tree) -> bool:
    found = here.client.get(CLASSES, "", gateway["spec"]["gatewayClassName"])
    return bool(at(found, "spec", "controllerName") == cilium.CLASS)


def _gateway(here: Here, tree: Tree) -> None:
    if not _is_ours(here, tree):
        return
    addresses = _addresses(here, tree)
    routes = [one for one in here.client.list(ROUTES) if any(True for _ in attachments(here.client, one, tree))]
    listeners = [_listener(here, tree, one, routes) for one in tree["spec"]["listeners"]]
    reason, message = ("Programmed", "Gateway successfully reconciled")
    if not addresses:
        reason, message = ("AddressNotAssigned", "Gateway waiting for address")
    new = [
        condition("Accepted", True, "Accepted", "Gateway successfully scheduled"),
        condition("Programmed", bool(addresses), reason, message),
    ]
    known = [{"type": "IPAddress", "value": one} for one in addresses]
    _say(here, GATEWAYS, tree, new, addresses=known, listeners=listeners)


def _addresses(here: Here, tree: Tree) -> list[str]:
    """With the host's network the nodes that run Envoy; otherwise what the load balancer gave to the service."""
    if cilium.configuration(here).get("gateway-api-hostnetwork-enabled") == "true":
        pods = here.client.list("v1/pods", labels="k8s-app=cilium-envoy")
        return sorted(one["status"]["hostIP"] for one in pods if is_true(one, "Ready"))
    metadata = tree["metadata"]
    ports = [
        {"name": one["name"], "port": one["port"], "protocol": "TCP"}
        for one in {one["port"]: one for one in tree["spec"]["listeners"]}.values()
    ]
    service: Tree = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": f"cilium-gateway-{metadata['name']}", "namespace": metadata["namespace"]},
        "spec": {"type": "LoadBalancer", "ports": ports},
    }
    stored = here.client.apply("v1/services", service, "cilium-operator")
    return [one["ip"] for one in at(stored, "status", "loadBalancer", "ingress", default=[]) if "ip" in one]


def _listener(here: Here, gateway: Tree, listener: Tree, routes: list[Tree]) -> Tree:
    attached = sum(
        listener["name"] in {one["name"] for one in attachments(here.client, route, gateway)} for route in routes
    )
    new = [condition("Accepted", True, "Accepted", "Listener Accepted")]
    missing = _missing_certificate(here, gateway, listener)
    if missing:
        new += [
            condition("ResolvedRefs", False, "InvalidCertificateRef", missing),
            condition("Programmed", False, "Invalid", "Listener is not ready"),
        ]
    else:
        new += [
            condition("ResolvedRefs", True, "ResolvedRefs", "Resolved Refs"),
            condition("Programmed", True, "Programmed", "Listener Programmed"),
        ]
    before: Tree = next(
        (one for one in at(gateway, "status", "listeners", default=[]) if one["name"] == listener["name"]), {}
    )
    holder = {"metadata": gateway["metadata"], "status": before}
    return {
        "name": listener["name"],
        "attachedRoutes": attached,
        "supportedKinds": [{"group": GROUP, "kind": "HTTPRoute"}, {"group": GROUP, "kind": "GRPCRoute"}],
        "conditions": with_conditions(holder, new, here.stamp, generation=True),
    }


def _missing_certificate(here: Here, gateway: Tree, listener: Tree) -> str:
    for one in at(listener, "tls", "certificateRefs", default=[]):
        namespace = one.get("namespace", gateway["metadata"]["namespace"])
        if here.client.get("v1/secrets", namespace, one["name"]) is None:
            return f'Secret "{namespace}/{one["name"]}" not found'
    return ""


def attachments(client: Client, route: Tree, gateway: Tree) -> Iterable[Tree]:
    """The listeners of a gateway that a route may use."""
    for parent in route["spec"].get("parentRefs") or ():
        if not _names(parent, route, gateway):
            continue
        for listener in gateway["spec"]["listeners"]:
            if parent.get("sectionName", listener["name"]) != listener["name"]:
                continue
            if parent.get("port", listener["port"]) != listener["port"]:
                continue
            if _lets_in(client, gateway, listener, route) and _hosts_meet(listener, route):
                yield listener


def _names(parent: Tree, route: Tree, gateway: Tree) -> bool:
    metadata = gateway["metadata"]
    place = parent.get("namespace", route["metadata"]["namespace"])
    return bool((place, parent["name"]) == (metadata["namespace"], metadata["name"]))


def _lets_in(client: Client, gateway: Tree, listener: Tree, route: Tree) -> bool:
    allowed = at(listener, "allowedRoutes", "namespaces", default={})
    which = allowed.get("from", "Same")
    namespace = route["metadata"]["namespace"]
    if which == "Selector":
        found = client.get("v1/namespaces", "", namespace)
        return selects(allowed.get("selector"), at(found, "metadata", "labels", default={}))
    return which == "All" or bool(namespace == gateway["metadata"]["namespace"])


def _hosts_meet(listener: Tree, route: Tree) -> bool:
    mine, theirs = listener.get("hostname"), route["spec"].get("hostnames") or []
    return not mine or not theirs or any(host_matches(mine, one) or host_matches(one, mine) for one in theirs)


def host_matches(pattern: str, host: str) -> bool:
    """``*.example.com`` stands for everything below it."""
    return host.endswith(pattern[1:]) and len(host) > len(pattern[1:]) if pattern.startswith("*.") else pattern == host


def _route(here: Here, tree: Tree) -> None:
    parents = []
    before = at(tree, "status", "parents", default=[])
    for reference in tree["spec"].get("parentRefs") or ():
        place = reference.get("namespace", tree["metadata"]["namespace"])
        gateway = here.client.get(GATEWAYS, place, reference["name"])
        if gateway is not None and not _is_ours(here, gateway):
            continue
        if gateway is None:
            accepted = condition(
                "Accepted", False, "InvalidHTTPRoute", f'Gateway.{GROUP} "{reference["name"]}" not found'
            )
        elif not any(True for _ in attachments(here.client, tree, gateway)):
            reason, message = _refusal(here, tree, gateway)
            accepted = condition("Accepted", False, reason, message)
        else:
            accepted = condition("Accepted", True, "Accepted", "Accepted HTTPRoute")
        known: Tree = next((one for one in before if one["parentRef"] == reference), {})
        holder = {"metadata": tree["metadata"], "status": known}
        conditions = with_conditions(holder, [accepted, _resolved(here, tree)], here.stamp, generation=True)
        parents.append({"parentRef": reference, "controllerName": cilium.CLASS, "conditions": conditions})
    if parents or before:
        here.client.set_status(ROUTES, tree, {"parents": parents})


def _refusal(here: Here, route: Tree, gateway: Tree) -> tuple[str, str]:
    if any(_lets_in(here.client, gateway, one, route) for one in gateway["spec"]["listeners"]):
        return "NoMatchingListenerHostname", "No matching listener hostname"
    return "NotAllowedByListeners", "HTTPRoute is not allowed to attach to this Gateway due to namespace restrictions"


def _resolved(here: Here, route: Tree) -> Tree:
    for rule in route["spec"].get("rules") or ():
        for one in rule.get("backendRefs") or ():
            place = one.get("namespace", route["metadata"]["namespace"])
            if here.client.get("v1/services", place, one["name"]) is None:
                return condition("ResolvedRefs", False, "BackendNotFound", f'services "{one["name"]}" not found')
    return condition("ResolvedRefs", True, "ResolvedRefs", "Service reference is valid")

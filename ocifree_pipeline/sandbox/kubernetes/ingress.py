"""Ports 80 and 443 of the nodes: Envoy, which Cilium runs there, answers for the gateways of the cluster.

A request finds its listener, its route, its service and a pod that is ready; what the pod says is in the catalogue of
images. Nothing is kept: every answer is worked out from the objects as they are.
"""

import base64
import contextlib
import socket
import ssl
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from ocifree_pipeline.sandbox import instruments, private_files
from ocifree_pipeline.sandbox.door.http import Request, Response
from ocifree_pipeline.sandbox.door.proxy import bare_host
from ocifree_pipeline.sandbox.kubernetes.catalogue import images
from ocifree_pipeline.sandbox.kubernetes.catalogue.images import Reply
from ocifree_pipeline.sandbox.kubernetes.client import Client
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.conditions import is_true
from ocifree_pipeline.sandbox.kubernetes.controllers.endpoints import resolved
from ocifree_pipeline.sandbox.kubernetes.controllers.gateway import GATEWAYS, ROUTES, attachments, host_matches
from ocifree_pipeline.sandbox.kubernetes.selectors import selects
from ocifree_pipeline.sandbox.kubernetes.server import Listening
from ocifree_pipeline.sandbox.kubernetes.trees import Tree, at

SERVICE = "ingress"
SECURE = frozenset({"HTTPS", "TLS"})
ENTITIES_OUTSIDE = frozenset({"ingress", "world", "all"})


def open_ports(cluster: Cluster, node: str) -> set[int]:
    """What Envoy listens on at a node: the ports of gateways that use the host's network, while its pod runs."""
    client = cluster.api.client
    configuration = client.get("v1/configmaps", "kube-system", "cilium-config")
    if at(configuration, "data", "gateway-api-hostnetwork-enabled") != "true":
        return set()
    pods = client.list("v1/pods", labels="k8s-app=cilium-envoy", fields=f"spec.nodeName={node}")
    if not any(is_true(one, "Ready") for one in pods):
        return set()
    return {listener["port"] for _, listener in _listeners(client)}


async def serve(cluster: Cluster, listening: socket.socket, port: int) -> Listening:
    """Answer at one of the ``open_ports`` on a socket that listens already."""
    secure = any(one["protocol"] in SECURE for _, one in _listeners(cluster.api.client) if one["port"] == port)
    opened = Listening()
    context = _context(cluster, port) if secure else None
    await opened.open(lambda _certificate: partial(_handle, cluster, port), listening, context)
    return opened


async def _handle(cluster: Cluster, port: int, request: Request) -> Response:
    cluster.world.settle()
    host = bare_host(request.host)
    reply = answer(cluster.api.client, port, host, request.method, request.path)
    instruments.note(
        cluster.world,
        host=host,
        method=request.method,
        path=request.path,
        service=SERVICE,
        operation=f"{request.method.lower()}/{port}",
        status=reply.status,
        mutating=False,
    )
    return Response(reply.status, {"server": "envoy"} | reply.headers, reply.body)


def answer(client: Client, port: int, host: str, method: str, path: str) -> Reply:
    """What Envoy says to a request."""
    rule, route = _rule(client, port, host, path)
    if rule is None or route is None:
        return Reply(404, b"")
    references = rule.get("backendRefs") or []
    if not references:
        return Reply(500, b"")
    reference = max(references, key=lambda one: one.get("weight", 1))
    namespace = reference.get("namespace", route["metadata"]["namespace"])
    service = client.get("v1/services", namespace, reference["name"])
    ports = [one for one in at(service, "spec", "ports", default=[]) if one["port"] == reference.get("port")]
    if service is None or not ports:
        return Reply(500, b"")
    pods = [
        one
        for one in client.list("v1/pods", namespace)
        if selects({"matchLabels": at(service, "spec", "selector", default={"": ""})}, one["metadata"]["labels"])
        and is_true(one, "Ready")
    ]
    if not pods:
        return Reply(503, b"no healthy upstream", {"content-type": "text/plain"})
    pod = pods[0]
    container = _listening(pod, resolved(ports[0], pod))
    if container is None:
        refused = b"upstream connect error or disconnect/reset before headers. reset reason: connection refused"
        return Reply(503, refused, {"content-type": "text/plain"})
    if not _lets_in(client, pod):
        return Reply(403, b"Access denied\r\n", {"content-type": "text/plain"})
    return images.answer(pod, container, method, path)


def _listeners(client: Client) -> Iterator[tuple[Tree, Tree]]:
    """The listeners that are programmed, each with its gateway."""
    for gateway in client.list(GATEWAYS):
        if not is_true(gateway, "Programmed"):
            continue
        states = {one["name"]: one for one in at(gateway, "status", "listeners", default=[])}
        for listener in gateway["spec"]["listeners"]:
            if is_true({"status": states.get(listener["name"], {})}, "Programmed"):
                yield gateway, listener


def _rule(client: Client, port: int, host: str, path: str) -> tuple[Tree | None, Tree | None]:
    """The rule that fits best: the longest prefix, of a route for this host."""
    best: tuple[int, Tree | None, Tree | None] = (-1, None, None)
    for gateway, listener in _listeners(client):
        if listener["port"] != port or (listener.get("hostname") and not host_matches(listener["hostname"], host)):
            continue
        for route in client.list(ROUTES):
            names = route["spec"].get("hostnames") or []
            if names and not any(host_matches(one, host) for one in names):
                continue
            if listener["name"] not in {one["name"] for one in attachments(client, route, gateway)}:
                continue
            for rule in route["spec"].get("rules") or [{}]:
                length = _match(rule, path)
                if length > best[0]:
                    best = (length, rule, route)
    return best[1], best[2]


def _match(rule: Tree, path: str) -> int:
    """How much of the path a rule matches; -1 when it does not."""
    matches = rule.get("matches") or [{}]
    found = -1
    for one in matches:
        wanted = one.get("path") or {"type": "PathPrefix", "value": "/"}
        value = wanted.get("value", "/")
        if wanted.get("type", "PathPrefix") == "Exact":
            fits = path == value
        else:
            bare = value.rstrip("/")
            fits = path == bare or path.startswith(f"{bare}/")
        if fits:
            found = max(found, len(value))
    return found


def _listening(pod: Tree, port: int) -> Tree | None:
    """The container that has declared the port; the only one listens on what it likes."""
    containers: list[Tree] = pod["spec"]["containers"]
    for one in containers:
        if any(declared["containerPort"] == port for declared in one.get("ports") or ()):
            return one
    return containers[0] if len(containers) == 1 and not containers[0].get("ports") else None


def _lets_in(client: Client, pod: Tree) -> bool:
    """Whether network policies let a request of the gateway reach the pod. It comes from no pod and no address."""
    metadata = pod["metadata"]
    namespace, labels = metadata["namespace"], metadata["labels"]
    fenced = [
        one
        for one in client.list("networking.k8s.io/v1/networkpolicies", namespace)
        if selects(one["spec"].get("podSelector") or {}, labels)
        and "Ingress" in (one["spec"].get("policyTypes") or ["Ingress"])
    ]
    own = [
        one["spec"]
        for one in client.list("cilium.io/v2/ciliumnetworkpolicies", namespace)
        if selects(at(one, "spec", "endpointSelector", default={}), labels) and "ingress" in (one.get("spec") or {})
    ]
    if not fenced and not own:
        return True
    entities = {entity for spec in own for rule in spec["ingress"] for entity in rule.get("fromEntities") or ()}
    return bool(entities & ENTITIES_OUTSIDE)


# TLS ------------------------------------------------------------------------------------------------------------------


def _context(cluster: Cluster, port: int) -> ssl.SSLContext:
    """Shows for each name the certificate that its listener has at that moment."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.set_alpn_protocols(["http/1.1"])

    def choose(session: Any, name: str | None, _context: ssl.SSLContext) -> int | None:
        for gateway, listener in _listeners(cluster.api.client):
            if listener["port"] != port or (
                listener.get("hostname") and not host_matches(listener["hostname"], name or "")
            ):
                continue
            for one in at(listener, "tls", "certificateRefs", default=[]):
                namespace = one.get("namespace", gateway["metadata"]["namespace"])
                secret = cluster.api.client.get("v1/secrets", namespace, one["name"])
                if secret is not None:
                    with contextlib.suppress(ssl.SSLError, ValueError, KeyError):
                        session.context = _of_secret(secret)
                        return None
        return ssl.ALERT_DESCRIPTION_UNRECOGNIZED_NAME

    found.sni_callback = choose
    return found


def _of_secret(secret: Tree) -> ssl.SSLContext:
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    found.set_alpn_protocols(["http/1.1"])
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "gateway.pem"
        parts = [base64.b64decode(secret["data"][name]) for name in ("tls.key", "tls.crt")]
        private_files.write(file, b"\n".join(parts))
        found.load_cert_chain(file)
    return found

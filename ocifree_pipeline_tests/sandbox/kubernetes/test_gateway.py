"""From the ports of a node to a pod, by way of a gateway and a route."""

from __future__ import annotations

import asyncio
import base64
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from ocifree_pipeline.sandbox.kubernetes import certificates, ingress
from ocifree_pipeline_tests.sandbox.kubernetes.platform import conditions, stand_up
from ocifree_pipeline_tests.sandbox.kubernetes.served import Served, authority, served
from ocifree_pipeline_tests.sandbox.kubernetes.test_api import MERGE, deployment

API = "/apis/gateway.networking.k8s.io/v1/namespaces/default"
HOST = "hello.example.com"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("gateway")) as found:
        stand_up(found)
        found.ask("POST", f"{API}/gateways", gateway())
        body = deployment("hello")
        container = {"name": "c", "image": "docker.io/hashicorp/http-echo:1.0.0", "args": ["-text=hello from lab"]}
        body["spec"]["template"]["spec"]["containers"] = [container | {"ports": [{"containerPort": 5678}]}]
        found.ask("POST", "/apis/apps/v1/namespaces/default/deployments", body)
        spec = {"selector": {"app": "hello"}, "ports": [{"port": 80, "targetPort": 5678}]}
        found.ask("POST", "/api/v1/namespaces/default/services", {"metadata": {"name": "hello"}, "spec": spec})
        found.ask("POST", f"{API}/httproutes", route("hello", HOST))
        yield found


def gateway(*listeners: dict[str, Any]) -> dict[str, Any]:
    wanted = listeners or ({"name": "http", "port": 80, "protocol": "HTTP"},)
    return {"metadata": {"name": "public"}, "spec": {"gatewayClassName": "cilium", "listeners": list(wanted)}}


def route(name: str, host: str, backend: str = "hello", **rule: Any) -> dict[str, Any]:
    rules = [{"backendRefs": [{"name": backend, "port": 80}]} | rule]
    spec = {"parentRefs": [{"name": "public"}], "hostnames": [host], "rules": rules}
    return {"metadata": {"name": name}, "spec": spec}


@contextmanager
def opened(here: Served, port: int) -> Iterator[int]:
    """A port of the node on a loopback socket."""
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    from ocifree_pipeline.sandbox.kubernetes import cluster

    found = cluster.find_existing(here.world, "lab")
    server = asyncio.run_coroutine_threadsafe(ingress.serve(found, listening, port), here.loop).result(timeout=10)

    async def close() -> None:
        server.close()
        await server.wait_closed()

    try:
        yield listening.getsockname()[1]
    finally:
        asyncio.run_coroutine_threadsafe(close(), here.loop).result(timeout=10)
        listening.close()


def fetch(port: int, host: str, path: str = "/") -> requests.Response:
    return requests.get(f"http://127.0.0.1:{port}{path}", headers={"host": host}, timeout=10)


def test_a_request_reaches_the_pod(world: Served) -> None:
    assert world.inside(lambda cluster: ingress.open_ports(cluster, "node-1")) == {80}
    found = world.ask("GET", f"{API}/gateways/public").json()
    assert conditions(found) == {"Accepted": ("True", "Accepted"), "Programmed": ("True", "Programmed")}
    assert found["status"]["addresses"] == [{"type": "IPAddress", "value": "10.0.1.10"}]
    assert found["status"]["listeners"][0]["attachedRoutes"] == 1
    (parent,) = world.ask("GET", f"{API}/httproutes/hello").json()["status"]["parents"]
    assert {one["type"]: one["status"] for one in parent["conditions"]} == {"Accepted": "True", "ResolvedRefs": "True"}
    with opened(world, 80) as port:
        reply = fetch(port, HOST)
        assert (reply.status_code, reply.text, reply.headers["server"]) == (200, "hello from lab\n", "envoy")
        assert fetch(port, "other.example.com").status_code == 404


def test_without_pods_the_answer_is_503(world: Served) -> None:
    path = "/apis/apps/v1/namespaces/default/deployments/hello"
    world.ask("PATCH", path, {"spec": {"replicas": 0}}, content_type=MERGE)
    with opened(world, 80) as port:
        reply = fetch(port, HOST)
        assert (reply.status_code, reply.text) == (503, "no healthy upstream")
        world.ask("PATCH", path, {"spec": {"replicas": 1}}, content_type=MERGE)
        assert fetch(port, HOST).status_code == 200


def test_the_longest_path_wins_and_a_missing_service_is_told(world: Served) -> None:
    matches = [{"path": {"type": "PathPrefix", "value": "/broken"}}]
    world.ask("POST", f"{API}/httproutes", route("broken", HOST, "none", matches=matches))
    (parent,) = world.ask("GET", f"{API}/httproutes/broken").json()["status"]["parents"]
    assert {one["type"]: one["reason"] for one in parent["conditions"]}["ResolvedRefs"] == "BackendNotFound"
    with opened(world, 80) as port:
        assert fetch(port, HOST, "/broken/x").status_code == 500
        assert fetch(port, HOST, "/brokenness").status_code == 200
    world.ask("DELETE", f"{API}/httproutes/broken")


def test_a_fence_that_forgets_the_gateway_keeps_it_out(world: Served) -> None:
    policy = {"metadata": {"name": "deny"}, "spec": {"podSelector": {}, "policyTypes": ["Ingress"]}}
    world.ask("POST", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies", policy)
    with opened(world, 80) as port:
        assert fetch(port, HOST).status_code == 403
        spec = {"endpointSelector": {}, "ingress": [{"fromEntities": ["ingress"]}]}
        gate = "/apis/cilium.io/v2/namespaces/default/ciliumnetworkpolicies"
        assert world.ask("POST", gate, {"metadata": {"name": "gate"}, "spec": spec}).status_code == 201
        assert fetch(port, HOST).status_code == 200
    world.ask("DELETE", "/apis/networking.k8s.io/v1/namespaces/default/networkpolicies/deny")


def test_routes_of_other_namespaces_need_leave(world: Served) -> None:
    world.ask("POST", "/api/v1/namespaces", {"metadata": {"name": "apps"}})
    body = route("far", "far.example.com")
    body["spec"]["parentRefs"] = [{"name": "public", "namespace": "default"}]
    path = "/apis/gateway.networking.k8s.io/v1/namespaces/apps/httproutes"
    world.ask("POST", path, body)

    def accepted() -> str:
        (parent,) = world.ask("GET", f"{path}/far").json()["status"]["parents"]
        return next(str(one["reason"]) for one in parent["conditions"] if one["type"] == "Accepted")

    assert accepted() == "NotAllowedByListeners"
    chosen = {"from": "Selector", "selector": {"matchLabels": {"public": "yes"}}}
    listener = {"name": "http", "port": 80, "protocol": "HTTP", "allowedRoutes": {"namespaces": chosen}}
    world.ask("PATCH", f"{API}/gateways/public", gateway(listener), content_type=MERGE)
    assert accepted() == "NotAllowedByListeners"
    world.ask("PATCH", "/api/v1/namespaces/apps", {"metadata": {"labels": {"public": "yes"}}}, content_type=MERGE)
    assert accepted() == "Accepted"
    world.ask(
        "PATCH", f"{API}/gateways/public", {"spec": {"listeners": gateway()["spec"]["listeners"]}}, content_type=MERGE
    )


def test_a_listener_waits_for_its_certificate_and_shows_it(world: Served, tmp_path: Path) -> None:
    secure = {"name": "https", "port": 443, "protocol": "HTTPS", "tls": {"certificateRefs": [{"name": "web-tls"}]}}
    wanted = gateway(*gateway()["spec"]["listeners"], secure)
    world.ask("PATCH", f"{API}/gateways/public", wanted, content_type=MERGE)
    found = world.ask("GET", f"{API}/gateways/public").json()["status"]["listeners"][1]
    assert conditions({"status": found})["ResolvedRefs"] == ("False", "InvalidCertificateRef")
    assert world.inside(lambda cluster: ingress.open_ports(cluster, "node-1")) == {80}
    certificate, key = _server(HOST)
    data = {"tls.crt": base64.b64encode(certificate).decode(), "tls.key": base64.b64encode(key).decode()}
    body = {"metadata": {"name": "web-tls"}, "type": "kubernetes.io/tls", "data": data}
    assert world.ask("POST", "/api/v1/namespaces/default/secrets", body).status_code == 201
    assert world.inside(lambda cluster: ingress.open_ports(cluster, "node-1")) == {80, 443}
    (tmp_path / "ca.pem").write_text(authority().certificate)
    with opened(world, 443) as port:
        import ssl

        context = ssl.create_default_context(cafile=str(tmp_path / "ca.pem"))
        with (
            socket.create_connection(("127.0.0.1", port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname=HOST) as secured,
        ):
            secured.sendall(f"GET / HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n".encode())
            reply = b""
            while data_ := secured.recv(4096):
                reply += data_
    assert reply.startswith(b"HTTP/1.1 200")
    assert reply.endswith(b"hello from lab\n")
    world.ask("PATCH", f"{API}/gateways/public", gateway(), content_type=MERGE)


def _server(host: str) -> tuple[bytes, bytes]:
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    key, pair = ec.generate_private_key(ec.SECP256R1()), authority()
    shown = certificates.signed(pair.certificate, pair.key, key.public_key(), name=host, names=[host])
    return shown.encode(), key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def test_nothing_listens_where_envoy_does_not_run(world: Served) -> None:
    assert world.inside(lambda cluster: ingress.open_ports(cluster, "node-2")) == set()

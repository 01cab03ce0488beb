"""A cluster that is served behind TLS on loopback, and the official client that talks to it.

with served(tmp_path) as here:
    here.core.list_namespace()
    here.inside(lambda cluster: cluster.add_node(...))
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache, cached_property
from pathlib import Path
from typing import Any, TypeVar

import requests

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.clock import Mode
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.kubernetes import certificates, cluster
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster, Machine
from ocifree_pipeline.sandbox.kubernetes.server import serve
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.talos.certificates import Pair, new_authority

Result = TypeVar("Result")
NAME = "lab"
NODE = Machine(addresses=("10.0.1.10",), control_plane=True)


@cache
def authority() -> Pair:
    return new_authority("ecdsa", datetime.now(UTC), organization="kubernetes")


@dataclass
class Served:
    world: World
    loop: asyncio.AbstractEventLoop
    port: int
    directory: Path
    opened: list[Any] = field(default_factory=list)

    def inside(self, look: Callable[[Cluster], Result]) -> Result:
        """Run a function on the cluster where no request runs at the same time."""
        done: Future[Result] = Future()

        def run() -> None:
            try:
                self.world.settle()
                done.set_result(look(cluster.find_existing(self.world, NAME)))
            except BaseException as error:
                done.set_exception(error)

        self.loop.call_soon_threadsafe(run)
        return done.result(timeout=30)

    def advance(self, seconds: float) -> None:
        self.inside(lambda found: self.world.clock.advance(seconds))
        self.inside(lambda found: found.settle())

    def pass_time(self, seconds: float = 300, steps: int = 30) -> None:
        """Let time pass in small steps, so that what waits for something before it comes to its turn."""
        for _ in range(steps):
            self.advance(seconds / steps)

    def strike(self, **rule: Any) -> Rule:
        return instruments.of(self.world).faults.add(Rule(service="kubernetes", **rule))

    def record(self, **wanted: Any) -> list[str]:
        return [one.operation for one in instruments.of(self.world).recorder.query(**wanted)]

    def client(self, user: str | None = "admin", groups: tuple[str, ...] = ("system:masters",), token: str = "") -> Any:
        """The official client, as a user with a certificate, with a token, or as nobody."""
        from kubernetes.client import ApiClient, Configuration

        pair, configuration = authority(), Configuration()
        configuration.host = f"https://127.0.0.1:{self.port}"
        configuration.ssl_ca_cert = str(self._written("ca.pem", pair.certificate))
        configuration.retries = False
        if user is not None and not token:
            certificate, key = certificates.client(pair.certificate, pair.key, user, groups)
            configuration.cert_file = str(self._written(f"{user}.pem", certificate))
            configuration.key_file = str(self._written(f"{user}.key", key))
        if token:
            configuration.api_key = {"authorization": token}
            configuration.api_key_prefix = {"authorization": "Bearer"}
        client = ApiClient(configuration)
        self.opened.append(client)
        return client

    @cached_property
    def admin(self) -> Any:
        return self.client()

    @cached_property
    def dynamic(self) -> Any:
        from kubernetes.dynamic import DynamicClient

        return DynamicClient(self.admin, cache_file=str(self.directory / "discovery.json"))

    @cached_property
    def core(self) -> Any:
        from kubernetes.client import CoreV1Api

        return CoreV1Api(self.admin)

    def ask(self, method: str, path: str, body: Any = None, **options: Any) -> requests.Response:
        """One raw request as the administrator."""
        configuration = self.admin.configuration
        headers = {"content-type": options.pop("content_type", "application/json")} | options.pop("headers", {})
        return requests.request(
            method,
            configuration.host + path,
            data=body if body is None or isinstance(body, bytes) else json.dumps(body),
            headers=headers,
            cert=(configuration.cert_file, configuration.key_file),
            verify=configuration.ssl_ca_cert,
            timeout=30,
            **options,
        )

    def _written(self, name: str, text: str) -> Path:
        file = self.directory / name
        file.touch(mode=0o600)
        file.write_text(text)
        return file


@contextmanager
def served(directory: Path, *, mode: Mode = "immediate", nodes: int = 0) -> Iterator[Served]:
    world = World(directory / "world", seed=7, mode=mode)
    found = cluster.create(world, NAME)
    for number in range(nodes):
        found.add_node(f"node-{number + 1}", NODE)
    pair = authority()
    context = certificates.context(pair.certificate, pair.key, ["10.0.1.10"])
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setblocking(False)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    server = asyncio.run_coroutine_threadsafe(serve(found, listening, context), loop).result(timeout=10)
    here = Served(world, loop, listening.getsockname()[1], directory)
    try:
        yield here
    finally:
        failures = here.inside(lambda found: found.runner.failures)
        for client in here.opened:
            client.close()
        asyncio.run_coroutine_threadsafe(_closed(server), loop).result(timeout=10)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()
        listening.close()
    assert not failures, failures


async def _closed(server: Any) -> None:
    server.close()
    await server.wait_closed()

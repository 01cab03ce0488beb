"""Start and stop of the sandbox: its doors, its connections, its idle tick."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from ocifree_pipeline.sandbox import instruments, snapshot
from ocifree_pipeline.sandbox.door.authority import Authority
from ocifree_pipeline.sandbox.door.control import PREFIX, Control
from ocifree_pipeline.sandbox.door.http import Connection, Handler, Limits, Request, Response
from ocifree_pipeline.sandbox.door.proxy import Machine, Proxy
from ocifree_pipeline.sandbox.faults import Faults
from ocifree_pipeline.sandbox.grafana import GrafanaCloud
from ocifree_pipeline.sandbox.home import Home
from ocifree_pipeline.sandbox.image_hosts import ImageHosts
from ocifree_pipeline.sandbox.notify_hooks import NotifyHooks
from ocifree_pipeline.sandbox.oracle.dispatch import Dispatcher
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline.sandbox.tailscale import Tailscale
from ocifree_pipeline.sandbox.world import World

LOOPBACK = "127.0.0.1"
LOOPBACK_NAMES = frozenset({LOOPBACK, "localhost", "::1"})
TICK_SECONDS = 0.25
BACKLOG = 512

logger = logging.getLogger(__name__)

Player = Callable[[str], Handler | None]
"""Finds the handler of a host name, or None when that host is somebody else's."""


@dataclass(slots=True)
class Sandbox:
    """One world on loopback: a plain HTTP door, and with a ``home`` the proxy door and the control API as well.

    Port 0 lets the system choose. ``stopped`` is set when the control API asks for the end.
    """

    world: World
    limits: Limits = field(default_factory=Limits)
    strict: bool = False
    port: int = 0
    home: Home | None = None
    proxy_port: int = 0
    faults: Faults = field(init=False)
    recorder: Recorder = field(init=False)
    dispatcher: Dispatcher = field(init=False)
    players: list[Player] = field(init=False)
    token: str = field(init=False, repr=False, default_factory=lambda: secrets.token_urlsafe(24))
    stopped: asyncio.Event = field(init=False, default_factory=asyncio.Event)
    _control: Control | None = field(init=False, default=None)
    _proxy: Proxy | None = field(init=False, default=None)
    _servers: list[asyncio.Server] = field(init=False, default_factory=list)
    _connections: dict[asyncio.Task[None], asyncio.StreamWriter] = field(init=False, default_factory=dict)
    _ticker: asyncio.Task[None] | None = field(init=False, default=None)
    _used: float = field(init=False, default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.faults = Faults(self.world.seed)
        self.recorder = Recorder()
        instruments.attach(self.world, self.faults, self.recorder)
        self.dispatcher = Dispatcher(self.world, self.faults, self.recorder, self.strict)
        self.players = [
            self._oracle,
            ImageHosts(self.world, self.faults, self.recorder, self._touch),
            GrafanaCloud(self.world, self.faults, self.recorder, self._touch),
            Tailscale(self.world, self._touch),
            NotifyHooks(self.world, self._touch),
        ]

    @property
    def endpoint(self) -> str:
        return f"http://{LOOPBACK}:{self.port}"

    def idle_seconds(self) -> float:
        """How long no client has asked anything."""
        return time.monotonic() - self._used

    # doors ----------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        if self.home is not None:
            self._control = Control(self, self.token, self.stopped.set)
            self._proxy = Proxy(
                Authority(self.home.ca), self._plays, self._machine, self._note, self._touch, self.limits
            )
            self.proxy_port = await self._open(self._accept_proxied, self.proxy_port)
        self.port = await self._open(self._accept, self.port)
        self._ticker = asyncio.create_task(self._tick())

    async def stop(self) -> None:
        """Close the doors, end every connection, wait for them."""
        for server in self._servers:
            server.close()
        for writer in self._connections.values():
            writer.transport.abort()
        tasks = [*self._connections, *([self._ticker] if self._ticker else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for server in self._servers:
            with contextlib.suppress(ConnectionError):
                await server.wait_closed()
        await unplug_machines(self.world)
        self._servers, self._ticker = [], None

    async def _open(self, accept: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None], port: int) -> int:
        server = await asyncio.start_server(accept, LOOPBACK, port, backlog=BACKLOG)
        self._servers.append(server)
        chosen: int = server.sockets[0].getsockname()[1]
        return chosen

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.serve_connection(reader, writer, self._plain)

    def _accept_proxied(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._proxy is not None:
            self._keep(self._proxy.serve(reader, writer), writer)

    def serve_connection(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, handler: Handler, *, secure: bool = False
    ) -> asyncio.Task[None]:
        """Serve a connection in a task of its own; ``stop`` ends those that are left."""
        return self._keep(Connection(reader, writer, handler, limits=self.limits, secure=secure).serve(), writer)

    def _keep(self, work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> asyncio.Task[None]:
        self._touch()
        task = asyncio.create_task(work)
        self._connections[task] = writer
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        del self._connections[task]
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a connection failed inside the sandbox", exc_info=error)

    def _touch(self) -> None:
        self._used = time.monotonic()

    # who answers ----------------------------------------------------------------------------------------------------

    async def _plain(self, request: Request) -> Response:
        """The plain door: the control API on its prefix, Oracle on everything else."""
        self._touch()
        if self._control is not None and request.path.startswith(PREFIX):
            return await self._control.handle(request)
        return await self.dispatcher.handle(request)

    def _plays(self, host: str) -> Handler | None:
        """Who plays ``host`` behind the proxy. Loopback names are nobody's: there the plain door listens itself."""
        return next((handler for player in self.players if (handler := player(host)) is not None), None)

    def _oracle(self, host: str) -> Handler | None:
        destination = self.dispatcher.router.destination(host, self.world.home_region)
        return self._ask_oracle if destination is not None and host not in LOOPBACK_NAMES else None

    async def _ask_oracle(self, request: Request) -> Response:
        self._touch()
        return await self.dispatcher.handle(request)

    def _machine(self, host: str, port: int) -> Machine | None:
        """The machine that owns an address, looked up when a tunnel is asked for."""
        try:
            address = ip_address(host)
        except ValueError:
            return None
        return machine_at(self.world, str(address), port)

    def _note(self, target: str, status: int, code: str) -> None:
        """Tunnels and refusals of the proxy are recorded like requests."""
        self.recorder.add(
            Entry(
                at=self.world.clock.stamp(),
                host=target,
                method="CONNECT",
                path="",
                service="",
                operation="",
                status=status,
                code=code,
                request_id="",
                mutating=False,
                verified=False,
            )
        )

    # the whole ------------------------------------------------------------------------------------------------------

    async def reset(self, profile: dict[str, Any], seed: int | None = None) -> None:
        """A new tenancy in the same doors: keys and certificates stay, faults and records go."""
        if self.home is None:
            raise ValueError("this sandbox has no directory, so it has no profile to begin from")
        await unplug_machines(self.world)
        self.home.renew(self.world, profile, seed)
        self.faults.clear()
        self.recorder.clear()

    async def restore(self, path: Path) -> None:
        """The world of a snapshot; this directory's key may speak in it, wherever it was taken."""
        await unplug_machines(self.world)
        snapshot.restore(self.world, path)
        if self.home is not None:
            self.home.adopt(self.world)

    async def _tick(self) -> None:
        """Let time work while nobody asks. In the other modes only requests or the hand move lifecycles."""
        while True:
            await asyncio.sleep(TICK_SECONDS)
            if self.world.clock.mode == "seconds":
                try:
                    self.world.settle()
                except Exception:
                    logger.exception("a change that was due failed")


def machine_at(world: World, address: str, port: int) -> Machine | None:
    """Where connections to an address of the private internet really go; None when no machine owns it."""
    from ocifree_pipeline.sandbox import machines

    reached = machines.find(world, address, port)
    return None if reached is None else Machine(reached.address, reached.reason)


async def unplug_machines(world: World) -> None:
    """End what the machines of a world have open; what they are is state and comes back with it."""
    from ocifree_pipeline.sandbox import machines

    await machines.close(world)

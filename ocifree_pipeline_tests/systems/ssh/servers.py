"""Real SSH servers and a real CONNECT proxy on loopback, in a thread of their own."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import asyncssh

from ocifree_pipeline.systems.ssh.host_keys import HostKey, fingerprint_of

Made = TypeVar("Made")
DIE = "die"
"""A command in the middle of which the machine dies."""


@dataclass
class Network:
    """What runs, and who asked for what."""

    loop: asyncio.AbstractEventLoop
    user_key: Path
    servers: list[Any] = field(default_factory=list)
    connects: list[str] = field(default_factory=list)
    forwards: list[tuple[str, int]] = field(default_factory=list)

    def do(self, work: Awaitable[Made]) -> Made:
        async def run() -> Made:
            return await work

        return asyncio.run_coroutine_threadsafe(run(), self.loop).result(timeout=20)

    def ssh(self, host_key: asyncssh.SSHKey | None = None) -> Server:
        """A machine: it runs what it is told in a real shell, and lets one key in."""
        key = host_key or asyncssh.generate_private_key("ssh-ed25519")
        network = self

        class Guard(asyncssh.SSHServer):
            def connection_requested(self, dest_host: str, dest_port: int, *_: Any) -> bool:
                network.forwards.append((dest_host, dest_port))
                return True

        async def serve() -> asyncssh.SSHAcceptor:
            return await asyncssh.listen(
                "127.0.0.1",
                0,
                server_factory=Guard,
                server_host_keys=[key],
                authorized_client_keys=str(self.user_key.with_suffix(".pub")),
                process_factory=_shell,
            )

        server = Server(self.do(serve()), key)
        self.servers.append(server.acceptor)
        return server

    def proxy(self, reply: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> int:
        async def serve() -> asyncio.Server:
            return await asyncio.start_server(self._proxied(reply), "127.0.0.1", 0)

        server = self.do(serve())
        self.servers.append(server)
        return int(server.sockets[0].getsockname()[1])

    def _proxied(self, reply: bytes) -> Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            head = (await reader.readuntil(b"\r\n\r\n")).decode()
            self.connects.append(head)
            if b" 200 " not in reply:
                writer.write(reply)
                writer.close()
                return
            host, _, port = head.split()[1].rpartition(":")
            inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
            # Answer and greeting in one packet, as a fast server and a busy proxy do.
            writer.write(reply + await inner_reader.read(8))
            await asyncio.gather(_pump(reader, inner_writer), _pump(inner_reader, writer), return_exceptions=True)

        return serve


@dataclass
class Server:
    acceptor: asyncssh.SSHAcceptor
    key: asyncssh.SSHKey

    @property
    def port(self) -> int:
        return int(self.acceptor.sockets[0].getsockname()[1])

    @property
    def fingerprint(self) -> str:
        return fingerprint_of(self.key.public_data)

    def pinned_as(self, machine: str) -> HostKey:
        kind, blob = self.key.export_public_key().decode().split()[:2]
        return HostKey(machine, kind, blob)


async def _shell(process: asyncssh.SSHServerProcess[bytes]) -> None:
    if process.command == DIE:
        process.channel.get_connection().abort()
        return
    child = await asyncio.create_subprocess_shell(
        process.command or "true", stdin=-1, stdout=-1, stderr=-1, start_new_session=True
    )
    try:
        given: str = await process.stdin.read()  # type: ignore[assignment]
        output, errors = await child.communicate(given.encode())
    except asyncio.CancelledError:
        os.killpg(child.pid, signal.SIGKILL)
        await child.communicate()
        raise
    process.stdout.write(output.decode())  # type: ignore[arg-type]
    process.stderr.write(errors.decode())  # type: ignore[arg-type]
    process.exit(child.returncode or 0)


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@contextmanager
def network(directory: Path) -> Iterator[Network]:
    key = asyncssh.generate_private_key("ssh-ed25519")
    path = directory / "id_test"
    key.write_private_key(str(path))
    path.chmod(0o600)
    key.write_public_key(str(path.with_suffix(".pub")))
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    found = Network(loop, path)
    try:
        yield found
    finally:
        asyncio.run_coroutine_threadsafe(_end(found.servers), loop).result(timeout=20)
        loop.call_soon_threadsafe(loop.stop)
        thread.join(timeout=10)
        loop.close()


async def _end(servers: list[Any]) -> None:
    for server in servers:
        server.close()
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    await asyncio.sleep(0.05)  # transports say goodbye in a callback of their own

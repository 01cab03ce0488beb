"""Port 6443 of a control plane: the API of its cluster behind TLS.

    listener = await serve(cluster, socket, certificates.context(authority_certificate, authority_key, names))

Who comes with a certificate of the cluster's authority is the user that the certificate names; who brings a bearer
token is whom the token belongs to; everybody else sees health and version only.
"""

import asyncio
import contextlib
import socket
import ssl
from functools import partial

from ocifree_pipeline.sandbox.door.http import Connection, Limits
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.transport import Transport

LIMITS = Limits(idle_seconds=600)
BACKLOG = 512


class Listening:
    """An open port and its connections."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(self, transport: Transport, listening: socket.socket, context: ssl.SSLContext | None) -> None:
        self._server = await asyncio.start_server(
            partial(self._accept, transport), sock=listening, ssl=context, backlog=BACKLOG
        )

    def close(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._conversations.values():
            writer.transport.abort()
        for conversation in self._conversations:
            conversation.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._conversations, return_exceptions=True)
        if self._server is not None:
            with contextlib.suppress(ConnectionError):
                await self._server.wait_closed()

    def _accept(self, transport: Transport, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = transport.handler(writer.get_extra_info("peercert"))
        connection = Connection(reader, writer, handler, limits=LIMITS, secure=True, malformed=transport.malformed)
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._conversations[task] = writer
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._conversations.pop(task, None)
        if not task.cancelled():
            task.exception()


async def serve(cluster: Cluster, listening: socket.socket, context: ssl.SSLContext) -> Listening:
    """Answer for ``cluster`` on a socket that listens already. ``close`` and ``wait_closed`` of the result end it."""
    opened = Listening()
    await opened.open(Transport(cluster), listening, context)
    return opened

"""Port 6443 of a control plane: the API of its cluster behind TLS.

    listener = await serve(cluster, socket, certificates.context(authority_certificate, authority_key, names))

Who comes with a certificate of the cluster's authority is the user that the certificate names; who brings a bearer
token is whom the token belongs to; everybody else sees health and version only.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from ocifree_pipeline.sandbox.door.http import Connection, Handler, Limits, Response, error_response
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.transport import Transport

LIMITS = Limits(idle_seconds=600)
BACKLOG = 512

Answering = Callable[[Mapping[str, Any] | None], Handler]
"""From the certificate that a client showed, if any, to who answers it."""
Malformed = Callable[[int, str], Response]
"""The answer to what is no HTTP."""


def _unreadable(status: int, message: str) -> Response:
    return error_response(status, "BadRequest", message)


class Listening:
    """An open port and its connections."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None
        self._conversations: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    async def open(
        self,
        answering: Answering,
        listening: socket.socket,
        context: ssl.SSLContext | None,
        malformed: Malformed = _unreadable,
    ) -> None:
        accept = partial(self._accept, answering, malformed)
        self._server = await asyncio.start_server(accept, sock=listening, ssl=context, backlog=BACKLOG)

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

    def _accept(
        self, answering: Answering, malformed: Malformed, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        handler = answering(writer.get_extra_info("peercert"))
        connection = Connection(reader, writer, handler, limits=LIMITS, secure=True, malformed=malformed)
        task = asyncio.get_running_loop().create_task(connection.serve())
        self._conversations[task] = writer
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._conversations.pop(task, None)
        if not task.cancelled():
            task.exception()


async def serve(
    cluster: Cluster,
    listening: socket.socket,
    context: ssl.SSLContext,
    version: Callable[[], str] | None = None,
) -> Listening:
    """Answer for ``cluster`` on a socket that listens already. ``close`` and ``wait_closed`` of the result end it."""
    opened = Listening()
    transport = Transport(cluster, version)
    await opened.open(transport.handler, listening, context, transport.malformed)
    return opened

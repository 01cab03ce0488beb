"""Port 50000 of a Talos node: who may speak, and that is all so far.

The handshake is real: the certificate of the node, HTTP/2 by ALPN, and a client certificate of the cluster's authority
where the node has a configuration. No method of the API is played yet: when the handshake is over the node says
good-bye and hangs up, and a gRPC client reports UNAVAILABLE.
"""

import asyncio
import contextlib
import socket
import ssl
from functools import partial

BLOCK = 16_384
HANDSHAKE_SECONDS = 30


class Api:
    """Listener and connections of one node.

    It accepts by itself: a server of asyncio that is closed at the wrong moment leaves a connection open for ever.
    """

    def __init__(self, context: ssl.SSLContext, listening: socket.socket) -> None:
        self._context = context
        self._listening = listening
        self._conversations: set[asyncio.Task[None]] = set()
        self._accepting = asyncio.get_running_loop().create_task(self._accept())

    def close(self) -> None:
        # At once, for the caller closes the socket next, and its number may soon be that of another.
        asyncio.get_running_loop().remove_reader(self._listening)
        for one in (self._accepting, *self._conversations):
            one.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(self._accepting, *self._conversations, return_exceptions=True)

    async def _accept(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            connection, _ = await loop.sock_accept(self._listening)
            connection.setblocking(False)
            conversation = loop.create_task(_converse(self._context, connection))
            self._conversations.add(conversation)
            conversation.add_done_callback(partial(self._ended, connection))

    def _ended(self, connection: socket.socket, conversation: asyncio.Task[None]) -> None:
        connection.close()
        self._conversations.discard(conversation)


async def _converse(context: ssl.SSLContext, connection: socket.socket) -> None:
    # A stranger who knocks and goes away, or shows no certificate, is an everyday visitor: nothing to report.
    with contextlib.suppress(ssl.SSLError, OSError, EOFError, TimeoutError):
        async with asyncio.timeout(HANDSHAKE_SECONDS):
            await _greet(context, connection)


async def _greet(context: ssl.SSLContext, connection: socket.socket) -> None:
    """Shake hands and say good-bye. By hand, because asyncio's own TLS hangs up without telling a client why."""
    loop = asyncio.get_running_loop()
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    session = context.wrap_bio(incoming, outgoing, server_side=True)
    while True:
        try:
            session.do_handshake()
            break
        except ssl.SSLWantReadError:
            await loop.sock_sendall(connection, outgoing.read())
            data = await loop.sock_recv(connection, BLOCK)
            if not data:
                raise EOFError("the visitor has gone") from None
            incoming.write(data)
        except ssl.SSLError:
            await loop.sock_sendall(connection, outgoing.read())
            raise
    with contextlib.suppress(ssl.SSLWantReadError):
        session.unwrap()
    await loop.sock_sendall(connection, outgoing.read())

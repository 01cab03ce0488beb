"""TLS by hand, as a transport of asyncio that a protocol of asyncio can use.

asyncio's own TLS hangs up on a client whom it does not like without telling why; a real node says it, and clients show
it to people.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial
from typing import Any

BLOCK = 65_536
HANDSHAKE_SECONDS = 30


class SecureTransport(asyncio.Transport):
    """What is written here goes out encrypted, in order."""

    def __init__(self, connection: socket.socket, session: ssl.SSLObject, outgoing: ssl.MemoryBIO) -> None:
        super().__init__(
            {
                "ssl_object": session,
                "peercert": session.getpeercert(),
                "peername": connection.getpeername(),
                "socket": connection,
            }
        )
        self._session = session
        self._outgoing = outgoing
        self._wanted = asyncio.Event()
        self._closing = False

    def write(self, data: Any) -> None:
        if not self._closing:
            self._session.write(bytes(data))
            self._wanted.set()

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        """What was written before is still sent."""
        self._closing = True
        self._wanted.set()

    def abort(self) -> None:
        self.close()

    async def send(self, connection: socket.socket) -> None:
        """Carry what is written, until it is closed."""
        loop = asyncio.get_running_loop()
        while not self._closing or self._outgoing.pending:
            await self._wanted.wait()
            self._wanted.clear()
            while data := self._outgoing.read():
                await loop.sock_sendall(connection, data)


class SecureListener:
    """An open port. Each connection gets its protocol from ``make`` once its handshake is over."""

    def __init__(self, listening: socket.socket, context: ssl.SSLContext, make: Callable[[], asyncio.Protocol]) -> None:
        self._listening = listening
        self._context = context
        self._make = make
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
            conversation = loop.create_task(self._converse(connection))
            self._conversations.add(conversation)
            conversation.add_done_callback(partial(self._ended, connection))

    def _ended(self, connection: socket.socket, conversation: asyncio.Task[None]) -> None:
        connection.close()
        self._conversations.discard(conversation)

    async def _converse(self, connection: socket.socket) -> None:
        # A stranger who knocks and goes away, or shows no certificate, is an everyday visitor: nothing to report.
        with contextlib.suppress(ssl.SSLError, OSError, EOFError, TimeoutError):
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            session = self._context.wrap_bio(incoming, outgoing, server_side=True)
            async with asyncio.timeout(HANDSHAKE_SECONDS):
                await _greet(connection, session, incoming, outgoing)
            await self._carry(connection, session, incoming, outgoing)

    async def _carry(
        self, connection: socket.socket, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
    ) -> None:
        transport = SecureTransport(connection, session, outgoing)
        protocol = self._make()
        protocol.connection_made(transport)
        loop = asyncio.get_running_loop()
        sending = loop.create_task(transport.send(connection))
        reading = loop.create_task(_read(connection, session, incoming, protocol))
        try:
            # The sender ends when the protocol closes the transport, and when everything is sent.
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sending, reading):
                task.cancel()
            await asyncio.gather(sending, reading, return_exceptions=True)
            protocol.connection_lost(None)


async def _read(
    connection: socket.socket, session: ssl.SSLObject, incoming: ssl.MemoryBIO, protocol: asyncio.Protocol
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            data = session.read(BLOCK)
        except ssl.SSLWantReadError:
            received = await loop.sock_recv(connection, BLOCK)
            if not received:
                return
            incoming.write(received)
            continue
        if not data:
            return
        protocol.data_received(data)


async def _greet(
    connection: socket.socket, session: ssl.SSLObject, incoming: ssl.MemoryBIO, outgoing: ssl.MemoryBIO
) -> None:
    loop = asyncio.get_running_loop()
    while True:
        try:
            session.do_handshake()
            await loop.sock_sendall(connection, outgoing.read())
            return
        except ssl.SSLWantReadError:
            await loop.sock_sendall(connection, outgoing.read())
            data = await loop.sock_recv(connection, BLOCK)
            if not data:
                raise EOFError("the visitor has gone") from None
            incoming.write(data)
        except ssl.SSLError:
            await loop.sock_sendall(connection, outgoing.read())
            # Whoever is refused may have spoken already. Closed over unread words, a connection is reset, and the
            # reason would be lost on the way.
            connection.shutdown(socket.SHUT_WR)
            while await loop.sock_recv(connection, BLOCK):
                pass
            raise

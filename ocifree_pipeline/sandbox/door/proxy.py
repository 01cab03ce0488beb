"""The only door to the private internet: an HTTP proxy that plays some hosts, reaches machines, and refuses the rest.

- ``CONNECT host:443`` to a host that the sandbox plays: TLS ends here, and the host's own handler answers.
- ``CONNECT address:port`` to an address that a machine of the sandbox owns: a raw tunnel (SSH, APIs of guests).
- ``GET http://host/``, the plain form, for hosts that are played.
- everything else: 403. The host is named in the reason phrase too, for that is all that most clients show.
"""

import asyncio
import contextlib
import json
import logging
import re
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field

from ocifree_pipeline.sandbox.door.authority import Authority
from ocifree_pipeline.sandbox.door.http import Connection, Handler, Limits, Request, Response, error_response

TLS_PORT, PLAIN_PORT = 443, 80
HANDSHAKE_SECONDS = 10.0
GOODBYE_SECONDS = 1.0
STREAM_BYTES = 1024 * 1024
TUNNEL_BYTES = 64 * 1024
CONNECT_SECONDS = 10.0
TARGET = re.compile(r"(?:\[(?P<v6>[0-9a-fA-F:.]+)\]|(?P<name>[A-Za-z0-9._-]{1,253})):(?P<port>[0-9]{1,5})")
CONNECT_LINE = re.compile(rb"CONNECT (\S{1,300}) HTTP/1\.[01]\r?\n")

logger = logging.getLogger(__name__)

Address = tuple[str, int]


class Refused(Exception):
    """The proxy will not connect, and says why."""

    def __init__(self, status: int, code: str, phrase: str, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.phrase = phrase
        self.message = message


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a tunnel ends. ``address`` None: the address has an owner, but nothing answers there."""

    address: Address | None
    reason: str = ""


@dataclass(slots=True)
class Proxy:
    """``plays`` finds the handler of a host, ``machine`` the owner of an address; ``note`` records tunnels, refusals.

    ``active`` is called whenever bytes pass, so that a long tunnel counts as use.
    """

    authority: Authority
    plays: Callable[[str], Handler | None]
    machine: Callable[[str, int], Machine | None]
    note: Callable[[str, int, str], None]
    active: Callable[[], None]
    limits: Limits = field(default_factory=Limits)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection to its end."""
        try:
            line = await self._first_line(reader)
        except (TimeoutError, ConnectionError):
            await _close(writer)
            return
        if not line.startswith(b"CONNECT "):
            await Connection(reader, writer, self._plain, limits=self.limits, received=line).serve()
            return
        target = "unknown"
        try:
            await self._skip_headers(reader)
            host, port = parse_target(line)
            target = f"{host}:{port}"
            await self._connect(host, port, reader, writer)
        except Refused as refusal:
            self.note(target, refusal.status, refusal.code)
            with contextlib.suppress(ConnectionError):
                await _refuse(writer, refusal)
        except (ConnectionError, TimeoutError, ssl.SSLError, asyncio.IncompleteReadError) as error:
            logger.debug("tunnel to %s ended: %r", target, error)
        finally:
            await _close(writer)

    async def _first_line(self, reader: asyncio.StreamReader) -> bytes:
        """The first line, or what there is of it: what is no CONNECT is left to the HTTP connection to judge."""
        try:
            async with asyncio.timeout(self.limits.idle_seconds):
                return await reader.readuntil(b"\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        except asyncio.LimitOverrunError:
            return b""

    async def _connect(self, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handler = self.plays(host)
        if handler is not None and port in {TLS_PORT, PLAIN_PORT}:
            await _established(writer)
            if port == TLS_PORT:
                await self._terminate(writer, host, handler)
            else:
                await Connection(reader, writer, handler, limits=self.limits).serve()
            return
        owner = self.machine(host, port)
        if owner is None:
            raise _unknown(host, port, played=handler is not None)
        await self._tunnel(owner, host, port, reader, writer)

    async def _skip_headers(self, reader: asyncio.StreamReader) -> None:
        """The headers of a CONNECT say nothing that matters here, but they must end."""
        left = self.limits.header_bytes
        try:
            async with asyncio.timeout(self.limits.header_seconds):
                while (line := await reader.readuntil(b"\n")) not in {b"\r\n", b"\n"}:
                    left -= len(line)
                    if left < 0:
                        raise _headers_too_large()
        except asyncio.LimitOverrunError as error:
            raise _headers_too_large() from error
        except TimeoutError as error:
            raise Refused(408, "RequestTimeout", "Request Timeout", "the header did not arrive in time") from error

    async def _terminate(self, writer: asyncio.StreamWriter, host: str, handler: Handler) -> None:
        """End TLS here and serve what comes out of it. A stream made anew governs the TLS transport."""
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=STREAM_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        transport = await loop.start_tls(
            writer.transport,
            protocol,
            self.authority.context(host),
            server_side=True,
            ssl_handshake_timeout=HANDSHAKE_SECONDS,
            ssl_shutdown_timeout=GOODBYE_SECONDS,
        )
        if transport is None:
            raise ConnectionResetError("the client left during the TLS handshake")
        protocol.connection_made(transport)
        secure = asyncio.StreamWriter(transport, protocol, reader, loop)
        await Connection(reader, secure, only_for(host, handler), limits=self.limits, secure=True).serve()

    async def _tunnel(
        self, owner: Machine, host: str, port: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        if owner.address is None:
            raise Refused(
                504, "MachineSilent", f"nothing answers at {host}:{port}", f"{host}:{port} is silent: {owner.reason}"
            )
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                far_reader, far_writer = await asyncio.open_connection(*owner.address)
        except (OSError, TimeoutError) as error:
            raise Refused(
                502,
                "MachineUnreachable",
                f"{host}:{port} refuses connections",
                f"the machine at {host} does not accept connections on port {port}: {error}",
            ) from error
        self.note(f"{host}:{port}", 200, "")
        try:
            await _established(writer)
            async with asyncio.TaskGroup() as both:
                both.create_task(self._pump(reader, far_writer))
                both.create_task(self._pump(far_reader, writer))
        except* ConnectionError as errors:
            logger.debug("tunnel to %s:%s broke: %r", host, port, errors.exceptions)
        finally:
            await _close(far_writer)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one direction; its end is passed on, and the other direction goes on until it ends too."""
        while data := await reader.read(TUNNEL_BYTES):
            self.active()
            writer.write(data)
            await writer.drain()
        if writer.can_write_eof() and not writer.is_closing():
            # Whoever has gone already cannot be told, and that is no ConnectionError to Python.
            with contextlib.suppress(OSError):
                writer.write_eof()

    async def _plain(self, request: Request) -> Response:
        """A request in the absolute form of plain HTTP."""
        host = bare_host(request.host)
        handler = self.plays(host)
        if handler is None:
            refusal = _unknown(host or "a request without a host", PLAIN_PORT, played=False)
            self.note(request.host, refusal.status, refusal.code)
            return error_response(refusal.status, refusal.code, refusal.message)
        return await handler(request)


def parse_target(line: bytes) -> Address:
    """Host and port of a CONNECT line."""
    request = CONNECT_LINE.fullmatch(line)
    target = TARGET.fullmatch(request[1].decode("ascii", "replace")) if request else None
    if target is None or not 0 < int(target["port"]) < 65536:
        raise Refused(
            400, "CannotParseRequest", "Bad Request", "CONNECT needs a target such as example.com:443 or [::1]:22"
        )
    return bare_host(target["v6"] or target["name"]), int(target["port"])


def bare_host(host: str) -> str:
    """A host as it is compared: lowercase, without port and final dot."""
    name = host.lower()
    if name.startswith("["):
        return name[1:].partition("]")[0]
    if name.count(":") == 1:
        name = name.partition(":")[0]
    return name.rstrip(".")


def only_for(host: str, handler: Handler) -> Handler:
    """A handler that answers for one host: a request for another does not belong on this connection."""

    async def handle(request: Request) -> Response:
        if bare_host(request.host) != host:
            return error_response(
                421, "MisdirectedRequest", f"This connection was opened to {host}, the request names {request.host!r}"
            )
        return await handler(request)

    return handle


def _unknown(host: str, port: int, *, played: bool) -> Refused:
    why = (
        f"it plays {host} on ports {TLS_PORT} and {PLAIN_PORT} only"
        if played
        else "it is neither a host that the sandbox plays nor an address that one of its machines owns"
    )
    return Refused(
        403,
        "HostNotPlayed",
        f"ocifree sandbox refuses {host}:{port}",
        f"The sandbox refuses {host}:{port}: {why}. Nothing leaves this machine through this proxy. To reach the "
        f"real {host}, use a shell without the variables that `ocifree sandbox env` sets.",
    )


def _headers_too_large() -> Refused:
    return Refused(
        431, "RequestHeaderFieldsTooLarge", "Request Header Fields Too Large", "the request header is too large"
    )


async def _established(writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
    await writer.drain()


async def _refuse(writer: asyncio.StreamWriter, refusal: Refused) -> None:
    body = json.dumps({"code": refusal.code, "message": refusal.message}).encode()
    head = (
        f"HTTP/1.1 {refusal.status} {refusal.phrase}\r\ncontent-type: application/json\r\n"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    writer.write(head.encode("ascii", "replace") + body)
    await writer.drain()


async def _close(writer: asyncio.StreamWriter) -> None:
    """Close, and wait for the end unless TLS took the transport over: then this stream never hears of it."""
    writer.close()
    if not isinstance(writer.transport.get_protocol(), asyncio.StreamReaderProtocol):
        return
    with contextlib.suppress(OSError, TimeoutError):
        await writer.wait_closed()

"""HTTP/1.1 on an asyncio stream: requests in, responses out, connections that live or close cleanly.

Bodies are streams: nothing is read before somebody asks, ``100 Continue`` is sent at that moment, and what nobody
read is drained (a little) or the connection closes. Everything a client can get wrong ends in a JSON error of
Oracle's shape; nothing a client sends can end the process.
"""

import asyncio
import contextlib
import json
import logging
import socket
import struct
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any, Literal
from urllib.parse import parse_qs

import h11

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Limits:
    """How patient and how generous a connection is. Seconds are real ones."""

    header_bytes: int = 64 * 1024
    idle_seconds: float = 75
    header_seconds: float = 15
    body_seconds: float = 60
    drain_bytes: int = 256 * 1024 * 1024
    drain_seconds: float = 15
    chunk_bytes: int = 256 * 1024


class Disconnected(Exception):
    """The client went away, or broke the protocol, in the middle of a request body."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Body:
    """A request body that is read at most once."""

    def __init__(self, chunks: AsyncIterator[bytes]) -> None:
        self._chunks = chunks

    async def read(self, limit: int) -> bytes:
        """The whole body; one that is longer than ``limit`` is cut off after it, so compare lengths."""
        parts, size = [], 0
        async for chunk in self._chunks:
            parts.append(chunk)
            size += len(chunk)
            if size > limit:
                break
        return b"".join(parts)

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self._chunks


@dataclass(slots=True)
class Request:
    method: str
    host: str
    raw_target: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: Body
    secure: bool = False


@dataclass(slots=True)
class Response:
    """``length`` overrides Content-Length for HEAD and streams. ``cut`` ends the connection on purpose (faults).

    A stream without a length goes out in chunks as they come; an empty chunk only looks whether the client is there.

    ``reason`` is for servers that say what is wrong in the status line.
    """

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    stream: AsyncIterator[bytes] | None = None
    length: int | None = None
    cut: Literal["", "reset", "truncate"] = ""
    delay: float = 0.0
    reason: str = ""


Handler = Callable[[Request], Awaitable[Response]]


def error_response(status: int, code: str, message: str) -> Response:
    body = json.dumps({"code": code, "message": message}).encode()
    return Response(status, {"content-type": "application/json"}, body)


class Connection:
    """One client connection: a loop of request and response until one side has enough."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        handler: Handler,
        *,
        limits: Limits | None = None,
        secure: bool = False,
        malformed: Callable[[int, str], Response] | None = None,
        received: bytes = b"",
    ) -> None:
        """``received`` is what somebody read from the connection already, to find out that it is ours."""
        self._reader = reader
        self._writer = writer
        self._handler = handler
        self._limits = limits or Limits()
        self._secure = secure
        self._malformed = malformed or _plain_malformed
        self._http = h11.Connection(h11.SERVER, max_incomplete_event_size=self._limits.header_bytes)
        if received:
            self._http.receive_data(received)

    async def serve(self) -> None:
        """Serve until the connection ends; it is closed when this returns."""
        try:
            while await self._exchange():
                pass
        except (ConnectionError, TimeoutError, Disconnected, h11.LocalProtocolError) as error:
            logger.debug("connection ended: %r", error)
        finally:
            await self.close()

    async def close(self) -> None:
        self._writer.close()
        with contextlib.suppress(ConnectionError, TimeoutError, OSError):
            await self._writer.wait_closed()

    async def _exchange(self) -> bool:
        """One request and its response; False when the connection is at its end."""
        try:
            head = await self._head()
        except h11.RemoteProtocolError as error:
            await self._refuse(error.error_status_hint, str(error))
            return False
        except TimeoutError:
            if self._http.trailing_data[0]:
                await self._refuse(408, "the request header did not arrive in time")
            return False
        if head is None:
            return False
        try:
            request = self._request(head)
        except ValueError as error:
            await self._refuse(400, str(error))
            return False
        try:
            response = await self._handler(request)
        except Disconnected as error:
            await self._refuse(error.status, str(error))
            return False
        return await self._respond(request, response)

    async def _head(self) -> h11.Request | None:
        """The next request head; None when the client hung up between requests."""
        event = self._http.next_event()
        if event is h11.NEED_DATA and not self._http.trailing_data[0]:
            async with asyncio.timeout(self._limits.idle_seconds):
                await self._receive()
            event = self._http.next_event()
        async with asyncio.timeout(self._limits.header_seconds):
            while event is h11.NEED_DATA:
                await self._receive()
                event = self._http.next_event()
        return event if isinstance(event, h11.Request) else None

    def _request(self, head: h11.Request) -> Request:
        if head.http_version not in {b"1.0", b"1.1"}:
            raise ValueError(f"HTTP/{head.http_version.decode('ascii')} is not spoken here")
        headers: dict[str, str] = {}
        for raw_name, raw_value in head.headers:
            name, value = raw_name.decode("ascii"), raw_value.decode("latin-1")
            headers[name] = f"{headers[name]}, {value}" if name in headers else value
        target = head.target.decode("ascii")
        if target.startswith(("http://", "https://")):
            _, _, rest = target.partition("://")
            _, slash, path = rest.partition("/")
            target = slash + path or "/"
        if not target.startswith("/"):
            raise ValueError("the request target must be a path")
        path, _, query = target.partition("?")
        return Request(
            method=head.method.decode("ascii"),
            host=headers.get("host", ""),
            raw_target=target,
            path=path,
            query=parse_qs(query, keep_blank_values=True, max_num_fields=200),
            headers=headers,
            body=Body(self._chunks()),
            secure=self._secure,
        )

    async def _chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives."""
        while True:
            if self._http.they_are_waiting_for_100_continue:
                await self._send(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self._http.next_event()
                if event is h11.NEED_DATA:
                    self._acknowledge()
                    async with asyncio.timeout(self._limits.body_seconds):
                        await self._receive()
                    continue
            except h11.RemoteProtocolError as error:
                raise Disconnected(f"the request body broke off or is malformed: {error}") from error
            except TimeoutError as error:
                raise Disconnected("the request body did not arrive in time", 408) from error
            if isinstance(event, h11.Data):
                yield bytes(event.data)
            else:
                return

    async def _respond(self, request: Request, response: Response) -> bool:
        if response.delay:
            await asyncio.sleep(response.delay)
        if response.cut == "reset":
            self._reset()
            return False
        keep = await self._drain(request)
        length = len(response.body) if response.length is None else response.length
        headers = [(name, value) for name, value in response.headers.items() if name != "content-length"]
        if response.status not in {204, 304} and (response.stream is None or response.length is not None):
            headers.append(("content-length", str(length)))
        if not keep:
            headers.append(("connection", "close"))
        reason = _status_line(response.reason) or _reason(response.status)
        head = h11.Response(status_code=response.status, reason=reason, headers=_encoded(headers))
        bodiless = request.method == "HEAD" or response.status in {204, 304}
        if response.cut == "truncate" and not bodiless:
            await self._truncate(head, response, length)
            return False
        if response.stream is None or bodiless:
            payload = [] if bodiless or not response.body else [h11.Data(data=response.body)]
            await self._send(head, *payload, h11.EndOfMessage())
        else:
            await self._send(head)
            async for chunk in response.stream:
                if self._writer.is_closing():
                    raise ConnectionResetError("the client left during the answer")
                await self._send(h11.Data(data=chunk))
            await self._send(h11.EndOfMessage())
        if not keep or self._http.our_state is not h11.DONE or self._http.their_state is not h11.DONE:
            return False
        self._http.start_next_cycle()
        return True

    async def _truncate(self, head: h11.Response, response: Response, length: int) -> None:
        """Send about half of the body, then cut the connection."""
        left = length // 2
        if response.stream is None:
            await self._send(head, h11.Data(data=response.body[:left]))
            return
        await self._send(head)
        async for chunk in response.stream:
            await self._send(h11.Data(data=chunk[:left]))
            left -= len(chunk)
            if left <= 0:
                break

    def _acknowledge(self) -> None:
        """Tell the client at once that its headers are here.

        urllib3 leaves Nagle's algorithm on towards proxies and sends the body apart from the headers: without this
        each POST waits 40 ms for a delayed acknowledgement.
        """
        sock = self._writer.get_extra_info("socket")
        if sock is not None and hasattr(socket, "TCP_QUICKACK"):
            with contextlib.suppress(OSError):  # it may be closed already
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_QUICKACK, 1)

    def _reset(self) -> None:
        """Let the client see "connection reset by peer" and not an orderly end."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def _drain(self, request: Request) -> bool:
        """Read what is left of a body, for many clients listen only after they have sent it all.

        False when the connection cannot live on afterwards.
        """
        if self._http.they_are_waiting_for_100_continue:
            return False
        left = self._limits.drain_bytes
        try:
            async with asyncio.timeout(self._limits.drain_seconds):
                async for chunk in request.body:
                    left -= len(chunk)
                    if left < 0:
                        return False
        except (Disconnected, TimeoutError):
            return False
        return self._http.their_state is h11.DONE

    async def _refuse(self, status: int, message: str) -> None:
        """Answer a request that is no HTTP, if the protocol still allows an answer."""
        if self._http.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            return
        response = self._malformed(status, message)
        headers = [*response.headers.items(), ("content-length", str(len(response.body))), ("connection", "close")]
        head = h11.Response(status_code=status, reason=_reason(status), headers=_encoded(headers))
        with contextlib.suppress(h11.LocalProtocolError):
            await self._send(head, h11.Data(data=response.body), h11.EndOfMessage())

    async def _receive(self) -> None:
        self._http.receive_data(await self._reader.read(self._limits.chunk_bytes))

    async def _send(self, *events: Any) -> None:
        """Several events in one piece: a small reply is one packet."""
        data = b"".join(self._http.send(event) or b"" for event in events)
        if data:
            self._writer.write(data)
            await self._writer.drain()


def _plain_malformed(status: int, message: str) -> Response:
    return error_response(status, "CannotParseRequest", f"Incorrectly formatted request: {message}")


def _reason(status: int) -> bytes:
    try:
        return HTTPStatus(status).phrase.encode()
    except ValueError:
        return b""


def _status_line(text: str) -> bytes:
    """A text as a status line can carry it: one line, nothing that ends it early."""
    return "".join(one if one.isprintable() else " " for one in text).strip().encode("latin-1", "replace")


def _encoded(headers: list[tuple[str, str]]) -> list[tuple[bytes, bytes]]:
    return [(name.encode("ascii"), value.encode("latin-1", "replace")) for name, value in headers]

"""Port 8006 of a node: TLS with the node's own certificate, HTTP/1.1, errors in the reason phrase."""

import asyncio
import contextlib
import json
import logging
import socket
from email.message import Message
from email.parser import BytesParser
from typing import Any
from urllib.parse import parse_qs, unquote

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.door.http import Connection, Request, Response
from ocifree_pipeline.sandbox.machines.backend import Listener
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.proxmox import access, certificates, methods
from ocifree_pipeline.sandbox.proxmox.access import Caller
from ocifree_pipeline.sandbox.proxmox.errors import ApiError
from ocifree_pipeline.sandbox.proxmox.nodes import API_PORT, Node

PORT = API_PORT
PREFIX = "/api2/json"
MOST_BODY = 512 * 1024
MOST_UPLOAD = 256 * 1024 * 1024
UNAUTHORIZED_SECONDS = 3.0
HANDSHAKE_SECONDS = 10
STREAM_BYTES = 1024 * 1024

logger = logging.getLogger(__name__)


async def serve(machine: Computer, listening: socket.socket) -> Listener:
    server = Server(machine)
    server.acceptor = await asyncio.start_server(server.accept, sock=listening, limit=STREAM_BYTES)
    return server


class Server:
    """The listener of one node and its connections."""

    def __init__(self, machine: Computer) -> None:
        self.machine = machine
        self.acceptor: asyncio.Server | None = None
        self._open: dict[asyncio.Task[None], asyncio.StreamWriter] = {}

    def accept(self, _reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._talk(writer))
        self._open[task] = writer
        task.add_done_callback(lambda done: self._open.pop(done, None))

    async def _talk(self, writer: asyncio.StreamWriter) -> None:
        node = Node(self.machine.again())
        started = node.own["proxy"]
        loop = asyncio.get_running_loop()
        reader = asyncio.StreamReader(limit=STREAM_BYTES, loop=loop)
        protocol = asyncio.StreamReaderProtocol(reader, loop=loop)
        try:
            transport = await loop.start_tls(
                writer.transport,
                protocol,
                certificates.context(node.own["pem"], node.own["key"]),
                server_side=True,
                ssl_handshake_timeout=HANDSHAKE_SECONDS,
            )
        except (OSError, asyncio.IncompleteReadError):
            writer.transport.abort()
            return
        if transport is None:
            return
        protocol.connection_made(transport)
        secure = asyncio.StreamWriter(transport, protocol, reader, loop)

        async def handle(request: Request) -> Response:
            here = Node(self.machine.again())
            here.world.settle()
            if here.own["proxy"] != started or here.own["proxyDown"]:
                return Response(503, cut="reset")
            return await answer(here, request)

        with contextlib.suppress(OSError):
            await Connection(reader, secure, handle, secure=True).serve()

    def close(self) -> None:
        if self.acceptor is not None:
            self.acceptor.close()
        for task, writer in list(self._open.items()):
            writer.transport.abort()
            task.cancel()

    async def wait_closed(self) -> None:
        await asyncio.gather(*self._open, return_exceptions=True)


async def answer(node: Node, request: Request) -> Response:
    """One request. Everything that goes wrong is told in Proxmox's way."""
    status, path, verb, fault = 200, request.path.removeprefix(PREFIX) or "/", request.method, 0
    extra: dict[str, Any] = {}
    try:
        if not request.path.startswith(PREFIX):
            raise methods.not_played(request.path)
        given = await _parameters(request)
        method, _ = methods.find(verb, path)
        caller = Caller("") if method.public else _caller(node, request)
        data = methods.invoke(node, caller, verb, path, given)
        if isinstance(data, methods.Page):
            extra = {"total": data.total}
            data = data.rows
        response = _json(200, {"data": data, **extra})
    except ApiError as error:
        status = error.status
        body: dict[str, Any] = {"data": None, "message": error.message + "\n"}
        if error.errors:
            body["errors"] = error.errors
        response = _json(status, body)
        response.reason = error.message.splitlines()[0]
        response.headers["connection"] = "close"
        if status == 401:
            response.body = b""
            response.delay = _patience(node)
    except Exception:
        logger.exception("%s %s failed inside the sandbox", verb, path)
        status, response = 500, _json(500, {"data": None})
        response.reason = "the sandbox failed; its log says where"
    mutating = verb != "GET" and status < 400 and path != "/access/ticket"
    instruments.note(
        node.world,
        host=f"{node.address}:{PORT}",
        method=verb,
        path=request.path,
        service="pve",
        operation=f"{verb} {path}",
        status=status,
        mutating=mutating,
        fault=fault,
    )
    return response


def _patience(node: Node) -> float:
    """Who guesses waits: three seconds of the world's time, where time is real at all."""
    clock = node.world.clock
    return UNAUTHORIZED_SECONDS / clock.rate if clock.mode == "seconds" else 0.0


def _json(status: int, value: Any) -> Response:
    return Response(status, {"content-type": "application/json;charset=UTF-8"}, json.dumps(value).encode())


def _caller(node: Node, request: Request) -> Caller:
    authorization = request.headers.get("authorization", "")
    if authorization.startswith("PVEAPIToken="):
        found = access.user_of_token(node, authorization.removeprefix("PVEAPIToken="))
        if found is None:
            raise access.unauthorized("invalid token value!")
        return found
    cookies = dict(piece.strip().partition("=")[::2] for piece in request.headers.get("cookie", "").split(";"))
    ticket = unquote(cookies.get("PVEAuthCookie", ""))
    if not ticket:
        raise access.unauthorized("No ticket")
    user = access.user_of_ticket(node, ticket)
    if user is None:
        raise access.unauthorized("permission denied - invalid PVE ticket")
    if request.method != "GET":
        token = request.headers.get("csrfpreventiontoken", "")
        if not access.is_csrf_token(node, user, token):
            raise access.unauthorized("Permission denied - invalid csrf token")
    return Caller(user)


async def _parameters(request: Request) -> dict[str, str | list[str]]:
    query = dict(request.query)
    kind = request.headers.get("content-type", "").lower()
    is_upload = kind.startswith("multipart/form-data")
    most = MOST_UPLOAD if is_upload else MOST_BODY
    body = await request.body.read(most)
    if len(body) > most:
        raise ApiError(501, "for data too large")
    if is_upload:
        return _multipart(request.headers["content-type"], body)
    if body and kind.startswith("application/json"):
        try:
            given = json.loads(body)
        except ValueError as error:
            raise ApiError(400, f"unable to parse JSON: {error}") from error
        if not isinstance(given, dict):
            raise ApiError(400, "unable to parse parameters, expected object")
        return {name: _as_text(value) for name, value in given.items()}
    if body:
        form = parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True, max_num_fields=500)
        query |= form
    return {name: values[0] if len(values) == 1 else values for name, values in query.items()}


def _as_text(value: Any) -> str | list[str]:
    if isinstance(value, list):
        return [str(one) for one in value]
    return str(int(value)) if isinstance(value, bool) else str(value)


def _multipart(kind: str, body: bytes) -> dict[str, str | list[str]]:
    """Fields of an upload; the file comes as ``filename`` and, byte for byte, as ``upload content``."""
    parsed: Message = BytesParser().parsebytes(b"content-type: " + kind.encode("latin-1") + b"\r\n\r\n" + body)
    found: dict[str, str | list[str]] = {}
    if not parsed.is_multipart():
        raise ApiError(400, "upload failed: no multipart body")
    for part in parsed.get_payload():
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        payload = part.get_payload(decode=True)
        content = payload if isinstance(payload, bytes) else b""
        if part.get_filename():
            found["filename"] = str(part.get_filename())
            found["tmpfilename"] = content.decode("latin-1")
        else:
            found[str(name)] = content.decode("utf-8", "replace").strip("\r\n")
    return found

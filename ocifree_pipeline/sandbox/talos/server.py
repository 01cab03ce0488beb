"""Port 50000: HTTP/2 and gRPC over the node's own TLS. Who speaks, whether that one may, and then the call."""

import socket
import ssl
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError
from grpclib.server import Server, Stream

from ocifree_pipeline.protocols.talos import EMPTY, METHODS, Method, message
from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.talos import cluster, passing, roles
from ocifree_pipeline.sandbox.talos.calls import CALLS
from ocifree_pipeline.sandbox.talos.node import Node
from ocifree_pipeline.sandbox.talos.replies import Refusal
from ocifree_pipeline.sandbox.talos.transport import SecureListener

SERVICE = "talos"

_CARDINALITY = {
    (False, False): Cardinality.UNARY_UNARY,
    (False, True): Cardinality.UNARY_STREAM,
    (True, False): Cardinality.STREAM_UNARY,
}


class _Mapped:
    """What a gRPC server wants to know of its calls."""

    def __init__(self, computer: Computer) -> None:
        self._computer = computer

    def __mapping__(self) -> dict[str, Handler]:
        return {
            path: Handler(
                partial(_serve, self._computer, method),
                _CARDINALITY[method.many_requests, method.many_replies],
                message(method.request),
                message(method.reply),
            )
            for path, method in METHODS.items()
        }


class _Every(dict[str, Handler]):
    """What is not listed is refused in words; grpclib refuses it in a form that Go calls malformed."""

    def get(self, path: str, default: Any = None) -> Any:
        nothing = message(EMPTY)
        return super().get(path) or Handler(partial(_not_played, path), Cardinality.UNARY_UNARY, nothing, nothing)


async def _not_played(path: str, _stream: "Stream[Any, Any]") -> None:
    raise GRPCError(Status.UNIMPLEMENTED, f"the sandbox does not play {path}")


def listen(computer: Computer, listening: socket.socket, context: ssl.SSLContext) -> SecureListener:
    server = Server([_Mapped(computer)])
    server._mapping = _Every(server._mapping)
    return SecureListener(listening, context, server._protocol_factory)


async def _serve(computer: Computer, method: Method, stream: "Stream[Any, Any]") -> None:
    computer.world.settle()
    node = Node(computer.again())
    held = roles.roles_of(stream.peer.cert() if stream.peer else None)
    name = method.path.rpartition("/")[2]
    struck = instruments.strikes(node.world, SERVICE, name)
    status, requests = 200, []
    try:
        _let_in(node, name, held)
        _strike(struck, "before", "drop")
        requests = [one async for one in _requests(stream, method)]
        for reply in passing.answers(node, stream.metadata, lambda one: _answers(one, name, requests, held)):
            await stream.send_message(reply)
        _strike(struck, "after", "reset")
    except Refusal as refusal:
        status = 400
        raise GRPCError(Status[refusal.code], refusal.said) from None
    except GRPCError:
        status = 503
        raise
    finally:
        instruments.note(
            node.world,
            host=node.address,
            method="POST",
            path=method.path,
            service=SERVICE,
            operation=name,
            status=status,
            mutating=name in roles.WRITES and not _only_looks(requests),
            fault=struck.number if struck else 0,
        )
        cluster.refresh(node.world)


def _answers(node: Node, name: str, requests: list[Any], held: frozenset[str]) -> list[Any]:
    """What the call answers; all of it is known when the call has been made."""
    _let_in(node, name, held)
    call = CALLS.get(name)
    if call is None:
        raise Refusal("UNIMPLEMENTED", f"the sandbox does not play {name}")
    return call(node, requests)


async def _requests(stream: "Stream[Any, Any]", method: Method) -> AsyncIterator[Any]:
    while (request := await stream.recv_message()) is not None:
        yield request
        if not method.many_requests:
            return


def _let_in(node: Node, name: str, held: frozenset[str]) -> None:
    if node.configuration is None:
        if name not in roles.IN_MAINTENANCE:
            raise Refusal("UNIMPLEMENTED", "API is not implemented in maintenance mode")
    elif not roles.may(name, held):
        raise Refusal("PERMISSION_DENIED", "not authorized")


def _strike(rule: Rule | None, *moments: str) -> None:
    if rule is not None and rule.moment in moments:
        raise GRPCError(Status.UNAVAILABLE, rule.message)


def _only_looks(requests: list[Any]) -> bool:
    """A dry run changes nothing."""
    return any(getattr(one, "dry_run", False) for one in requests)

"""One conversation with the API of a Talos node, for callers that wait for each answer."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.deployment.errors import AuthFailed, Conflict, OcifreeError, Refused, Transient
from ocifree_pipeline.protocols.talos import METHODS, Method, message
from ocifree_pipeline.systems.talos.trust import NotTheNode, Trust

if TYPE_CHECKING:
    from grpclib.client import Channel
    from grpclib.const import Status

CALL_SECONDS = 30.0
_OTHER_TIMES = (9, 10)
"""OpenSSL's numbers for a certificate that is not valid yet, or not any more."""
LOOK_AGAIN = "it may still be starting; look again in a minute"


class NotYet(Transient):
    """The node is not in a state for this call, and may be later."""


class AlreadyDone(Conflict):
    """What was asked for is there."""


class NotOffered(Refused):
    """This version of Talos, or a node in this state, does not know the call."""


class Conversation:
    """Not for several threads. `node` is what errors call the other side."""

    def __init__(self, runner: asyncio.Runner, channel: Channel, trust: Trust, node: str) -> None:
        self._runner = runner
        self._channel = channel
        self._trust = trust
        self._node = node

    def call(self, path: str, *, timeout: float = CALL_SECONDS, **fields: Any) -> Any:
        """One request, one reply."""
        replies: list[Any] = []
        self._converse(METHODS[path], [message(METHODS[path].request)(**fields)], replies.append, timeout)
        return replies[0]

    def listen(self, path: str, each: Callable[[Any], object], *, timeout: float, **fields: Any) -> None:
        """One request; `each` gets every reply as it comes."""
        self._converse(METHODS[path], [message(METHODS[path].request)(**fields)], each, timeout)

    def tell(self, path: str, requests: Iterable[Any], *, timeout: float) -> Any:
        """Many requests, one reply."""
        replies: list[Any] = []
        self._converse(METHODS[path], requests, replies.append, timeout)
        return replies[0]

    def _converse(self, method: Method, requests: Iterable[Any], each: Callable[[Any], object], timeout: float) -> None:
        from grpclib.exceptions import GRPCError, ProtocolError, StreamTerminatedError

        try:
            self._runner.run(_converse(self._channel, method, requests, each, timeout))
        except GRPCError as error:
            raise _as_ours(self._node, method.path, error.status, error.message or error.status.name) from error
        except TimeoutError as error:
            raise Transient(
                f"{self._node} did not answer within {timeout:.0f} s", why=method.path, fix=LOOK_AGAIN
            ) from error
        except ssl.SSLError as error:
            raise _tls(self._node, error) from error
        except (StreamTerminatedError, ProtocolError, OSError) as error:
            if self._trust.refusal:
                raise _unwelcome(self._node, self._trust.refusal) from error
            why = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise Transient(f"{self._node} does not answer its API", why=why, fix=LOOK_AGAIN) from error


@contextmanager
def conversation(address: tuple[str, int], trust: Trust, server_name: str, node: str) -> Iterator[Conversation]:
    """With whoever listens at `address`, which may be the near end of a way to `server_name`."""
    from grpclib.client import Channel
    from grpclib.config import Configuration

    with asyncio.Runner() as runner:

        async def channel() -> Channel:
            # The name is not a matter for tests alone: the address is that of a forwarded port, not of the node.
            return Channel(*address, ssl=trust, config=Configuration(ssl_target_name_override=server_name))

        opened = runner.run(channel())
        try:
            yield Conversation(runner, opened, trust, node)
        finally:
            runner.run(_close(opened))


async def _close(channel: Channel) -> None:
    channel.close()
    await asyncio.sleep(0)  # lets the transport say good-bye


async def _converse(
    channel: Channel, method: Method, requests: Iterable[Any], each: Callable[[Any], object], timeout: float
) -> None:
    from grpclib.const import Cardinality

    kind = {
        (False, False): Cardinality.UNARY_UNARY,
        (False, True): Cardinality.UNARY_STREAM,
        (True, False): Cardinality.STREAM_UNARY,
    }[method.many_requests, method.many_replies]
    opened: Any = channel.request(method.path, kind, message(method.request), message(method.reply), timeout=timeout)
    async with opened as stream:
        if method.many_requests:
            for request in requests:
                await stream.send_message(request)
            await stream.end()
        else:
            (request,) = requests
            await stream.send_message(request, end=True)
        if method.many_replies:
            async for reply in stream:
                each(reply)
            return
        reply = await stream.recv_message()
        if reply is None:
            raise ConnectionError("the answer is empty")
        each(reply)


# errors ---------------------------------------------------------------------------------------------------------------


def _as_ours(node: str, path: str, status: Status, said: str) -> OcifreeError:
    """By the code that Talos gave. Words of Talos are kept: they name fields, never what stands in them."""
    from grpclib.const import Status

    call = path.rpartition("/")[2]
    why = f"{status.name}: {said}"[:500]
    if status is Status.FAILED_PRECONDITION:
        return NotYet(f"{node} is not ready for {call}", why=why, fix=LOOK_AGAIN)
    if status is Status.ALREADY_EXISTS:
        return AlreadyDone(f"{node}: {call} was done before", why=why, fix="nothing has to be done")
    if status in (Status.UNAUTHENTICATED, Status.PERMISSION_DENIED):
        return _unwelcome(node, why)
    if status is Status.UNIMPLEMENTED:
        return NotOffered(f"{node} does not know {call}", why=why, fix="is it the version that you declared?")
    if status in (Status.INVALID_ARGUMENT, Status.NOT_FOUND, Status.OUT_OF_RANGE):
        return Refused(f"{node} refuses {call}", why=why, fix="read the reason, mend it, and try again")
    return Transient(f"{node}: {call} failed", why=why, fix=LOOK_AGAIN)


def _tls(node: str, error: ssl.SSLError) -> OcifreeError:
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return Transient(f"{node} hung up", why="the connection ended within the TLS hello", fix=LOOK_AGAIN)
    if isinstance(error, NotTheNode):
        return Refused(
            f"somebody else answers for {node}",
            why=str(error.args[-1]),
            fix="look at the console of the machine: which fingerprint does it print now?",
        )
    if isinstance(error, ssl.SSLCertVerificationError) and error.verify_code in _OTHER_TIMES:
        return AuthFailed(
            f"{node} shows a certificate of another time than this computer's",
            why=error.verify_message,
            fix="is the clock of this computer right (`date`)? If it is, look at the clock of the node",
        )
    if isinstance(error, ssl.SSLCertVerificationError):
        return AuthFailed(
            f"{node} shows a certificate that the authority of this cluster did not sign",
            why=error.verify_message or "certificate verify failed",
            fix="was it configured with other secrets, or not at all? its console says so; "
            "`ocifree secret list` shows what the vault holds",
        )
    if "alert" in (error.reason or "").lower():
        return _unwelcome(node, (error.reason or "").replace("_", " ").lower())
    return Transient(f"{node} does not speak TLS", why=error.reason or type(error).__name__, fix=LOOK_AGAIN)


def _unwelcome(node: str, why: str) -> AuthFailed:
    return AuthFailed(
        f"{node} does not let us in",
        why=why,
        fix="the node belongs to another cluster, one of the clocks is wrong, or our certificate has expired: "
        "`ocifree secret list` shows what the vault holds, `ocifree talosconfig` makes a new certificate",
    )

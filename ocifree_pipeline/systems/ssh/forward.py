"""A port of a machine as a port of this computer, for clients that only know how to dial an address.

    with forwarded(dialer, "10.0.1.11", 50000) as (host, port):
        socket.create_connection((host, port))

The bastion is logged in to once, when it begins. A connection that cannot be opened is closed at once, as a machine
would refuse it; the reason is said when the first way there is tried, and in the log after that.
"""

from __future__ import annotations

import logging
import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field

from ocifree_pipeline.deployment.errors import OcifreeError
from ocifree_pipeline.systems.ssh.dialer import Dialer, Stream

LOOPBACK = "127.0.0.1"
BLOCK = 65_536
END_SECONDS = 5.0

logger = logging.getLogger(__name__)


@contextmanager
def forwarded(dialer: Dialer, host: str, port: int) -> Iterator[tuple[str, int]]:
    """Where to connect on this computer for `port` of `host`."""
    with ExitStack() as stack:
        open_stream = stack.enter_context(dialer.way(host, port))
        listening = stack.enter_context(socket.create_server((LOOPBACK, 0), backlog=64))
        forward = _Forward(listening, open_stream)
        stack.callback(forward.end)
        forward.begin()
        address: tuple[str, int] = listening.getsockname()
        yield address


@dataclass(slots=True)
class _Forward:
    listening: socket.socket
    open_stream: Callable[[], Stream]
    wake: tuple[socket.socket, socket.socket] = field(default_factory=socket.socketpair)
    ends: set[socket.socket | Stream] = field(default_factory=set)
    threads: list[threading.Thread] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    ended: bool = False

    def begin(self) -> None:
        self._thread(self._accept)

    def end(self) -> None:
        """Close everything that is open, and wait for those who used it."""
        with self.lock:
            self.ended = True
            ends, threads = list(self.ends), list(self.threads)
        self.wake[1].send(b"x")
        for end in ends:
            _close(end)
        for thread in threads:
            thread.join(END_SECONDS)
        for one in self.wake:
            one.close()

    def _accept(self) -> None:
        while True:
            # A blocked accept does not notice that its socket is closed, so something else has to wake it.
            try:
                ready, _, _ = select.select([self.listening, self.wake[0]], [], [])
            except (OSError, ValueError):
                return  # both are closed: the end did not wait for us
            if self.wake[0] in ready:
                return
            with suppress(OSError):
                visitor, _ = self.listening.accept()
                visitor.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                self._thread(self._serve, visitor)

    def _thread(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments, daemon=True, name="forward")
        with self.lock:
            self.threads = [one for one in self.threads if one.is_alive() or one.ident is None] + [thread]
        thread.start()

    def _serve(self, visitor: socket.socket) -> None:
        if not self._keep(visitor):
            return
        try:
            stream = self.open_stream()
        except OcifreeError as error:
            logger.info("%s: %s", error.what, error.why)
            self._drop(visitor)
            return
        if self._keep(stream):
            stream.settimeout(None)
            self._thread(self._pump, stream, visitor)
            self._pump(visitor, stream)
        self._drop(visitor, stream)

    def _pump(self, source: Stream, target: Stream) -> None:
        with suppress(OSError, EOFError):
            while data := source.recv(BLOCK):
                _send(target, data)
        # Neither side goes on without the other: what is spoken here (TLS) has no use for half a connection.
        self._drop(source, target)

    def _keep(self, end: Stream) -> bool:
        with self.lock:
            if not self.ended:
                self.ends.add(end)
                return True
        _close(end)
        return False

    def _drop(self, *ends: Stream) -> None:
        with self.lock:
            self.ends.difference_update(ends)
        for end in ends:
            _close(end)


def _send(target: Stream, data: bytes) -> None:
    view = memoryview(data)
    while view:
        sent = target.send(bytes(view))
        if not sent:
            raise EOFError("the other side has gone")
        view = view[sent:]


def _close(end: Stream) -> None:
    with suppress(OSError, EOFError):
        if isinstance(end, socket.socket):
            end.shutdown(socket.SHUT_RDWR)  # wakes a thread that reads from it; close() alone does not
    with suppress(OSError, EOFError):
        end.close()

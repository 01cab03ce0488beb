"""One command over a session that stands, and a limit to the whole of it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import paramiko


def converse(client: paramiko.SSHClient, command: str, seconds: float, given: bytes = b"") -> tuple[int, bytes, bytes]:
    """Its status and both outputs. TimeoutError, EOFError, OSError or SSHException when they are not had."""
    transport = client.get_transport()
    if transport is None:
        raise EOFError("the session has ended")
    channel = transport.open_session(timeout=seconds)
    with _closed_after(channel, seconds):
        channel.exec_command(command)
        if given:
            channel.sendall(given)
        channel.shutdown_write()
        errors = bytearray()
        # Both outputs are read at once: a command that fills one pipe while we read the other would hang.
        reader = threading.Thread(target=_drain, args=(channel.recv_stderr, errors), daemon=True)
        reader.start()
        output = bytearray()
        _drain(channel.recv, output)
        reader.join()
        status = channel.recv_exit_status()
        if status < 0:
            raise EOFError("it ended before the command had a status")
        return status, bytes(output), bytes(errors)


@contextmanager
def _closed_after(channel: paramiko.Channel, seconds: float) -> Iterator[None]:
    """The SSH client waits without a limit for a command to be taken, and for its status. A channel that is closed
    ends every wait for it."""
    import paramiko

    expired = threading.Event()

    def close() -> None:
        expired.set()
        with suppress(EOFError, OSError, paramiko.SSHException):
            channel.close()

    timer = threading.Timer(seconds, close)
    timer.daemon = True
    timer.start()
    try:
        yield
    except (paramiko.SSHException, EOFError, OSError) as error:
        if expired.is_set():
            raise TimeoutError(f"it did not end within {seconds:g} s") from error
        raise
    finally:
        timer.cancel()


def _drain(receive: Callable[[int], bytes], into: bytearray) -> None:
    while chunk := receive(32768):
        into += chunk

"""The one way to a machine: directly, over the bastion, through a proxy, or all of them.

    dialer = Dialer(host_keys_of("lab"), jump=Hop("bastion", "203.0.113.7", "ocifree"))
    dialer.run(Hop("ampere_1", "10.0.1.11", "ocifree"), ["uname", "-m"]).stdout

A machine whose host key is not pinned is refused, unless its fingerprint is among those that were learned through a
trusted path (`trusted`); then the key is pinned.
"""

from __future__ import annotations

import base64
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, NotVerified, Refused, Transient
from ocifree_pipeline.systems.ssh.conversation import converse
from ocifree_pipeline.systems.ssh.host_keys import HostKey, HostKeys, fingerprint_of
from ocifree_pipeline.systems.ssh.reach import open_socket, proxy_for

if TYPE_CHECKING:
    import paramiko

CONNECT_SECONDS = 20.0
COMMAND_SECONDS = 120.0


class HostKeyUnknown(Refused):
    """Nobody vouches for this key."""


class HostKeyChanged(Refused):
    """Another key is on record for this machine."""


class Stream(Protocol):
    """What a connection can do: a socket, or a channel through the bastion."""

    def send(self, data: bytes, /) -> int: ...

    def recv(self, size: int, /) -> bytes: ...

    def settimeout(self, seconds: float | None, /) -> None: ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Hop:
    """A machine, the address it is dialled at, and who logs in.

    `through` is the machine that has to be passed first: guests are behind their node, and that behind the bastion.
    """

    machine: str
    host: str
    user: str
    port: int = 22
    through: Hop | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """How a command ended. A status other than 0 is an answer, not an error."""

    exit: int
    stdout: str
    stderr: str

    def checked(self, doing: str) -> str:
        """The output, or NotVerified when the command failed."""
        if self.exit == 0:
            return self.stdout
        raise NotVerified(
            f"{doing}: the command ended with status {self.exit}",
            why=(self.stderr.strip() or self.stdout.strip() or "it said nothing").splitlines()[-1][:300],
            fix="look at the machine, then materialize this asset again",
        )


class Run(Protocol):
    """Runs one command on the machine that was dialled. A secret goes in as `given`, which the command reads."""

    def __call__(
        self, argv: Sequence[str], timeout: float = COMMAND_SECONDS, given: SecretStr | None = None
    ) -> Result: ...


@dataclass(frozen=True)
class Dialer:
    """How this deployment reaches its machines."""

    keys: HostKeys
    jump: Hop | None = None
    http_proxy: str | None = None
    identities: tuple[Path, ...] = ()
    environ: Mapping[str, str] = field(default_factory=lambda: os.environ, repr=False)
    connect_seconds: float = CONNECT_SECONDS

    def run(
        self,
        hop: Hop,
        argv: Sequence[str],
        *,
        timeout: float = COMMAND_SECONDS,
        trusted: frozenset[str] = frozenset(),
    ) -> Result:
        """Run one command, given as a list; every part arrives as it is, whatever characters it has."""
        with self.shell(hop, trusted=trusted) as run:
            return run(argv, timeout)

    @contextmanager
    def shell(self, hop: Hop, *, trusted: frozenset[str] = frozenset()) -> Iterator[Run]:
        """Several commands over one connection."""
        with self.login(hop, trusted=trusted) as client:
            yield lambda argv, timeout=COMMAND_SECONDS, given=None: _run(client, hop, shlex.join(argv), timeout, given)

    @contextmanager
    def login(self, hop: Hop, *, trusted: frozenset[str] = frozenset()) -> Iterator[paramiko.SSHClient]:
        """A session on the machine, for those who need more than commands: files, tunnels."""
        with self.stream(hop.host, hop.port) as stream:
            client = self._client(hop, stream, trusted)
            try:
                yield client
            finally:
                client.close()

    @contextmanager
    def stream(self, host: str, port: int) -> Iterator[Stream]:
        """A connection to any port there, over the same way."""
        with self.way(host, port) as open_stream:
            opened = open_stream()
            try:
                yield opened
            finally:
                opened.close()

    @contextmanager
    def way(self, host: str, port: int) -> Iterator[Callable[[], Stream]]:
        """Opens as many connections there as are wanted, with one login on the way. The caller closes them."""
        before = self._before(host, port)
        if before is None:
            proxy = proxy_for(host, self.http_proxy, self.environ)
            yield lambda: open_socket(host, port, proxy=proxy, timeout=self.connect_seconds)
            return
        with self.login(before) as session:
            yield lambda: _through(session, before, host, port, self.connect_seconds)

    def _before(self, host: str, port: int) -> Hop | None:
        """The machine to log in to first: of those that are passed, the one before this; else the last of them."""
        hop = self.jump
        while hop is not None:
            if (host, port) == (hop.host, hop.port):
                return hop.through
            hop = hop.through
        return self.jump

    def _client(self, hop: Hop, stream: Stream, trusted: frozenset[str]) -> paramiko.SSHClient:
        import paramiko

        client = paramiko.SSHClient()
        for known in self.keys.of(hop.machine):
            key = paramiko.PKey.from_type_string(known.kind, base64.b64decode(known.blob))
            client.get_host_keys().add(hop.machine, known.kind, key)
        client.set_missing_host_key_policy(_pinning(self.keys, hop, trusted))
        try:
            client.connect(
                hop.machine,
                username=hop.user,
                sock=stream,  # type: ignore[arg-type]
                key_filename=[str(path) for path in self._identities()],  # type: ignore[arg-type]
                look_for_keys=not self._identities(),
                allow_agent="SSH_AUTH_SOCK" in self.environ,
                timeout=self.connect_seconds,
                banner_timeout=self.connect_seconds,
                auth_timeout=self.connect_seconds,
            )
        except paramiko.BadHostKeyException as error:
            client.close()
            raise HostKeyChanged(
                f"{hop.machine} shows another host key than the one on record",
                why=f"{fingerprint_of(error.key.asbytes())} instead of {fingerprint_of(error.expected_key.asbytes())}",
                fix="somebody else answers at this address, or the machine was made anew outside of this program",
            ) from error
        except (paramiko.AuthenticationException, paramiko.PasswordRequiredException) as error:
            client.close()
            raise AuthFailed(
                f"{hop.machine} does not let {hop.user} in",
                why="none of the keys of your agent or of ~/.ssh fits access.ssh_public_keys",
                fix="ssh-add the private key, or name its file in OCIFREE_SSH_IDENTITY",
            ) from error
        except (paramiko.SSHException, OSError, EOFError) as error:
            client.close()
            raise Transient(
                f"{hop.machine} does not speak SSH at {hop.host}:{hop.port}",
                why=str(error).splitlines()[0] if str(error) else type(error).__name__,
                fix="it may still be starting; look again in a minute",
            ) from error
        except BaseException:
            client.close()
            raise
        return client

    def _identities(self) -> tuple[Path, ...]:
        named = self.environ.get("OCIFREE_SSH_IDENTITY")
        return (*self.identities, *([Path(named).expanduser()] if named else []))


def _pinning(keys: HostKeys, hop: Hop, trusted: frozenset[str]) -> paramiko.MissingHostKeyPolicy:
    import paramiko

    class PinTrusted(paramiko.MissingHostKeyPolicy):
        def missing_host_key(self, client: paramiko.SSHClient, hostname: str, key: paramiko.PKey) -> None:
            shown = fingerprint_of(key.asbytes())
            if shown not in trusted:
                raise HostKeyUnknown(
                    f"the host key of {hop.machine} is not on record",
                    why=f"it shows {shown}, and its console did not publish that",
                    fix=f"ocifree up --select 'machines/{hop.machine}' learns it from the console history",  # noqa: S608
                )
            keys.pin(HostKey(hop.machine, key.get_name(), key.get_base64()))

    return PinTrusted()


@dataclass(frozen=True, slots=True)
class _Behind:
    """A channel that may be closed after the session that carries it has ended, as a socket may."""

    channel: paramiko.Channel

    def send(self, data: bytes, /) -> int:
        return self.channel.send(data)

    def recv(self, size: int, /) -> bytes:
        return self.channel.recv(size)

    def settimeout(self, seconds: float | None, /) -> None:
        self.channel.settimeout(seconds)

    def close(self) -> None:
        with suppress(EOFError, OSError):
            self.channel.close()

    @property
    def _closed(self) -> bool:
        """Sockets have it, and a session over this one asks for it when it ends."""
        return self.channel.closed


def _through(bastion: paramiko.SSHClient, jump: Hop, host: str, port: int, timeout: float) -> _Behind:
    import paramiko

    transport = bastion.get_transport()
    try:
        if transport is None:
            raise EOFError("the session has ended")
        return _Behind(transport.open_channel("direct-tcpip", (host, port), ("127.0.0.1", 0), timeout=timeout))
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Transient(
            f"{jump.machine} opens no way to {host}:{port}",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="the machine behind it may still be starting; look again in a minute",
        ) from error


def _run(client: paramiko.SSHClient, hop: Hop, command: str, timeout: float, given: SecretStr | None = None) -> Result:
    import paramiko

    try:
        status, output, errors = converse(
            client, command, timeout, given.get_secret_value().encode() if given is not None else b""
        )
    except TimeoutError as error:
        raise Transient(
            f"{hop.machine}: a command did not end within {timeout:.0f} s",
            why=f"it was {command.split(' ', 1)[0]}",
            fix="the machine may be busy; look again in a minute",
        ) from error
    except (paramiko.SSHException, OSError, EOFError) as error:
        raise Transient(
            f"{hop.machine}: the connection broke",
            why=str(error).splitlines()[0] if str(error) else type(error).__name__,
            fix="look again in a minute",
        ) from error
    return Result(status, output.decode("utf-8", "replace"), errors.decode("utf-8", "replace"))

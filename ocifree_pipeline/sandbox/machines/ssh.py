"""The SSH server of a guest: the real protocol, its own host key, the accounts that cloud-init made."""

import asyncio
import socket
from typing import TYPE_CHECKING, Any

from ocifree_pipeline.sandbox.machines import backend, firewall, host_keys, reach, shell, sshd, tampering
from ocifree_pipeline.sandbox.machines.computer import Computer
from ocifree_pipeline.sandbox.machines.session import Result, Stdin, Who
from ocifree_pipeline.sandbox.tailscale import tailnet

if TYPE_CHECKING:
    import asyncssh

LOGIN_SECONDS = 30
WAIT_SECONDS = 0.02
INPUT_CHARACTERS = 65536
OWN_ADDRESSES = frozenset({"localhost", "127.0.0.1", "::1"})


async def serve(machine: Computer, listening: socket.socket) -> backend.Listener:
    """Serve port 22 of a machine on a socket that listens already."""
    import asyncssh

    from ocifree_pipeline.sandbox.machines import sftp

    connections: set[asyncssh.SSHServerConnection] = set()

    async def process(session: "asyncssh.SSHServerProcess[str]") -> None:
        await _work(machine.again(), session)

    acceptor = await asyncssh.listen(
        sock=listening,
        server_factory=lambda: _server(machine, connections),
        server_host_keys=[asyncssh.import_private_key(host_keys.private_pem(machine))],
        process_factory=process,
        sftp_factory=lambda channel: sftp.server(machine, channel),
        errors="surrogateescape",
        login_timeout=LOGIN_SECONDS,
        agent_forwarding=False,
        x11_forwarding=False,
    )
    return Server(acceptor, connections)


class Server:
    """Listener and connections of one guest."""

    def __init__(self, acceptor: Any, connections: "set[asyncssh.SSHServerConnection]") -> None:
        self._acceptor = acceptor
        self._connections = connections
        self._cut: list[asyncssh.SSHServerConnection] = []

    def close(self) -> None:
        self._acceptor.close()
        self._cut = list(self._connections)
        for connection in self._cut:
            connection.abort()

    async def wait_closed(self) -> None:
        await self._acceptor.wait_closed()
        for connection in self._cut:
            await connection.wait_closed()


def _server(machine: Computer, connections: "set[asyncssh.SSHServerConnection]") -> "asyncssh.SSHServer":
    import asyncssh

    class Guest(asyncssh.SSHServer):
        """One connection."""

        def connection_made(self, conn: asyncssh.SSHServerConnection) -> None:
            self._conn = conn
            connections.add(conn)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.discard(self._conn)

        def begin_auth(self, username: str) -> bool:
            lines = [line for line in _authorized_keys(machine.again(), username) if _is_key(line)]
            self._conn.set_authorized_keys(asyncssh.import_authorized_keys("".join(f"{line}\n" for line in lines)))
            return True

        def connection_requested(self, dest_host: str, dest_port: int, _orig_host: str, _orig_port: int) -> Any:
            """Forwarding, as a jump host does it: only to addresses that exist in the sandbox."""
            return self._conn.forward_connection(*_target(machine.again(), dest_host, dest_port))

    return Guest()


def _is_key(line: str) -> bool:
    """sshd passes over lines that it cannot read."""
    import asyncssh

    try:
        asyncssh.import_authorized_keys(line)
    except (ValueError, asyncssh.KeyImportError):
        return False
    return True


def _authorized_keys(machine: Computer, user: str) -> list[str]:
    """Who may log in. Cloud images let root's keys in just to say who should come instead."""
    users: dict[str, list[str]] = machine.guest["users"]
    if user == "root" and (keys := sshd.roots_keys(machine)):
        return keys
    if user == "root" and "root" not in users:
        first = next(iter(users), "")
        message = f'Please login as the user \\"{first}\\" rather than the user \\"root\\".'
        command = f"no-port-forwarding,no-agent-forwarding,no-X11-forwarding,command=\"echo '{message}'; exit 142\""
        return [f"{command} {key}" for keys in users.values() for key in keys]
    return users.get(user, [])


def _target(machine: Computer, host: str, port: int) -> tuple[str, int]:
    """Where a forwarded connection goes; ChannelOpenError says why it goes nowhere."""
    import asyncssh

    from ocifree_pipeline.sandbox.machines.programs import network

    if host in OWN_ADDRESSES:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"nothing listens on {host}:{port} of this guest")
    host = tailnet.underlay(machine, host) or host
    other = reach.at(machine.world, host)
    if other is not None and not tampering.is_linked(machine.world, machine.key, other.key):
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"{host}:{port} is silent: the link is cut")
    if other is not None and not firewall.permits(machine, other, firewall.TCP, port):
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"{host}:{port} is silent: no rule lets it in")
    if other is not None and other.key.startswith("guest/") and not network.hears(machine, host):
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"{host}:{port} is silent: no route to it")
    reached = reach.find(machine.world, host, port)
    if reached is None:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"no machine of the sandbox owns {host}")
    if reached.address is None:
        raise asyncssh.ChannelOpenError(asyncssh.OPEN_CONNECT_FAILED, f"{host}:{port} is silent: {reached.reason}")
    return reached.address


async def _work(machine: Computer, session: "asyncssh.SSHServerProcess[str]") -> None:
    """Run the command of a session, or each line that a shell is given."""
    user, code = str(session.get_extra_info("username")), 0
    if session.command is not None:
        stdin = Stdin(closed=False)
        typing = asyncio.create_task(_type(session, stdin))
        try:
            code = await _line(Who(machine, user, stdin), session.command, session)
        finally:
            typing.cancel()
    else:
        async for line in session.stdin:
            if line.split() == ["exit"]:
                break
            code = await _line(Who(machine, user), line.strip(), session)
            if line.split()[:1] == ["exit"]:
                break
    session.exit(code)


async def _type(session: "asyncssh.SSHServerProcess[str]", stdin: Stdin) -> None:
    """What the client sends is there for the command to read, until the client says that it was all."""
    import asyncssh

    try:
        while text := await session.stdin.read(INPUT_CHARACTERS):
            stdin.text += text
    except (asyncssh.BreakReceived, asyncssh.SignalReceived, asyncssh.TerminalSizeChanged, ConnectionError):
        pass
    stdin.closed = True


async def _line(who: Who, line: str, session: "asyncssh.SSHServerProcess[str]") -> int:
    who.machine.world.settle()
    running = shell.run(who, line)
    while True:
        try:
            event = next(running)
        except StopIteration as stop:
            return int(stop.value)
        if isinstance(event, Result):
            session.stdout.write(event.out)
            session.stderr.write(event.err)
        else:
            await asyncio.sleep(WAIT_SECONDS)
            who.machine.world.settle()

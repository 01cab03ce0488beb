"""The dialer against real SSH servers: ways, host keys, quoting, endings."""

from __future__ import annotations

import socket
import stat
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import paramiko
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, NotVerified, OcifreeError, Refused, Transient
from ocifree_pipeline.systems.ssh.conversation import converse
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop, HostKeyChanged, HostKeyUnknown, _through
from ocifree_pipeline.systems.ssh.host_keys import HostKeys
from ocifree_pipeline.systems.ssh.reach import open_socket, proxy_for
from ocifree_pipeline_tests.systems.ssh.servers import DIE, Network, Server, network


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("ssh")) as found:
        yield found


@pytest.fixture(scope="module")
def server(net: Network) -> Server:
    return net.ssh()


@pytest.fixture
def keys(tmp_path: Path) -> HostKeys:
    return HostKeys(tmp_path / "ssh" / "lab.known_hosts")


@pytest.fixture
def dialer(net: Network, keys: HostKeys) -> Dialer:
    return Dialer(keys, identities=(net.user_key,), environ={})


def hop(server: Server, machine: str = "ampere_1") -> Hop:
    return Hop(machine, "127.0.0.1", "ocifree", server.port)


def test_a_key_that_nobody_vouches_for_is_refused_and_not_kept(dialer: Dialer, server: Server) -> None:
    with pytest.raises(HostKeyUnknown, match="not on record") as refused:
        dialer.run(hop(server), ["true"], trusted=frozenset({"SHA256:somebodyelse"}))
    assert server.fingerprint in refused.value.why
    assert dialer.keys.of("ampere_1") == ()


def test_a_key_from_a_trusted_path_is_pinned_and_then_known(dialer: Dialer, server: Server) -> None:
    result = dialer.run(hop(server), ["uname", "-s"], trusted=frozenset({server.fingerprint}))
    assert (result.exit, result.stdout) == (0, "Linux\n")
    assert [key.fingerprint for key in dialer.keys.of("ampere_1")] == [server.fingerprint]
    assert stat.S_IMODE(dialer.keys.file.stat().st_mode) == 0o600
    assert dialer.run(hop(server), ["true"]).exit == 0, "without a second introduction"


def test_another_key_under_a_known_name_is_refused_even_when_vouched_for(
    net: Network, dialer: Dialer, server: Server
) -> None:
    dialer.keys.pin(server.pinned_as("ampere_1"))
    impostor = net.ssh()
    with pytest.raises(HostKeyChanged) as refused:
        dialer.run(hop(impostor), ["true"], trusted=frozenset({impostor.fingerprint}))
    assert impostor.fingerprint in refused.value.why
    with pytest.raises(Refused, match="another ssh-ed25519"):
        dialer.keys.pin(impostor.pinned_as("ampere_1"))
    dialer.keys.forget("ampere_1")
    dialer.keys.pin(impostor.pinned_as("ampere_1"))
    assert dialer.run(hop(impostor), ["true"]).exit == 0


def test_over_the_bastion_and_through_a_proxy(net: Network, dialer: Dialer, server: Server) -> None:
    bastion = net.ssh()
    dialer.keys.pin(server.pinned_as("ampere_1"))
    dialer.keys.pin(bastion.pinned_as("bastion"))
    net.forwards.clear()
    net.connects.clear()
    proxy = f"http://me:pass%20word@127.0.0.1:{net.proxy()}"
    jumping = replace(dialer, jump=hop(bastion, "bastion"), environ={"HTTPS_PROXY": proxy})
    assert jumping.run(hop(server), ["echo", "through"]).stdout == "through\n"
    assert net.forwards == [("127.0.0.1", server.port)]
    assert len(net.connects) == 1
    assert net.connects[0].startswith(f"CONNECT 127.0.0.1:{bastion.port} ")
    assert "Basic bWU6cGFzcyB3b3Jk" in net.connects[0]
    assert jumping.run(hop(bastion, "bastion"), ["echo", "itself"]).stdout == "itself\n", "the bastion needs no jump"


def test_over_the_bastion_and_a_node_to_what_is_behind_it(net: Network, dialer: Dialer, server: Server) -> None:
    bastion, node = net.ssh(), net.ssh()
    for one, name in ((server, "guest"), (bastion, "bastion"), (node, "ampere_1")):
        dialer.keys.pin(one.pinned_as(name))
    first = hop(bastion, "bastion")
    second = replace(hop(node), through=first)
    net.forwards.clear()
    jumping = replace(dialer, jump=second)
    assert jumping.run(hop(server, "guest"), ["echo", "far"]).stdout == "far\n"
    assert net.forwards == [("127.0.0.1", node.port), ("127.0.0.1", server.port)]
    net.forwards.clear()
    assert jumping.run(second, ["true"]).exit == 0
    assert jumping.run(first, ["true"]).exit == 0
    assert net.forwards == [("127.0.0.1", node.port)], "a machine that is passed is reached by those before it only"


def test_what_is_behind_a_session_that_ended_is_closed_without_a_word(
    net: Network, dialer: Dialer, server: Server
) -> None:
    """It is closed by threads of the SSH client, whose exceptions nobody would catch."""
    bastion = net.ssh()
    dialer.keys.pin(bastion.pinned_as("bastion"))
    passed = hop(bastion, "bastion")
    with dialer.login(passed) as session, replace(dialer, jump=passed).way("127.0.0.1", server.port) as open_stream:
        own = _through(session, passed, "127.0.0.1", server.port, 20)
        transport = session.get_transport()
        assert transport is not None
        transport.packetizer.close()
        own.close()
        other = open_stream()
        assert other.recv(4) == b"SSH-"
    other.close()


def test_what_is_given_is_read_by_the_command_and_is_no_word_of_it(dialer: Dialer, server: Server) -> None:
    trusted = frozenset({server.fingerprint})
    with dialer.shell(hop(server), trusted=trusted) as run:
        assert run(["cat"], given=SecretStr("se cret\n")).stdout == "se cret\n"
        assert run(["cat"]).stdout == "", "nothing is given otherwise, and nobody waits for it"


def test_an_unknown_bastion_is_no_way(net: Network, dialer: Dialer, server: Server) -> None:
    bastion = net.ssh()
    with pytest.raises(HostKeyUnknown, match="bastion"):
        replace(dialer, jump=hop(bastion, "bastion")).run(hop(server), ["true"])


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(words=st.lists(st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12), max_size=4))
def test_every_word_arrives_as_it_is(dialer: Dialer, server: Server, words: list[str]) -> None:
    trusted = frozenset({server.fingerprint})
    result = dialer.run(hop(server), ["printf", "%s|", *words], trusted=trusted)
    assert result.stdout == "".join(f"{word}|" for word in words or [""])


def test_status_and_both_outputs_come_back_however_long(dialer: Dialer, server: Server) -> None:
    script = "head -c 3000000 /dev/zero | tr '\\0' e >&2; head -c 3000000 /dev/zero | tr '\\0' o; exit 7"
    result = dialer.run(hop(server), ["sh", "-c", script], trusted=frozenset({server.fingerprint}))
    assert (result.exit, len(result.stdout), len(result.stderr)) == (7, 3_000_000, 3_000_000)
    with pytest.raises(NotVerified, match="status 7"):
        result.checked("fill both pipes")


def test_a_machine_that_dies_meanwhile_has_said_nothing(dialer: Dialer, server: Server) -> None:
    with pytest.raises(Transient, match="the connection broke"):
        dialer.run(hop(server), [DIE], trusted=frozenset({server.fingerprint}))


def test_a_command_that_never_ends_is_left(dialer: Dialer, server: Server) -> None:
    with pytest.raises(Transient, match="did not end within"):
        dialer.run(hop(server), ["sleep", "30"], trusted=frozenset({server.fingerprint}), timeout=0.3)


def test_a_machine_that_never_takes_the_command_is_left() -> None:
    """It has opened the channel, and then hangs: the SSH client has no limit of its own to wait for the answer."""
    over = threading.Event()

    class Hung(paramiko.ServerInterface):
        def check_auth_none(self, username: str) -> int:
            return paramiko.common.AUTH_SUCCESSFUL

        def check_channel_request(self, kind: str, chanid: int) -> int:
            return paramiko.common.OPEN_SUCCEEDED

        def check_channel_exec_request(self, channel: paramiko.Channel, command: bytes) -> bool:
            return over.wait(30)

    near, far = socket.socketpair()
    serving, asking = paramiko.Transport(far), paramiko.Transport(near)
    client = paramiko.SSHClient()
    client._transport = asking
    try:
        serving.add_server_key(paramiko.ECDSAKey.generate())
        serving.start_server(event=threading.Event(), server=Hung())
        asking.start_client(timeout=20)
        asking.auth_none("ocifree")
        with pytest.raises(TimeoutError):
            converse(client, "true", 0.3)
        assert not over.is_set()
    finally:
        over.set()
        asking.close()
        serving.close()


def test_a_user_without_a_fitting_key_is_told_which_key_is_meant(
    tmp_path_factory: pytest.TempPathFactory, dialer: Dialer, server: Server
) -> None:
    with network(tmp_path_factory.mktemp("stranger")) as stranger:
        other = replace(dialer, identities=(stranger.user_key,))
        with pytest.raises(AuthFailed, match="does not let ocifree in"):
            other.run(hop(server), ["true"], trusted=frozenset({server.fingerprint}))


@pytest.mark.parametrize(
    ("reply", "kind"),
    [
        (b"HTTP/1.1 403 Forbidden\r\n\r\n", Refused),
        (b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", AuthFailed),
        (b"HTTP/1.1 502 Bad Gateway\r\n\r\n", Transient),
        (b"HTTP/1.1 200", Transient),
    ],
)
def test_what_a_proxy_answers(
    net: Network, dialer: Dialer, server: Server, reply: bytes, kind: type[OcifreeError]
) -> None:
    proxied = replace(dialer, http_proxy=f"http://127.0.0.1:{net.proxy(reply)}")
    with pytest.raises(kind):
        proxied.run(hop(server), ["true"])


def test_short_words_are_not_held_back(net: Network, server: Server) -> None:
    """A word and its answer take a millisecond; waiting for the other side's acknowledgement makes 40 of it."""
    for proxy in (None, f"http://127.0.0.1:{net.proxy()}"):
        with open_socket("127.0.0.1", server.port, proxy=proxy, timeout=20) as opened:
            assert opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_nobody_there(dialer: Dialer, net: Network) -> None:
    with pytest.raises(Transient, match="does not answer"):
        dialer.run(Hop("ampere_1", "127.0.0.1", "ocifree", 1), ["true"])


@pytest.mark.parametrize(
    ("environ", "declared", "expected"),
    [
        ({}, None, None),
        ({"HTTPS_PROXY": "http://a:1"}, None, "http://a:1"),
        ({"all_proxy": "http://b:1"}, None, "http://b:1"),
        ({"HTTPS_PROXY": "http://a:1"}, "http://c:1", "http://c:1"),
        ({"HTTPS_PROXY": "http://a:1", "NO_PROXY": "10.0.1.11"}, None, None),
        ({"HTTPS_PROXY": "http://a:1", "no_proxy": "localhost,127.0.0.1"}, None, "http://a:1"),
    ],
)
def test_which_proxy(environ: dict[str, str], declared: str | None, expected: str | None) -> None:
    assert proxy_for("10.0.1.11", declared, environ) == expected

"""Ports of machines as ports of this computer: over the bastion, through a proxy, directly; many at once; the end."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.deployment.errors import Transient
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop
from ocifree_pipeline.systems.ssh.forward import forwarded
from ocifree_pipeline.systems.ssh.host_keys import HostKeys
from ocifree_pipeline_tests.systems.ssh.servers import Network, Server, network

SECONDS = 10.0


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("forward")) as found:
        yield found


@pytest.fixture(scope="module")
def bastion(net: Network) -> Server:
    return net.ssh()


@pytest.fixture
def jumping(net: Network, bastion: Server, tmp_path: Path) -> Dialer:
    keys = HostKeys(tmp_path / "ssh" / "lab.known_hosts")
    keys.pin(bastion.pinned_as("bastion"))
    hop = Hop("bastion", "127.0.0.1", "ocifree", bastion.port)
    return Dialer(keys, jump=hop, identities=(net.user_key,), environ={})


@pytest.fixture(scope="module")
def echo() -> Iterator[int]:
    """Says everything again, until the other side ends."""
    with socket.create_server(("127.0.0.1", 0), backlog=64) as listening:
        threading.Thread(target=_echo, args=(listening,), daemon=True).start()
        yield listening.getsockname()[1]


def _echo(listening: socket.socket) -> None:
    with suppress(OSError):
        while True:
            visitor, _ = listening.accept()
            threading.Thread(target=_echo_one, args=(visitor,), daemon=True).start()


def _echo_one(visitor: socket.socket) -> None:
    with visitor, suppress(OSError):
        while data := visitor.recv(65536):
            visitor.sendall(data)


def said_again(address: tuple[str, int], data: bytes) -> bytes:
    with socket.create_connection(address, timeout=SECONDS) as opened, ThreadPoolExecutor(1) as others:
        sending = others.submit(opened.sendall, data)
        back = bytearray()
        while len(back) < len(data) and (chunk := opened.recv(65536)):
            back += chunk
        sending.result(SECONDS)
        return bytes(back)


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(sizes=st.lists(st.integers(1, 300_000), min_size=1, max_size=6))
def test_every_byte_of_every_connection_comes_back_over_one_login(
    net: Network, jumping: Dialer, echo: int, sizes: list[int]
) -> None:
    net.forwards.clear()
    with forwarded(jumping, "127.0.0.1", echo) as address, ThreadPoolExecutor(len(sizes)) as several:
        sent = [bytes([number]) * size for number, size in enumerate(sizes)]
        assert list(several.map(lambda data: said_again(address, data), sent)) == sent
    assert net.forwards == [("127.0.0.1", echo)] * len(sizes)


def test_without_a_bastion_it_goes_through_the_proxy(net: Network, jumping: Dialer) -> None:
    server = net.ssh()
    net.connects.clear()
    direct = replace(jumping, jump=None, http_proxy=f"http://127.0.0.1:{net.proxy()}")
    with (
        forwarded(direct, "127.0.0.1", server.port) as address,
        socket.create_connection(address, timeout=SECONDS) as opened,
    ):
        assert opened.recv(4) == b"SSH-"
    assert [head.split()[1] for head in net.connects] == [f"127.0.0.1:{server.port}"]


def test_a_port_where_nobody_listens_is_closed_at_once_and_the_next_visitor_is_served(jumping: Dialer) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with forwarded(jumping, "127.0.0.1", port) as address:
        for _ in range(2):
            with socket.create_connection(address, timeout=SECONDS) as opened:
                assert opened.recv(1) == b""


def test_a_bastion_that_is_not_there_is_said_before_anybody_connects(jumping: Dialer) -> None:
    with (
        pytest.raises(Transient, match="does not answer"),
        forwarded(replace(jumping, jump=Hop("bastion", "127.0.0.1", "ocifree", 1)), "10.0.1.11", 50000),
    ):
        pass


def test_the_end_closes_what_is_open_and_leaves_no_thread(jumping: Dialer, echo: int) -> None:
    with forwarded(jumping, "127.0.0.1", echo) as address:
        kept = socket.create_connection(address, timeout=SECONDS)
        kept.sendall(b"x")
        assert kept.recv(1) == b"x"
    assert kept.recv(1) == b""
    kept.close()
    assert [one.name for one in threading.enumerate() if one.name == "forward"] == []
    with pytest.raises(OSError, match="refused"):
        socket.create_connection(address, timeout=SECONDS)

"""A guest has answered when it has spoken itself: SSH for a Linux, a TLS hello for Talos, also through the bastion."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from ocifree_pipeline.deployment.errors import NotVerified, Transient
from ocifree_pipeline.sandbox.door.authority import Authority
from ocifree_pipeline.systems import guests
from ocifree_pipeline.systems.guests import Greeting, Kind, greet, kind_of, wait_until_it_answers
from ocifree_pipeline.systems.ssh.dialer import Dialer, Hop
from ocifree_pipeline.systems.ssh.host_keys import HostKeys
from ocifree_pipeline_tests.systems.ssh.servers import Network, network


@pytest.fixture(scope="module")
def net(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Network]:
    with network(tmp_path_factory.mktemp("guests")) as found:
        yield found


@pytest.fixture
def dialer(net: Network, tmp_path: Path) -> Dialer:
    return Dialer(HostKeys(tmp_path / "known_hosts"), identities=(net.user_key,), environ={})


@contextmanager
def listening(context: ssl.SSLContext | None, speak: bytes = b"") -> Iterator[int]:
    """One port that speaks TLS, or says something else and hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = server.accept()
            except OSError:
                return
            try:
                if context is None:
                    connection.sendall(speak)
                else:
                    context.wrap_socket(connection, server_side=True).close()
            except (OSError, ssl.SSLError):
                pass
            finally:
                connection.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield server.getsockname()[1]
    finally:
        server.shutdown(socket.SHUT_RDWR)
        server.close()
        thread.join(timeout=10)


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """Of a server that wants to see a client certificate, as Talos does."""
    authority = Authority(tmp_path_factory.mktemp("ca"))
    context = authority.context("talos.example.org")
    context.load_verify_locations(authority.ca_file)
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def test_talos_answers_with_a_certificate_directly_and_over_the_bastion(
    net: Network, dialer: Dialer, tls: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    with listening(tls) as port:
        monkeypatch.setattr(guests, "TALOS_PORT", port)
        hop = Hop("ampere_1", "127.0.0.1", "unused")
        assert greet("talos", dialer, hop) == Greeting("talos")
        bastion = net.ssh()
        dialer.keys.pin(bastion.pinned_as("bastion"))
        jumping = replace(dialer, jump=Hop("bastion", "127.0.0.1", "ocifree", bastion.port))
        net.forwards.clear()
        assert greet("talos", jumping, hop) == Greeting("talos")
        assert net.forwards == [("127.0.0.1", port)]


@pytest.mark.parametrize("speak", [b"", b"SSH-2.0-OpenSSH_9.9\r\n"])
def test_what_does_not_speak_tls_has_not_booted(dialer: Dialer, speak: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with listening(None, speak) as port:
        monkeypatch.setattr(guests, "TALOS_PORT", port)
        with pytest.raises(Transient, match="does not speak TLS"):
            greet("talos", dialer, Hop("ampere_1", "127.0.0.1", "unused"))


@pytest.mark.parametrize(("kind", "minutes"), [("linux", 20), ("talos", 8)])
def test_waiting_goes_on_while_nobody_answers_and_ends_with_words(dialer: Dialer, kind: Kind, minutes: int) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

        def sleep(self, seconds: float) -> None:
            self.now += seconds

    clock = Clock()
    with pytest.raises(Transient, match="ampere_1 answers, in vain"):
        wait_until_it_answers(kind, dialer, Hop("ampere_1", "127.0.0.1", "unused"), clock=clock)
    assert clock.now == minutes * 60


@pytest.mark.parametrize(
    ("printed", "error"),
    [
        (json.dumps({"status": "done"}), None),
        (json.dumps({"status": "disabled"}), None),
        (json.dumps({"status": "running"}), Transient),
        (json.dumps({"status": "error", "errors": ["runcmd failed"]}), NotVerified),
        (json.dumps({"status": "degraded"}), NotVerified),
        ("bash: cloud-init: command not found", NotVerified),
        ("", NotVerified),
    ],
)
def test_a_first_boot_that_went_wrong_is_no_answer(printed: str, error: type[Exception] | None) -> None:
    if error is None:
        guests._first_boot_ended_well("ampere_1", printed)
        return
    with pytest.raises(error):
        guests._first_boot_ended_well("ampere_1", printed)


def test_the_image_decides_how_a_machine_answers() -> None:
    assert [kind_of(name) for name in ("talos_oracle", "proxmox_ampere", "base_hardened_amd64")] == [
        "talos", "linux", "linux",
    ]  # fmt: skip

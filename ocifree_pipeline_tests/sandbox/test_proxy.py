"""The proxy door under good and bad clients: hosts that are played, machines behind tunnels, and the fence."""

import hashlib
import json
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.door import server
from ocifree_pipeline.sandbox.door.http import Limits
from ocifree_pipeline.sandbox.door.proxy import Machine, bare_host
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running
from ocifree_pipeline_tests.sandbox.test_http import everything, one_reply, put, upload_router

IDENTITY = "identity.uk-london-1.oci.oraclecloud.com"
STORAGE = "objectstorage.uk-london-1.oraclecloud.com"
IMPATIENT = Limits(header_bytes=8192, idle_seconds=0.3, header_seconds=0.3, body_seconds=0.3, drain_seconds=0.3)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("streams"), router=upload_router()) as here:
        yield here


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("impatient"), limits=IMPATIENT) as here:
        yield here


@contextmanager
def session(sandbox: RunningSandbox) -> Iterator[requests.Session]:
    """A client that knows nothing but the proxy and its CA."""
    assert sandbox.sandbox.home is not None
    with requests.Session() as here:
        here.trust_env = False
        here.verify = str(sandbox.sandbox.home.ca_file)
        here.proxies = dict.fromkeys(("http", "https"), f"http://127.0.0.1:{sandbox.sandbox.proxy_port}")
        yield here


def connect(sandbox: RunningSandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sandbox.sandbox.proxy_port), timeout=10)


def tunnel(sandbox: RunningSandbox, target: str) -> socket.socket:
    connection = connect(sandbox)
    connection.sendall(f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\nUser-Agent: test\r\n\r\n".encode())
    expected = b"HTTP/1.1 200 Connection established\r\n\r\n"
    assert connection.recv(len(expected), socket.MSG_WAITALL) == expected
    return connection


def secure(sandbox: RunningSandbox, host: str) -> ssl.SSLSocket:
    assert sandbox.sandbox.home is not None
    context = ssl.create_default_context(cafile=str(sandbox.sandbox.home.ca_file))
    return context.wrap_socket(tunnel(sandbox, f"{host}:443"), server_hostname=host)


def refusal(sandbox: RunningSandbox, request: bytes) -> tuple[int, str, dict[str, str]]:
    """Status, reason phrase and body of what the proxy answers before it closes."""
    with closing(connect(sandbox)) as connection:
        connection.sendall(request)
        head, _, body = everything(connection).partition(b"\r\n\r\n")
    _, status, phrase = head.split(b"\r\n")[0].split(b" ", 2)
    return int(status), phrase.decode(), json.loads(body)


# hosts that are played


@pytest.mark.parametrize("scheme", ["https", "http"])
def test_a_played_host_answers_under_its_own_name(sandbox, scheme):
    with session(sandbox) as client:
        url = f"{scheme}://{IDENTITY}/20160918/regions"
        for _ in range(3):
            assert client.get(url, auth=sandbox.signer(), timeout=10).status_code == 200
        refused = client.get(url, timeout=10)
    assert (refused.status_code, refused.json()["code"]) == (401, "NotAuthenticated")
    assert sandbox.recorder.count(host=IDENTITY, verified=True) == 3


def test_an_upload_through_tls_streams_in_both_directions(streams):
    blob = b"0123456789abcdef" * 500_000
    with session(streams) as client:
        prepared = client.prepare_request(put(streams, "big", blob))
        prepared.url = f"https://{STORAGE}/n/space/big"
        streams.signer().do_request_sign(prepared, enforce_content_headers=False)
        assert client.send(prepared, timeout=30).headers["etag"] == hashlib.sha256(blob).hexdigest()
        got = client.get(prepared.url, auth=streams.signer(), timeout=30)
    assert len(got.content) == len(blob)


def test_a_waiting_client_is_told_to_continue_through_tls(streams):
    prepared = requests.Request("PUT", f"https://{STORAGE}/n/space/waits", data=b"y" * 1000).prepare()
    streams.signer().do_request_sign(prepared, enforce_content_headers=False)
    lines = [f"{name}: {value}" for name, value in prepared.headers.items()]
    head = "\r\n".join([f"PUT {prepared.path_url} HTTP/1.1", *lines, "expect: 100-continue"]) + "\r\n\r\n"
    with secure(streams, STORAGE) as connection:
        connection.sendall(head.encode())
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"y" * 1000)
        assert one_reply(connection)[0] == 200


def test_a_connection_serves_the_host_it_was_opened_to(sandbox):
    with secure(sandbox, IDENTITY) as connection:
        connection.sendall(f"GET /n HTTP/1.1\r\nHost: {STORAGE}\r\n\r\n".encode())
        status, body = one_reply(connection)
    assert (status, json.loads(body)["code"]) == (421, "MisdirectedRequest")


def test_the_control_api_is_not_behind_the_proxy(sandbox):
    token = {"authorization": f"Bearer {sandbox.sandbox.token}"}
    with session(sandbox) as client:
        for url in (f"https://{IDENTITY}/_sandbox/reset", f"http://127.0.0.1:{sandbox.sandbox.port}/_sandbox/reset"):
            assert client.post(url, headers=token, timeout=10).status_code in {401, 403, 501}
    assert sandbox.session.get(f"{sandbox.endpoint}/_sandbox/status", headers=token, timeout=10).status_code == 200


def test_a_reset_is_a_reset_on_the_wire(sandbox):
    sandbox.faults.add(Rule(moment="drop"))
    with closing(connect(sandbox)) as connection:
        connection.sendall(f"GET http://{IDENTITY}/20160918/regions HTTP/1.1\r\nHost: {IDENTITY}\r\n\r\n".encode())
        with pytest.raises(ConnectionResetError):
            connection.recv(100)


# the fence


@pytest.mark.parametrize(
    "target",
    [
        "example.com:443",
        "oraclecloud.com:443",
        f"{IDENTITY}.evil.example:443",
        f"{IDENTITY}:22",
        "127.0.0.1:22",
        "localhost:443",
        "[::1]:443",
        "203.0.113.9:22",
        "[2001:db8::1]:6443",
    ],
)
def test_every_other_host_is_refused_by_name(sandbox, monkeypatch, target):
    monkeypatch.setattr(server, "machine_at", lambda world, address, port: None)
    status, phrase, body = refusal(sandbox, f"CONNECT {target} HTTP/1.1\r\nHost: {target}\r\n\r\n".encode())
    name = target.replace("[", "").replace("]", "")
    assert (status, body["code"]) == (403, "HostNotPlayed")
    assert name in phrase
    assert name in body["message"]
    assert "ocifree sandbox env" in body["message"]
    assert [one.code for one in sandbox.recorder.query(host=name)] == ["HostNotPlayed"]


def test_real_clients_show_the_refused_host(sandbox):
    with session(sandbox) as client:
        with pytest.raises(requests.exceptions.ProxyError, match=r"ocifree sandbox refuses example\.com:443"):
            client.get("https://example.com/", timeout=10)
        refused = client.get("http://example.com/", timeout=10)
    assert (refused.status_code, refused.json()["code"]) == (403, "HostNotPlayed")
    assert "example.com" in refused.json()["message"]


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"CONNECT nowhere HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a:0 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a:99999 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a b:443 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT \xff:443 HTTP/1.1\r\n\r\n", 400),
        (b"CONNECT a:443\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/2.0\r\n\r\n", 400),
        (b"CONNECT a:443 HTTP/1.1\r\nx: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"CONNECT a:443 HTTP/1.1\r\n" + b"x: y\r\n" * 5000 + b"\r\n", 431),
        (b"CONNECT a:443 HTTP/1.1\r\nslow", 408),
        (b"CONNECT " + b"a" * 200_000, 431),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: example.com\r\nConnection: close\r\n\r\n", 403),
    ],
)
def test_what_the_proxy_cannot_read_is_refused(impatient, data, status):
    got, _, body = refusal(impatient, data)
    assert got == status
    assert body["code"]


def test_a_client_that_says_nothing_or_hangs_up_is_let_go(impatient):
    with closing(connect(impatient)) as connection:
        assert everything(connection) == b""
    with closing(connect(impatient)) as connection:
        connection.sendall(b"CONNECT ")
        connection.shutdown(socket.SHUT_WR)
        everything(connection)
    with closing(tunnel(impatient, f"{IDENTITY}:443")) as connection:
        connection.sendall(b"this is no TLS\r\n\r\n")
        everything(connection)
    with session(impatient) as client:
        url = f"https://{IDENTITY}/20160918/regions"
        assert client.get(url, auth=impatient.signer(), timeout=10).status_code == 200


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=200), st.binary(max_size=60).map(lambda one: b"CONNECT " + one + b"\r\n\r\n")))
def test_nothing_that_is_sent_to_the_proxy_harms_the_sandbox(impatient, data):
    before = impatient.state()
    with closing(connect(impatient)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        reply = everything(connection)
    assert not reply or 400 <= int(reply.split(b" ")[1]) < 600
    assert impatient.state() == before


@pytest.mark.parametrize(
    ("given", "bare"),
    [("A.Example:443", "a.example"), ("a.example.", "a.example"), ("[::1]:80", "::1"), ("::1", "::1"), ("", "")],
)
def test_hosts_are_compared_without_port_and_case(given, bare):
    assert bare_host(given) == bare


# machines


@contextmanager
def shouting_machine() -> Iterator[tuple[str, int]]:
    """A machine that reads to the end of what it is told, and only then answers with all of it in capitals."""
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.sendall(everything(connection).upper())

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[:2]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(timeout=10)


def own(monkeypatch: pytest.MonkeyPatch, owned: dict[tuple[str, int], Machine]) -> None:
    monkeypatch.setattr(server, "machine_at", lambda world, address, port: owned.get((address, port)))


def test_a_tunnel_reaches_the_machine_and_passes_ends_on(sandbox, monkeypatch):
    told = b"say it again " * 100_000
    with shouting_machine() as address:
        own(monkeypatch, {("10.0.0.2", 22): Machine(address)})
        with closing(tunnel(sandbox, "10.0.0.2:22")) as connection:
            connection.sendall(told)
            connection.shutdown(socket.SHUT_WR)
            assert everything(connection) == told.upper()
    assert [(one.host, one.status) for one in sandbox.recorder.query(method="CONNECT")] == [("10.0.0.2:22", 200)]


def test_machines_that_refuse_or_say_nothing_are_told_apart(sandbox, monkeypatch):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        closed = taken.getsockname()[:2]
    own(
        monkeypatch,
        {
            ("10.0.0.2", 22): Machine(closed),
            ("10.0.0.3", 22): Machine(None, "its image boots BIOS, the shape UEFI"),
        },
    )
    status, phrase, _ = refusal(sandbox, b"CONNECT 10.0.0.2:22 HTTP/1.1\r\n\r\n")
    assert (status, phrase) == (502, "10.0.0.2:22 refuses connections")
    status, _, body = refusal(sandbox, b"CONNECT 10.0.0.3:22 HTTP/1.1\r\n\r\n")
    assert (status, body["code"]) == (504, "MachineSilent")
    assert "BIOS" in body["message"]
    assert refusal(sandbox, b"CONNECT 10.0.0.2:23 HTTP/1.1\r\n\r\n")[0] == 403


def test_stopping_ends_tunnels_and_tls_connections_at_once(tmp_path: Path, monkeypatch):
    with shouting_machine() as address:
        own(monkeypatch, {("10.0.0.2", 22): Machine(address)})
        with running(tmp_path) as here:
            open_ones = [tunnel(here, "10.0.0.2:22"), secure(here, IDENTITY), tunnel(here, f"{IDENTITY}:443")]
        for connection in open_ones:
            with closing(connection), pytest.raises((ConnectionError, ssl.SSLError, AssertionError)):
                assert connection.recv(1)

"""The door under good and bad clients, byte by byte over real sockets."""

import hashlib
import json
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ocifree_pipeline.sandbox.door.http import Limits
from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.oracle.wire import Call, Operation, Reply, Router, Service
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

REGIONS = b"GET /20160918/regions HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
IMPATIENT = Limits(header_bytes=8192, idle_seconds=0.2, header_seconds=0.2, body_seconds=0.2, drain_seconds=0.2)


def upload_router() -> Router:
    """A service that takes and gives streams, so that the frame can be tried without Object Storage."""
    operations: dict[str, list[Operation]] = {}
    service = Service("objectstorage", operations)

    @service.put("/n/{namespace}/{name*}", operation="PutBytes", body="stream")
    async def put_bytes(call: Call) -> Reply:
        digest, size = hashlib.sha256(), 0
        async for chunk in call.stream:
            digest.update(chunk)
            size += len(chunk)
        call.world.facts[call.path["name"]] = {"size": size, "sha256": digest.hexdigest()}
        return Reply(headers={"etag": digest.hexdigest()})

    @service.get("/n/{namespace}/{name*}", operation="GetBytes")
    async def get_bytes(call: Call) -> Reply:
        size = call.world.facts[call.path["name"]]["size"]

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(size // 1000):
                yield b"x" * 1000

        return Reply(stream=chunks(), length=size, headers={"content-type": "application/octet-stream"})

    @service.head("/n/{namespace}/{name*}", operation="HeadBytes")
    def head_bytes(call: Call) -> Reply:
        return Reply(length=call.world.facts[call.path["name"]]["size"])

    @service.get("/public/{name}", operation="GetPublic", signed=False)
    def get_public(call: Call) -> Reply:
        if call.path["name"] == "broken":
            raise RuntimeError("on purpose")
        if call.path["name"] == "odd":
            raise errors.invalid_parameter("odd: ünï\r\ncode")
        return Reply({"name": call.path["name"], "many": call.query.all("many")})

    return Router(operations)


@pytest.fixture(scope="module")
def streams(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("streams"), router=upload_router()) as here:
        yield here


@pytest.fixture(scope="module")
def impatient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("impatient"), limits=IMPATIENT) as here:
        yield here


def connect(sandbox: RunningSandbox) -> socket.socket:
    return socket.create_connection(("127.0.0.1", sandbox.sandbox.port), timeout=10)


def everything(connection: socket.socket) -> bytes:
    """All that the server sends until it closes."""
    parts = []
    try:
        while part := connection.recv(65536):
            parts.append(part)
    except ConnectionResetError:
        pass
    return b"".join(parts)


def one_reply(connection: socket.socket) -> tuple[int, bytes]:
    """One reply with a Content-Length; what follows stays in the socket only if it comes later."""
    data = b""
    while b"\r\n\r\n" not in data:
        part = connection.recv(65536)
        if not part:
            raise ConnectionError(data)
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(
        next(line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    )
    while len(body) < length:
        body += connection.recv(65536)
    return int(head.split(b" ")[1]), body


def test_a_connection_lives_on_after_replies_and_after_errors(sandbox):
    with closing(connect(sandbox)) as connection:
        for _ in range(3):
            connection.sendall(REGIONS)
            status, body = one_reply(connection)
            assert (status, json.loads(body)["code"]) == (401, "NotAuthenticated")
    with sandbox.session as session:
        for _ in range(3):
            assert session.get(sandbox.endpoint + "/20160918/regions", auth=sandbox.signer()).status_code == 200


def test_pipelined_requests_are_answered_in_order(streams):
    with closing(connect(streams)) as connection:
        names = [f"n{number}" for number in range(5)]
        last = names[-1]
        for name in names:
            close = "Connection: close\r\n" if name == last else ""
            connection.sendall(f"GET /public/{name} HTTP/1.1\r\nHost: 127.0.0.1\r\n{close}\r\n".encode())
        text = everything(connection).decode()
    assert [text.index(f'"{name}"') for name in names] == sorted(text.index(f'"{name}"') for name in names)


def test_an_absolute_target_is_a_path_all_the_same(streams):
    with closing(connect(streams)) as connection:
        connection.sendall(b"GET http://127.0.0.1/public/here?many=1&many=2 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        status, body = one_reply(connection)
    assert (status, json.loads(body)) == (200, {"name": "here", "many": ["1", "2"]})


def test_an_upload_streams_and_needs_no_hash(streams):
    blob = b"0123456789" * 300_000

    def pieces() -> Iterator[bytes]:
        for at in range(0, len(blob), 100_000):
            yield blob[at : at + 100_000]

    prepared = streams.session.prepare_request(put(streams, "a%20b/c", pieces()))
    streams.signer().do_request_sign(prepared, enforce_content_headers=False)
    assert streams.session.send(prepared, timeout=30).status_code == 200
    seen = streams.inside(lambda world: world.facts["a b/c"])
    assert seen == {"size": len(blob), "sha256": hashlib.sha256(blob).hexdigest()}
    got = streams.request("GET", "/n/space/a%20b/c")
    assert len(got.content) == len(blob)
    head = streams.request("HEAD", "/n/space/a%20b/c")
    assert (head.status_code, head.headers["content-length"], head.content) == (200, str(len(blob)), b"")


def put(sandbox: RunningSandbox, name: str, data: object, **headers: str):
    import requests

    return requests.Request("PUT", f"{sandbox.endpoint}/n/space/{name}", data=data, headers=headers)  # type: ignore[arg-type]


@pytest.mark.parametrize(("body", "status"), [(b"right", 200), (b"wrong", 401)])
def test_a_hash_that_an_upload_does_bring_must_be_right(streams, body, status):
    prepared = put(streams, "hashed", b"right").prepare()
    streams.signer()(prepared)
    prepared.body = body
    assert streams.session.send(prepared, timeout=10).status_code == status


def expecting(sandbox: RunningSandbox, *, signed: bool) -> bytes:
    prepared = put(sandbox, "expected", b"y" * 1000, expect="100-continue").prepare()
    if signed:
        sandbox.signer().do_request_sign(prepared, enforce_content_headers=False)
    else:
        prepared.headers["host"] = "127.0.0.1"
    lines = [f"PUT {prepared.path_url} HTTP/1.1", *(f"{name}: {value}" for name, value in prepared.headers.items())]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def test_a_waiting_client_is_told_to_continue(streams):
    with closing(connect(streams)) as connection:
        connection.sendall(expecting(streams, signed=True))
        assert connection.recv(65536).startswith(b"HTTP/1.1 100 ")
        connection.sendall(b"y" * 1000)
        assert one_reply(connection)[0] == 200
    assert streams.inside(lambda world: world.facts["expected"]["size"]) == 1000


def test_a_waiting_client_is_refused_before_it_sends_the_body(streams):
    with closing(connect(streams)) as connection:
        connection.sendall(expecting(streams, signed=False))
        reply = everything(connection)
    assert reply.startswith(b"HTTP/1.1 401 ")
    assert b"connection: close" in reply.lower()


def test_a_refused_upload_is_read_to_its_end_so_that_the_client_hears_why(streams):
    response = streams.request("PUT", "/n/space/big", data=b"z" * 5_000_000, auth=None)
    assert (response.status_code, response.json()["code"]) == (401, "NotAuthenticated")


def test_an_upload_that_breaks_off_leaves_nothing(streams):
    before = streams.state()
    with closing(connect(streams)) as connection:
        connection.sendall(expecting(streams, signed=True).replace(b"expect: 100-continue\r\n", b"") + b"y" * 500)
        connection.shutdown(socket.SHUT_WR)
        assert b" 400 " in everything(connection).split(b"\r\n")[0]
    assert streams.state() == before


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\r\n\r\n\x00\x01\x02\r\n\r\n", 400),
        (b"GET\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400),
        (b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nno colon\r\n\r\n", 400),
        (b"GET nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"GET /\xff HTTP/1.1\r\nHost: a\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\n" + b"x: " + b"y" * 200_000 + b"\r\n\r\n", 431),
        (b"GET /?" + b"&".join(b"a=1" for _ in range(300)) + b" HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ],
)
def test_what_is_not_http_gets_an_oracle_shaped_refusal(sandbox, data, status):
    with closing(connect(sandbox)) as connection:
        connection.sendall(data)
        reply = everything(connection)
    head, _, body = reply.partition(b"\r\n\r\n")
    assert int(head.split(b" ")[1]) in {status, 400}
    assert json.loads(body)["code"] == "CannotParseRequest"
    assert sandbox.request("GET", "/20160918/regions").status_code == 200


def test_a_slow_header_and_a_slow_body_are_given_up(impatient):
    with closing(connect(impatient)) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHo")
        assert b" 408 " in everything(connection).split(b"\r\n")[0]
    with closing(connect(impatient)) as connection:
        connection.sendall(b"POST /20160918/policies HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 10\r\n\r\n{")
        assert b" 408 " in everything(connection).split(b"\r\n")[0]
    with closing(connect(impatient)) as connection:
        assert everything(connection) == b""


def test_a_failing_operation_is_a_500_and_the_process_lives(streams, caplog):
    response = streams.request("GET", "/public/broken", auth=None)
    assert (response.status_code, response.json()["code"]) == (500, "InternalError")
    assert "on purpose" in caplog.text
    assert response.headers["opc-request-id"] in caplog.text
    assert streams.request("GET", "/public/odd", auth=None).json()["message"] == "odd: ünï\r\ncode"


printable = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=30)
lines = st.lists(st.binary(max_size=60), max_size=6).map(b"\r\n".join)
requests_like = st.builds(
    lambda method, target, version, head, body: (
        b"%s /%s HTTP/%s\r\nHost: 127.0.0.1\r\n%s\r\n\r\n%s" % (method, target, version, head, body)
    ),
    st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"BREW", b"CONNECT"]),
    printable.map(str.encode),
    st.sampled_from([b"1.1", b"1.0", b"2.0"]),
    st.one_of(
        lines,
        st.builds(lambda name, value: name.encode() + b": " + value, printable, st.binary(max_size=40)),
        st.integers(-5, 50).map(lambda number: b"Content-Length: %d" % number),
        printable.map(lambda text: b"Authorization: Signature " + text.encode()),
    ),
    st.binary(max_size=80),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.one_of(st.binary(max_size=300), requests_like))
def test_nothing_a_client_sends_harms_the_sandbox(impatient, data):
    before = impatient.state()
    with closing(connect(impatient)) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        reply = everything(connection)
    if reply:
        head, _, body = reply.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 ")
        assert 400 <= int(head.split(b" ")[1]) < 600
        assert b'"code"' in body
    assert impatient.state() == before


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=8,
)
bodies = st.one_of(
    st.binary(max_size=200),
    json_values.map(lambda value: json.dumps(value).encode()),
    st.dictionaries(st.sampled_from(["compartmentId", "name", "description", "other"]), json_values).map(
        lambda value: json.dumps(value).encode()
    ),
    st.integers(1, 20_000).map(lambda depth: b"[" * depth),
    st.just(b'{"name": 1e999}'),
)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=bodies)
def test_no_signed_body_harms_the_sandbox(impatient, body):
    before = impatient.state()
    response = impatient.request(
        "POST", "/20160918/compartments", data=body, headers={"content-type": "application/json"}
    )
    assert response.status_code in {400, 404}
    assert response.json()["code"] in {
        "CannotParseRequest",
        "InvalidParameter",
        "MissingParameter",
        "NotAuthorizedOrNotFound",
    }
    assert impatient.state() == before


def test_many_clients_at_once_do_not_mix_their_replies(sandbox: RunningSandbox, tmp_path: Path):
    from concurrent.futures import ThreadPoolExecutor

    import requests

    signer = sandbox.signer()

    def client(number: int) -> set[str]:
        with requests.Session() as session:
            names = set()
            for turn in range(5):
                body = json.dumps({"compartmentId": sandbox.tenancy, "name": f"c{number}-{turn}", "description": "d"})
                url = sandbox.endpoint + "/20160918/compartments"
                headers = {"content-type": "application/json"}
                names.add(session.post(url, data=body, auth=signer, headers=headers, timeout=30).json()["name"])
            return names

    with ThreadPoolExecutor(20) as pool:
        seen = list(pool.map(client, range(20)))
    assert seen == [{f"c{number}-{turn}" for turn in range(5)} for number in range(20)]
    assert sandbox.inside(lambda world: len(world.table("compartment"))) == 101

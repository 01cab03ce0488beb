"""Keys for the tailnet, from a server that knows one OAuth client."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs

import pytest
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, Forbidden, OcifreeError, Refused, Throttled, Transient
from ocifree_pipeline.systems.tailscale.keys import single_use_key


@dataclass
class Tailnet:
    url: str = ""
    status: int = 200
    bodies: list[dict[str, Any]] = field(default_factory=list)


@pytest.fixture
def tailnet() -> Iterator[Tailnet]:
    here = Tailnet()

    class Api(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"])).decode()
            if self.path == "/api/v2/oauth/token":
                known = parse_qs(body) == {"client_id": ["id"], "client_secret": ["s3cret"]}
                self._answer(200 if known else 401, {"access_token": "t0ken", "expires_in": 3600})
            elif self.headers["authorization"] != "Bearer t0ken":
                self._answer(401, {})
            else:
                here.bodies.append(json.loads(body))
                self._answer(here.status, {"id": "k1", "key": "tskey-auth-one"})

        def _answer(self, status: int, body: dict[str, Any]) -> None:
            self.send_response(status)
            data = json.dumps(body).encode()
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    here.url = f"http://127.0.0.1:{server.server_port}"
    yield here
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


def key(tailnet: Tailnet, secret: str = "s3cret") -> SecretStr:  # noqa: S107
    return single_use_key(SecretStr("id"), SecretStr(secret), ("tag:lab",), "bastion", api=tailnet.url)


def test_one_machine_one_hour_one_use(tailnet: Tailnet) -> None:
    made = key(tailnet)
    assert made.get_secret_value() == "tskey-auth-one"
    assert "tskey" not in repr(made)
    (asked,) = tailnet.bodies
    assert asked["expirySeconds"] == 3600
    assert asked["capabilities"]["devices"]["create"] == {
        "reusable": False, "ephemeral": False, "preauthorized": True, "tags": ["tag:lab"],
    }  # fmt: skip


@pytest.mark.parametrize(
    ("status", "kind"), [(401, AuthFailed), (403, Forbidden), (429, Throttled), (400, Refused), (502, Transient)]
)
def test_every_refusal_has_its_class(tailnet: Tailnet, status: int, kind: type[OcifreeError]) -> None:
    tailnet.status = status
    with pytest.raises(kind) as refused:
        key(tailnet)
    assert type(refused.value) is kind


def test_no_error_repeats_a_secret(tailnet: Tailnet) -> None:
    with pytest.raises(AuthFailed) as refused:
        key(tailnet, secret="wr0ng")
    assert "wr0ng" not in str(refused.value)
    tailnet.url = "http://127.0.0.1:1"
    with pytest.raises(Transient) as gone:
        key(tailnet)
    assert "s3cret" not in str(gone.value)
    assert gone.value.__cause__ is None

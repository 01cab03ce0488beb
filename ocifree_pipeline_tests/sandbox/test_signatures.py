"""Who may pass: requests signed by the real SDK's signer, and what happens when anything about them is changed."""

import email.utils
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
import requests

from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, other_keys

METHODS = {
    "GET": ("/20160918/regions", None),
    "DELETE": ("/20160918/policies/ocid1.policy.oc1..none", None),
    "POST": ("/20160918/policies", '{"compartmentId":"%s","name":"p","description":"d","statements":["Allow x"]}'),
    "PUT": ("/20160918/users/%(user)s", '{"description":"changed"}'),
    "HEAD": ("/20160918/regions", None),
    "PATCH": ("/20160918/regions", "{}"),
}


@dataclass
class Prepared:
    """A signed request that a test may spoil before it is sent."""

    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)
    body: str | None = None


def prepare(sandbox: RunningSandbox, method: str, **headers: str) -> Prepared:
    path, body = METHODS[method]
    path = path.replace("%(user)s", sandbox.config["user"])
    body = body.replace("%s", sandbox.tenancy) if body else body
    request = requests.Request(method, sandbox.endpoint + path, headers=headers, data=body, auth=sandbox.signer())
    prepared = request.prepare()
    return Prepared(method, str(prepared.url), dict(prepared.headers), body)


def send(sandbox: RunningSandbox, prepared: Prepared) -> requests.Response:
    raw = requests.Request(prepared.method, prepared.url, data=prepared.body).prepare()
    raw.headers.clear()
    raw.headers.update(prepared.headers)
    return sandbox.session.send(raw, timeout=10)


def unsigned(one: Prepared, sandbox: RunningSandbox) -> None:
    del one.headers["authorization"]


def garbled(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] = one.headers["authorization"].replace('signature="', 'signature="AAAA')


def not_base64(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] = one.headers["authorization"].replace('signature="', 'signature="?')


def basic(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] = "Basic b3duZXI6b3duZXI="


def unknown_key(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] = one.headers["authorization"].replace(
        sandbox.config["fingerprint"], "00:" * 15 + "00"
    )


def twice_the_same_parameter(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] += ',version="1"'


def other_algorithm(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] = one.headers["authorization"].replace("rsa-sha256", "hmac-sha256")


def other_target(one: Prepared, sandbox: RunningSandbox) -> None:
    one.url += "?limit=1"


def later_date(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["date"] = email.utils.formatdate(usegmt=True, timeval=0)


def fewer_signed_headers(one: Prepared, sandbox: RunningSandbox) -> None:
    one.headers["authorization"] = one.headers["authorization"].replace(
        'headers="date (request-target) host', 'headers="date host'
    )


def a_signed_header_is_gone(one: Prepared, sandbox: RunningSandbox) -> None:
    del one.headers["date"]


SPOILERS = [
    unsigned,
    garbled,
    not_base64,
    basic,
    unknown_key,
    twice_the_same_parameter,
    other_algorithm,
    other_target,
    later_date,
    fewer_signed_headers,
    a_signed_header_is_gone,
]


def refused(response: requests.Response) -> bool:
    if response.request.method == "HEAD":
        return response.status_code == 401
    return response.status_code == 401 and response.json()["code"] == "NotAuthenticated"


@pytest.mark.parametrize("method", METHODS)
def test_an_honest_request_passes(sandbox, method):
    response = send(sandbox, prepare(sandbox, method))
    assert response.status_code != 401
    assert sandbox.recorder.count(verified=True) == 1
    assert response.headers["opc-request-id"]


@pytest.mark.parametrize("spoil", SPOILERS)
def test_a_spoiled_request_is_refused_and_changes_nothing(sandbox, spoil):
    before = sandbox.state()
    for method in METHODS:
        prepared = prepare(sandbox, method)
        spoil(prepared, sandbox)
        response = send(sandbox, prepared)
        assert refused(response), (method, response.status_code, response.text)
    assert sandbox.state() == before
    assert sandbox.recorder.count(verified=False, code="NotAuthenticated") == len(METHODS)


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_another_body_than_the_signed_one_is_refused(sandbox, method):
    prepared = prepare(sandbox, method)
    assert prepared.body is not None
    prepared.body = prepared.body.replace("}", "]")
    assert refused(send(sandbox, prepared))


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH"])
def test_a_body_must_be_signed(sandbox, method):
    path, body = METHODS[method]
    url = sandbox.endpoint + path.replace("%(user)s", sandbox.config["user"])
    prepared = requests.Request(method, url, headers={"content-type": "application/json"}, data=body).prepare()
    sandbox.signer().do_request_sign(prepared, enforce_content_headers=False)
    assert refused(sandbox.session.send(prepared, timeout=10))


@pytest.mark.parametrize("method", METHODS)
def test_a_signature_for_one_method_is_none_for_another(sandbox, method):
    prepared = prepare(sandbox, method)
    prepared.method = {"GET": "HEAD", "HEAD": "GET", "POST": "PUT", "PUT": "POST", "DELETE": "GET"}.get(method, "PUT")
    assert refused(send(sandbox, prepared))


def test_the_key_of_somebody_else_does_not_open(sandbox, tmp_path):
    (tmp_path / "other.pem").write_text(other_keys().private_pem)
    signer = sandbox.signer(key_file=str(tmp_path / "other.pem"))
    assert refused(sandbox.request("GET", "/20160918/regions", auth=signer))


@pytest.mark.parametrize(("skew", "status"), [(0, 200), (290, 200), (-290, 200), (310, 401), (-310, 401)])
def test_five_minutes_of_skew_are_forgiven(sandbox, skew, status):
    def drift(world):
        world.clock.skew_seconds = skew

    sandbox.inside(drift)
    assert sandbox.request("GET", "/20160918/regions").status_code == status


def test_real_clients_are_accepted_however_far_the_clock_was_moved(manual):
    manual.advance(30 * 86400)
    assert manual.request("GET", "/20160918/regions").status_code == 200


def test_parameters_may_come_in_any_order_and_the_scheme_in_any_case(sandbox):
    prepared = prepare(sandbox, "GET")
    scheme, _, rest = prepared.headers["authorization"].partition(" ")
    shuffled = ", ".join(reversed([part.strip() for part in rest.split(",")]))
    prepared.headers["authorization"] = f"{scheme.upper()} {shuffled}"
    assert send(sandbox, prepared).status_code == 200


def test_the_target_is_verified_as_it_was_sent(sandbox):
    """An escape that decodes to the same path is another target for the signature, and works when it was signed."""
    user = sandbox.config["user"].replace("user", "%75ser")
    response = sandbox.request("GET", f"/20160918/users/{user}?a=%2F&b=+")
    assert response.status_code == 200
    assert urlsplit(response.url).path == f"/20160918/users/{user}" or response.json()["id"] == sandbox.config["user"]

"""The tailnet that the sandbox plays: who may ask, which keys let in, who answers whom."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, Forbidden, OcifreeError, Refused
from ocifree_pipeline.sandbox.tailscale import tailnet
from ocifree_pipeline.sandbox.world import World
from ocifree_pipeline.systems.tailscale.keys import single_use_key
from ocifree_pipeline.systems.tailscale.tailnet import Tailnet, tailnet_of
from ocifree_pipeline_tests.sandbox.harness import RunningSandbox, running

API = "https://api.tailscale.com"
CLIENT, SECRET = map(SecretStr, tailnet.CLIENT)
CREATE = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": ["tag:ocifree"]}


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningSandbox]:
    with running(tmp_path_factory.mktemp("tailnet"), mode="manual") as found:
        yield found


@pytest.fixture(autouse=True)
def _through_the_door(sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    assert sandbox.sandbox.home is not None
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{sandbox.sandbox.proxy_port}")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(sandbox.sandbox.home.ca_file))


@pytest.fixture
def api() -> Tailnet:
    return tailnet_of(CLIENT, SECRET)


def ask(api: Tailnet, method: str, path: str, **request: Any) -> requests.Response:
    headers = {"Authorization": f"Bearer {api.token.get_secret_value()}"}
    return requests.request(method, f"{API}/api/v2/{path}", headers=headers, timeout=20, **request)


def test_a_client_that_nobody_knows_gets_no_token() -> None:
    with pytest.raises(AuthFailed):
        tailnet_of(CLIENT, SecretStr("wrong"))


def test_a_token_lives_for_an_hour(sandbox: RunningSandbox, api: Tailnet) -> None:
    assert api.devices() == ()
    sandbox.advance(3601)
    with pytest.raises(AuthFailed):
        api.devices()


def test_a_scope_that_is_missing_is_refused(sandbox: RunningSandbox) -> None:
    def add(world: World) -> None:
        tailnet.state(world)["clients"]["few"] = {"secret": "s", "scopes": ["auth_keys"]}

    sandbox.inside(add)
    with pytest.raises(Forbidden):
        tailnet_of(SecretStr("few"), SecretStr("s")).devices()


def test_a_key_is_shown_once(api: Tailnet) -> None:
    made = single_use_key(CLIENT, SECRET, ("tag:ocifree",), "ampere_1").get_secret_value()
    assert made.startswith("tskey-auth-")
    listed = ask(api, "GET", "tailnet/-/keys").json()["keys"]
    shown = ask(api, "GET", f"tailnet/-/keys/{listed[-1]['id']}").json()
    assert shown["description"] == "ocifree ampere-1"
    assert made not in str(shown)


def test_a_tag_that_the_policy_does_not_know_is_refused() -> None:
    with pytest.raises(Refused) as refused:
        single_use_key(CLIENT, SECRET, ("tag:stranger",), "bastion")
    assert isinstance(refused.value, OcifreeError)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"capabilities": {"devices": {"create": {**CREATE, "tags": []}}}},
        {"capabilities": {"devices": {"create": {**CREATE, "reusable": "no"}}}},
        {"capabilities": {"devices": {"create": CREATE}}, "expirySeconds": 0},
        {"capabilities": {"devices": {"create": CREATE}}, "expirySeconds": 91 * 24 * 3600},
        {"capabilities": {"devices": {"create": CREATE}}, "description": "no_underscores"},
    ],
)
def test_a_request_that_makes_no_sense_is_refused(api: Tailnet, body: dict[str, Any]) -> None:
    answer = ask(api, "POST", "tailnet/-/keys", json=body)
    assert (answer.status_code, "message" in answer.json()) == (400, True)


def test_what_is_not_played_says_so(api: Tailnet) -> None:
    answer = ask(api, "GET", "tailnet/-/acl")
    assert answer.status_code == 501
    assert "not played" in answer.json()["message"]
    assert ask(api, "DELETE", "device/n0CNTRL").status_code == 404

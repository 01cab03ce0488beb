"""Reading a kubeconfig: whole ones are understood, others are refused without a word of their secrets."""

from __future__ import annotations

import base64
from copy import deepcopy
from typing import Any

import pytest
import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified
from ocifree_pipeline.systems.kube.kubeconfig import credentials_of

KEY = "-----BEGIN EC PRIVATE KEY-----\nvery-secret\n-----END EC PRIVATE KEY-----\n"


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


WHOLE: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Config",
    "current-context": "admin@lab",
    "contexts": [
        {"name": "other", "context": {"cluster": "other", "user": "other"}},
        {"name": "admin@lab", "context": {"cluster": "lab", "user": "admin@lab", "namespace": "default"}},
    ],
    "clusters": [
        {
            "name": "lab",
            "cluster": {"server": "https://node.lab.example:6443", "certificate-authority-data": encoded("CA")},
        }
    ],
    "users": [
        {
            "name": "admin@lab",
            "user": {"client-certificate-data": encoded("CERT"), "client-key-data": encoded(KEY)},
        }
    ],
}


def test_the_current_context_is_taken() -> None:
    found = credentials_of(SecretStr(yaml.safe_dump(WHOLE)))
    assert (found.host, found.port) == ("node.lab.example", 6443)
    assert (found.authority, found.certificate) == ("CA", "CERT")
    assert found.key.get_secret_value() == KEY
    assert "very-secret" not in repr(found)


def test_a_token_and_another_server_name() -> None:
    config = deepcopy(WHOLE)
    config["users"][0]["user"] = {"token": "abc"}
    config["clusters"][0]["cluster"] |= {"server": "https://10.0.0.1", "tls-server-name": "node.lab.example"}
    found = credentials_of(SecretStr(yaml.safe_dump(config)))
    assert (found.host, found.port) == ("node.lab.example", 443)
    assert found.token.get_secret_value() == "abc"


def without(path: tuple[Any, ...]) -> str:
    config = deepcopy(WHOLE)
    place: Any = config
    for step in path[:-1]:
        place = place[step]
    del place[path[-1]]
    return yaml.safe_dump(config)


def changed(value: Any, *path: Any) -> str:
    config = deepcopy(WHOLE)
    place: Any = config
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return yaml.safe_dump(config)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it is empty"),
        ("very-secret: [", "it is no YAML"),
        (without(("current-context",)), "its contexts lack"),
        (without(("clusters", 0)), "its clusters lack"),
        (without(("users", 0)), "its users lack"),
        (without(("clusters", 0, "cluster", "certificate-authority-data")), "names no authority"),
        (without(("users", 0, "user", "client-certificate-data")), "neither a client certificate nor a token"),
        (changed("http://node.lab.example", "clusters", 0, "cluster", "server"), "no https address"),
        (changed(True, "clusters", 0, "cluster", "insecure-skip-tls-verify"), "believe any server"),
        (changed("very-secret!", "users", 0, "user", "client-key-data"), "client-key-data is no Base64"),
    ],
)
def test_what_is_missing_is_named(text: str, why: str) -> None:
    with pytest.raises(NotVerified) as raised:
        credentials_of(SecretStr(text))
    assert why in raised.value.why
    assert "very-secret" not in str(raised.value)
    assert raised.value.fix.startswith("ocifree up --select 'talos/kubeconfig'")

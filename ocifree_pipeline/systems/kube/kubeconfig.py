"""A kubeconfig read: where the API is, whom to believe there, and who we are."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import yaml
from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import NotVerified

HTTPS_PORT = 443


@dataclass(frozen=True, slots=True)
class Credentials:
    """What the current context of a kubeconfig says. `host` is also the name that the certificate must bear."""

    host: str
    port: int
    authority: str
    certificate: str = ""
    key: SecretStr = field(default=SecretStr(""), repr=False)
    token: SecretStr = field(default=SecretStr(""), repr=False)


def credentials_of(kubeconfig: SecretStr) -> Credentials:
    """The current context, as files of Talos have it: everything is inside, nothing names another file."""
    try:
        found: Any = yaml.safe_load(kubeconfig.get_secret_value())
    except yaml.YAMLError:
        # The words of the parser would quote the line, and the line may be a key.
        raise _unusable("it is no YAML") from None
    if not isinstance(found, Mapping):
        raise _unusable("it is empty")
    context = _named(found, "contexts", found.get("current-context"), "context")
    cluster = _named(found, "clusters", context.get("cluster"), "cluster")
    user = _named(found, "users", context.get("user"), "user")
    where = urlsplit(str(cluster.get("server", "")))
    if where.scheme != "https" or not where.hostname:
        raise _unusable("its server is no https address")
    if cluster.get("insecure-skip-tls-verify"):
        raise _unusable("it asks to believe any server")
    credentials = Credentials(
        host=str(cluster.get("tls-server-name") or where.hostname),
        port=where.port or HTTPS_PORT,
        authority=_decoded(cluster, "certificate-authority-data"),
        certificate=_decoded(user, "client-certificate-data"),
        key=SecretStr(_decoded(user, "client-key-data")),
        token=SecretStr(str(user.get("token", ""))),
    )
    if not credentials.authority:
        raise _unusable("it names no authority, so no server could be believed")
    if not credentials.token.get_secret_value() and not credentials.certificate:
        raise _unusable("it has neither a client certificate nor a token")
    return credentials


def served_at(kubeconfig: SecretStr, host: str, port: int) -> SecretStr:
    """The same, dialled at another address. The name that the server's certificate must bear stays."""
    name = credentials_of(kubeconfig).host
    found = yaml.safe_load(kubeconfig.get_secret_value())
    for entry in found["clusters"]:
        entry["cluster"] |= {"server": f"https://{host}:{port}", "tls-server-name": name}
    return SecretStr(yaml.safe_dump(found, sort_keys=False))


def _named(found: Mapping[str, Any], where: str, name: Any, field_name: str) -> Mapping[str, Any]:
    for entry in found.get(where) or ():
        if isinstance(entry, Mapping) and entry.get("name") == name and isinstance(entry.get(field_name), Mapping):
            inner: Mapping[str, Any] = entry[field_name]
            return inner
    raise _unusable(f"its {where} lack the one that is in use")


def _decoded(entry: Mapping[str, Any], name: str) -> str:
    try:
        return base64.b64decode(str(entry.get(name, "")), validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        raise _unusable(f"its {name} is no Base64") from None


def _unusable(why: str) -> NotVerified:
    return NotVerified("the kubeconfig is not usable", why=why, fix="ocifree up --select 'talos/kubeconfig' fetches it")

"""Make a key with which one machine may join the tailnet, once, within an hour; and ask Tailscale's API."""

from __future__ import annotations

from typing import Any

from pydantic import SecretStr

from ocifree_pipeline.deployment.errors import AuthFailed, Forbidden, NotVerified, Refused, Throttled, Transient

API = "https://api.tailscale.com"
KEY_SECONDS = 3600
CALL_SECONDS = 20


def single_use_key(
    client_id: SecretStr, client_secret: SecretStr, tags: tuple[str, ...], machine: str, *, api: str = API
) -> SecretStr:
    """A fresh key. It is good for one machine only, so one that leaks after the join opens nothing."""
    token = access_token(client_id, client_secret, api=api)
    create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": list(tags)}
    made = answered(
        "POST",
        f"{api}/api/v2/tailnet/-/keys",
        "make a key for the tailnet",
        headers={"Authorization": f"Bearer {token.get_secret_value()}"},
        json={
            "capabilities": {"devices": {"create": create}},
            "expirySeconds": KEY_SECONDS,
            "description": f"ocifree {machine}".replace("_", "-")[:50],
        },
    )
    key = made.get("key")
    if not isinstance(key, str) or not key:
        raise NotVerified("Tailscale made a key and did not show it", why="its answer has no key", fix="try again")
    return SecretStr(key)


def access_token(client_id: SecretStr, client_secret: SecretStr, *, api: str = API) -> SecretStr:
    """Lives for an hour."""
    token = answered(
        "POST",
        f"{api}/api/v2/oauth/token",
        "log in to Tailscale",
        data={"client_id": client_id.get_secret_value(), "client_secret": client_secret.get_secret_value()},
    ).get("access_token")
    if not isinstance(token, str) or not token:
        raise NotVerified("Tailscale let us in without a token", why="its answer has none", fix="try again")
    return SecretStr(token)


def answered(method: str, url: str, doing: str, **request: Any) -> dict[str, Any]:
    """The JSON of an answer, or the error that it stands for."""
    import requests

    try:
        answer = requests.request(method, url, timeout=CALL_SECONDS, **request)
    except requests.RequestException as error:
        # The text of the error may repeat what was sent.
        raise Transient(
            f"{doing}: no answer", why=type(error).__name__, fix="`ocifree doctor` tests the connection"
        ) from None
    if answer.ok:
        found: dict[str, Any] = (answer.json() if answer.content.strip() else None) or {}
        return found
    raise _refusal(answer.status_code, doing)


def _refusal(status: int, doing: str) -> Exception:
    said = f"{doing}: Tailscale answered {status}"
    if status == 401:
        return AuthFailed(said, why="it does not know the OAuth client", fix="look at access.tailscale.oauth")
    if status == 403:
        return Forbidden(
            said,
            why="the OAuth client lacks the scope auth_keys or devices:core, or may not give these tags",
            fix="make a client with the scopes auth_keys and devices:core, and the tags of access.tailscale.tags",
        )
    if status == 429:
        return Throttled(said, why="too many calls", fix="wait some minutes")
    if status >= 500:
        return Transient(said, why="a fault on Tailscale's side", fix="try again in a minute")
    return Refused(said, why="it does not accept the tags or the request", fix="the tailnet policy must know the tags")

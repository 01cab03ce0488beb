"""The API of Tailscale, version 2: tokens, keys, devices and their routes. The rest answers that it is not played."""

import base64
import binascii
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from ipaddress import ip_network
from typing import Any
from urllib.parse import parse_qs

from ocifree_pipeline.sandbox.door.http import Request
from ocifree_pipeline.sandbox.tailscale import tailnet
from ocifree_pipeline.sandbox.world import World

LONGEST_SECONDS = 90 * 24 * 3600
DESCRIPTION = re.compile(r"[A-Za-z0-9 -]{0,50}")


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: Any


@dataclass(frozen=True, slots=True)
class Asked:
    """A request with its token taken off."""

    world: World
    names: tuple[str, ...]
    data: Any
    query: dict[str, list[str]]


@dataclass(frozen=True, slots=True)
class Call:
    name: str
    method: str
    path: str
    scope: str
    work: Callable[[Asked], Answer]
    mutating: bool = False


def find(method: str, path: str) -> Call | None:
    return next((one for one in (LOGIN, *CALLS) if one.method == method and re.fullmatch(one.path, path)), None)


def answer(world: World, request: Request, body: bytes) -> Answer:
    call = find(request.method, request.path)
    if call is LOGIN:
        return _login(world, request, body)
    scopes = tailnet.scopes_of(world, _token(request))
    if scopes is None:
        return _no(401, "API token invalid")
    if call is None:
        return _no(501, f"{request.method} {request.path} is not played by this sandbox")
    if call.scope not in scopes:
        return _no(403, "calling actor does not have enough permissions to perform this function")
    try:
        data = json.loads(body) if body.strip() else {}
    except ValueError as error:
        return _no(400, f"invalid request body: {error}")
    match = re.fullmatch(call.path, request.path)
    return call.work(Asked(world, match.groups() if match else (), data, request.query))


# tokens ---------------------------------------------------------------------------------------------------------------


def _login(world: World, request: Request, body: bytes) -> Answer:
    form = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
    user, password = _basic(request)
    token = tailnet.new_token(world, form.get("client_id", user), form.get("client_secret", password))
    if token is None:
        return _no(401, "API token invalid")
    scopes = " ".join(tailnet.scopes_of(world, token) or ())
    return Answer(
        200,
        {"access_token": token, "token_type": "Bearer", "expires_in": tailnet.TOKEN_SECONDS, "scope": scopes},
    )


def _token(request: Request) -> str:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    return value if kind.lower() == "bearer" else _basic(request)[0]


def _basic(request: Request) -> tuple[str, str]:
    kind, _, value = request.headers.get("authorization", "").partition(" ")
    if kind.lower() != "basic":
        return "", ""
    try:
        user, _, password = base64.b64decode(value, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password


# keys -----------------------------------------------------------------------------------------------------------------


def _create_key(asked: Asked) -> Answer:
    data = asked.data if isinstance(asked.data, dict) else {}
    create = (((data.get("capabilities") or {}).get("devices")) or {}).get("create")
    if not isinstance(create, dict):
        return _no(400, "capabilities.devices.create is required")
    tags = create.get("tags") or []
    if not tags:
        return _no(400, "auth keys created by an OAuth client need tags")
    seconds = data.get("expirySeconds", LONGEST_SECONDS)
    if not isinstance(seconds, int) or isinstance(seconds, bool) or not 0 < seconds <= LONGEST_SECONDS:
        return _no(400, f"expirySeconds must be between 1 and {LONGEST_SECONDS}")
    description = str(data.get("description", ""))
    if not DESCRIPTION.fullmatch(description):
        return _no(400, "description may have at most 50 letters, digits, hyphens and spaces")
    wrong = [one for one in ("reusable", "ephemeral", "preauthorized") if not isinstance(create.get(one, False), bool)]
    if wrong:
        return _no(400, f"{wrong[0]} must be true or false")
    try:
        key = tailnet.new_key(asked.world, {**create, "tags": tags}, seconds, description)
    except tailnet.Refused as refused:
        return _no(400, str(refused))
    return Answer(200, {**_shown_key(key), "key": key["secret"]})


def _list_keys(asked: Asked) -> Answer:
    return Answer(200, {"keys": [{"id": number} for number in tailnet.state(asked.world)["keys"]]})


def _get_key(asked: Asked) -> Answer:
    key = tailnet.state(asked.world)["keys"].get(asked.names[0])
    return Answer(200, _shown_key(key)) if key else _no(404, "not found")


def _delete_key(asked: Asked) -> Answer:
    gone = tailnet.state(asked.world)["keys"].pop(asked.names[0], None)
    return Answer(200, None) if gone else _no(404, "not found")


def _shown_key(key: dict[str, Any]) -> dict[str, Any]:
    shown = {name: key[name] for name in ("id", "created", "expires", "description")}
    return shown | {"keyType": "auth", "capabilities": {"devices": {"create": key["create"]}}}


# devices --------------------------------------------------------------------------------------------------------------


def _list_devices(asked: Asked) -> Answer:
    everything = asked.query.get("fields") == ["all"]
    devices = tailnet.state(asked.world)["devices"].values()
    return Answer(200, {"devices": [_shown(asked.world, one, everything) for one in devices]})


def _get_device(asked: Asked) -> Answer:
    device = _device(asked)
    return Answer(200, _shown(asked.world, device, asked.query.get("fields") == ["all"])) if device else _gone()


def _delete_device(asked: Asked) -> Answer:
    device = _device(asked)
    if device is None:
        return _gone()
    del tailnet.state(asked.world)["devices"][device["id"]]
    return Answer(200, None)


def _get_routes(asked: Asked) -> Answer:
    device = _device(asked)
    return Answer(200, _routes(device)) if device else _gone()


def _set_routes(asked: Asked) -> Answer:
    device = _device(asked)
    if device is None:
        return _gone()
    try:
        device["enabled"] = [str(ip_network(one)) for one in asked.data["routes"]]
    except (KeyError, TypeError, ValueError) as error:
        return _no(400, f"invalid routes: {error}")
    return Answer(200, _routes(device))


def _device(asked: Asked) -> dict[str, Any] | None:
    devices = tailnet.state(asked.world)["devices"].values()
    return next((one for one in devices if asked.names[0] in {one["id"], one["nodeId"]}), None)


def _routes(device: dict[str, Any]) -> dict[str, Any]:
    return {"advertisedRoutes": device["advertised"], "enabledRoutes": device["enabled"]}


def _shown(world: World, device: dict[str, Any], everything: bool) -> dict[str, Any]:
    connected = tailnet.is_connected(world, device)
    if connected:
        device["lastSeen"] = world.clock.stamp()
    names = ("id", "nodeId", "hostname", "name", "addresses", "tags", "authorized", "created", "lastSeen")
    shown = {name: device[name] for name in names} | {
        "os": "linux",
        "clientVersion": "1.90.6",
        "keyExpiryDisabled": True,
        "isEphemeral": device["ephemeral"],
        "connectedToControl": connected,
        "user": "tagged-devices",
    }
    return shown | (_routes(device) if everything else {})


def _gone() -> Answer:
    return _no(404, "no manageable device matching this ID found")


def _no(status: int, message: str) -> Answer:
    return Answer(status, {"message": message})


_KEYS, _DEVICE = r"/api/v2/tailnet/[^/]+/keys", r"/api/v2/device/([^/]+)"
LOGIN = Call("Login", "POST", r"/api/v2/oauth/token", "", lambda asked: _gone())
CALLS = (
    Call("CreateKey", "POST", _KEYS, "auth_keys", _create_key, mutating=True),
    Call("ListKeys", "GET", _KEYS, "auth_keys", _list_keys),
    Call("GetKey", "GET", _KEYS + r"/([^/]+)", "auth_keys", _get_key),
    Call("DeleteKey", "DELETE", _KEYS + r"/([^/]+)", "auth_keys", _delete_key, mutating=True),
    Call("ListDevices", "GET", r"/api/v2/tailnet/[^/]+/devices", "devices:core", _list_devices),
    Call("GetDevice", "GET", _DEVICE, "devices:core", _get_device),
    Call("DeleteDevice", "DELETE", _DEVICE, "devices:core", _delete_device, mutating=True),
    Call("GetRoutes", "GET", _DEVICE + "/routes", "devices:routes", _get_routes),
    Call("SetRoutes", "POST", _DEVICE + "/routes", "devices:routes", _set_routes, mutating=True),
)

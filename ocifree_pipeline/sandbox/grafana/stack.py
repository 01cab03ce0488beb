"""One Grafana Cloud stack on the free plan: its instance numbers, its tokens with their scopes, its limits.

The stack of a world is made when somebody first looks for it, and its tokens follow from the world's seed. Nothing
here knows a declaration, so any host of the right kind is the stack's own, whatever region its name holds.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ocifree_pipeline.sandbox.world import World

Kind = Literal["metrics", "logs", "traces", "grafana"]
SCOPES = tuple(f"{kind}:{right}" for kind in ("metrics", "logs", "traces") for right in ("read", "write"))

HOSTS: tuple[tuple[Kind, re.Pattern[str]], ...] = (
    ("metrics", re.compile(r"prometheus-[a-z0-9-]+\.grafana\.net")),
    ("logs", re.compile(r"logs-[a-z0-9-]+\.grafana\.net")),
    ("traces", re.compile(r"(tempo|otlp-gateway)-[a-z0-9-]+\.grafana\.net")),
    ("grafana", re.compile(r"(?P<stack>[a-z][a-z0-9-]*)\.grafana\.net")),
)


@dataclass(frozen=True, slots=True)
class Limits:
    """What the free plan takes. Above it data is discarded, never billed."""

    series: int = 10_000
    samples_per_second: int = 10_000
    log_gb_a_month: float = 50.0
    log_mb_per_second: float = 5.0
    streams: int = 5_000
    alert_rules: int = 100


@dataclass(slots=True)
class Token:
    """An access policy token (`glc_`) has scopes; a service account token (`glsa_`) has a role in one Grafana."""

    kind: Literal["access policy", "service account"]
    scopes: list[str] = field(default_factory=list)
    role: Literal["Viewer", "Editor", "Admin"] = "Viewer"


class Denied(Exception):
    """401 or 403, in the words of the store that was asked."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


def facts(world: World) -> dict[str, Any]:
    """Everything that is known at Grafana Cloud, as JSON."""
    found = world.facts.get("grafana")
    if found is None:
        data = f"glc_{world.fresh('grafanatoken', 48)}"
        grafana = f"glsa_{world.fresh('grafanatoken', 32)}"
        found = world.facts["grafana"] = {
            "stack": "lab",
            "users": {"metrics": "1000001", "logs": "1000002", "traces": "1000003"},
            "tokens": {
                data: asdict(Token("access policy", list(SCOPES))),
                grafana: asdict(Token("service account", role="Admin")),
            },
            "limits": asdict(Limits()),
        }
    kept: dict[str, Any] = found
    return kept


def limits(world: World) -> Limits:
    return Limits(**facts(world)["limits"])


def offered(world: World) -> dict[str, Any]:
    """What a declaration needs: `monitoring.grafana_cloud` with the values of the two secrets it refers to."""
    known = facts(world)
    tokens = {value["kind"]: text for text, value in reversed(known["tokens"].items())}
    users = known["users"]
    return {
        "grafana_cloud": {
            "stack": known["stack"],
            "prometheus": {"url": "https://prometheus-prod-24-eu-west-2.grafana.net", "user": users["metrics"]},
            "loki": {"url": "https://logs-prod-012.grafana.net", "user": users["logs"]},
            "tempo": {"url": "https://tempo-prod-10-eu-west-2.grafana.net", "user": users["traces"]},
        },
        "token": tokens["access policy"],
        "service_account_token": tokens["service account"],
    }


def change(
    world: World,
    stack: str | None = None,
    users: dict[str, str] | None = None,
    limits: dict[str, float] | None = None,
) -> None:
    """Make it the stack that a declaration speaks of, or a smaller one. ValueError names what does not fit."""
    known = facts(world)
    if stack is not None and not HOSTS[-1][1].fullmatch(f"{stack}.grafana.net"):
        raise ValueError(f"{stack!r} is not the name of a stack")
    for part, given in (("users", users), ("limits", limits)):
        if unknown := (given or {}).keys() - known[part].keys():
            raise ValueError(f"{part} have no {', '.join(sorted(unknown))}; they have {', '.join(known[part])}")
    known["stack"] = stack or known["stack"]
    known["users"] |= {name: str(number) for name, number in (users or {}).items()}
    known["limits"] |= limits or {}


def kind_of(host: str) -> Kind | None:
    return next((kind for kind, pattern in HOSTS if pattern.fullmatch(host)), None)


def is_host(host: str, kind: Kind) -> bool:
    """Whether a host is that store of the stack."""
    return kind_of(host) == kind


def make_token(world: World, token: Token) -> str:
    prefix = "glc_" if token.kind == "access policy" else "glsa_"
    text = prefix + world.fresh("grafanatoken", 48)
    facts(world)["tokens"][text] = asdict(token)
    return text


def revoke(world: World, text: str) -> None:
    facts(world)["tokens"].pop(text, None)


def admit_data(world: World, authorization: str, kind: Kind, right: Literal["read", "write"]) -> None:
    """Instance number and access policy token. Denied: 401 if either is unknown, 403 if the scope is missing."""
    known = facts(world)
    scheme, _, credentials = authorization.partition(" ")
    user, text = _basic(credentials) if scheme.lower() == "basic" else ("", "")
    if scheme.lower() == "bearer":
        user, _, text = credentials.strip().partition(":")
    if not text:
        raise Denied(401, '{"status":"error","error":"authentication error: no credentials provided"}')
    if user != known["users"].get(kind):
        raise Denied(401, '{"status":"error","error":"authentication error: legacy auth cannot be upgraded"}')
    token = known["tokens"].get(text)
    if token is None or token["kind"] != "access policy":
        raise Denied(401, '{"status":"error","error":"authentication error: invalid token"}')
    if f"{kind}:{right}" not in token["scopes"]:
        raise Denied(403, '{"status":"error","error":"authentication error: invalid scope requested"}')


def admit_grafana(world: World, authorization: str, role: Literal["Viewer", "Editor", "Admin"]) -> None:
    """A service account token with at least that role."""
    scheme, _, text = authorization.partition(" ")
    token = facts(world)["tokens"].get(text.strip()) if scheme.lower() == "bearer" else None
    if token is None or token["kind"] != "service account":
        raise Denied(401, '{"message":"Invalid API key","messageId":"api-key.invalid","statusCode":401,"traceID":""}')
    roles = ("Viewer", "Editor", "Admin")
    if roles.index(token["role"]) < roles.index(role):
        raise Denied(403, '{"accessErrorId":"","message":"You\'ll need additional permissions to perform this action"}')


def _basic(credentials: str) -> tuple[str, str]:
    try:
        user, _, password = base64.b64decode(credentials, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    return user, password

"""``opc-retry-token``: a client that lost the reply asks again with the same token and gets the same reply.

A token belongs to one user and one operation for 24 hours of virtual time. With another request behind it, or when
what it made is gone again, it is refused. Only successes are kept: a refused request may be tried anew.
"""

import hashlib
from datetime import timedelta
from itertools import takewhile
from typing import Any

from ocifree_pipeline.sandbox.clock import parse, stamp
from ocifree_pipeline.sandbox.oracle import errors
from ocifree_pipeline.sandbox.world import World

LIFETIME = timedelta(hours=24)
LONGEST = 64


def place(service: str, operation: str, user: str, token: str) -> str:
    """Where the token is kept. 400 when no client may send such a token."""
    if len(token) > LONGEST:
        raise errors.invalid_parameter(f"opc-retry-token must not be longer than {LONGEST} characters")
    return f"{service}/{operation}/{user}/{token}"


def digest(raw_target: str, body: bytes) -> str:
    return hashlib.sha256(raw_target.encode() + b"\n" + body).hexdigest()


def lookup(world: World, where: str, request: str) -> dict[str, Any] | None:
    """The reply that was given under this token, or None; 409 when the token may not be used like this."""
    kept = world.tokens.get(where)
    if kept is None:
        return None
    if parse(kept["until"]) <= world.clock.now():
        del world.tokens[where]
        return None
    if kept["request"] != request:
        raise errors.invalidated_retry_token("The retry token was used with a different request")
    made = kept["made"]
    if made:
        resource = world.anywhere(made)
        if resource is None or resource.gone:
            raise errors.invalidated_retry_token("The resource that was created with this retry token is gone")
    reply: dict[str, Any] = kept["reply"]
    return reply


def keep(world: World, where: str, request: str, reply: dict[str, Any]) -> None:
    """Remember ``reply`` ({status, headers, body}) under the token, and drop tokens that have expired."""
    now = world.clock.now()
    expired = takewhile(lambda one: parse(world.tokens[one]["until"]) <= now, world.tokens)  # oldest first
    for one in list(expired):
        del world.tokens[one]
    body = reply["body"]
    named = body.get("id", "") if isinstance(body, dict) else ""
    made = named if isinstance(named, str) and world.anywhere(named) else ""
    world.tokens[where] = {"until": stamp(now + LIFETIME), "request": request, "made": made, "reply": reply}

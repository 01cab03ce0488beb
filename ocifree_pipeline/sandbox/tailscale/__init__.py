"""Tailscale: its API, its control server as far as machines notice it, and the network between those that joined.

Its API takes part in faults and records as the service ``tailscale``.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.door.http import Handler, Request, Response
from ocifree_pipeline.sandbox.tailscale import api
from ocifree_pipeline.sandbox.world import World

HOST = "api.tailscale.com"
SERVICE = "tailscale"
MOST_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class Tailscale:
    """A player of ``api.tailscale.com``."""

    world: World
    touch: Callable[[], None]

    def __call__(self, host: str) -> Handler | None:
        return self._handle if host == HOST else None

    async def _handle(self, request: Request) -> Response:
        self.touch()
        self.world.settle()
        body = await request.body.read(MOST_BODY)
        found = api.find(request.method, request.path)
        operation = found.name if found else "Unknown"
        rule = instruments.strikes(self.world, SERVICE, operation)
        if rule is not None and rule.moment in {"before", "drop"}:
            answer = api.Answer(rule.status, {"message": rule.message})
        else:
            answer = api.answer(self.world, request, body)
            if rule is not None and rule.moment == "after":
                answer = api.Answer(rule.status, {"message": rule.message})
        instruments.note(
            self.world,
            host=request.host,
            method=request.method,
            path=request.path,
            service=SERVICE,
            operation=operation,
            status=answer.status,
            mutating=bool(found and found.mutating and answer.status < 400),
            fault=rule.number if rule else 0,
        )
        response = Response(
            answer.status, {"content-type": "application/json"}, json.dumps(answer.body).encode() + b"\n"
        )
        if rule is not None and rule.moment in {"drop", "reset"}:
            response.cut = "reset"
        return response

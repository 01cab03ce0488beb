"""Hosts that carry messages to people: Discord, Slack and ntfy, as far as somebody posts there, and a plain webhook.

What arrives is kept for whoever looks and goes nowhere. They take part in faults and records as ``notify``.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.door.http import Handler, Request, Response
from ocifree_pipeline.sandbox.notify_hooks import services
from ocifree_pipeline.sandbox.notify_hooks.services import Answer
from ocifree_pipeline.sandbox.world import World

SERVICE = "notify"
MOST_BODY = 256 * 1024


@dataclass(frozen=True, slots=True)
class NotifyHooks:
    """A player of the hosts in ``services.HOSTS``."""

    world: World
    touch: Callable[[], None]

    def __call__(self, host: str) -> Handler | None:
        return self._handle if host in services.HOSTS else None

    async def _handle(self, request: Request) -> Response:
        self.touch()
        self.world.settle()
        body = await request.body.read(MOST_BODY)
        host = request.host.partition(":")[0]
        operation, answering = services.HOSTS[host]
        rule = instruments.strikes(self.world, SERVICE, operation)
        if rule is not None and rule.moment in {"before", "drop"}:
            answer = Answer(rule.status, rule.message)
        else:
            answer = answering(self.world, request, body)
            if rule is not None and rule.moment == "after":
                answer = Answer(rule.status, rule.message)
        instruments.note(
            self.world,
            host=request.host,
            method=request.method,
            path=services.without_token(request.path),
            service=SERVICE,
            operation=operation,
            status=answer.status,
            mutating=request.method == "POST" and answer.status < 400,
            fault=rule.number if rule else 0,
        )
        response = answer.response()
        if rule is not None and rule.moment in {"drop", "reset"}:
            response.cut = "reset"
        return response

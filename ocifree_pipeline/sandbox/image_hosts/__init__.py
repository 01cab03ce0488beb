"""Hosts outside of Oracle that images come from: the Talos Image Factory, and a mirror of images somebody built.

They speak behind the proxy door only, take part in faults and records like Oracle does, and answer requests for a part
of a file.
"""

from collections.abc import Callable
from dataclasses import dataclass

from ocifree_pipeline.sandbox.door.http import Handler, Request, Response
from ocifree_pipeline.sandbox.faults import Faults, Rule
from ocifree_pipeline.sandbox.image_hosts import factory, mirror
from ocifree_pipeline.sandbox.image_hosts.answers import Answer, refusal
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline.sandbox.world import World

HOSTS: dict[str, tuple[str, Callable[[World, Request, bytes], Answer]]] = {
    factory.HOST: (factory.SERVICE, factory.answer),
    mirror.HOST: (mirror.SERVICE, mirror.answer),
}
MOST_BODY = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ImageHosts:
    """A player: it finds the handler of a host."""

    world: World
    faults: Faults
    recorder: Recorder
    touch: Callable[[], None]

    def __call__(self, host: str) -> Handler | None:
        if host not in HOSTS:
            return None
        service, function = HOSTS[host]

        async def handle(request: Request) -> Response:
            self.touch()
            body = await request.body.read(MOST_BODY)
            operation = "CreateSchematic" if request.method == "POST" else "GetImage"
            rule = self.faults.draw(service, operation, "")
            if rule is not None and rule.moment in {"before", "drop"}:
                answer = refusal(rule.status, rule.message)
            else:
                answer = function(self.world, request, body)
            self._note(request, (service, operation), answer, rule)
            return _struck(answer.response, rule)

        return handle

    def _note(self, request: Request, asked: tuple[str, str], answer: Answer, rule: Rule | None) -> None:
        status = answer.response.status
        self.recorder.add(
            Entry(
                at=self.world.clock.stamp(),
                host=request.host,
                method=request.method,
                path=request.path,
                service=asked[0],
                operation=asked[1],
                status=status,
                code="" if status < 400 else "Refused",
                request_id="",
                mutating=answer.mutating,
                verified=False,
                fault=rule.number if rule else 0,
            )
        )


def _struck(response: Response, rule: Rule | None) -> Response:
    """What a fault makes of a reply."""
    if rule is None:
        return response
    if rule.moment == "after":
        return refusal(rule.status, rule.message).response
    if rule.moment == "slow":
        response.delay = rule.delay
    elif rule.moment == "truncate":
        response.cut = "truncate"
    elif rule.moment in {"drop", "reset"}:
        response.cut = "reset"
    return response

"""Grafana Cloud's free plan: Prometheus, Loki and Tempo under their own hosts, and the stack's Grafana.

They speak behind the proxy door only, and take part in faults and records like Oracle does. Operations are named
`metrics:write`, `logs:read`, `grafana:PUT` and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from ocifree_pipeline.sandbox.door.http import Handler, Request, Response
from ocifree_pipeline.sandbox.faults import Faults, Rule
from ocifree_pipeline.sandbox.grafana import alloy_agent, data_api, grafana_api, minutes, stack
from ocifree_pipeline.sandbox.grafana.alloy_start import AlloyStart
from ocifree_pipeline.sandbox.kubernetes import controllers
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline.sandbox.world import World

SERVICE = "grafanacloud"
MOST_BODY = 16 * 1024 * 1024
CALLS: dict[stack.Kind, data_api.Call] = {
    "metrics": data_api.metrics_call,
    "logs": data_api.logs_call,
    "traces": data_api.traces_call,
    "grafana": grafana_api.call,
}
_PUSHES = ("/push", "/v1/traces")

if AlloyStart not in controllers.MORE:
    controllers.MORE.append(AlloyStart)
minutes.AGENTS[:] = [minutes.Sender(alloy_agent.is_present, alloy_agent.push)]


@dataclass(frozen=True, slots=True)
class GrafanaCloud:
    """A player: it finds the handler of a host."""

    world: World
    faults: Faults
    recorder: Recorder
    touch: Callable[[], None]

    def __call__(self, host: str) -> Handler | None:
        kind = stack.kind_of(host)
        if kind is None:
            return None

        async def handle(request: Request) -> Response:
            self.touch()
            minutes.keep(self.world)
            self.world.settle()
            body = await request.body.read(MOST_BODY)
            operation = _operation(kind, request)
            rule = self.faults.draw(SERVICE, operation, "")
            if rule is not None and rule.moment in {"before", "drop"}:
                response = _error(rule)
            elif len(body) > MOST_BODY:
                response = Response(413, {"content-type": "text/plain"}, b"request body too large\n")
            else:
                response = self._answer(kind, host, request, body)
            self._note(request, operation, response, rule)
            return _struck(response, rule)

        return handle

    def _answer(self, kind: stack.Kind, host: str, request: Request, body: bytes) -> Response:
        if kind == "grafana" and host != f"{stack.facts(self.world)['stack']}.grafana.net":
            message = f"There is no stack {host} in this sandbox\n".encode()
            return Response(404, {"content-type": "text/plain; charset=utf-8"}, message)
        return CALLS[kind](self.world, request, body)

    def _note(self, request: Request, operation: str, response: Response, rule: Rule | None) -> None:
        self.recorder.add(
            Entry(
                at=self.world.clock.stamp(),
                host=request.host,
                method=request.method,
                path=request.path,
                service=SERVICE,
                operation=operation,
                status=response.status,
                code="" if response.status < 400 else "Refused",
                request_id="",
                mutating=_is_change(operation) and response.status < 400,
                verified=response.status not in {401, 403},
                fault=rule.number if rule else 0,
            )
        )


def _operation(kind: stack.Kind, request: Request) -> str:
    if kind == "grafana":
        return f"grafana:{request.method}"
    return f"{kind}:{'write' if request.path.endswith(_PUSHES) else 'read'}"


def _is_change(operation: str) -> bool:
    """Telemetry is no change of anything that was declared."""
    return operation in {"grafana:POST", "grafana:PUT", "grafana:PATCH", "grafana:DELETE"}


def _error(rule: Rule) -> Response:
    return Response(rule.status, {"content-type": "text/plain; charset=utf-8"} | rule.headers, rule.message.encode())


def _struck(response: Response, rule: Rule | None) -> Response:
    """What a fault makes of a reply."""
    if rule is None:
        return response
    if rule.moment == "after":
        return _error(rule)
    if rule.moment == "slow":
        response.delay = rule.delay
    elif rule.moment == "truncate":
        response.cut = "truncate"
    elif rule.moment in {"drop", "reset"}:
        response.cut = "reset"
    return response

"""The chain that every request runs through; ``wire`` describes it from an operation's side."""

import base64
import hashlib
import json
import logging
import math
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from email.utils import format_datetime
from typing import Any

from ocifree_pipeline.sandbox.door.http import Body, Disconnected, Request, Response
from ocifree_pipeline.sandbox.faults import Faults, Rule
from ocifree_pipeline.sandbox.oracle import errors, models, signatures, tokens
from ocifree_pipeline.sandbox.oracle.wire import (
    GATES,
    Call,
    Destination,
    Operation,
    Query,
    Reply,
    Route,
    Router,
    load_services,
)
from ocifree_pipeline.sandbox.recorder import Entry, Recorder
from ocifree_pipeline.sandbox.world import World

MAX_JSON_BODY = 2 * 1024 * 1024
NOBODY = signatures.Principal("", "", "")

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Trace:
    """What is known about a request so far, for the recorder."""

    request_id: str
    service: str = ""
    operation: str = ""
    code: str = ""
    mutating: bool = False
    verified: bool = False
    replayed: bool = False
    rule: Rule | None = None


@dataclass(slots=True)
class Dispatcher:
    """Serves Oracle's requests on one world. ``strict`` (tests) checks every reply against the SDK's models."""

    world: World
    faults: Faults
    recorder: Recorder
    strict: bool = False
    router: Router = field(default_factory=load_services)
    mismatches: list[str] = field(default_factory=list)

    async def handle(self, request: Request) -> Response:
        trace = Trace(self._request_id(request))
        try:
            self.world.settle()
            response = await self._serve(request, trace)
        except errors.OracleError as error:
            trace.code = error.code
            response = _json(error.status, error.body(), error.headers)
        except Disconnected:
            raise
        except Exception:
            logger.exception("%s %s failed inside the sandbox (%s)", request.method, request.path, trace.request_id)
            trace.code = "InternalError"
            response = _json(500, errors.internal("The sandbox failed; its log says where.").body(), {})
        response.headers["opc-request-id"] = trace.request_id
        response.headers["date"] = format_datetime(self.world.clock.wall(), usegmt=True)
        self._record(request, trace, response.status)
        return response

    async def _serve(self, request: Request, trace: Trace) -> Response:
        destination = self.router.destination(request.host, self.world.home_region)
        if destination is None:
            raise errors.not_built(f"the host {request.host}")
        route = self.router.route(destination, request.method, request.path)
        if route is not None:
            trace.service, trace.operation = route.operation.service, route.operation.name
            trace.mutating = route.operation.mutating
        else:
            trace.service = destination.services[0] if len(destination.services) == 1 else ""
        rule = trace.rule = self.faults.draw(trace.service, trace.operation, trace.request_id)
        if rule is not None and rule.moment == "before":
            raise _error_of(rule)
        if rule is not None and rule.moment == "drop":
            return Response(0, cut="reset")
        response = await self._run(request, trace, destination, route)
        return _after(rule, response)

    async def _run(self, request: Request, trace: Trace, destination: Destination, route: Route | None) -> Response:
        operation = route.operation if route else None
        body = None if operation and operation.streams else await request.body.read(MAX_JSON_BODY)
        if body is not None and len(body) > MAX_JSON_BODY:
            raise errors.too_large(MAX_JSON_BODY)
        principal = NOBODY
        if operation is None or operation.signed:
            principal = self._authenticate(request, body)
            trace.verified = True
        if destination.region not in self.world.regions:
            raise errors.not_authenticated()
        if route is None or operation is None:
            raise self._no_route(request, destination)
        call = Call(
            world=self.world,
            service=operation.service,
            operation=operation.name,
            method=request.method,
            path=route.parameters,
            query=Query(request.query),
            headers=request.headers,
            body=None,
            stream=_hashed(request) if operation.streams else request.body,
            principal=principal,
            region=destination.region,
            request_id=trace.request_id,
        )
        for gate in GATES:
            gate(call)
        call.body = _parse(operation, request, body or b"")
        return await self._answer(operation, call, request, trace, body or b"")

    async def _answer(self, operation: Operation, call: Call, request: Request, trace: Trace, body: bytes) -> Response:
        token = request.headers.get("opc-retry-token") if operation.mutating and not operation.streams else None
        where = tokens.place(operation.service, operation.name, call.principal.user, token) if token else ""
        digest = tokens.digest(request.raw_target, body)
        if where and (kept := tokens.lookup(self.world, where, digest)):
            trace.replayed = True
            return _json(kept["status"], kept["body"], kept["headers"])
        outcome = operation.function(call)
        reply = outcome if isinstance(outcome, Reply) else await outcome
        self._check_reply(operation, reply)
        status = reply.status or operation.status
        if where and status < 400:
            kept = {"status": status, "headers": reply.headers, "body": reply.body}
            tokens.keep(self.world, where, digest, json.loads(json.dumps(kept)))
        if reply.stream is not None:
            return Response(status, dict(reply.headers), stream=reply.stream, length=reply.length)
        return _json(status, reply.body, reply.headers, length=reply.length)

    def _authenticate(self, request: Request, body: bytes | None) -> signatures.Principal:
        return signatures.verify(
            method=request.method,
            raw_target=request.raw_target,
            headers=request.headers,
            keys=self.world.keys,
            wall=self.world.clock.wall(),
            body=body,
        )

    def _no_route(self, request: Request, destination: Destination) -> errors.OracleError:
        if self.router.other_methods(destination, request.path):
            return errors.method_not_allowed(request.method)
        names = " or ".join(destination.services) if len(destination.services) < 3 else "any service"
        return errors.not_built(f"{request.method} {request.path} of {names}")

    def _check_reply(self, operation: Operation, reply: Reply) -> None:
        if not self.strict or operation.reply is None or reply.stream is not None:
            return
        found = [f"{one.path}: {one.message}" for one in models.problems(operation.reply, reply.body)]
        if found:
            self.mismatches.append(f"{operation.name}: {'; '.join(found)}")
            raise TypeError(f"{operation.name} does not answer with a {operation.reply}: {'; '.join(found)}")

    def _request_id(self, request: Request) -> str:
        """Oracle's form: the client's part (or one made here), then two parts of the service."""
        own = self.world.fresh("request", 64).upper()
        given = request.headers.get("opc-request-id", "")[:96]
        return f"{given or own[:32]}/{own[:32]}/{own[32:64]}"

    def _record(self, request: Request, trace: Trace, status: int) -> None:
        self.recorder.add(
            Entry(
                at=self.world.clock.stamp(),
                host=request.host,
                method=request.method,
                path=request.path,
                service=trace.service,
                operation=trace.operation,
                status=status,
                code=trace.code,
                request_id=trace.request_id,
                mutating=trace.mutating,
                verified=trace.verified,
                replayed=trace.replayed,
                fault=trace.rule.number if trace.rule else 0,
            )
        )


def _hashed(request: Request) -> Body:
    """The stream of an upload; when the client did hash it, its end is refused unless the hash is right."""
    expected = request.headers.get("x-content-sha256")
    if expected is None:
        return request.body

    async def chunks() -> AsyncIterator[bytes]:
        seen = hashlib.sha256()
        async for chunk in request.body:
            seen.update(chunk)
            yield chunk
        if base64.b64encode(seen.digest()).decode() != expected:
            raise errors.not_authenticated()

    return Body(chunks())


def _parse(operation: Operation, request: Request, body: bytes) -> Any:
    if operation.body is None or operation.streams:
        return None
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise errors.unsupported_media_type(kind)
    try:
        value = json.loads(body, parse_constant=_finite, parse_float=_finite) if body else None
        if value is None and operation.body_optional:
            return {}
        if value is None:
            raise errors.cannot_parse("A request body is required")
        return models.validate(operation.body, value)
    except (ValueError, RecursionError) as error:
        raise errors.cannot_parse() from error


def _finite(text: str) -> float:
    """JSON knows no NaN and no infinity, neither by name nor by an exponent that is too large."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no finite number")
    return number


def _error_of(rule: Rule) -> errors.OracleError:
    return errors.OracleError(rule.status, rule.code, rule.message, rule.headers)


def _after(rule: Rule | None, response: Response) -> Response:
    """What a fault makes of a reply whose work is done."""
    if rule is None:
        return response
    if rule.moment == "after":
        raise _error_of(rule)
    if rule.moment == "slow":
        response.delay = rule.delay
    elif rule.moment == "truncate":
        response.cut = "truncate"
    elif rule.moment == "reset":
        response.cut = "reset"
    return response


def _json(status: int, body: Any, headers: dict[str, str], *, length: int | None = None) -> Response:
    if isinstance(body, bytes):
        return Response(status, dict(headers), body, length=length)
    if body is None:
        return Response(status, dict(headers), b"", length=length)
    payload = json.dumps(body, separators=(",", ":"), allow_nan=False).encode()
    return Response(status, {"content-type": "application/json"} | headers, payload)

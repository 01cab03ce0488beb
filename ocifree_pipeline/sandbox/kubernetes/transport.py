"""From HTTP to calls of the API and back: who asks, in which format, with which faults, and streams of events."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from ocifree_pipeline.sandbox import instruments
from ocifree_pipeline.sandbox.door.http import Disconnected, Handler, Request, Response
from ocifree_pipeline.sandbox.faults import Rule
from ocifree_pipeline.sandbox.kubernetes import access, protobuf, statuses, subresources
from ocifree_pipeline.sandbox.kubernetes.api import version_info
from ocifree_pipeline.sandbox.kubernetes.calls import (
    ANONYMOUS,
    AUTHENTICATED,
    JSON,
    PATCHES,
    YAML,
    Answer,
    Call,
    Target,
    User,
    Watch,
)
from ocifree_pipeline.sandbox.kubernetes.cluster import Cluster
from ocifree_pipeline.sandbox.kubernetes.statuses import Refusal
from ocifree_pipeline.sandbox.kubernetes.trees import Tree
from ocifree_pipeline.sandbox.kubernetes.yamls import load_yaml

SERVICE = "kubernetes"
BODY_BYTES = 3 * 1024 * 1024
TICK_SECONDS = 0.25
BOOKMARK_SECONDS = 60.0
READS = frozenset({"GET", "HEAD"})

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Transport:
    """``cluster`` is found again for every request: a restored world has another.

    ``version`` is what this API server says to be; control planes may differ while they are upgraded.
    """

    cluster: Cluster
    version: Callable[[], str] | None = None

    def handler(self, certificate: Mapping[str, Any] | None) -> Handler:
        """For one connection, whose client showed that certificate."""
        shown = _subject(certificate)

        async def handle(request: Request) -> Response:
            return await self._handle(request, shown)

        return handle

    def malformed(self, status: int, message: str) -> Response:
        return _response(Refusal(status, "BadRequest", message).body, status)

    async def _handle(self, request: Request, shown: User | None) -> Response:
        cluster = self._current()
        world, api = cluster.world, cluster.api
        world.settle()
        call = Call(request.method, unquote(request.path), ANONYMOUS)
        rule: Rule | None = None
        try:
            user = _spoken_for(cluster, request, self._who(cluster, request, shown))
            call = await _call(request, user)
            rule = instruments.strikes(world, SERVICE, api.operation(call))
            if rule is not None and rule.moment == "drop":
                response = Response(502, cut="reset")
            elif rule is not None and rule.moment == "before":
                raise Refusal(rule.status, rule.code, rule.message)
            else:
                response = self._respond(cluster, call)
                if rule is not None:
                    response = _struck(response, rule)
        except Disconnected:
            raise
        except Exception as error:
            if not isinstance(error, Refusal):
                logger.exception("%s %s failed inside of the API", request.method, request.path)
            refusal = (
                error if isinstance(error, Refusal) else Refusal(500, "InternalError", f"Internal error: {error!r}")
            )
            response = _response(refusal.body, refusal.code)
            if refusal.code in {429, 503} and rule is not None:
                response.headers.update(rule.headers)
        instruments.note(
            world,
            host=f"{cluster.ident}.kubernetes",
            method=call.method,
            path=call.path,
            service=SERVICE,
            operation=api.operation(call),
            status=response.status,
            mutating=call.method not in READS and not call.dry_run,
            fault=rule.number if rule is not None else 0,
        )
        return response

    def _current(self) -> Cluster:
        from ocifree_pipeline.sandbox.kubernetes import cluster

        return cluster.find(self.cluster.world, self.cluster.ident) or self.cluster

    def _who(self, cluster: Cluster, request: Request, shown: User | None) -> User:
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() == "bearer" and token:
            known = cluster.state["tokens"].get(cluster.api.digest(token))
            if known is not None:
                return User(known["user"], (*known["groups"], AUTHENTICATED))
            found = subresources.holder(cluster.api, token)
            if found is None:
                raise statuses.unauthorized()
            return found
        return shown or ANONYMOUS

    def _respond(self, cluster: Cluster, call: Call) -> Response:
        if call.user == ANONYMOUS and not call.path.startswith(("/healthz", "/livez", "/readyz", "/version")):
            raise statuses.unauthorized()
        answer = self._version(call) or cluster.api.answer(call)
        if answer.watch is not None:
            stream = _events(self, cluster, answer.watch)
            return Response(200, {"content-type": JSON, "cache-control": "no-cache, private"}, stream=stream)
        return _of(answer, call)

    def _version(self, call: Call) -> Answer | None:
        if self.version is None or call.path != "/version" or call.method not in READS:
            return None
        return Answer(200, version_info(self.version()))


def _spoken_for(cluster: Cluster, request: Request, user: User) -> User:
    """Whom the user speaks for (``kubectl --as``), if he may."""
    name = request.headers.get("impersonate-user")
    if not name:
        return user
    access.check(cluster.store, user, "impersonate", Target("", "v1", "users", name=name))
    groups = [one.strip() for one in request.headers.get("impersonate-group", "").split(",") if one.strip()]
    parts = name.split(":")
    if name.startswith("system:serviceaccount:") and len(parts) == 4:
        groups += ["system:serviceaccounts", f"system:serviceaccounts:{parts[2]}"]
    return User(name, tuple(dict.fromkeys([*groups, AUTHENTICATED])))


async def _events(transport: Transport, cluster: Cluster, watch: Watch) -> AsyncIterator[bytes]:
    """Events as they happen. The world is settled while waiting, for time may bring some."""
    news = asyncio.Event()
    end = cluster.store.listen(lambda _change: news.set())
    loop = asyncio.get_running_loop()
    began = noted = loop.time()
    after = watch.after
    try:
        for one in watch.first:
            yield _line(one)
        while True:
            if cluster.store.is_too_old(after):
                refusal = statuses.expired(f"too old resource version: {after} ({cluster.store.compacted})")
                yield _line({"type": "ERROR", "object": refusal.body})
                return
            for change in cluster.store.since(after, watch.resource):
                after = change.revision
                event = watch.event(change)
                if event is not None:
                    yield _line(event)
            after = max(after, cluster.store.revision)
            now = loop.time()
            if watch.seconds is not None and now - began >= watch.seconds:
                if watch.bookmark is not None:
                    yield _line(watch.bookmark(after))
                return
            if watch.bookmark is not None and now - noted >= BOOKMARK_SECONDS:
                noted = now
                yield _line(watch.bookmark(after))
            if transport._current() is not cluster:
                return
            news.clear()
            if cluster.store.revision == after:
                yield b""
                await _wait(news, TICK_SECONDS)
                cluster.world.settle()
    finally:
        end()


async def _wait(news: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        return


def _line(event: Tree) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode() + b"\n"


def _subject(certificate: Mapping[str, Any] | None) -> User | None:
    """The user that a client certificate names: its common name, and its organizations as groups."""
    if not certificate:
        return None
    pairs = [pair for part in certificate.get("subject", ()) for pair in part]
    name = next((value for kind, value in pairs if kind == "commonName"), "")
    groups = tuple(value for kind, value in pairs if kind == "organizationName")
    return User(name, (*groups, AUTHENTICATED)) if name else None


async def _call(request: Request, user: User) -> Call:
    content_type = request.headers.get("content-type", JSON).partition(";")[0].strip()
    raw = await request.body.read(BODY_BYTES)
    if len(raw) > BODY_BYTES:
        raise Refusal(413, "RequestEntityTooLarge", f"Request entity too large: limit is {BODY_BYTES}")
    return Call(
        method=request.method,
        path=unquote(request.path),
        user=user,
        query={name: values[0] for name, values in request.query.items()},
        body=_decoded(raw, content_type) if raw else None,
        content_type=content_type,
        accept=request.headers.get("accept", JSON),
        agent=request.headers.get("user-agent", ""),
    )


def _decoded(raw: bytes, content_type: str) -> Any:
    if content_type == protobuf.TYPE:
        return protobuf.decoded(raw)
    if content_type not in {JSON, YAML, *PATCHES, "text/plain"}:
        raise statuses.unsupported_media_type(content_type, (JSON, YAML))
    try:
        return json.loads(raw)
    except ValueError as error:
        if "yaml" not in content_type:
            raise statuses.bad_request(f"the object provided is unrecognized: {error}") from None
    try:
        documents = load_yaml(raw)
    except ValueError as error:
        raise statuses.bad_request(str(error)) from None
    return documents[0] if documents else None


def _of(answer: Answer, call: Call) -> Response:
    if answer.text is not None:
        return Response(answer.status, {"content-type": "text/plain; charset=utf-8"}, answer.text.encode())
    body = answer.body or {}
    if answer.bare_items:
        items = [{name: one[name] for name in one if name not in {"kind", "apiVersion"}} for one in body["items"]]
        body = body | {"items": items}
    response = _response(body, answer.status)
    kind = body.get("kind")
    if kind == "APIGroupDiscoveryList":
        from ocifree_pipeline.sandbox.kubernetes.discovery import AGGREGATED_TYPE

        response.headers["content-type"] = AGGREGATED_TYPE
    if answer.warnings:
        response.headers["warning"] = ", ".join(f'299 - "{_quoted(one)}"' for one in answer.warnings)
    return response


def _quoted(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"')


def _response(body: Tree, status: int) -> Response:
    return Response(status, {"content-type": JSON, "cache-control": "no-cache, private"}, json.dumps(body).encode())


def _struck(response: Response, rule: Rule) -> Response:
    """A fault that strikes after the work is done."""
    if rule.moment == "after":
        return _response(Refusal(rule.status, rule.code, rule.message).body, rule.status)
    if rule.moment == "slow":
        response.delay = rule.delay
    elif rule.moment in {"reset", "truncate"}:
        response.cut = "reset" if rule.moment == "reset" else "truncate"
    return response

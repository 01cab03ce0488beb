"""The stores over HTTP: Prometheus, Loki and Tempo as Grafana Cloud shows them, for writing and for reading."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from typing import Any, Literal
from urllib.parse import parse_qs

from ocifree_pipeline.sandbox.door.http import Request, Response
from ocifree_pipeline.sandbox.grafana import logs, metrics, promql, stack, traces, wire
from ocifree_pipeline.sandbox.grafana.metrics import Discarded, Source
from ocifree_pipeline.sandbox.world import World

MOST_STEPS = 11_000
JSON = {"content-type": "application/json"}
TEXT = {"content-type": "text/plain; charset=utf-8"}

Right = Literal["read", "write"]
Call = Callable[[World, Request, bytes], Response]


def metrics_call(world: World, request: Request, body: bytes) -> Response:
    """A host `prometheus-*`: everything stands under /api/prom."""
    path = request.path.removeprefix("/api/prom")
    right: Right = "write" if path == "/push" else "read"
    try:
        stack.admit_data(world, request.headers.get("authorization", ""), "metrics", right)
    except stack.Denied as denied:
        return Response(denied.status, JSON, denied.message.encode())
    if not request.path.startswith("/api/prom/"):
        return Response(404, TEXT, b"404 page not found\n")
    if path == "/push":
        return _taken(request, lambda: _push_metrics(world, request, body), 200)
    return prometheus(metrics.stored(world), world, path, parameters(request, body))


def logs_call(world: World, request: Request, body: bytes) -> Response:
    path = request.path.removeprefix("/loki/api/v1")
    right: Right = "write" if path == "/push" else "read"
    try:
        stack.admit_data(world, request.headers.get("authorization", ""), "logs", right)
    except stack.Denied as denied:
        return Response(denied.status, JSON, denied.message.encode())
    if not request.path.startswith("/loki/api/v1/"):
        return Response(404, TEXT, b"404 page not found\n")
    if path == "/push":
        return _taken(request, lambda: _push_logs(world, request, body), 204)
    return loki(world, path, parameters(request, body))


def traces_call(world: World, request: Request, body: bytes) -> Response:
    """Hosts `tempo-*` and `otlp-gateway-*`."""
    right: Right = "write" if request.path.endswith("/v1/traces") else "read"
    try:
        stack.admit_data(world, request.headers.get("authorization", ""), "traces", right)
    except stack.Denied as denied:
        return Response(denied.status, JSON, denied.message.encode())
    if right == "write":
        return _taken(request, lambda: _push_traces(world, request, body), 200)
    if not request.path.startswith("/tempo/api/"):
        return Response(404, TEXT, b"404 page not found\n")
    return tempo(world, request.path.removeprefix("/tempo"), parameters(request, body))


# writing --------------------------------------------------------------------------------------------------------------


def _taken(request: Request, store: Callable[[], None], status: int) -> Response:
    if request.method != "POST":
        return Response(405, TEXT, b"Method Not Allowed\n")
    try:
        store()
    except Discarded as discarded:
        return Response(discarded.status, TEXT, discarded.message.encode())
    except wire.Malformed as error:
        return Response(400, TEXT, f"{error}\n".encode())
    return Response(status)


def _push_metrics(world: World, request: Request, body: bytes) -> None:
    if request.headers.get("x-prometheus-remote-write-version", "0.1.0").startswith("2"):
        raise wire.Malformed("the sandbox plays remote write 1.0 only")
    metrics.push(world, wire.write_request(wire.unpacked(body, request.headers.get("content-encoding", "snappy"))))


def _push_logs(world: World, request: Request, body: bytes) -> None:
    encoding = request.headers.get("content-encoding", "")
    if request.headers.get("content-type", "").startswith("application/json"):
        streams = wire.push_json(wire.unpacked(body, encoding))
    else:
        streams = wire.push_request(wire.unpacked(body, encoding or "snappy"))
    logs.push(world, streams)


def _push_traces(world: World, request: Request, body: bytes) -> None:
    plain = wire.unpacked(body, request.headers.get("content-encoding", ""))
    is_json = request.headers.get("content-type", "").startswith("application/json")
    traces.push(world, wire.export_traces_json(plain) if is_json else wire.export_traces(plain))


# reading --------------------------------------------------------------------------------------------------------------


def prometheus(source: Source, world: World, path: str, asked: dict[str, list[str]]) -> Response:
    """The HTTP API of Prometheus below /api/v1."""
    now = world.clock.now().timestamp()

    def one(name: str, default: str = "") -> str:
        return asked.get(name, [default])[0]

    try:
        match path:
            case "/api/v1/query":
                at = int(wire.moment(one("time", str(now))) * 1000)
                return _success(_instant(promql.instant(source, one("query"), at), at))
            case "/api/v1/query_range":
                start, end = (int(wire.moment(one(name)) * 1000) for name in ("start", "end"))
                step = _step(one("step"))
                if (end - start) / step > MOST_STEPS:
                    raise promql.Wrong("exceeded maximum resolution of 11,000 points per timeseries")
                found = promql.ranged(source, one("query"), start, end, step)
                matrix = [{"metric": labels, "values": [_point(*p) for p in points]} for labels, points in found]
                return _success({"resultType": "matrix", "result": matrix})
            case "/api/v1/series" | "/api/v1/labels":
                labels = [one for query in asked.get("match[]", ()) for one in _selected(source, query, now)]
                if path.endswith("series"):
                    return _success(labels)
                return _success(sorted({name for one in labels for name in one}))
        if path.startswith("/api/v1/label/") and path.endswith("/values"):
            name = path.split("/")[4]
            selectors = asked.get("match[]", ['{__name__=~".+"}'])
            found_labels = [one for query in selectors for one in _selected(source, query, now)]
            return _success(sorted({one[name] for one in found_labels if name in one}))
    except (promql.Wrong, wire.Malformed) as error:
        kind = "bad_data" if not isinstance(error, promql.NotPlayed) else "not_implemented"
        return _failure(400 if kind == "bad_data" else 501, kind, str(error))
    return _failure(501, "not_implemented", f"the sandbox does not play {path}")


def loki(world: World, path: str, asked: dict[str, list[str]]) -> Response:
    now = world.clock.now().timestamp()

    def one(name: str, default: str) -> str:
        return asked.get(name, [default])[0]

    try:
        if path == "/query_range":
            start, end = _nanoseconds(one("start", str(now - 3600))), _nanoseconds(one("end", str(now + 1)))
            most, forward = int(one("limit", "100")), one("direction", "backward") == "forward"
            result = logs.find(world, one("query", ""), start, end, most, forward=forward)
            return _success({"resultType": "streams", "result": result, "stats": {}})
        if path == "/series":
            return _success([one for query in asked.get("match[]", ()) for one in logs.series(world, query)])
        if path == "/labels":
            return _success(logs.labels_of(world))
        if path.startswith("/label/") and path.endswith("/values"):
            return _success(logs.labels_of(world, path.split("/")[2]))
    except (logs.Wrong, ValueError) as error:
        return Response(400, TEXT, f"{error}\n".encode())
    return Response(501, TEXT, f"the sandbox does not play {path}\n".encode())


def tempo(world: World, path: str, asked: dict[str, list[str]]) -> Response:
    if path == "/api/search":
        try:
            tags = traces.wanted(asked.get("tags", [""])[0], asked.get("q", [""])[0])
            start, end = float(asked.get("start", ["0"])[0]), float(asked.get("end", ["inf"])[0])
            most = int(asked.get("limit", ["20"])[0])
        except ValueError as error:
            return Response(400, TEXT, f"{error}\n".encode())
        return Response(200, JSON, json.dumps({"traces": traces.search(world, tags, start, end, most)}).encode())
    if path.startswith("/api/traces/"):
        spans = traces.trace(world, path.rsplit("/", 1)[1])
        return Response(200 if spans else 404, JSON, json.dumps({"spans": spans}).encode())
    return Response(501, TEXT, f"the sandbox does not play {path}\n".encode())


def parameters(request: Request, body: bytes) -> dict[str, list[str]]:
    """Queries may be posted as a form."""
    if request.method == "POST" and request.headers.get("content-type", "").startswith(
        "application/x-www-form-urlencoded"
    ):
        return {**request.query, **parse_qs(body.decode("utf-8", "replace"), keep_blank_values=True)}
    return request.query


def _selected(source: Source, query: str, now: float) -> list[wire.Labels]:
    node = promql.parsed(query)
    if not hasattr(node, "matchers"):
        raise promql.Wrong(f"{query} is no selector")
    at = int(now * 1000)
    return [labels for labels, _, _ in source(promql.matches_of(node), at - 3600_000, at)]


def _instant(value: promql.Value, at: int) -> dict[str, Any]:
    if isinstance(value, float):
        return {"resultType": "scalar", "result": _point(at, value)}
    if isinstance(value, str):
        return {"resultType": "string", "result": [at / 1000, value]}
    return {
        "resultType": "vector",
        "result": [{"metric": labels, "value": _point(at, number)} for labels, number in value],
    }


def _point(at: int, value: float) -> list[Any]:
    if math.isnan(value):
        return [at / 1000, "NaN"]
    if math.isinf(value):
        return [at / 1000, "+Inf" if value > 0 else "-Inf"]
    return [at / 1000, repr(value).removesuffix(".0")]


def _step(text: str) -> int:
    try:
        step = float(text)
    except ValueError:
        import promql_parser

        try:
            step = promql_parser.parse_duration(text).total_seconds()
        except ValueError as error:
            raise promql.Wrong(f'cannot parse "{text}" to a valid duration') from error
    if step <= 0:
        raise promql.Wrong("zero or negative query resolution step widths are not accepted. Try a positive integer")
    return int(step * 1000)


def _nanoseconds(text: str) -> int:
    """Loki takes nanoseconds, seconds, or RFC 3339."""
    if text.isdigit() and len(text) > 15:
        return int(text)
    return int(wire.moment(text) * wire.NANOS)


def _success(data: Any) -> Response:
    return Response(200, JSON, json.dumps({"status": "success", "data": data}).encode())


def _failure(status: int, kind: str, message: str) -> Response:
    return Response(status, JSON, json.dumps({"status": "error", "errorType": kind, "error": message}).encode())

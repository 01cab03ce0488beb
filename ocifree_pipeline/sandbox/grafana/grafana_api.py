"""The stack's own Grafana over HTTP: `lab.grafana.net`. Service account tokens open it, access policy tokens do not."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from ocifree_pipeline.sandbox.door.http import Request, Response
from ocifree_pipeline.sandbox.grafana import alerting, boards, data_api, minutes, sources, stack
from ocifree_pipeline.sandbox.grafana.boards import Refused
from ocifree_pipeline.sandbox.grafana.promql import Wrong
from ocifree_pipeline.sandbox.world import World

JSON = {"content-type": "application/json; charset=UTF-8"}
VERSIONS = ("v1beta1", "v1", "v0alpha1")
NAMESPACE = "stacks-1000000"

Answer = tuple[int, Any]
Action = Callable[[World, Request, dict[str, Any], re.Match[str]], Answer]
ROUTES: list[tuple[str, re.Pattern[str], str, Action]] = []


def route(method: str, pattern: str, role: str = "Viewer") -> Callable[[Action], Action]:
    def register(action: Action) -> Action:
        ROUTES.append((method, re.compile(pattern), role, action))
        return action

    return register


def call(world: World, request: Request, body: bytes) -> Response:
    found = [(pattern.fullmatch(request.path), method, role, do) for method, pattern, role, do in ROUTES]
    there = [(match, method, role, do) for match, method, role, do in found if match]
    fitting = next(((match, role, do) for match, method, role, do in there if method == request.method), None)
    role: Any = fitting[1] if fitting else "Viewer"
    try:
        stack.admit_grafana(world, request.headers.get("authorization", ""), role)
    except stack.Denied as denied:
        return Response(denied.status, JSON, denied.message.encode())
    if request.path.startswith("/api/datasources/proxy/uid/"):
        return _proxied(world, request, body)
    if fitting is None:
        status, text = (405, "Method Not Allowed") if there else (404, "Not found")
        return _json(status, {"message": f"{text}; the sandbox plays {len(ROUTES)} calls of Grafana's API"})
    try:
        value = json.loads(body) if body else {}
        if not isinstance(value, dict):
            return _json(400, {"message": "bad request data"})
        status, answer = fitting[2](world, request, value, fitting[0])
    except Refused as refused:
        return _json(refused.status, refused.body)
    except ValueError:
        return _json(400, {"message": "bad request data"})
    return _json(status, answer)


def _json(status: int, value: Any) -> Response:
    return Response(status, JSON, b"" if status == 204 else json.dumps(value).encode())


def _proxied(world: World, request: Request, body: bytes) -> Response:
    """`/api/datasources/proxy/uid/UID/...`: a query through Grafana, which adds the credentials itself."""
    uid, _, rest = request.path.removeprefix("/api/datasources/proxy/uid/").partition("/")
    asked = data_api.parameters(request, body)
    kind = sources.TYPES.get(uid)
    if kind == "prometheus":
        try:
            return data_api.prometheus(sources.prometheus(world, uid), world, f"/{rest}", asked)
        except Wrong as error:
            return _json(404, {"message": str(error)})
    if kind == "loki":
        return data_api.loki(world, f"/{rest}".removeprefix("/loki/api/v1"), asked)
    if kind == "tempo":
        return data_api.tempo(world, f"/{rest}", asked)
    return _json(404, {"message": "Unable to find datasource"})


@route("GET", "/api/health")
def _health(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, {"database": "ok", "version": "13.0.1"}


@route("GET", "/api/frontend/settings")
def _settings(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, {"namespace": NAMESPACE}


@route("GET", "/api/datasources")
def _datasources(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, sources.listed(world)


# folders and dashboards, the older API --------------------------------------------------------------------------------


@route("GET", "/api/folders")
def _folders(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, list(boards.folders(world).values())


@route("POST", "/api/folders", "Editor")
def _make_folder(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, boards.make_folder(world, body)


@route("GET", "/api/folders/([^/]+)")
def _folder(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, boards.folder(world, at[1])


@route("DELETE", "/api/folders/([^/]+)", "Editor")
def _remove_folder(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    boards.remove_folder(world, at[1])
    return 200, {"message": "Folder deleted"}


@route("POST", "/api/dashboards/db", "Editor")
def _save(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    spec = body.get("dashboard")
    if not isinstance(spec, dict):
        raise Refused(400, "bad request data")
    overwrite, folder = bool(body.get("overwrite")), str(body.get("folderUid") or "")
    return 200, boards.as_saved(boards.save(world, spec, folder, overwrite=overwrite, version=spec.get("version")))


@route("GET", "/api/dashboards/uid/([^/]+)")
def _board(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, boards.as_read(world, boards.board(world, at[1]))


@route("DELETE", "/api/dashboards/uid/([^/]+)", "Editor")
def _remove_board(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    title = boards.remove(world, at[1])["spec"]["title"]
    return 200, {"title": title, "message": f"Dashboard {title} deleted"}


@route("GET", "/api/search")
def _search(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, boards.search(world, request.query.get("folderUIDs", []))


# dashboards, the newer API --------------------------------------------------------------------------------------------

_BOARDS = f"/apis/dashboard.grafana.app/(?P<version>{'|'.join(VERSIONS)})/namespaces/{NAMESPACE}/dashboards"


@route("GET", "/apis/dashboard.grafana.app/?")
def _group(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    if not stack.facts(world).get("newApi", True):
        raise Refused(404, "Not found")
    versions = [{"groupVersion": f"dashboard.grafana.app/{one}", "version": one} for one in VERSIONS]
    return 200, {"kind": "APIGroup", "name": "dashboard.grafana.app", "versions": versions}


@route("GET", _BOARDS)
def _list(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    items = [boards.as_resource(one, at["version"], NAMESPACE) for one in boards.boards(world).values()]
    return 200, {"kind": "DashboardList", "items": items}


@route("POST", _BOARDS, "Editor")
def _create(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 201, boards.as_resource(boards.save_resource(world, body, None), at["version"], NAMESPACE)


@route("GET", _BOARDS + "/(?P<name>[^/]+)")
def _get(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, boards.as_resource(boards.board(world, at["name"]), at["version"], NAMESPACE)


@route("PUT", _BOARDS + "/(?P<name>[^/]+)", "Editor")
def _put(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, boards.as_resource(boards.save_resource(world, body, at["name"]), at["version"], NAMESPACE)


@route("DELETE", _BOARDS + "/(?P<name>[^/]+)", "Editor")
def _delete(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    boards.remove(world, at["name"])
    return 200, {"kind": "Status", "status": "Success"}


# alerting -------------------------------------------------------------------------------------------------------------

_GROUP = "/api/v1/provisioning/folder/(?P<folder>[^/]+)/rule-groups/(?P<group>[^/]+)"
_POINTS = "/api/v1/provisioning/contact-points"


@route("GET", _GROUP)
def _rule_group(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    found = alerting.group(world, at["folder"], at["group"])
    return 200, {name: value for name, value in found.items() if name != "evaluated"}


@route("PUT", _GROUP, "Editor")
def _put_rule_group(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    provenance = "" if "x-disable-provenance" in request.headers else "api"
    saved = alerting.put_group(world, at["folder"], at["group"], body, provenance=provenance)
    minutes.keep(world)
    return 200, saved


@route("DELETE", _GROUP, "Editor")
def _remove_rule_group(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    alerting.remove_group(world, at["folder"], at["group"])
    return 204, None


@route("GET", "/api/v1/provisioning/alert-rules")
def _alert_rules(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, [rule for group in alerting.groups(world).values() for rule in group["rules"]]


@route("GET", _POINTS)
def _contact_points(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    names = request.query.get("name", [])
    return 200, [one for one in alerting.contact_points(world) if not names or one["name"] in names]


@route("POST", _POINTS, "Editor")
def _add_contact_point(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 202, alerting.put_contact_point(world, body, None)


@route("PUT", _POINTS + "/([^/]+)", "Editor")
def _put_contact_point(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    alerting.put_contact_point(world, body, at[1])
    return 202, {"message": "contactpoint updated"}


@route("GET", "/api/v1/provisioning/policies")
def _policies(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, alerting.policy(world)


@route("PUT", "/api/v1/provisioning/policies", "Editor")
def _put_policies(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    alerting.put_policy(world, body)
    return 202, {"message": "policies updated"}


@route("GET", "/api/prometheus/grafana/api/v1/rules")
def _rules(world: World, request: Request, body: dict[str, Any], at: re.Match[str]) -> Answer:
    return 200, {"status": "success", "data": {"groups": alerting.rules_state(world)}}

"""Work requests: long jobs that clients poll. Other services start them here; core and identity both show them.

    request = work_requests.start(call.world, "CreateImage", compartment, [Touched("CREATED", "image", ocid)],
                                  seconds=120, on_done="image.imported", ocid=ocid)
    return Reply.of(image, opc_work_request_id=request.ocid)

``on_done`` is a registered transition, called with ``request=`` and the given arguments when the time has come. It
may call ``fail`` (a late failure); otherwise the request has succeeded once it returns.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox import clock
from ocifree_pipeline.sandbox.oracle import pages
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import TRANSITIONS, Resource, World, transition

KIND = "workrequest"
SUMMARY_FIELDS = (
    "id",
    "operationType",
    "status",
    "compartmentId",
    "percentComplete",
    "timeAccepted",
    "timeStarted",
    "timeFinished",
)


@dataclass(frozen=True, slots=True)
class Touched:
    """A resource of the job; ``action`` is CREATED, UPDATED, DELETED, RELATED or IN_PROGRESS, shown on success."""

    action: str
    entity: str
    ocid: str
    uri: str = ""


def start(
    world: World,
    operation_type: str,
    compartment: str,
    resources: Sequence[Touched],
    *,
    seconds: float,
    on_done: str | None = None,
    region: str | None = None,
    **args: Any,
) -> Resource:
    """A job that is in progress now and done ``seconds`` of virtual time later."""
    if on_done is not None and on_done not in TRANSITIONS:
        raise LookupError(f"no transition is registered as {on_done!r}")
    now = world.clock.stamp()
    ocid = world.new_ocid("coreservicesworkrequest", world.home_region if region is None else region)
    body = {
        "id": ocid,
        "operationType": operation_type,
        "status": "IN_PROGRESS",
        "compartmentId": compartment,
        "resources": [_shown(one, "IN_PROGRESS") for one in resources],
        "percentComplete": 0.0,
        "timeAccepted": now,
        "timeStarted": now,
    }
    hidden = {
        "actions": [one.action for one in resources],
        "seconds": seconds,
        "onDone": on_done,
        "args": args,
        "errors": [],
        "logs": [],
    }
    request = world.add(KIND, body, ocid=ocid, hidden=hidden, region=region, bare=True)
    log(world, request, f"{operation_type} has started")
    world.clock.later(seconds, "workrequest.finish", request=request.ocid)
    return request


def fail(world: World, request: Resource | str, code: str, message: str) -> None:
    """End the job as FAILED, with an error that clients can read; a job that has ended already stays as it is."""
    resource = world.table(KIND)[request] if isinstance(request, str) else request
    if _ended(resource):
        return
    resource.hidden["errors"].append({"code": code, "message": message, "timestamp": world.clock.stamp()})
    log(world, resource, message)
    world.change(resource, status="FAILED", timeFinished=world.clock.stamp(), percentComplete=percent(world, resource))


def log(world: World, request: Resource, message: str) -> None:
    request.hidden["logs"].append({"message": message, "timestamp": world.clock.stamp()})


def percent(world: World, request: Resource) -> float:
    """Progress follows the clock; only success is 100."""
    if _ended(request):
        return float(request.body["percentComplete"])
    passed = (world.clock.now() - clock.parse(request.body["timeAccepted"])).total_seconds()
    share = passed / request.hidden["seconds"] if request.hidden["seconds"] else 1.0
    return round(min(99.0, max(0.0, 100 * share)), 1)


@transition("workrequest.finish")
def _finish(world: World, request: str) -> None:
    resource = world.get(KIND, request)
    if resource is None or _ended(resource):
        return
    on_done = resource.hidden["onDone"]
    if on_done is not None:
        TRANSITIONS[on_done](world, request=request, **resource.hidden["args"])
    if _ended(resource):
        return
    resources = [
        one | {"actionType": action}
        for one, action in zip(resource.body["resources"], resource.hidden["actions"], strict=True)
    ]
    log(world, resource, f"{resource.body['operationType']} has succeeded")
    world.change(
        resource, status="SUCCEEDED", timeFinished=world.clock.stamp(), percentComplete=100.0, resources=resources
    )


def _shown(touched: Touched, action: str) -> dict[str, str]:
    return {
        "actionType": action,
        "entityType": touched.entity,
        "identifier": touched.ocid,
        "entityUri": touched.uri or f"/{touched.entity}s/{touched.ocid}",
    }


def _ended(request: Resource) -> bool:
    return request.body["status"] in {"SUCCEEDED", "FAILED", "CANCELED"}


def _body(world: World, request: Resource) -> dict[str, Any]:
    return request.body | {"percentComplete": percent(world, request)}


def get_work_request(call: Call) -> Reply:
    request = call.find(KIND, call.path["workRequestId"])
    headers = {"etag": request.etag} | ({} if _ended(request) else {"retry-after": "1"})
    return Reply(_body(call.world, request), headers=headers)


def list_work_requests(call: Call) -> Reply:
    compartment = call.compartment(call.query.need("compartmentId")).ocid
    about = call.query.get("resourceId") or call.query.get("resourceIdentifier")
    found = [
        _body(call.world, one)
        for one in call.world.all(KIND)
        if one.region in {"", call.region}
        and one.body["compartmentId"] == compartment
        and (about is None or any(resource["identifier"] == about for resource in one.body["resources"]))
    ]
    newest_first = [{name: one[name] for name in SUMMARY_FIELDS if name in one} for one in reversed(found)]
    return pages.page(call, newest_first)


def list_work_request_errors(call: Call) -> Reply:
    return _lines(call, "errors")


def list_work_request_logs(call: Call) -> Reply:
    return _lines(call, "logs")


def _lines(call: Call, what: str) -> Reply:
    lines = call.find(KIND, call.path["workRequestId"]).hidden[what]
    newest_first = call.query.get("sortOrder") != "ASC"
    return pages.page(call, lines[::-1] if newest_first else lines)


MODELS = "oci.work_requests.models"
for _service in (Service("iaas"), Service("identity")):
    _service.get("/workRequests/{workRequestId}", operation="GetWorkRequest", reply=f"{MODELS}.WorkRequest")(
        get_work_request
    )
    _service.get("/workRequests", operation="ListWorkRequests", reply=f"list[{MODELS}.WorkRequestSummary]")(
        list_work_requests
    )
    _service.get(
        "/workRequests/{workRequestId}/errors",
        operation="ListWorkRequestErrors",
        reply=f"list[{MODELS}.WorkRequestError]",
    )(list_work_request_errors)
    _service.get(
        "/workRequests/{workRequestId}/logs",
        operation="ListWorkRequestLogs",
        reply=f"list[{MODELS}.WorkRequestLogEntry]",
    )(list_work_request_logs)

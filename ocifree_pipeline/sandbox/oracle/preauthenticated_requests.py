"""Object Storage, pre-authenticated requests: addresses that let anybody who knows them in, until they expire."""

from typing import Any
from urllib.parse import quote

from ocifree_pipeline.sandbox.clock import parse
from ocifree_pipeline.sandbox.oracle import errors, object_errors, object_listing, objects, pages
from ocifree_pipeline.sandbox.oracle.buckets import BUCKET, MODELS, bucket_of
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service

READS = frozenset({"ObjectRead", "ObjectReadWrite", "AnyObjectRead", "AnyObjectReadWrite"})
WRITES = frozenset({"ObjectWrite", "ObjectReadWrite", "AnyObjectWrite", "AnyObjectReadWrite"})
ACCESS = f"/p/{{token}}{BUCKET}/o"
SUMMARY = ("id", "name", "objectName", "bucketListingAction", "accessType", "timeExpires", "timeCreated")

service = Service("objectstorage")


@service.post(
    f"{BUCKET}/p",
    operation="CreatePreauthenticatedRequest",
    body=f"{MODELS}.CreatePreauthenticatedRequestDetails",
    reply=f"{MODELS}.PreauthenticatedRequest",
)
def create_preauthenticated_request(call: Call) -> Reply:
    bucket = bucket_of(call)
    _check(call)
    one = call.body["accessType"].startswith("Object")
    request = {
        "id": call.world.fresh("par", 44),
        "timeCreated": call.world.clock.stamp(),
        "bucketListingAction": "Deny",
    } | call.body
    token = call.world.fresh("par token", 64)
    bucket.hidden["pars"][request["id"]] = {"token": token, "request": request}
    name = quote(call.body["objectName"], safe="") if one else ""
    path = f"/p/{token}/n/{bucket.body['namespace']}/b/{bucket.body['name']}/o/{name}"
    full = f"https://objectstorage.{call.region}.oraclecloud.com{path}"
    return Reply(_shown(request) | {"accessUri": path, "fullPath": full})


@service.get(
    f"{BUCKET}/p/{{parId}}",
    operation="GetPreauthenticatedRequest",
    reply=f"{MODELS}.PreauthenticatedRequestSummary",
)
def get_preauthenticated_request(call: Call) -> Reply:
    return Reply(_shown(_find(call)["request"]))


@service.get(
    f"{BUCKET}/p",
    operation="ListPreauthenticatedRequests",
    reply=f"list[{MODELS}.PreauthenticatedRequestSummary]",
)
def list_preauthenticated_requests(call: Call) -> Reply:
    prefix = call.query.get("objectNamePrefix") or ""
    rows = [
        _shown(one["request"])
        for one in bucket_of(call).hidden["pars"].values()
        if one["request"].get("objectName", "").startswith(prefix)
    ]
    return pages.page(call, rows, default_limit=1000)


@service.delete(f"{BUCKET}/p/{{parId}}", operation="DeletePreauthenticatedRequest")
def delete_preauthenticated_request(call: Call) -> Reply:
    del bucket_of(call).hidden["pars"][_find(call)["request"]["id"]]
    return Reply()


# what the holder of an address may do


@service.get(f"{ACCESS}/{{objectName*}}", operation="GetObjectByPar", signed=False)
def get_by_par(call: Call) -> Reply:
    _require(call, READS)
    return objects.get(call, call.path["objectName"])


@service.head(f"{ACCESS}/{{objectName*}}", operation="HeadObjectByPar", signed=False)
def head_by_par(call: Call) -> Reply:
    _require(call, READS)
    return objects.head(call, call.path["objectName"])


@service.put(f"{ACCESS}/{{objectName*}}", operation="PutObjectByPar", body="stream", signed=False)
async def put_by_par(call: Call) -> Reply:
    _require(call, WRITES)
    if call.headers.get("opc-multipart", "").lower() == "true":
        raise errors.not_built("multipart uploads by pre-authenticated requests")
    return await objects.put(call, call.path["objectName"])


@service.get(ACCESS, operation="ListObjectsByPar", reply=f"{MODELS}.ListObjects", signed=False)
def list_by_par(call: Call) -> Reply:
    request = _holder(call)
    inside = (call.query.get("prefix") or "").startswith(request.get("objectName", ""))
    if request["bucketListingAction"] != "ListObjects" or not inside:
        raise object_errors.no_such_request()
    return object_listing.listing(call)


def _check(call: Call) -> None:
    body = call.body
    one, listed = body["accessType"].startswith("Object"), body.get("bucketListingAction", "Deny") != "Deny"
    if one and not body.get("objectName"):
        raise errors.missing_parameter("objectName")
    if listed and (one or body["accessType"] == "AnyObjectWrite" or body["bucketListingAction"] != "ListObjects"):
        raise errors.invalid_parameter("bucketListingAction can only be Deny, or ListObjects for AnyObjectRead kinds")
    if parse(body["timeExpires"]) <= call.world.clock.now():
        raise errors.invalid_parameter("timeExpires must be in the future")


def _find(call: Call) -> dict[str, Any]:
    found: dict[str, Any] | None = bucket_of(call).hidden["pars"].get(call.path["parId"])
    if found is None:
        raise errors.not_found("The pre-authenticated request was not found in the bucket")
    return found


def _holder(call: Call) -> dict[str, Any]:
    """The request behind the token of this address, while it lasts."""
    try:
        known = bucket_of(call).hidden["pars"].values()
    except errors.OracleError:
        raise object_errors.no_such_request() from None
    for one in known:
        request: dict[str, Any] = one["request"]
        if one["token"] == call.path["token"] and parse(request["timeExpires"]) > call.world.clock.now():
            return request
    raise object_errors.no_such_request()


def _require(call: Call, kinds: frozenset[str]) -> None:
    request = _holder(call)
    name, meant = call.path["objectName"], request.get("objectName", "")
    fits = name == meant if request["accessType"].startswith("Object") else name.startswith(meant)
    if request["accessType"] not in kinds or not fits:
        raise object_errors.no_such_request()


def _shown(request: dict[str, Any]) -> dict[str, Any]:
    return {name: request.get(name) for name in SUMMARY}

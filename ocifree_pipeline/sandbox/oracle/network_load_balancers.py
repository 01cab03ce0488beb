"""Network load balancers: connections, not requests, are passed on. A service with work requests of its own."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import (
    addresses,
    balancer_family,
    balancer_health,
    balancer_jobs,
    balancer_parts,
    errors,
    limits,
    network_life,
    pages,
    private_ips,
)
from ocifree_pipeline.sandbox.oracle.balancer_family import Family, Fields, check_number
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "networkloadbalancer"
MODELS = "oci.network_load_balancer.models"
MODEL = f"{MODELS}.NetworkLoadBalancer"
CREATE_SECONDS = 30
DELETE_SECONDS = 20
POLICIES = ("FIVE_TUPLE", "THREE_TUPLE", "TWO_TUPLE")
JOB_TYPES = {
    "CreateNetworkLoadBalancer": "CREATE_NETWORK_LOAD_BALANCER",
    "UpdateNetworkLoadBalancer": "UPDATE_NETWORK_LOAD_BALANCER",
    "DeleteNetworkLoadBalancer": "DELETE_NETWORK_LOAD_BALANCER",
    "CreateBackendSet": "CREATE_BACKENDSET",
    "UpdateBackendSet": "UPDATE_BACKENDSET",
    "DeleteBackendSet": "DELETE_BACKENDSET",
    "CreateBackend": "CREATE_BACKEND",
    "UpdateBackend": "UPDATE_BACKEND",
    "DeleteBackend": "DELETE_BACKEND",
    "CreateListener": "CREATE_LISTENER",
    "UpdateListener": "UPDATE_LISTENER",
    "DeleteListener": "DELETE_LISTENER",
    "UpdateHealthChecker": "UPDATE_HEALTH_CHECKER",
    "UpdateNetworkSecurityGroups": "UPDATE_NSGS",
}


def _checked_backend(world: World, wanted: Fields) -> Fields:
    if ("ipAddress" in wanted) == ("targetId" in wanted):
        raise errors.invalid_parameter("A backend needs an ipAddress or a targetId, and only one of them")
    if "ipAddress" in wanted:
        addresses.address(wanted["ipAddress"])
    elif world.get(private_ips.KIND, wanted["targetId"]) is None:
        target = world.get("instance", wanted["targetId"])
        if target is None or target.gone:
            raise errors.related_not_found()
    check_number(wanted, "port", 0, 65535)
    check_number(wanted, "weight", 0, 100)
    name = f"{wanted.get('ipAddress') or wanted['targetId']}:{wanted['port']}"
    flags = {"isDrain": False, "isBackup": False, "isOffline": False}
    return {"name": name, "weight": 1} | flags | wanted


def _checked_health_checker(wanted: Fields) -> Fields:
    kept: Fields = {"port": 0, "retries": 3, "timeoutInMillis": 3000, "intervalInMillis": 10000} | wanted
    check_number(kept, "port", 0, 65535)
    check_number(kept, "retries", 1, 10)
    check_number(kept, "timeoutInMillis", 1, 600_000)
    check_number(kept, "intervalInMillis", 10_000, 1_800_000)
    if kept["protocol"] in {"HTTP", "HTTPS"}:
        kept = {"urlPath": "/", "returnCode": 200} | kept
    if kept["protocol"] == "UDP" and "requestData" not in kept:
        raise errors.missing_parameter("healthChecker.requestData")
    return kept


def _checked_backend_set(_balancer: Resource, wanted: Fields) -> Fields:
    kept = {"policy": "FIVE_TUPLE", "isPreserveSource": True, "isFailOpen": False, "ipVersion": "IPV4"} | wanted
    if kept["policy"] not in POLICIES:
        raise errors.invalid_parameter(f"policy must be one of {', '.join(POLICIES)}, not {kept['policy']!r}")
    return kept


def _checked_listener(_balancer: Resource, wanted: Fields) -> Fields:
    check_number(wanted, "port", 0, 65535)
    if wanted["port"] == 0 and wanted["protocol"] not in {"ANY", "L3IP"}:
        raise errors.invalid_parameter("A listener on all ports (0) needs protocol ANY or L3IP")
    return {"ipVersion": "IPV4", "isPpv2Enabled": False} | wanted


def _busy(balancer: Resource) -> errors.OracleError:
    state = balancer.state.capitalize()
    return errors.conflict(f"Invalid State Transition of NLB lifeCycle state from {state} to Updating")


FAMILY = Family(
    service=Service("networkloadbalancer"),
    kind=KIND,
    job_kind="networkloadbalancerworkrequest",
    root="/networkLoadBalancers",
    parameter="networkLoadBalancerId",
    models=MODELS,
    status=202,
    collections=True,
    replaces=False,
    shows_updating=True,
    job_type=JOB_TYPES.__getitem__,
    checked_backend=_checked_backend,
    checked_health_checker=_checked_health_checker,
    checked_backend_set=_checked_backend_set,
    checked_listener=_checked_listener,
    busy=_busy,
)
service = FAMILY.service
balancer_parts.offer(FAMILY)


@service.post(
    FAMILY.root,
    operation="CreateNetworkLoadBalancer",
    body=f"{MODELS}.CreateNetworkLoadBalancerDetails",
    reply=MODEL,
    status=201,
)
def create_network_load_balancer(call: Call) -> Reply:
    wanted = call.body
    compartment = call.compartment(wanted["compartmentId"]).ocid
    network_life.check_name(wanted)
    if wanted.get("nlbIpVersion", "IPV4") != "IPV4":
        raise errors.not_built("network load balancers with IPv6")
    private = wanted.get("isPrivate", False)
    groups = wanted.get("networkSecurityGroupIds", [])
    (subnet,), reserved = balancer_family.check_place(
        call, [wanted["subnetId"]], groups, private=private, reserved=wanted.get("reservedIps", [])
    )
    body = {
        "compartmentId": compartment,
        "displayName": wanted["displayName"],
        "subnetId": subnet.ocid,
        "isPrivate": private,
        "isPreserveSourceDestination": wanted.get("isPreserveSourceDestination", False),
        "isSymmetricHashEnabled": wanted.get("isSymmetricHashEnabled", False),
        "networkSecurityGroupIds": groups,
        "nlbIpVersion": "IPV4",
        "ipAddresses": [],
        "systemTags": {},
        "lifecycleState": "CREATING",
    }
    body |= {name: wanted[name] for name in ("freeformTags", "definedTags", "securityAttributes") if name in wanted}
    draft = Resource("", KIND, body)
    body["backendSets"] = balancer_parts.checked_sets(FAMILY, call.world, draft, wanted.get("backendSets", {}))
    body["listeners"] = balancer_parts.checked_listeners(FAMILY, draft, wanted.get("listeners", {}))
    limits.require(
        call.world, compartment=compartment, ad=None, region=call.region, needs={"network-load-balancer-count": 1}
    )
    address = private_ips.choose_address(call.world, subnet, wanted.get("assignedPrivateIpv4"))
    public_address = balancer_family.choose_public(call.world, private=private, reserved=reserved)
    balancer = call.world.add(KIND, body, region=call.region, hidden={"job": None, "addresses": []})
    call.world.change(balancer, timeUpdated=balancer.created)
    balancer_family.occupy(
        call.world, balancer, subnet, address=address, public_address=public_address, reserved=reserved
    )
    shown = [{"ipVersion": "IPV4"} | one for one in balancer.hidden["addresses"]]
    job = balancer_jobs.start(
        call.world,
        FAMILY,
        balancer,
        call.operation,
        [(("ipAddresses",), shown)],
        action="CREATED",
        seconds=CREATE_SECONDS,
    )
    return Reply.of(balancer, opc_work_request_id=job.ocid)


@service.get(FAMILY.one, operation="GetNetworkLoadBalancer", reply=MODEL)
def get_network_load_balancer(call: Call) -> Reply:
    return Reply.of(FAMILY.find(call))


@service.get(FAMILY.root, operation="ListNetworkLoadBalancers", reply=f"{MODELS}.NetworkLoadBalancerCollection")
def list_network_load_balancers(call: Call) -> Reply:
    return _wrapped(pages.listing(call, KIND, filters=("displayName", "lifecycleState")))


@service.put(
    FAMILY.one,
    operation="UpdateNetworkLoadBalancer",
    body=f"{MODELS}.UpdateNetworkLoadBalancerDetails",
    status=202,
)
def update_network_load_balancer(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    network_life.check_name(call.body)
    for name in ("subnetIpv6Cidr", "assignedIpv6", "reservedIpv6Id"):
        if name in call.body:
            raise errors.not_built("network load balancers with IPv6")
    if call.body.get("nlbIpVersion", "IPV4") != "IPV4":
        raise errors.not_built("network load balancers with IPv6")
    edits: list[balancer_jobs.Edit] = [((name,), value) for name, value in call.body.items()]
    edits.append((("timeUpdated",), call.world.clock.stamp()))
    return balancer_parts.accepted(call, FAMILY, balancer, edits)


@service.delete(FAMILY.one, operation="DeleteNetworkLoadBalancer", status=202)
def delete_network_load_balancer(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    job = balancer_jobs.start(call.world, FAMILY, balancer, call.operation, action="DELETED", seconds=DELETE_SECONDS)
    return Reply(headers={"opc-work-request-id": job.ocid})


@service.get(
    f"{FAMILY.one}/health", operation="GetNetworkLoadBalancerHealth", reply=f"{MODELS}.NetworkLoadBalancerHealth"
)
def get_health(call: Call) -> Reply:
    return Reply(balancer_health.of_balancer(call.world, FAMILY.find(call)))


@service.get(
    f"{FAMILY.root}/health",
    operation="ListNetworkLoadBalancerHealths",
    reply=f"{MODELS}.NetworkLoadBalancerHealthCollection",
)
def list_healths(call: Call) -> Reply:
    inside = call.compartment(call.query.need("compartmentId")).ocid
    found = [
        {
            "networkLoadBalancerId": one.ocid,
            "status": balancer_health.of_balancer(call.world, one)["status"],
        }
        for one in call.world.all(KIND)
        if one.region == call.region and one.body["compartmentId"] == inside and not one.gone
    ]
    return _wrapped(pages.page(call, found, id_key="networkLoadBalancerId"))


# work requests --------------------------------------------------------------------------------------------------


@service.get("/workRequests/{workRequestId}", operation="GetWorkRequest", reply=f"{MODELS}.WorkRequest")
def get_work_request(call: Call) -> Reply:
    job = call.find(FAMILY.job_kind, call.path["workRequestId"])
    waiting = {"retry-after": "1"} if job.hidden["status"] == "IN_PROGRESS" else {}
    return Reply(_shown(call.world, job), headers={"etag": job.etag} | waiting)


@service.get("/workRequests", operation="ListWorkRequests", reply=f"{MODELS}.WorkRequestCollection")
def list_work_requests(call: Call) -> Reply:
    inside = call.compartment(call.query.need("compartmentId")).ocid
    found = [
        _shown(call.world, one)
        for one in call.world.all(FAMILY.job_kind)
        if one.region == call.region and one.hidden["compartment"] == inside
    ]
    return _wrapped(pages.page(call, found[::-1]))


@service.get(
    "/workRequests/{workRequestId}/errors",
    operation="ListWorkRequestErrors",
    reply=f"{MODELS}.WorkRequestErrorCollection",
)
def list_work_request_errors(call: Call) -> Reply:
    """Changes are checked before they are accepted; none of them has failed later yet."""
    call.find(FAMILY.job_kind, call.path["workRequestId"])
    return _wrapped(pages.page(call, []))


@service.get(
    "/workRequests/{workRequestId}/logs",
    operation="ListWorkRequestLogs",
    reply=f"{MODELS}.WorkRequestLogEntryCollection",
)
def list_work_request_logs(call: Call) -> Reply:
    return _wrapped(pages.page(call, call.find(FAMILY.job_kind, call.path["workRequestId"]).hidden["logs"]))


def _shown(world: World, job: Resource) -> dict[str, Any]:
    known = job.hidden
    running = known["status"] == "IN_PROGRESS"
    touched = {
        "entityType": "NetworkLoadBalancer",
        "actionType": "IN_PROGRESS" if running else known["action"],
        "identifier": known["balancer"],
        "entityUri": f"{FAMILY.root}/{known['balancer']}",
    }
    shown = {
        "id": job.ocid,
        "operationType": known["type"],
        "status": known["status"],
        "compartmentId": known["compartment"],
        "resources": [touched],
        "percentComplete": balancer_jobs.percent(world, job),
        "timeAccepted": known["accepted"],
        "timeStarted": known["accepted"],
    }
    return shown if running else shown | {"timeFinished": known["finished"]}


def _wrapped(reply: Reply) -> Reply:
    reply.body = {"items": reply.body}
    return reply

"""Load balancers of layer 7, in the one shape that is not deprecated: flexible, from 10 Mbps on."""

from typing import Any

from ocifree_pipeline.sandbox import money
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
from ocifree_pipeline.sandbox.world import Resource, World, transition

KIND = "loadbalancer"
MODELS = "oci.load_balancer.models"
MODEL = f"{MODELS}.LoadBalancer"
CREATE_SECONDS = 60
DELETE_SECONDS = 30
SHAPE = "flexible"
LEAST_MBPS, MOST_MBPS = 10, 8000
POLICIES = ("ROUND_ROBIN", "LEAST_CONNECTIONS", "IP_HASH")
PROTOCOLS = ("HTTP", "HTTP2", "TCP", "GRPC")
CHECKS = ("HTTP", "TCP", "GRPC")
UNBUILT = ("sslCipherSuites", "pathRouteSets", "ruleSets", "routingPolicies")


def _choice(fields: Fields, name: str, allowed: tuple[str, ...]) -> None:
    if fields[name] not in allowed:
        raise errors.invalid_parameter(f"{name} must be one of {', '.join(allowed)}, not {fields[name]!r}")


def _checked_backend(_world: World, wanted: Fields) -> Fields:
    addresses.address(wanted["ipAddress"])
    check_number(wanted, "port", 1, 65535)
    check_number(wanted, "weight", 1, 100)
    name = f"{wanted['ipAddress']}:{wanted['port']}"
    return {"name": name, "weight": 1, "backup": False, "drain": False, "offline": False} | wanted


def _checked_health_checker(wanted: Fields) -> Fields:
    defaults: Fields = {"port": 0, "retries": 3, "timeoutInMillis": 3000, "intervalInMillis": 10000, "returnCode": 200}
    kept = defaults | {"responseBodyRegex": ""} | wanted
    _choice(kept, "protocol", CHECKS)
    check_number(kept, "port", 0, 65535)
    check_number(kept, "retries", 1, 10)
    check_number(kept, "timeoutInMillis", 1, 600_000)
    check_number(kept, "intervalInMillis", 1_000, 1_800_000)
    if kept["protocol"] == "HTTP" and "urlPath" not in kept:
        raise errors.missing_parameter("healthChecker.urlPath")
    return kept


def _checked_backend_set(balancer: Resource, wanted: Fields) -> Fields:
    _choice(wanted, "policy", POLICIES)
    return wanted | _checked_ssl(balancer, wanted)


def _checked_listener(balancer: Resource, wanted: Fields) -> Fields:
    check_number(wanted, "port", 1, 65535)
    _choice(wanted, "protocol", PROTOCOLS)
    for name in ("pathRouteSetName", "routingPolicyName", "ruleSetNames"):
        if wanted.get(name):
            raise errors.not_built(f"listeners with {name}")
    for name in wanted.get("hostnameNames", ()):
        if name not in balancer.body["hostnames"]:
            raise errors.invalid_parameter(
                f"The listener {wanted['name']} refers to a hostname that is not there: {name}"
            )
    idle = 300 if wanted["protocol"] == "TCP" else 60
    kept = {"connectionConfiguration": {"idleTimeout": idle}, "hostnameNames": [], "ruleSetNames": []} | wanted
    if kept["protocol"] in {"HTTP2", "GRPC"} and "sslConfiguration" not in kept:
        raise errors.invalid_parameter(f"A listener with protocol {kept['protocol']} needs an sslConfiguration")
    return kept | _checked_ssl(balancer, kept)


def _checked_ssl(balancer: Resource, wanted: Fields) -> Fields:
    ssl = wanted.get("sslConfiguration")
    if ssl is None:
        return {}
    for name in ("certificateIds", "trustedCertificateAuthorityIds"):
        if ssl.get(name):
            raise errors.not_built(f"load balancers with {name}")
    name = ssl.get("certificateName")
    if name is None or name not in balancer.body["certificates"]:
        raise errors.invalid_parameter(f"sslConfiguration refers to a certificate that is not there: {name}")
    return {"sslConfiguration": {"verifyPeerCertificate": False, "verifyDepth": 1} | ssl}


def _busy(balancer: Resource) -> errors.OracleError:
    if balancer.hidden["job"]:
        return errors.conflict(f"The load balancer {balancer.ocid} has a work request that is not done yet")
    return errors.incorrect_state(f"The load balancer {balancer.ocid} is in state {balancer.state}, not ACTIVE")


FAMILY = Family(
    service=Service("loadbalancer"),
    kind=KIND,
    job_kind="loadbalancerworkrequest",
    root="/loadBalancers",
    parameter="loadBalancerId",
    models=MODELS,
    status=204,
    collections=False,
    replaces=True,
    shows_updating=False,
    job_type=str,
    checked_backend=_checked_backend,
    checked_health_checker=_checked_health_checker,
    checked_backend_set=_checked_backend_set,
    checked_listener=_checked_listener,
    busy=_busy,
)
service = FAMILY.service
balancer_parts.offer(FAMILY)


@service.post(FAMILY.root, operation="CreateLoadBalancer", body=f"{MODELS}.CreateLoadBalancerDetails", status=204)
def create_load_balancer(call: Call) -> Reply:
    wanted = call.body
    compartment = call.compartment(wanted["compartmentId"]).ocid
    network_life.check_name(wanted)
    for name in UNBUILT:
        if wanted.get(name):
            raise errors.not_built(f"load balancers with {name}")
    if wanted.get("ipMode", "IPV4") != "IPV4":
        raise errors.not_built("load balancers with IPv6")
    shape = _checked_shape(wanted)
    private = wanted.get("isPrivate", False)
    groups = wanted.get("networkSecurityGroupIds", [])
    subnets, reserved = _check_place(call, private, groups)
    body: Fields = {
        "compartmentId": compartment,
        "displayName": wanted["displayName"],
        "shapeName": SHAPE,
        "shapeDetails": shape,
        "isPrivate": private,
        "isDeleteProtectionEnabled": wanted.get("isDeleteProtectionEnabled", False),
        "isRequestIdEnabled": wanted.get("isRequestIdEnabled", False),
        "ipMode": "IPV4",
        "subnetIds": [one.ocid for one in subnets],
        "networkSecurityGroupIds": groups,
        "hostnames": {name: {"name": name} | one for name, one in wanted.get("hostnames", {}).items()},
        "certificates": {name: public_part(one) for name, one in wanted.get("certificates", {}).items()},
        "ipAddresses": [],
        "systemTags": {},
        "lifecycleState": "CREATING",
    }
    body |= {name: {} for name in UNBUILT}
    body |= {name: wanted[name] for name in ("freeformTags", "definedTags", "securityAttributes") if name in wanted}
    draft = Resource("", KIND, body)
    body["backendSets"] = balancer_parts.checked_sets(FAMILY, call.world, draft, wanted.get("backendSets", {}))
    body["listeners"] = balancer_parts.checked_listeners(FAMILY, draft, wanted.get("listeners", {}))
    needs = {"lb-flexible-count": 1, "lb-flexible-bandwidth-sum": shape["maximumBandwidthInMbps"]}
    limits.require(call.world, compartment=compartment, ad=None, region=call.region, needs=needs)
    address = private_ips.choose_address(call.world, subnets[0], None)
    public_address = balancer_family.choose_public(call.world, private=private, reserved=reserved)
    balancer = call.world.add(KIND, body, region=call.region, hidden={"job": None, "addresses": []})
    balancer_family.occupy(
        call.world, balancer, subnets[0], address=address, public_address=public_address, reserved=reserved
    )
    shown = [one for one in balancer.hidden["addresses"] if one["isPublic"] != private]
    job = balancer_jobs.start(
        call.world,
        FAMILY,
        balancer,
        call.operation,
        [(("ipAddresses",), shown)],
        action="CREATED",
        seconds=CREATE_SECONDS,
        on_done="loadbalancer.billed",
    )
    return Reply(headers={"opc-work-request-id": job.ocid})


@service.get(FAMILY.one, operation="GetLoadBalancer", reply=MODEL)
def get_load_balancer(call: Call) -> Reply:
    return Reply.of(FAMILY.find(call))


@service.get(FAMILY.root, operation="ListLoadBalancers", reply=f"list[{MODEL}]")
def list_load_balancers(call: Call) -> Reply:
    return pages.listing(call, KIND, filters=("displayName", "lifecycleState"))


@service.put(FAMILY.one, operation="UpdateLoadBalancer", body=f"{MODELS}.UpdateLoadBalancerDetails", status=204)
def update_load_balancer(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    network_life.check_name(call.body)
    if call.body.get("ipMode", "IPV4") != "IPV4" or "ipv6SubnetCidr" in call.body:
        raise errors.not_built("load balancers with IPv6")
    if call.body.get("reservedIps"):
        raise errors.not_built("a change of the reserved IPs of a load balancer")
    known = {name: value for name, value in call.body.items() if name != "reservedIps"}
    return balancer_parts.accepted(call, FAMILY, balancer, [((name,), value) for name, value in known.items()])


@service.put(
    f"{FAMILY.one}/updateShape",
    operation="UpdateLoadBalancerShape",
    body=f"{MODELS}.UpdateLoadBalancerShapeDetails",
    status=204,
)
def update_load_balancer_shape(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    shape = _checked_shape(call.body)
    more = shape["maximumBandwidthInMbps"] - balancer.body["shapeDetails"]["maximumBandwidthInMbps"]
    if more > 0:
        compartment = balancer.body["compartmentId"]
        needs = {"lb-flexible-bandwidth-sum": more}
        limits.require(call.world, compartment=compartment, ad=None, region=call.region, needs=needs)
    return balancer_parts.accepted(call, FAMILY, balancer, [(("shapeDetails",), shape)], on_done="loadbalancer.billed")


@service.delete(FAMILY.one, operation="DeleteLoadBalancer", status=204)
def delete_load_balancer(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    if balancer.body["isDeleteProtectionEnabled"] and balancer.body["listeners"]:
        raise errors.conflict(f"The load balancer {balancer.ocid} is protected against deletion")
    job = balancer_jobs.start(
        call.world,
        FAMILY,
        balancer,
        call.operation,
        action="DELETED",
        seconds=DELETE_SECONDS,
        on_done="loadbalancer.billed",
    )
    return Reply(headers={"opc-work-request-id": job.ocid})


@service.post(
    f"{FAMILY.one}/changeCompartment",
    operation="ChangeLoadBalancerCompartment",
    body=f"{MODELS}.ChangeLoadBalancerCompartmentDetails",
    status=204,
)
def change_compartment(call: Call) -> Reply:
    balancer = FAMILY.editable(call)
    target = call.compartment(call.body["compartmentId"]).ocid
    return balancer_parts.accepted(call, FAMILY, balancer, [(("compartmentId",), target)])


@transition("loadbalancer.billed")
def _billed(world: World, ocid: str) -> None:
    """Its least bandwidth is paid for from the moment that it is active."""
    balancer = world.table(KIND)[ocid]
    if balancer.gone:
        money.end(world, balancer)
    else:
        money.begin(world, balancer, {"bandwidthMbps": balancer.body["shapeDetails"]["minimumBandwidthInMbps"]})


def _checked_shape(wanted: Fields) -> Fields:
    if wanted["shapeName"].lower() != SHAPE:
        raise errors.invalid_parameter(f"shapeName must be {SHAPE}; {wanted['shapeName']!r} is not offered any more")
    if "shapeDetails" not in wanted:
        raise errors.missing_parameter("shapeDetails")
    shape: Fields = wanted["shapeDetails"]
    if not LEAST_MBPS <= shape["minimumBandwidthInMbps"] <= shape["maximumBandwidthInMbps"] <= MOST_MBPS:
        raise errors.invalid_parameter(
            f"The bandwidth must be from {LEAST_MBPS} to {MOST_MBPS} Mbps, and the minimum not above the maximum"
        )
    return shape


def _check_place(call: Call, private: bool, groups: list[str]) -> tuple[list[Resource], Resource | None]:
    wanted = call.body["subnetIds"]
    if not 1 <= len(wanted) <= 2 or len(set(wanted)) != len(wanted):
        raise errors.invalid_parameter("subnetIds must name one subnet, or two in different availability domains")
    subnets, reserved = balancer_family.check_place(
        call, wanted, groups, private=private, reserved=call.body.get("reservedIps", [])
    )
    domains = [one.body["availabilityDomain"] for one in subnets if "availabilityDomain" in one.body]
    zonal = len(subnets) == 2 or (domains and not private)
    if zonal and (len(set(domains)) != 2 or private):
        raise errors.invalid_parameter(
            "A public load balancer needs one regional subnet, or two in different availability domains; "
            "a private one needs one subnet"
        )
    return subnets, reserved


def public_part(wanted: Fields) -> Fields:
    """Private keys and passphrases are never kept."""
    name = wanted["certificateName"]
    return {
        "certificateName": name,
        "publicCertificate": wanted.get("publicCertificate", ""),
        "caCertificate": wanted.get("caCertificate", ""),
    }


# health, catalogues, work requests ------------------------------------------------------------------------------


@service.get(f"{FAMILY.one}/health", operation="GetLoadBalancerHealth", reply=f"{MODELS}.LoadBalancerHealth")
def get_health(call: Call) -> Reply:
    return Reply(balancer_health.of_balancer(call.world, FAMILY.find(call)))


@service.get(
    "/loadBalancerHealths", operation="ListLoadBalancerHealths", reply=f"list[{MODELS}.LoadBalancerHealthSummary]"
)
def list_healths(call: Call) -> Reply:
    inside = call.compartment(call.query.need("compartmentId")).ocid
    found = [
        {"loadBalancerId": one.ocid, "status": balancer_health.of_balancer(call.world, one)["status"]}
        for one in call.world.all(KIND)
        if one.region == call.region and one.body["compartmentId"] == inside and not one.gone
    ]
    return pages.page(call, found, id_key="loadBalancerId")


@service.get("/loadBalancerShapes", operation="ListShapes", reply=f"list[{MODELS}.LoadBalancerShape]")
def list_shapes(call: Call) -> Reply:
    return _names(call, (SHAPE,))


@service.get("/loadBalancerPolicies", operation="ListPolicies", reply=f"list[{MODELS}.LoadBalancerPolicy]")
def list_policies(call: Call) -> Reply:
    return _names(call, POLICIES)


@service.get("/loadBalancerProtocols", operation="ListProtocols", reply=f"list[{MODELS}.LoadBalancerProtocol]")
def list_protocols(call: Call) -> Reply:
    return _names(call, PROTOCOLS)


@service.get("/loadBalancerWorkRequests/{workRequestId}", operation="GetWorkRequest", reply=f"{MODELS}.WorkRequest")
def get_work_request(call: Call) -> Reply:
    return Reply(_shown(call.find(FAMILY.job_kind, call.path["workRequestId"])))


@service.get(f"{FAMILY.one}/workRequests", operation="ListWorkRequests", reply=f"list[{MODELS}.WorkRequest]")
def list_work_requests(call: Call) -> Reply:
    jobs = balancer_jobs.of_balancer(call.world, FAMILY, FAMILY.find(call).ocid)
    return pages.page(call, [_shown(one) for one in jobs])


def _names(call: Call, names: tuple[str, ...]) -> Reply:
    call.compartment(call.query.need("compartmentId"))
    return pages.page(call, [{"name": one} for one in names], id_key="name")


def _shown(job: Resource) -> dict[str, Any]:
    known = job.hidden
    shown = {
        "id": job.ocid,
        "loadBalancerId": known["balancer"],
        "type": known["type"],
        "compartmentId": known["compartment"],
        "lifecycleState": known["status"],
        "message": known["logs"][-1]["message"],
        "timeAccepted": known["accepted"],
        "errorDetails": [],
    }
    return shown if known["finished"] is None else shown | {"timeFinished": known["finished"]}

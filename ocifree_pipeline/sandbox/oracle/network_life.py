"""What the resources of the core network have in common: they come, are found, change compartments and go.

PROVISIONING -> AVAILABLE -> TERMINATING -> TERMINATED, and a minute later nothing.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, models, pages, work_requests
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply, Service
from ocifree_pipeline.sandbox.world import Resource, World, transition

CREATE_SECONDS = 2
UPDATE_SECONDS = 5
DELETE_SECONDS = 2
LINGER_SECONDS = 60
LONGEST_NAME = 255
MODELS = "oci.core.models"

service = Service("iaas")


@dataclass(frozen=True, slots=True)
class Kind:
    """How a kind of resource is called: in the world, in operations and models, in paths, in messages."""

    name: str
    noun: str
    plural: str
    path: str
    parameter: str
    words: str

    @property
    def model(self) -> str:
        return f"{MODELS}.{self.noun}"


VCN = Kind("vcn", "Vcn", "Vcns", "/vcns", "vcnId", "VCN")
SUBNET = Kind("subnet", "Subnet", "Subnets", "/subnets", "subnetId", "Subnet")
ROUTE_TABLE = Kind("routetable", "RouteTable", "RouteTables", "/routeTables", "rtId", "Route Table")
SECURITY_LIST = Kind(
    "securitylist", "SecurityList", "SecurityLists", "/securityLists", "securityListId", "SecurityList"
)
DHCP_OPTIONS = Kind("dhcpoptions", "DhcpOptions", "DhcpOptions", "/dhcps", "dhcpId", "DHCP Options")
INTERNET_GATEWAY = Kind(
    "internetgateway", "InternetGateway", "InternetGateways", "/internetGateways", "igId", "Internet Gateway"
)
NAT_GATEWAY = Kind("natgateway", "NatGateway", "NatGateways", "/natGateways", "natGatewayId", "NAT Gateway")
SERVICE_GATEWAY = Kind(
    "servicegateway", "ServiceGateway", "ServiceGateways", "/serviceGateways", "serviceGatewayId", "Service Gateway"
)
SECURITY_GROUP = Kind(
    "networksecuritygroup",
    "NetworkSecurityGroup",
    "NetworkSecurityGroups",
    "/networkSecurityGroups",
    "networkSecurityGroupId",
    "Network Security Group",
)


def offer(kind: Kind, *, filters: tuple[str, ...] = ("vcnId", "displayName", "lifecycleState")) -> None:
    """Register the operations that every kind has alike: get, list, change compartment."""

    def get(call: Call) -> Reply:
        return Reply.of(call.find(kind.name, call.path[kind.parameter]))

    def list_all(call: Call) -> Reply:
        return pages.listing(call, kind.name, filters=filters)

    def change_compartment(call: Call) -> Reply:
        resource = editable(call, kind)
        target = call.compartment(call.body["compartmentId"]).ocid
        call.world.change(resource, compartmentId=target)
        touched = work_requests.Touched("UPDATED", kind.name, resource.ocid)
        request = work_requests.start(
            call.world, f"CHANGE_{kind.name.upper()}_COMPARTMENT", target, [touched], seconds=0, region=call.region
        )
        return Reply(headers={"etag": resource.etag, "opc-work-request-id": request.ocid})

    one = f"{kind.path}/{{{kind.parameter}}}"
    service.get(one, operation=f"Get{kind.noun}", reply=kind.model)(get)
    service.get(kind.path, operation=f"List{kind.plural}", reply=f"list[{kind.model}]")(list_all)
    service.post(
        f"{one}/actions/changeCompartment",
        operation=f"Change{kind.noun}Compartment",
        body=f"{MODELS}.Change{kind.noun}CompartmentDetails",
        status=204,
    )(change_compartment)


def begin(
    world: World, kind: Kind, body: dict[str, Any], *, region: str, hidden: dict[str, Any] | None = None
) -> Resource:
    """A new resource, provisioning for a moment. Fields that the client may send but never sees again are dropped."""
    known = models.known_attributes(kind.model)
    fields = {name: value for name, value in body.items() if name in known}
    check_name(fields)
    fields["displayName"] = fields.get("displayName") or f"{kind.name}{world.clock.now():%Y%m%d%H%M%S}"
    fields["lifecycleState"] = "PROVISIONING"
    if "systemTags" in known:
        fields.setdefault("systemTags", {})
    resource = world.add(kind.name, fields, region=region, hidden=hidden)
    world.clock.later(CREATE_SECONDS, "network.available", kind=kind.name, ocid=resource.ocid)
    return resource


def end(world: World, resource: Resource) -> None:
    world.change(resource, lifecycleState="TERMINATING")
    world.clock.later(DELETE_SECONDS, "network.terminated", kind=resource.kind, ocid=resource.ocid)


def vanish(world: World, resource: Resource, state: str = "TERMINATED") -> None:
    """The resource is over: clients see its last state for another minute."""
    world.change(resource, lifecycleState=state)
    moment = world.clock.now() + timedelta(seconds=LINGER_SECONDS)
    world.clock.at(moment, "network.vanished", kind=resource.kind, ocid=resource.ocid)


@transition("network.available")
def _available(world: World, kind: str, ocid: str) -> None:
    """Provisioning is over, unless the resource was changed or deleted meanwhile."""
    resource = world.get(kind, ocid)
    if resource is not None and resource.state == "PROVISIONING":
        world.change(resource, lifecycleState="AVAILABLE")


@transition("network.terminated")
def _terminated(world: World, kind: str, ocid: str) -> None:
    vanish(world, world.table(kind)[ocid])


@transition("network.vanished")
def _vanished(world: World, kind: str, ocid: str) -> None:
    world.table(kind).pop(ocid, None)


def editable(call: Call, kind: Kind) -> Resource:
    """The resource of the path, for a change: if-match is checked, and no other change is under way."""
    resource = call.edit(kind.name, call.path[kind.parameter])
    _require_usable(kind, resource)
    check_name(call.body or {})
    return resource


def _require_usable(kind: Kind, resource: Resource) -> None:
    """What is still provisioning can be built upon, as scripts do that never wait; what changes or ends cannot."""
    if resource.gone:
        raise errors.not_found()
    if resource.state not in {"PROVISIONING", "AVAILABLE"}:
        raise errors.incorrect_state(f"The {kind.words} {resource.ocid} is in state {resource.state}, not AVAILABLE")


def related(world: World, region: str, kind: Kind, ocid: str) -> Resource:
    """A resource that a body refers to: it must exist and be usable now."""
    resource = world.get(kind.name, ocid)
    if resource is None or resource.gone or resource.region != region:
        raise errors.related_not_found()
    _require_usable(kind, resource)
    return resource


def in_vcn(world: World, region: str, kind: Kind, ocid: str, vcn_id: str) -> Resource:
    """``related``, and a part of that VCN."""
    resource = related(world, region, kind, ocid)
    if resource.body["vcnId"] != vcn_id:
        raise errors.invalid_parameter(f"The {kind.words} {ocid} does not belong to the VCN {vcn_id}")
    return resource


def referenced(kind: Kind, resource: Resource, by: str, ocid: str) -> errors.OracleError:
    """Something still needs the resource that is to be deleted."""
    return errors.conflict(
        f"The {kind.words} {resource.ocid} references the {by} {ocid}. "
        "You must remove the reference to proceed with this operation."
    )


def check_name(body: dict[str, Any]) -> None:
    if len(body.get("displayName", "")) > LONGEST_NAME:
        raise errors.invalid_parameter(f"displayName must not be longer than {LONGEST_NAME} characters")

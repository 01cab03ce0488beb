"""The two kinds of load balancers are one design in two dialects; a Family says how one of them speaks."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ocifree_pipeline.sandbox.oracle import errors, network_life, network_security_groups, private_ips, public_ips
from ocifree_pipeline.sandbox.oracle.network_life import SUBNET
from ocifree_pipeline.sandbox.oracle.wire import Call, Service
from ocifree_pipeline.sandbox.world import Resource, World

Fields = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Family:
    """``checked_*`` turn what a client sends into what the service keeps, or refuse it."""

    service: Service
    kind: str
    job_kind: str
    root: str
    parameter: str
    models: str
    status: int
    """Of the answer to an accepted change."""
    collections: bool
    """Lists come as ``{"items": [...]}``."""
    replaces: bool
    """An update names everything anew; otherwise what it leaves out stays."""
    shows_updating: bool
    job_type: Callable[[str], str]
    """Operation -> what its work request says that it does."""
    checked_backend: Callable[[World, Fields], Fields]
    checked_health_checker: Callable[[Fields], Fields]
    checked_backend_set: Callable[[Resource, Fields], Fields]
    checked_listener: Callable[[Resource, Fields], Fields]
    busy: Callable[[Resource], errors.OracleError]

    @property
    def one(self) -> str:
        return f"{self.root}/{{{self.parameter}}}"

    def find(self, call: Call) -> Resource:
        return call.find(self.kind, call.path[self.parameter])

    def editable(self, call: Call) -> Resource:
        """The balancer of the path, for a change: there, active, and with no other change under way."""
        balancer = call.edit(self.kind, call.path[self.parameter])
        if balancer.gone:
            raise errors.not_found()
        if balancer.state != "ACTIVE" or balancer.hidden["job"]:
            raise self.busy(balancer)
        return balancer


def check_place(
    call: Call, subnet_ids: Sequence[str], groups: list[str], *, private: bool, reserved: Sequence[Fields]
) -> tuple[list[Resource], Resource | None]:
    """The subnets and the reserved public IP of a new balancer, or an error."""
    subnets = [network_life.related(call.world, call.region, SUBNET, one) for one in subnet_ids]
    if len({one.body["vcnId"] for one in subnets}) != 1:
        raise errors.invalid_parameter("The subnets of a load balancer must belong to one VCN")
    network_security_groups.check_groups(call.world, call.region, groups, subnets[0].body["vcnId"])
    if not private and any(one.body["prohibitPublicIpOnVnic"] for one in subnets):
        raise errors.invalid_parameter("A public load balancer cannot be in a subnet that prohibits public IPs")
    if len(reserved) > 1:
        raise errors.invalid_parameter("reservedIps must name one IP at most")
    if reserved and private:
        raise errors.invalid_parameter("A private load balancer has no reserved public IP")
    wanted = [one["id"] for one in reserved if "id" in one]
    return subnets, public_ips.free_reserved(call.world, call.region, wanted[0]) if wanted else None


def occupy(
    world: World, balancer: Resource, subnet: Resource, *, address: str, public_address: str, reserved: Resource | None
) -> None:
    """Give the balancer its addresses: one of the subnet, and a public one unless that is empty."""
    body = {
        "compartmentId": balancer.body["compartmentId"],
        "ipAddress": address,
        "isPrimary": True,
        "displayName": balancer.body["displayName"],
    }
    private = private_ips.add(world, subnet, body, hidden={"owner": balancer.ocid})
    found: list[Fields] = [{"ipAddress": address, "isPublic": False}]
    if reserved is not None:
        public_ips.assign(world, reserved, private)
        found.append({"ipAddress": public_address, "isPublic": True, "reservedIp": {"id": reserved.ocid}})
    elif public_address:
        found.append({"ipAddress": public_address, "isPublic": True})
    balancer.hidden["addresses"] = found


def vacate(world: World, balancer: Resource) -> None:
    """The balancer is gone: its addresses are free, a reserved public IP is its owner's again."""
    for private in list(world.all(private_ips.KIND)):
        if private.hidden.get("owner") == balancer.ocid:
            private_ips.remove(world, private)
    balancer.hidden["addresses"] = []


def choose_public(world: World, *, private: bool, reserved: Resource | None) -> str:
    if private:
        return ""
    return str(reserved.body["ipAddress"]) if reserved is not None else public_ips.free_address(world)


def check_number(fields: Fields, name: str, low: int, high: int) -> None:
    if name in fields and not low <= fields[name] <= high:
        raise errors.invalid_parameter(f"{name} must be from {low} to {high}, not {fields[name]}")


def already_exists(message: str) -> errors.OracleError:
    return errors.already_exists("NotAuthorizedOrResourceAlreadyExists", message)

"""Core network, VNICs: the network cards of instances. Compute makes and ends them with ``create`` and ``release``."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import (
    addresses,
    dns_labels,
    errors,
    ipv6s,
    network_life,
    network_security_groups,
    private_ips,
    public_ips,
)
from ocifree_pipeline.sandbox.oracle.network_life import MODELS, ROUTE_TABLE, SUBNET, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

KIND = "vnic"
MODEL = f"{MODELS}.Vnic"


def create(
    world: World,
    *,
    subnet_id: str,
    compartment: str,
    region: str,
    ad: str,
    details: dict[str, Any],
    instance_id: str | None,
) -> Resource:
    """A new VNIC with its private IP, and its public one if the subnet and ``details`` want that.

    ``details`` is a CreateVnicDetails as the client sent it. The first VNIC of an instance is its primary one. All
    refusals come before the first change. A VNIC is PROVISIONING for a moment.
    """
    subnet = network_life.related(world, region, SUBNET, subnet_id)
    network_life.check_name(details)
    if subnet.body.get("availabilityDomain", ad) != ad:
        raise errors.invalid_parameter(
            f"The subnet {subnet_id} is in availability domain {subnet.body['availabilityDomain']}, not in {ad}"
        )
    groups = details.get("nsgIds", [])
    network_security_groups.check_groups(world, region, groups, subnet.body["vcnId"])
    private_subnet = subnet.body["prohibitPublicIpOnVnic"]
    public = details.get("assignPublicIp", not private_subnet)
    if public and private_subnet:
        raise errors.invalid_parameter(
            f"assignPublicIp cannot be true: the subnet {subnet_id} prohibits public IPs on its VNICs"
        )
    _refuse_unbuilt(details)
    if details.get("assignIpv6Ip") and not subnet.body.get("ipv6CidrBlocks"):
        raise errors.invalid_parameter(f"assignIpv6Ip cannot be true: the subnet {subnet_id} has no IPv6 prefix")
    label = _label(world, subnet, details)
    reserved = _reserved_private_ip(world, subnet, details)
    address = (
        reserved.body["ipAddress"] if reserved else private_ips.choose_address(world, subnet, details.get("privateIp"))
    )

    public_address = public_ips.free_address(world) if public else ""

    now = world.clock.stamp()
    body = {
        "displayName": details.get("displayName") or f"vnic{world.clock.now():%Y%m%d%H%M%S}",
        "compartmentId": compartment,
        "availabilityDomain": ad,
        "subnetId": subnet_id,
        "isPrimary": instance_id is None or not of_instance(world, instance_id),
        "macAddress": addresses.mac(world, "02:00:17"),
        "privateIp": address,
        "nsgIds": list(groups),
        "skipSourceDestCheck": details.get("skipSourceDestCheck", False),
        "lifecycleState": "PROVISIONING",
        "systemTags": {},
    }
    tags = {name: details[name] for name in ("freeformTags", "definedTags", "securityAttributes") if name in details}
    labelled = {"hostnameLabel": label} if label else {}
    hidden = {"instance": instance_id, "groupsSince": dict.fromkeys(groups, now)}
    vnic = world.add(KIND, body | tags | labelled, region=region, hidden=hidden)
    world.later_state(network_life.CREATE_SECONDS, vnic, "AVAILABLE")
    assignment = {"vnicId": vnic.ocid, "compartmentId": compartment, "availabilityDomain": ad, "isPrimary": True}
    if reserved is not None:
        private = world.change(reserved, ipState="ASSIGNED", **assignment, **labelled)
    else:
        named = {"displayName": body["displayName"], "ipAddress": address}
        private = private_ips.add(world, subnet, assignment | named | labelled)
    if public:
        public_ips.begin_ephemeral(world, private, compartment, ipAddress=public_address)
    if details.get("assignIpv6Ip"):
        ipv6s.assign(world, vnic, subnet)
    return vnic


def release(world: World, vnic_id: str) -> None:
    """The end of a VNIC: its addresses are free at once, reserved ones return to their owner."""
    vnic = world.get(KIND, vnic_id)
    if vnic is None or vnic.gone:
        return
    for private in private_ips.of_vnic(world, vnic_id):
        if private.body["lifetime"] == "RESERVED":
            private_ips.unassign(world, private)
        else:
            private_ips.remove(world, private)
    ipv6s.let_go(world, vnic_id)
    network_life.vanish(world, vnic)


def of_instance(world: World, instance_id: str) -> list[Resource]:
    """The VNICs that an instance has now, the primary one first."""
    return [one for one in world.all(KIND) if one.hidden["instance"] == instance_id and not one.gone]


def at(world: World, address: str) -> Resource | None:
    """The VNIC that answers at a private or public address. Of equal private ones in two VCNs the older is meant."""
    public = public_ips.at(world, address)
    if public is not None:
        found = [public.body["assignedEntityId"]] if public.state == "ASSIGNED" else []
    else:
        found = [one.ocid for one in world.all(private_ips.KIND) if one.body["ipAddress"] == address]
    for ocid in found:
        private = world.get(private_ips.KIND, ocid)
        vnic = world.get(KIND, private.body.get("vnicId", "")) if private else None
        if vnic is not None and not vnic.gone:
            return vnic
    return None


@service.get("/vnics/{vnicId}", operation="GetVnic", reply=MODEL)
def get_vnic(call: Call) -> Reply:
    return Reply.of(call.find(KIND, call.path["vnicId"]))


@service.put("/vnics/{vnicId}", operation="UpdateVnic", body=f"{MODELS}.UpdateVnicDetails", reply=MODEL)
def update_vnic(call: Call) -> Reply:
    vnic = call.edit(KIND, call.path["vnicId"])
    if vnic.state not in {"PROVISIONING", "AVAILABLE"}:
        raise errors.incorrect_state(f"The VNIC {vnic.ocid} is in state {vnic.state}")
    network_life.check_name(call.body)
    subnet = call.world.table(SUBNET.name)[vnic.body["subnetId"]]
    private = private_ips.primary(call.world, vnic.ocid)
    label = call.body.get("hostnameLabel")
    if label:
        private_ips.check_label(call.world, subnet, label, besides=private.ocid)
    groups = call.body.get("nsgIds")
    if groups is not None:
        network_security_groups.check_groups(call.world, call.region, groups, subnet.body["vcnId"])
    if call.body.get("routeTableId"):
        network_life.in_vcn(call.world, call.region, ROUTE_TABLE, call.body["routeTableId"], subnet.body["vcnId"])
    if label:
        call.world.change(private, hostnameLabel=label)
    if groups is not None:
        since, now = vnic.hidden["groupsSince"], call.world.clock.stamp()
        vnic.hidden["groupsSince"] = {one: since.get(one, now) for one in groups}
    return Reply.of(call.world.change(vnic, **call.body))


def _label(world: World, subnet: Resource, details: dict[str, Any]) -> str | None:
    """The host name: the wanted one, or what the display name yields."""
    wanted = details.get("hostnameLabel")
    recorded = details.get("assignPrivateDnsRecord", True)
    if wanted:
        if not recorded:
            raise errors.invalid_parameter("assignPrivateDnsRecord must be true when a hostnameLabel is given")
        private_ips.check_label(world, subnet, wanted)
        return str(wanted)
    if not recorded or "dnsLabel" not in subnet.body:
        return None
    return dns_labels.host_label_of(details.get("displayName", ""), private_ips.host_labels(world, subnet.ocid))


def _reserved_private_ip(world: World, subnet: Resource, details: dict[str, Any]) -> Resource | None:
    if "privateIpId" not in details:
        return None
    private = world.get(private_ips.KIND, details["privateIpId"])
    if private is None or private.body["subnetId"] != subnet.ocid:
        raise errors.related_not_found()
    if private.body["ipState"] != "AVAILABLE":
        raise errors.conflict(f"The private IP {private.ocid} is already assigned to a VNIC")
    return private


def _refuse_unbuilt(details: dict[str, Any]) -> None:
    for name in ("vlanId", "subnetCidr", "ipv6AddressIpv6SubnetCidrPairDetails"):
        if details.get(name):
            raise errors.not_built(f"VNICs with {name}")

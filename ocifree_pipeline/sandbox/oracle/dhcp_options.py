"""Core network, DHCP options: the resolver and the search domain that hosts are told. Every VCN has default ones."""

from typing import Any

from ocifree_pipeline.sandbox.oracle import addresses, errors, network_life
from ocifree_pipeline.sandbox.oracle.network_life import DHCP_OPTIONS, MODELS, SUBNET, VCN, service
from ocifree_pipeline.sandbox.oracle.wire import Call, Reply
from ocifree_pipeline.sandbox.world import Resource, World

MOST_SERVERS = 3

network_life.offer(DHCP_OPTIONS)


def furnish(world: World, vcn: Resource) -> Resource:
    options: list[dict[str, Any]] = [
        {"type": "DomainNameServer", "serverType": "VcnLocalPlusInternet", "customDnsServers": []}
    ]
    if domain := vcn.body.get("vcnDomainName"):
        options.append({"type": "SearchDomain", "searchDomainNames": [domain]})
    body = {
        "compartmentId": vcn.body["compartmentId"],
        "vcnId": vcn.ocid,
        "displayName": f"Default DHCP Options for {vcn.body['displayName']}",
        "options": options,
        "domainNameType": "CUSTOM_DOMAIN",
    }
    return network_life.begin(world, DHCP_OPTIONS, body, region=vcn.region, hidden={"default": True})


@service.post("/dhcps", operation="CreateDhcpOptions", body=f"{MODELS}.CreateDhcpDetails", reply=DHCP_OPTIONS.model)
def create_dhcp_options(call: Call) -> Reply:
    call.compartment(call.body["compartmentId"])
    network_life.related(call.world, call.region, VCN, call.body["vcnId"])
    body = call.body | {"options": _checked(call.body["options"])}
    return Reply.of(network_life.begin(call.world, DHCP_OPTIONS, body, region=call.region))


@service.put(
    "/dhcps/{dhcpId}", operation="UpdateDhcpOptions", body=f"{MODELS}.UpdateDhcpDetails", reply=DHCP_OPTIONS.model
)
def update_dhcp_options(call: Call) -> Reply:
    options = network_life.editable(call, DHCP_OPTIONS)
    changes = dict(call.body)
    if "options" in changes:
        changes["options"] = _checked(changes["options"])
    return Reply.of(call.world.change(options, **changes))


@service.delete("/dhcps/{dhcpId}", operation="DeleteDhcpOptions")
def delete_dhcp_options(call: Call) -> Reply:
    options = network_life.editable(call, DHCP_OPTIONS)
    if options.hidden.get("default"):
        raise errors.conflict(
            f"The DHCP Options {options.ocid} are the default ones of their VCN and cannot be deleted"
        )
    for subnet in call.world.all(SUBNET.name):
        if not subnet.gone and subnet.body["dhcpOptionsId"] == options.ocid:
            raise network_life.referenced(DHCP_OPTIONS, options, SUBNET.words, subnet.ocid)
    network_life.end(call.world, options)
    return Reply()


def _checked(options: list[dict[str, Any]]) -> list[dict[str, Any]]:
    types = [one["type"] for one in options]
    if len(set(types)) != len(types):
        raise errors.invalid_parameter("options must not hold two options of the same type")
    if "DomainNameServer" not in types:
        raise errors.invalid_parameter("options must hold an option of type DomainNameServer")
    for one in options:
        if one["type"] == "SearchDomain":
            if len(one["searchDomainNames"]) != 1:
                raise errors.invalid_parameter("searchDomainNames must hold exactly one domain")
            continue
        servers = one.get("customDnsServers", [])
        if (one["serverType"] == "CustomDnsServer") != bool(servers) or len(servers) > MOST_SERVERS:
            raise errors.invalid_parameter(
                f"customDnsServers must hold 1 to {MOST_SERVERS} addresses for CustomDnsServer, and none otherwise"
            )
        for server in servers:
            addresses.address(server, "customDnsServers")
    return options

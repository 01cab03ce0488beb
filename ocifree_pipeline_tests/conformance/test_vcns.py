"""The unmodified SDK against VCNs, subnets and their parts."""

import oci
import pytest
from oci.core import models
from oci.work_requests import WorkRequestClient

from ocifree_pipeline.sandbox.profiles import Profile
from ocifree_pipeline_tests.conformance.network import create_network, create_subnet, refused
from ocifree_pipeline_tests.sandbox.harness import running


@pytest.fixture
def client(sandbox):
    return sandbox.client(oci.core.VirtualNetworkClient)


@pytest.fixture
def network(sandbox):
    return create_network(sandbox)


@pytest.fixture
def paying(tmp_path):
    with running(tmp_path, profile=Profile(account="payg")) as here:
        yield create_network(here)


def vcn_details(sandbox, **options):
    return models.CreateVcnDetails(compartment_id=sandbox.tenancy, **{"cidr_block": "10.0.0.0/16"} | options)


def test_the_life_of_a_vcn(sandbox, client):
    made = client.create_vcn(vcn_details(sandbox, display_name="net", dns_label="net"))
    assert made.data.lifecycle_state == "PROVISIONING"
    there = oci.wait_until(client, client.get_vcn(made.data.id), "lifecycle_state", "AVAILABLE", max_interval_seconds=1)
    assert there.data.vcn_domain_name == "net.oraclevcn.com"
    assert (there.data.cidr_block, there.data.cidr_blocks) == ("10.0.0.0/16", ["10.0.0.0/16"])
    update = models.UpdateVcnDetails(display_name="renamed", freeform_tags={"a": "b"})
    changed = client.update_vcn(made.data.id, update, if_match=there.headers["etag"])
    assert (changed.data.display_name, changed.data.freeform_tags) == ("renamed", {"a": "b"})
    with refused(412, "NoEtagMatch"):
        client.update_vcn(made.data.id, update, if_match=there.headers["etag"])
    client.delete_vcn(made.data.id)
    assert client.get_vcn(made.data.id).data.lifecycle_state == "TERMINATED"
    with refused(404, "NotAuthorizedOrNotFound"):
        client.delete_vcn(made.data.id)
    sandbox.advance(61)
    with refused(404, "NotAuthorizedOrNotFound"):
        client.get_vcn(made.data.id)
    assert client.list_vcns(sandbox.tenancy).data == []
    for left in (client.list_route_tables, client.list_security_lists, client.list_dhcp_options):
        assert left(sandbox.tenancy).data == []


def test_a_vcn_brings_its_default_parts_along(network):
    vcn, client = network.vcn, network.client
    table = client.get_route_table(vcn.default_route_table_id).data
    assert (table.route_rules, table.display_name) == ([], "Default Route Table for net")
    firewall = client.get_security_list(vcn.default_security_list_id).data
    ssh, unreachable, inside = firewall.ingress_security_rules
    assert (ssh.protocol, ssh.source, ssh.tcp_options.destination_port_range.min) == ("6", "0.0.0.0/0", 22)
    assert (unreachable.icmp_options.type, unreachable.icmp_options.code) == (3, 4)
    assert (inside.source, inside.icmp_options.code) == ("10.0.0.0/16", None)
    assert [one.destination for one in firewall.egress_security_rules] == ["0.0.0.0/0"]
    options = client.get_dhcp_options(vcn.default_dhcp_options_id).data.options
    assert [one.type for one in options] == ["DomainNameServer", "SearchDomain"]
    assert options[1].search_domain_names == ["net.oraclevcn.com"]
    for delete, part in (
        (client.delete_route_table, vcn.default_route_table_id),
        (client.delete_security_list, vcn.default_security_list_id),
        (client.delete_dhcp_options, vcn.default_dhcp_options_id),
    ):
        with refused(409, "Conflict", "default"):
            delete(part)


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        ({"cidr_block": None}, "MissingParameter", "cidrBlocks"),
        ({"cidr_block": "10.0.0.0/8"}, "InvalidParameter", "/16 to /30"),
        ({"cidr_block": "10.0.0.9/16"}, "InvalidParameter", "host bits"),
        ({"cidr_blocks": ["10.1.0.0/16"]}, "InvalidParameter", "Only one of"),
        ({"cidr_block": None, "cidr_blocks": ["10.0.0.0/16", "10.0.9.0/24"]}, "InvalidParameter", "overlaps"),
        ({"cidr_block": None, "cidr_blocks": [f"10.{n}.0.0/16" for n in range(6)]}, "LimitExceeded", "cidr"),
        ({"dns_label": "9net"}, "InvalidParameter", "dnsLabel"),
        ({"dns_label": "much-too-long-for-it"}, "InvalidParameter", "dnsLabel"),
        ({"display_name": "x" * 256}, "InvalidParameter", "255"),
        ({"compartment_id": "ocid1.compartment.oc1..missing"}, "NotAuthorizedOrNotFound", ""),
    ],
)
def test_vcns_that_are_refused(sandbox, client, options, code, text):
    before = sandbox.state()
    with refused(404 if code.startswith("NotAuthorized") else 400, code, text):
        client.create_vcn(
            models.CreateVcnDetails(**{"compartment_id": sandbox.tenancy, "cidr_block": "10.0.0.0/16"} | options)
        )
    assert sandbox.state() == before


def test_the_tenancy_limit_on_vcns(sandbox, client):
    first = client.create_vcn(vcn_details(sandbox)).data
    client.create_vcn(vcn_details(sandbox))
    with refused(400, "LimitExceeded", "vcn-count"):
        client.create_vcn(vcn_details(sandbox))
    client.delete_vcn(first.id)
    client.get_vcn(first.id)
    client.create_vcn(vcn_details(sandbox))


def test_the_same_retry_token_makes_one_vcn(sandbox, client):
    once = client.create_vcn(vcn_details(sandbox), opc_retry_token="t1").data
    again = client.create_vcn(vcn_details(sandbox), opc_retry_token="t1").data
    assert once.id == again.id
    with refused(409, "InvalidatedRetryToken"):
        client.create_vcn(vcn_details(sandbox, cidr_block="10.9.0.0/16"), opc_retry_token="t1")


def test_vcns_are_listed_filtered_and_paged(paying):
    client, tenancy = paying.client, paying.tenancy
    for name in ("b", "a", "c"):
        client.create_vcn(models.CreateVcnDetails(compartment_id=tenancy, cidr_block="10.0.0.0/16", display_name=name))
    everything = oci.pagination.list_call_get_all_results(client.list_vcns, tenancy, limit=1, sort_by="DISPLAYNAME")
    assert [one.display_name for one in everything.data] == ["a", "b", "c", "net"]
    assert [one.display_name for one in client.list_vcns(tenancy, display_name="b").data] == ["b"]
    assert client.list_vcns(tenancy, lifecycle_state="TERMINATED").data == []


def test_cidr_blocks_of_a_vcn_change_by_work_request(sandbox, network):
    client, vcn = network.client, network.vcn.id
    work = sandbox.client(WorkRequestClient)
    reply = client.add_vcn_cidr(vcn, models.AddVcnCidrDetails(cidr_block="10.1.0.0/16"))
    request = work.get_work_request(reply.headers["opc-work-request-id"]).data
    assert (request.status, request.resources[0].entity_type) == ("SUCCEEDED", "vcn")
    assert request.resources[0].action_type == "IN_PROGRESS"
    assert client.get_vcn(vcn).data.cidr_blocks == ["10.0.0.0/16", "10.1.0.0/16"]
    client.modify_vcn_cidr(
        vcn, models.ModifyVcnCidrDetails(original_cidr_block="10.1.0.0/16", new_cidr_block="10.2.0.0/16")
    )
    assert client.get_vcn(vcn).data.cidr_blocks == ["10.0.0.0/16", "10.2.0.0/16"]
    client.remove_vcn_cidr(vcn, models.RemoveVcnCidrDetails(cidr_block="10.2.0.0/16"))
    assert client.get_vcn(vcn).data.cidr_blocks == ["10.0.0.0/16"]
    with refused(400, "InvalidParameter", "only one"):
        client.remove_vcn_cidr(vcn, models.RemoveVcnCidrDetails(cidr_block="10.0.0.0/16"))
    with refused(400, "InvalidParameter", "overlaps"):
        client.add_vcn_cidr(vcn, models.AddVcnCidrDetails(cidr_block="10.0.0.0/24"))
    with refused(409, "Conflict", "is in use"):
        client.modify_vcn_cidr(
            vcn, models.ModifyVcnCidrDetails(original_cidr_block="10.0.0.0/16", new_cidr_block="10.3.0.0/16")
        )


def test_a_vcn_that_is_changing_refuses_subnets(tmp_path):
    with running(tmp_path, mode="manual") as here:
        network = create_network(here)
        network.client.add_vcn_cidr(network.vcn.id, models.AddVcnCidrDetails(cidr_block="10.1.0.0/16"))
        assert network.client.get_vcn(network.vcn.id).data.lifecycle_state == "UPDATING"
        with refused(409, "IncorrectState", "UPDATING"):
            create_subnet(network, "10.0.9.0/24")
        here.advance(5)
        assert create_subnet(network, "10.1.9.0/24").lifecycle_state == "PROVISIONING"


def test_a_script_need_not_wait_but_what_it_deletes_stays_deleted(tmp_path):
    with running(tmp_path, mode="manual") as here:
        client = here.client(oci.core.VirtualNetworkClient)
        vcn = client.create_vcn(vcn_details(here)).data
        subnet = client.create_subnet(
            models.CreateSubnetDetails(compartment_id=here.tenancy, vcn_id=vcn.id, cidr_block="10.0.0.0/24")
        ).data
        assert (vcn.lifecycle_state, subnet.lifecycle_state) == ("PROVISIONING", "PROVISIONING")
        client.delete_subnet(subnet.id)
        assert client.get_subnet(subnet.id).data.lifecycle_state == "TERMINATING"
        with refused(409, "IncorrectState", "TERMINATING"):
            client.delete_subnet(subnet.id)
        with refused(409, "Conflict", f"references the Subnet {subnet.id}"):
            client.delete_vcn(vcn.id)
        here.advance(2)
        assert client.get_subnet(subnet.id).data.lifecycle_state == "TERMINATED"
        assert client.get_vcn(vcn.id).data.lifecycle_state == "AVAILABLE"


def test_a_vcn_with_anything_inside_stays(network):
    client, tenancy, vcn = network.client, network.tenancy, network.vcn.id
    with refused(409, "Conflict", f"references the Subnet {network.public.id}"):
        client.delete_vcn(vcn)
    client.delete_subnet(network.public.id)
    client.delete_subnet(network.private.id)
    network.settle()
    gateway = client.create_internet_gateway(
        models.CreateInternetGatewayDetails(compartment_id=tenancy, vcn_id=vcn, is_enabled=True)
    ).data
    with refused(409, "IncorrectState", "associated with Gateway"):
        client.delete_vcn(vcn)
    client.delete_internet_gateway(gateway.id)
    group = client.create_network_security_group(
        models.CreateNetworkSecurityGroupDetails(compartment_id=tenancy, vcn_id=vcn)
    ).data
    with refused(409, "Conflict", "Network Security Group"):
        client.delete_vcn(vcn)
    client.delete_network_security_group(group.id)
    client.get_vcn(vcn)
    client.delete_vcn(vcn)
    assert client.get_vcn(vcn).data.lifecycle_state == "TERMINATED"


# subnets --------------------------------------------------------------------------------------------------------


def test_a_subnet_says_all_that_clients_need(network):
    subnet = network.client.get_subnet(network.public.id).data
    assert subnet.lifecycle_state == "AVAILABLE"
    assert (subnet.virtual_router_ip, subnet.cidr_block) == ("10.0.1.1", "10.0.1.0/24")
    assert subnet.virtual_router_mac.startswith("00:00:17:")
    assert subnet.subnet_domain_name == "pub.net.oraclevcn.com"
    assert subnet.route_table_id == network.vcn.default_route_table_id
    assert subnet.security_list_ids == [network.vcn.default_security_list_id]
    assert subnet.dhcp_options_id == network.vcn.default_dhcp_options_id
    assert (subnet.prohibit_public_ip_on_vnic, subnet.prohibit_internet_ingress) == (False, False)
    private = network.client.get_subnet(network.private.id).data
    assert (private.prohibit_public_ip_on_vnic, private.prohibit_internet_ingress) == (True, True)
    found = network.client.list_subnets(network.tenancy, vcn_id=network.vcn.id, display_name=subnet.display_name).data
    assert subnet.id in {one.id for one in found}


@pytest.mark.parametrize(
    ("cidr", "options", "code", "text"),
    [
        ("10.0.1.0/24", {}, "InvalidParameter", "overlaps with this CIDR."),
        ("10.0.0.0/20", {}, "InvalidParameter", "overlaps with this CIDR."),
        ("10.0.1.128/25", {}, "InvalidParameter", "overlaps with this CIDR."),
        ("10.1.0.0/24", {}, "InvalidParameter", "not contained in the VCN"),
        ("10.0.9.0/31", {}, "InvalidParameter", "/16 to /30"),
        ("10.0.9.0/24", {"dns_label": "pub"}, "InvalidParameter", "already in use"),
        ("10.0.9.0/24", {"dns_label": "with-hyphen"}, "InvalidParameter", "dnsLabel"),
        ("10.0.9.0/24", {"availability_domain": "Kfkm:UK-LONDON-1-AD-9"}, "InvalidParameter", "does not exist"),
        ("10.0.9.0/24", {"route_table_id": "ocid1.none"}, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ("10.0.9.0/24", {"security_list_ids": ["ocid1.none"]}, "RelatedResourceNotAuthorizedOrNotFound", ""),
        ("10.0.9.0/24", {"security_list_ids": ["ocid1.none"] * 6}, "InvalidParameter", "at most 5"),
        ("10.0.9.0/24", {"ipv6_cidr_block": "2001:db8::/64"}, "InvalidParameter", "not contained"),
        (
            "10.0.9.0/24",
            {"prohibit_public_ip_on_vnic": True, "prohibit_internet_ingress": False},
            "InvalidParameter",
            "contradict",
        ),
    ],
)
def test_subnets_that_are_refused(network, cidr, options, code, text):
    before = network.sandbox.state()
    with refused(400, code, text):
        create_subnet(network, cidr, **options)
    assert network.sandbox.state() == before


def test_a_subnet_changes_what_it_uses_and_grows(network):
    client, tenancy = network.client, network.tenancy
    firewall = client.create_security_list(
        models.CreateSecurityListDetails(
            compartment_id=tenancy, vcn_id=network.vcn.id, ingress_security_rules=[], egress_security_rules=[]
        )
    ).data
    network.settle()
    update = models.UpdateSubnetDetails(security_list_ids=[firewall.id], display_name="new")
    changed = client.update_subnet(network.public.id, update).data
    assert (changed.security_list_ids, changed.display_name) == ([firewall.id], "new")
    with refused(409, "Conflict", f"references the Subnet {network.public.id}"):
        client.delete_security_list(firewall.id)
    reply = client.update_subnet(network.private.id, models.UpdateSubnetDetails(cidr_block="10.0.2.0/23"))
    assert reply.data.lifecycle_state == "UPDATING"
    request = network.client_of(WorkRequestClient).get_work_request(reply.headers["opc-work-request-id"]).data
    assert request.status == "SUCCEEDED"
    assert client.get_subnet(network.private.id).data.cidr_block == "10.0.2.0/23"
    with refused(400, "InvalidParameter", "overlaps"):
        client.update_subnet(network.private.id, models.UpdateSubnetDetails(cidr_block="10.0.0.0/22"))


def test_a_subnet_with_a_vnic_stays(network):
    vnic = network.vnic()
    with refused(409, "Conflict", f"The Subnet {network.public.id} references the VNIC {vnic}. You must remove"):
        network.client.delete_subnet(network.public.id)
    network.release(vnic)
    network.client.delete_subnet(network.public.id)
    assert network.client.get_subnet(network.public.id).data.lifecycle_state == "TERMINATED"


def test_ipv6_of_a_vcn_a_subnet_and_a_vnic(sandbox):
    client = sandbox.client(oci.core.VirtualNetworkClient)
    network = create_network(sandbox)
    vcn = client.create_vcn(vcn_details(sandbox, is_ipv6_enabled=True)).data
    network.settle()
    network.vcn = vcn
    (prefix,) = vcn.ipv6_cidr_blocks
    assert prefix.startswith("2001:db8:")
    subnet = create_subnet(network, "10.0.0.0/24", ipv6_cidr_block=prefix.replace("/56", "/64"))
    assert subnet.ipv6_virtual_router_ip.startswith("fe80::")
    network.settle()
    vnic = network.vnic(subnet, assignIpv6Ip=True)
    (address,) = client.list_ipv6s(vnic_id=vnic).data
    assert client.get_vnic(vnic).data.ipv6_addresses == [address.ip_address]
    second = client.create_ipv6(models.CreateIpv6Details(vnic_id=vnic, display_name="second")).data
    assert {one.id for one in client.list_ipv6s(subnet_id=subnet.id).data} == {address.id, second.id}
    raw = sandbox.request("GET", f"/20160918/ipv6s?vnicId={vnic}").json()
    assert {one["id"] for one in raw} == {address.id, second.id}
    assert client.update_ipv6(second.id, models.UpdateIpv6Details(display_name="new")).data.display_name == "new"
    with refused(409, "Conflict"):
        client.create_ipv6(models.CreateIpv6Details(vnic_id=vnic, ip_address=second.ip_address))
    client.delete_ipv6(second.id)
    assert client.get_vnic(vnic).data.ipv6_addresses == [address.ip_address]
    with refused(400, "InvalidParameter"):
        client.list_ipv6s()


# gateways, route tables, DHCP options ---------------------------------------------------------------------------


def internet_gateway(network):
    details = models.CreateInternetGatewayDetails(
        compartment_id=network.tenancy, vcn_id=network.vcn.id, is_enabled=True, display_name="igw"
    )
    made = network.client.create_internet_gateway(details).data
    network.settle()
    return made


def rule(target, destination="0.0.0.0/0", **options):
    return models.RouteRule(network_entity_id=target, destination=destination, **options)


def test_an_internet_gateway_and_the_routes_to_it(network):
    client = network.client
    gateway = internet_gateway(network)
    with refused(400, "LimitExceeded", "internet-gateway-count"):
        internet_gateway(network)
    default = network.vcn.default_route_table_id
    update = models.UpdateRouteTableDetails(route_rules=[rule(gateway.id, destination_type="CIDR_BLOCK")])
    (kept,) = client.update_route_table(default, update).data.route_rules
    assert (kept.destination, kept.network_entity_id) == ("0.0.0.0/0", gateway.id)
    with refused(409, "Conflict", f"references the Route Table {default}"):
        client.delete_internet_gateway(gateway.id)
    disabled = client.update_internet_gateway(gateway.id, models.UpdateInternetGatewayDetails(is_enabled=False)).data
    assert not disabled.is_enabled
    client.update_route_table(default, models.UpdateRouteTableDetails(route_rules=[]))
    client.delete_internet_gateway(gateway.id)
    assert client.get_internet_gateway(gateway.id).data.lifecycle_state == "TERMINATED"
    assert internet_gateway(network).id != gateway.id


def test_a_route_table_lives_until_a_subnet_uses_it(network):
    client = network.client
    gateway = internet_gateway(network)
    details = models.CreateRouteTableDetails(
        compartment_id=network.tenancy, vcn_id=network.vcn.id, route_rules=[rule(gateway.id)], display_name="rt"
    )
    table = client.create_route_table(details).data
    network.settle()
    client.update_subnet(network.public.id, models.UpdateSubnetDetails(route_table_id=table.id))
    with refused(409, "Conflict", f"references the Subnet {network.public.id}"):
        client.delete_route_table(table.id)
    default = network.vcn.default_route_table_id
    client.update_subnet(network.public.id, models.UpdateSubnetDetails(route_table_id=default))
    client.delete_route_table(table.id)
    listed = client.list_route_tables(network.tenancy, vcn_id=network.vcn.id, lifecycle_state="AVAILABLE").data
    assert [one.id for one in listed] == [default]


@pytest.mark.parametrize(
    ("rules", "code", "text"),
    [
        ([rule("ocid1.internetgateway.oc1..none")], "RelatedResourceNotAuthorizedOrNotFound", ""),
        ([rule("GATEWAY"), rule("GATEWAY")], "InvalidParameter", "same destination"),
        ([rule("GATEWAY", "10.9.0.1/16")], "InvalidParameter", "host bits"),
        ([rule("GATEWAY", destination=None)], "InvalidParameter", "only one"),
        ([rule("GATEWAY", cidr_block="0.0.0.0/0")], "InvalidParameter", "only one"),
        (
            [rule("GATEWAY", "all-lhr-services-in-oracle-services-network", destination_type="SERVICE_CIDR_BLOCK")],
            "InvalidParameter",
            "service gateway",
        ),
        ([rule("SUBNET")], "RelatedResourceNotAuthorizedOrNotFound", ""),
        ([rule("PRIVATEIP")], "InvalidParameter", "source/destination check"),
    ],
)
def test_route_rules_that_are_refused(network, rules, code, text):
    gateway = internet_gateway(network)
    names = {
        "GATEWAY": gateway.id,
        "SUBNET": network.public.id,
        "PRIVATEIP": network.primary_ip(network.vnic()).id,
    }
    meant = [
        models.RouteRule(
            network_entity_id=names.get(one.network_entity_id, one.network_entity_id),
            destination=one.destination,
            cidr_block=one.cidr_block,
            destination_type=one.destination_type,
        )
        for one in rules
    ]
    with refused(400, code, text):
        network.client.update_route_table(
            network.vcn.default_route_table_id, models.UpdateRouteTableDetails(route_rules=meant)
        )


def test_a_private_ip_is_a_target_when_its_vnic_forwards(network):
    vnic = network.vnic(skipSourceDestCheck=True)
    target = network.primary_ip(vnic).id
    update = models.UpdateRouteTableDetails(route_rules=[rule(target, "192.168.0.0/24")])
    changed = network.client.update_route_table(network.vcn.default_route_table_id, update).data
    assert changed.route_rules[0].network_entity_id == target


def test_a_gateway_of_another_vcn_is_no_target(network):
    client = network.client
    other = client.create_vcn(vcn_details(network.sandbox)).data
    gateway = internet_gateway(network)
    update = models.UpdateRouteTableDetails(route_rules=[rule(gateway.id)])
    with refused(400, "InvalidParameter", "does not belong to the VCN"):
        client.update_route_table(other.default_route_table_id, update)


def nat_details(network, **options):
    return models.CreateNatGatewayDetails(compartment_id=network.tenancy, vcn_id=network.vcn.id, **options)


def test_a_free_account_has_no_nat_gateway(network):
    with refused(400, "LimitExceeded", "nat-gateway-count"):
        network.client.create_nat_gateway(nat_details(network))


def test_a_nat_gateway_has_a_public_ip_of_its_own(paying):
    client = paying.client
    gateway = client.create_nat_gateway(nat_details(paying)).data
    with refused(400, "LimitExceeded", "nat-gateway-count"):
        client.create_nat_gateway(nat_details(paying))
    public = client.get_public_ip(gateway.public_ip_id).data
    assert (public.ip_address, public.lifetime, public.scope) == (gateway.nat_ip, "EPHEMERAL", "REGION")
    assert (public.assigned_entity_type, public.assigned_entity_id) == ("NAT_GATEWAY", gateway.id)
    assert [one.id for one in client.list_public_ips("REGION", paying.tenancy, lifetime="EPHEMERAL").data] == [
        public.id
    ]
    with refused(409, "Conflict", "lives as long as its gateway"):
        client.delete_public_ip(public.id)
    assert client.update_nat_gateway(gateway.id, models.UpdateNatGatewayDetails(block_traffic=True)).data.block_traffic
    client.delete_nat_gateway(gateway.id)
    assert client.get_public_ip(public.id).data.lifecycle_state == "TERMINATED"


def test_a_nat_gateway_takes_a_reserved_public_ip_and_gives_it_back(paying):
    client = paying.client
    details = models.CreatePublicIpDetails(compartment_id=paying.tenancy, lifetime="RESERVED")
    reserved = client.create_public_ip(details).data
    client.get_public_ip(reserved.id)
    gateway = client.create_nat_gateway(nat_details(paying, public_ip_id=reserved.id)).data
    assert gateway.nat_ip == reserved.ip_address
    assert client.get_public_ip(reserved.id).data.lifecycle_state == "ASSIGNED"
    client.get_nat_gateway(gateway.id)
    client.delete_nat_gateway(gateway.id)
    assert client.get_public_ip(reserved.id).data.lifecycle_state == "AVAILABLE"


def test_a_service_gateway_opens_oracles_services(network):
    client = network.client
    everything, storage = client.list_services().data
    assert storage.cidr_block == "oci-lhr-objectstorage"
    assert everything.name == "All LHR Services In Oracle Services Network"
    assert client.get_service(storage.id).data.name == storage.name
    details = models.CreateServiceGatewayDetails(
        compartment_id=network.tenancy,
        vcn_id=network.vcn.id,
        services=[models.ServiceIdRequestDetails(service_id=storage.id)],
    )
    gateway = client.create_service_gateway(details).data
    network.settle()
    assert [one.service_name for one in gateway.services] == ["OCI LHR Object Storage"]
    route = rule(gateway.id, storage.cidr_block, destination_type="SERVICE_CIDR_BLOCK")
    default = network.vcn.default_route_table_id
    client.update_route_table(default, models.UpdateRouteTableDetails(route_rules=[route]))
    with refused(400, "InvalidParameter", "service gateway"):
        client.update_route_table(default, models.UpdateRouteTableDetails(route_rules=[rule(gateway.id)]))
    with refused(409, "Conflict"):
        client.delete_service_gateway(gateway.id)
    client.detach_service_id(gateway.id, models.ServiceIdRequestDetails(service_id=storage.id))
    attached = client.attach_service_id(gateway.id, models.ServiceIdRequestDetails(service_id=everything.id)).data
    assert [one.service_id for one in attached.services] == [everything.id]
    with refused(400, "RelatedResourceNotAuthorizedOrNotFound"):
        client.attach_service_id(gateway.id, models.ServiceIdRequestDetails(service_id="ocid1.service.none"))


def test_dhcp_options(network):
    client = network.client
    server = models.DhcpDnsOption(server_type="CustomDnsServer", custom_dns_servers=["10.0.1.53"])

    def details(*options):
        return models.CreateDhcpDetails(compartment_id=network.tenancy, vcn_id=network.vcn.id, options=list(options))

    made = client.create_dhcp_options(details(server)).data
    network.settle()
    search = models.DhcpSearchDomainOption(search_domain_names=["example.com"])
    changed = client.update_dhcp_options(made.id, models.UpdateDhcpDetails(options=[server, search])).data
    assert [one.type for one in changed.options] == ["DomainNameServer", "SearchDomain"]
    for broken in (
        [search],
        [server, server],
        [models.DhcpDnsOption(server_type="CustomDnsServer")],
        [models.DhcpDnsOption(server_type="CustomDnsServer", custom_dns_servers=["nonsense"])],
        [models.DhcpDnsOption(server_type="VcnLocal", custom_dns_servers=["10.0.0.1"])],
        [server, models.DhcpSearchDomainOption(search_domain_names=["a.com", "b.com"])],
    ):
        with refused(400, "InvalidParameter"):
            client.create_dhcp_options(details(*broken))
    client.update_subnet(network.public.id, models.UpdateSubnetDetails(dhcp_options_id=made.id))
    with refused(409, "Conflict"):
        client.delete_dhcp_options(made.id)


def test_parts_of_a_network_change_compartments(network):
    identity = network.sandbox.client(oci.identity.IdentityClient)
    target = identity.create_compartment(
        oci.identity.models.CreateCompartmentDetails(compartment_id=network.tenancy, name="apps", description="d")
    ).data.id
    identity.get_compartment(target)
    moved = network.client.change_subnet_compartment(
        network.public.id, models.ChangeSubnetCompartmentDetails(compartment_id=target)
    )
    request = network.client_of(WorkRequestClient).get_work_request(moved.headers["opc-work-request-id"]).data
    assert request.status == "SUCCEEDED"
    assert [one.id for one in network.client.list_subnets(target).data] == [network.public.id]
    network.client.change_vcn_compartment(network.vcn.id, models.ChangeVcnCompartmentDetails(compartment_id=target))
    assert network.client.get_vcn(network.vcn.id).data.compartment_id == target
